/* tests/support/tmpdir.h: a folder for one test, gone when the test ends.
 *   cmocka_unit_test_setup_teardown(test, tmpdir_setup, tmpdir_teardown)
 *   check_ok(io_create(tmpdir_at(state, "x/%d.bin", i), &f)); */
#ifndef TESTS_SUPPORT_TMPDIR_H
#define TESTS_SUPPORT_TMPDIR_H
#include <stdio.h>

#include "base/io.h"
#include "tests/support/check.h"

static struct {
  char **path; /* what tmpdir_at gave out */
  size_t n;
} tmpdir_paths;

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
  for (size_t i = 0; i < tmpdir_paths.n; i++) free(tmpdir_paths.path[i]);
  free(tmpdir_paths.path);
  memset(&tmpdir_paths, 0, sizeof tmpdir_paths);
  return st == OK ? 0 : -1;
}

/* A path inside, printf-like; lent until the test ends. */
static inline const char *tmpdir_at(void **state, const char *fmt, ...) ERR_PRINTF(2, 3);
static inline const char *tmpdir_at(void **state, const char *fmt, ...) {
  char rest[IO_PATH_MAX / 2], full[IO_PATH_MAX];
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(rest, sizeof rest, fmt, ap);
  va_end(ap);
  snprintf(full, sizeof full, "%.2000s/%s", (const char *)*state, rest);
  char **grown = realloc(tmpdir_paths.path, (tmpdir_paths.n + 1) * sizeof *grown);
  assert_non_null(grown);
  tmpdir_paths.path = grown;
  assert_non_null(grown[tmpdir_paths.n] = strdup(full));
  return grown[tmpdir_paths.n++];
}

/* A file of these bytes, quickly: a new one, since ext4 flushes a file that is cut or renamed over. */
static inline void tmpdir_put(const char *path, const void *data, size_t n) {
  remove(path);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, n, f), n);
  assert_int_equal(fclose(f), 0);
}
#endif
