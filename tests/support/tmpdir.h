/* tests/support/tmpdir.h: a folder for one test, gone when the test ends.
 *   cmocka_unit_test_setup_teardown(test, tmpdir_setup, tmpdir_teardown)
 *   check_ok(io_create(tmpdir_at(state, "x/%d.bin", i), &f)); */
#ifndef TESTS_SUPPORT_TMPDIR_H
#define TESTS_SUPPORT_TMPDIR_H
#include <stdio.h>

#include "base/io.h"
#include "tests/support/check.h"

/* Makes a folder under $TMPDIR or /tmp; *state is its path. */
static inline int tmpdir_setup(void **state) {
  const char *root = getenv("TMPDIR");
  char *path = malloc(IO_PATH_MAX);

  if (!path) return -1;
  snprintf(path, IO_PATH_MAX, "%s/e2eft-test-XXXXXX", root && root[0] ? root : "/tmp");
  *state = path;
  return mkdtemp(path) ? 0 : -1;
}

static inline int tmpdir_teardown(void **state) {
  const int st = io_remove_tree(*state);

  if (st != OK) print_error("%s\n", err_text());
  free(*state);
  *state = NULL;
  return st == OK ? 0 : -1;
}

/* A path inside, printf-like; one of a ring of 8 buffers. */
static inline const char *tmpdir_at(void **state, const char *fmt, ...) ERR_PRINTF(2, 3);
static inline const char *tmpdir_at(void **state, const char *fmt, ...) {
  enum { RING = 8 };
  static char ring[RING][IO_PATH_MAX];
  static unsigned next;
  char *out = ring[next++ % RING];
  const int n = snprintf(out, IO_PATH_MAX, "%s/", (const char *)*state);
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(out + n, (size_t)(IO_PATH_MAX - n), fmt, ap);
  va_end(ap);
  return out;
}
#endif
