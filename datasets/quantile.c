#include "datasets/quantile.h"

#include <math.h>
#include <stdint.h>

/* A fixed sequence: a symmetric scene (near, far, near) would make pivots from fixed places quadratic. */
static size_t draw(uint64_t *state, size_t lo, size_t hi) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return lo + (size_t)((*state >> 33) % (hi - lo + 1));
}

/* Quickselect: the median of three drawn elements as pivot, Hoare's partition; equal elements are exchanged, so that
 * constant images stay linear. One text for both types. */
#define DEFINE_SELECT(name, type)                                                                                    \
  static void name##_swap(type *v, size_t i, size_t j) {                                                             \
    const type t = v[i];                                                                                             \
    v[i] = v[j];                                                                                                     \
    v[j] = t;                                                                                                        \
  }                                                                                                                  \
  static size_t name##_median(const type *v, size_t a, size_t b, size_t c) {                                         \
    return v[a] < v[b] ? (v[b] < v[c] ? b : v[a] < v[c] ? c : a) : (v[a] < v[c] ? a : v[b] < v[c] ? c : b);          \
  }                                                                                                                  \
  void name(type *v, size_t n, size_t k) {                                                                           \
    uint64_t state = n;                                                                                              \
    for (size_t lo = 0, hi = n - 1; lo < hi;) {                                                                      \
      size_t i = lo, j = hi;                                                                                         \
      const size_t a = draw(&state, lo, hi), b = draw(&state, lo, hi), c = draw(&state, lo, hi);                     \
      name##_swap(v, lo, name##_median(v, a, b, c));                                                                 \
      const type pivot = v[lo];                                                                                      \
      for (;;) {                                                                                                     \
        while (v[i] < pivot) i++;                                                                                    \
        while (pivot < v[j]) j--;                                                                                    \
        if (i >= j) break;                                                                                           \
        name##_swap(v, i++, j--);                                                                                    \
      }                                                                                                              \
      if (k <= j) hi = j; /* v[lo..j] <= pivot <= v[j+1..hi] */                                                      \
      else lo = j + 1;                                                                                               \
    }                                                                                                                \
  }

DEFINE_SELECT(ds_select_f32, float)
DEFINE_SELECT(ds_select_f64, double)

static float lowest(const float *v, size_t n) {
  float m = v[0];

  for (size_t i = 1; i < n; i++)
    if (v[i] < m) m = v[i];
  return m;
}

/* v [n] with everything before `from` known to be no larger than v[from]. */
static float quantile_f32(float *v, size_t n, size_t from, float q, size_t *below) {
  const float rank = q * (float)(n - 1);
  const size_t k = (size_t)rank < n - 1 ? (size_t)rank : n - 1;
  const float t = rank - (float)k;

  ds_select_f32(v + from, n - from, k - from);
  *below = k;
  if (!(t > 0) || k + 1 >= n) return v[k];
  const float lo = v[k], hi = lowest(v + k + 1, n - k - 1);
  return t < 0.5f ? fmaf(t, hi - lo, lo) : fmaf(-(hi - lo), 1 - t, hi);
}

void ds_quantiles_02_98(float *v, size_t n, float *q02, float *q98) {
  size_t k;

  *q02 = quantile_f32(v, n, 0, 0.02f, &k);
  *q98 = quantile_f32(v, n, k, 0.98f, &k);
}

double ds_percentile(double *v, size_t n, double q) {
  const double rank = q * (double)(n - 1);
  const size_t k = (size_t)rank < n - 1 ? (size_t)rank : n - 1;
  const double t = rank - (double)k;
  double hi;

  ds_select_f64(v, n, k);
  if (k + 1 >= n) return v[k];
  hi = v[k + 1];
  for (size_t i = k + 2; i < n; i++)
    if (v[i] < hi) hi = v[i];
  return t < 0.5 ? v[k] + (hi - v[k]) * t : hi - (hi - v[k]) * (1 - t);
}
