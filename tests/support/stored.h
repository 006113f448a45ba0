/* tests/support/stored.h: stored groups (kind `batches`) with some of their numbers changed. */
#ifndef TESTS_SUPPORT_STORED_H
#define TESTS_SUPPORT_STORED_H
#include "base/safetensors.h"
#include "tests/support/check.h"

enum { STORED_TENSORS = 8 };

/* Rewrites `path` with every element of tensor `name` set to `value`; U8 tensors to (unsigned char)value. */
static inline void stored_fill(const char *path, const char *name, float value) {
  st_tensor t[STORED_TENSORS];
  char *data[STORED_TENSORS];
  st_file *f = NULL;

  check_ok(st_open(path, &f));
  const size_t n = st_count(f);
  assert_true(n <= STORED_TENSORS);
  for (size_t i = 0; i < n; i++) {
    t[i] = *st_at(f, i);
    assert_non_null(data[i] = malloc(t[i].nbytes + 1));
    memcpy(data[i], t[i].data, t[i].nbytes);
    t[i].data = data[i];
    if (strcmp(t[i].name, name)) continue;
    if (t[i].dtype == ST_U8) memset(data[i], (unsigned char)value, t[i].nbytes);
    for (size_t j = 0; t[i].dtype == ST_F32 && j < t[i].nbytes; j += sizeof value) memcpy(data[i] + j, &value, sizeof value);
  }
  check_ok(st_write(path, t, n, NULL, 0));
  for (size_t i = 0; i < n; i++) free(data[i]);
  st_close(&f);
}
#endif
