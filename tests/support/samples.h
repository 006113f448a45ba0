/* tests/support/samples.h: samples of a data set, in memory of their own.
 *   ds_opts o = sample_opts("hypersim", "%s/synth/hypersim", TEST_DATA);
 *   ds_source *s = sample_source(&o);
 *   ds_sample a = sample_read(s, 0, false);    ... sample_free(&a); ds_source_close(&s); */
#ifndef TESTS_SUPPORT_SAMPLES_H
#define TESTS_SUPPORT_SAMPLES_H
#include <stdio.h>

#include "base/io.h"
#include "datasets/source.h"
#include "tests/support/check.h"

/* Everything needed; the root is lent until the next call. */
static inline ds_opts sample_opts(const char *kind, const char *fmt, ...) ERR_PRINTF(2, 3);
static inline ds_opts sample_opts(const char *kind, const char *fmt, ...) {
  static char root[IO_PATH_MAX];
  ds_opts o;
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(root, sizeof root, fmt, ap);
  va_end(ap);
  ds_opts_default(&o);
  o.kind = kind;
  o.root = root;
  o.size_set = true; /* native */
  o.need = DS_NEED_METRIC | DS_NEED_NORMALS | DS_NEED_DEPTH;
  return o;
}

static inline ds_source *sample_source(const ds_opts *o) {
  ds_source *s = NULL;

  check_ok(ds_source_open(o, &s));
  return s;
}

/* Opening fails with this status and a message that contains `part`. */
#define check_source_fails(code, part, o)                                                                            \
  do {                                                                                                               \
    ds_source *never = NULL;                                                                                         \
    check_fails((code), (part), ds_source_open((o), &never));                                                        \
    assert_null(never);                                                                                              \
  } while (0)

/* Planes for H x W, filled with a pattern that shows what was not written. */
static inline ds_sample sample_room(int H, int W) {
  ds_sample a = {0};
  const size_t n = ds_sample_floats(H, W);
  float *floats = malloc(n * sizeof *floats);
  uint8_t *mask = malloc((size_t)H * (size_t)W);

  assert_true(floats && mask);
  for (size_t i = 0; i < n; i++) floats[i] = -12345.f;
  memset(mask, 77, (size_t)H * (size_t)W);
  ds_sample_place(&a, H, W, floats, mask);
  return a;
}

static inline void sample_free(ds_sample *a) {
  free(a->rgb);
  free(a->mask);
  *a = (ds_sample){0};
}

static inline ds_sample sample_read(ds_source *s, int64_t i, bool flip) {
  int H, W;
  ds_sample a;

  check_ok(ds_source_shape(s, i, &H, &W));
  a = sample_room(H, W);
  check_ok(ds_source_read(s, i, flip, &a));
  return a;
}

/* Reading item i fails with E_DATA and a message that contains `part`. */
#define check_read_fails(part, s, i)                                                                                 \
  do {                                                                                                               \
    int h_ = 8, w_ = 8, st_ = ds_source_shape((s), (i), &h_, &w_);                                                   \
    ds_sample a_ = sample_room(h_, w_);                                                                              \
    if (st_ == OK) st_ = ds_source_read((s), (i), false, &a_);                                                       \
    sample_free(&a_);                                                                                                \
    check_fails(E_DATA, (part), st_);                                                                                \
  } while (0)
#endif
