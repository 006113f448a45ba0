/* tests/support/damage.h: files that are cut or have a flipped bit.
 *   damaged d = damaged_load("a.png");
 *   for (int i = 0; i < DAMAGED_CUTS; i++) { damaged_cut(&d, i, path); check_fails(E_DATA, path, read(path)); } */
#ifndef TESTS_SUPPORT_DAMAGE_H
#define TESTS_SUPPORT_DAMAGE_H
#include <stdio.h>

#include "base/io.h"
#include "tests/support/check.h"

enum { DAMAGED_CUTS = 22 };

typedef struct damaged {
  char *bytes;
  size_t n;
} damaged;

static inline damaged damaged_load(const char *path) {
  damaged d;

  check_ok(io_read_file(path, 1 << 24, &d.bytes, &d.n));
  assert_true(d.n > 1);
  return d;
}

static inline void damaged_free(damaged *d) { free(d->bytes); }

static inline void damaged_save(const char *path, const char *bytes, size_t n) {
  FILE *f = fopen(path, "wb");

  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, n, f), n);
  assert_int_equal(fclose(f), 0);
}

/* Cut 0 leaves nothing, 1 .. 20 ever more, the last all but one byte. */
static inline size_t damaged_cut(const damaged *d, int i, const char *path) {
  const size_t n = i == DAMAGED_CUTS - 1 ? d->n - 1 : d->n * (size_t)i / (DAMAGED_CUTS - 1);

  damaged_save(path, d->bytes, n);
  return n;
}

/* One bit of one byte turned over. */
static inline void damaged_flip(damaged *d, size_t at, int bit, const char *path) {
  d->bytes[at] = (char)(d->bytes[at] ^ 1 << bit);
  damaged_save(path, d->bytes, d->n);
  d->bytes[at] = (char)(d->bytes[at] ^ 1 << bit);
}
#endif
