/* tests/support/pixels.h: random images, targets and masks for the tests of the losses. */
#ifndef TESTS_SUPPORT_PIXELS_H
#define TESTS_SUPPORT_PIXELS_H
#include <math.h>

#include "base/rng.h"
#include "tests/support/check.h"

/* n numbers uniform in [lo,hi), from malloc. */
static inline double *random_f64(uint64_t seed, size_t n, double lo, double hi) {
  const rng_key k = rng_stream(seed, "test", 0, 0);
  double *out = malloc(n * sizeof *out + 1);

  assert_non_null(out);
  for (size_t i = 0; i < n; i++) out[i] = lo + (hi - lo) * rng_uniform(&k, i);
  return out;
}

/* n bytes, 1 with probability p. */
static inline uint8_t *random_mask(uint64_t seed, size_t n, double p) {
  const rng_key k = rng_stream(seed, "mask", 0, 0);
  uint8_t *out = malloc(n + 1);

  assert_non_null(out);
  for (size_t i = 0; i < n; i++) out[i] = rng_uniform(&k, i) < p;
  return out;
}

/* Unit vectors [B,3,n]. */
static inline double *random_normals(uint64_t seed, int64_t B, int64_t n) {
  double *out = random_f64(seed, (size_t)(B * 3 * n), -1, 1);

  for (int64_t b = 0; b < B; b++) {
    for (int64_t i = 0; i < n; i++) {
      double *v = out + b * 3 * n + i;
      const double length = sqrt(v[0] * v[0] + v[n] * v[n] + v[2 * n] * v[2 * n]);
      for (int c = 0; c < 3; c++) v[c * n] /= length;
    }
  }
  return out;
}

/* Copies from malloc. */
static inline float *narrowed(const double *x, size_t n) {
  float *out = malloc(n * sizeof *out + 1);

  assert_non_null(out);
  for (size_t i = 0; i < n; i++) out[i] = (float)x[i];
  return out;
}

static inline double *widened(const float *x, size_t n) {
  double *out = malloc(n * sizeof *out + 1);

  assert_non_null(out);
  for (size_t i = 0; i < n; i++) out[i] = x[i];
  return out;
}
#endif
