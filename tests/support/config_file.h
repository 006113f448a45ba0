/* tests/support/config_file.h: config files in a test's folder, and what loading them says. */
#ifndef TESTS_SUPPORT_CONFIG_FILE_H
#define TESTS_SUPPORT_CONFIG_FILE_H
#include "configs/config.h"
#include "tests/support/tmpdir.h"

/* A data set that makes any config complete; two lines. */
#define DATA_LINES "data:\n- {kind: hypersim, root: /data}\n"

static inline const char *config_write(void **state, const char *name, const char *text) {
  const char *path = tmpdir_at(state, "%s", name);
  check_ok(io_write_file(path, text, strlen(text)));
  return path;
}

/* Loads text as c.yaml with up to three overrides. */
static inline cf_config *config_load(void **state, const char *text, const char *s0, const char *s1, const char *s2) {
  const char *const overrides[] = {s0, s1, s2};
  cf_config *c = NULL;
  size_t n = 0;

  while (n < 3 && overrides[n]) n++;
  check_ok(cf_load(config_write(state, "c.yaml", text), overrides, n, false, &c));
  return c;
}

/* Loading fails with E_CONFIG and exactly this message, in which the test's folder is left out. */
static inline void config_fails(void **state, const char *text, const char *override, const char *want) {
  cf_config *c = NULL;
  char got[8192], *out = got;
  const char *in, *dir = *state;
  const size_t n = strlen(dir);

  assert_int_equal(cf_load(config_write(state, "c.yaml", text), &override, override != NULL, false, &c), E_CONFIG);
  assert_null(c);
  for (in = err_text(); *in;)
    if (strncmp(in, dir, n) == 0 && in[n] == '/') in += n + 1;
    else *out++ = *in++;
  *out = 0;
  assert_string_equal(got, want);
}
#endif
