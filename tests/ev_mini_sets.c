/* ev_mini_sets DIR: writes the small evaluation sets, for tests/data/eval/make_peer_numbers.py and to look at. */
#include <stdio.h>

#include "tests/support/mini_sets.h"

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: ev_mini_sets DIR\n");
    return 2;
  }
  mini_sets_make(argv[1]);
  return 0;
}
