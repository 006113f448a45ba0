/* replay CORPUS-DIR [MUTATIONS]: runs a fuzz target on every file of its corpus, on each of them cut at every byte, and
 * on so many mutations of them, the same ones each time. */
#include <dirent.h>

#include "base/io.h"
#include "base/rng.h"
#include "tests/fuzz/fuzz.h"

enum { FILES_MAX = 256, CUTS_MAX = 600, EDITS_MAX = 6 };

typedef struct input { char *data; size_t n; } input;

static void run(const void *data, size_t n) {
  uint8_t *exact = malloc(n ? n : 1); /* a read behind the end is seen */

  if (!exact) abort();
  memcpy(exact, data, n);
  LLVMFuzzerTestOneInput(exact, n);
  free(exact);
}

static void run_cuts(const input *in) {
  const size_t stride = in->n / CUTS_MAX + 1;

  for (size_t n = 0; n < in->n; n += stride) run(in->data, n);
}

/* One of: another byte, a flipped bit, a piece taken out, a piece of another file put in. */
static size_t edit(const rng_key *k, uint64_t i, char *data, size_t n, size_t room, const input *other) {
  const size_t at = n ? rng_below(k, i + 1, n) : 0;
  size_t part;

  switch (rng_below(k, i, 4)) {
  case 0:
    if (n) data[at] = (char)rng_below(k, i + 2, 256);
    return n;
  case 1:
    if (n) data[at] = (char)(data[at] ^ 1 << rng_below(k, i + 2, 8));
    return n;
  case 2:
    part = rng_below(k, i + 2, (n - at < 16 ? n - at : 16) + 1);
    memmove(data + at, data + at + part, n - at - part);
    return n - part;
  default:
    if (other->n == 0) return n;
    part = rng_below(k, i + 2, other->n) + 1;
    if (n + part > room) return n;
    memmove(data + at + part, data + at, n - at);
    memcpy(data + at, other->data + rng_below(k, i + 3, other->n - part + 1), part);
    return n + part;
  }
}

static void run_mutation(const input *all, size_t files, uint64_t number) {
  const rng_key k = rng_stream(1, "fuzz", number, 0);
  const input *in = &all[rng_below(&k, 0, files)], *other = &all[rng_below(&k, 1, files)];
  const size_t room = in->n + EDITS_MAX * (other->n + 1);
  char *data = malloc(room + 1);
  size_t n = in->n;

  if (!data) abort();
  memcpy(data, in->data, n);
  for (uint64_t i = 0; i <= rng_below(&k, 2, EDITS_MAX); i++) n = edit(&k, 10 * i + 10, data, n, room, other);
  run(data, n);
  free(data);
}

int main(int argc, char **argv) {
  static input all[FILES_MAX];
  char path[IO_PATH_MAX], **names = NULL;
  size_t n = 0, files = 0;
  const long mutations = argc > 2 ? atol(argv[2]) : 0;

  if (argc < 2 || io_list_dir(argv[1], &names, &n) != OK) return fprintf(stderr, "usage: %s CORPUS-DIR [MUTATIONS]\n", argv[0]), 2;
  for (size_t i = 0; i < n && files < FILES_MAX; i++) {
    if (io_path(path, "%s/%s", argv[1], names[i]) != OK || io_read_file(path, 1 << 20, &all[files].data, &all[files].n) != OK)
      return fprintf(stderr, "%s\n", err_text()), 1;
    files++;
  }
  io_free_names(&names, n);
  if (files == 0) return fprintf(stderr, "%s: no files\n", argv[1]), 1;
  for (size_t i = 0; i < files; i++) {
    run(all[i].data, all[i].n);
    run_cuts(&all[i]);
  }
  for (long i = 0; i < mutations; i++) run_mutation(all, files, (uint64_t)i);
  for (size_t i = 0; i < files; i++) free(all[i].data);
  printf("%zu files, each cut too, and %ld mutations\n", files, mutations);
  return 0;
}
