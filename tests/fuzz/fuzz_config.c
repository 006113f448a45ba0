/* A config that is taken must be taken again after it was written out. */
#include "configs/config.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  cf_config *c = NULL, *again = NULL;
  char *text = NULL;
  const int st = cf_load(fuzz_file(data, size), NULL, 0, false, &c);

  fuzz_need_message(st);
  if (st != OK) return 0;
  if (cf_to_yaml(c, &text) != OK) abort();
  if (cf_load(fuzz_file((const uint8_t *)text, strlen(text)), NULL, 0, false, &again) != OK) {
    fprintf(stderr, "%s\n%s\n", text, err_text());
    abort();
  }
  free(text);
  cf_free(&again);
  cf_free(&c);
  return 0;
}
