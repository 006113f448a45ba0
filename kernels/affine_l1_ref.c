#include "kernels/affine_l1.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

/* Sums over an image's valid pixels, of predictions p less `base`. */
typedef struct moments {
  double base, n, p, pp, g, pg;
} moments;

/* The fit s (p - base) + t; no fit (s = t = 0) unless det > 0. */
typedef struct affine {
  moments m;
  double det, s, t;
} affine;

static double sign_of(double r) { return (r > 0) - (r < 0); }

#define REAL float
#define REAL_MAX FLT_MAX
#define NAME(x) x##_f32
#include "kernels/affine_l1_ref.inc"
#undef REAL
#undef REAL_MAX
#undef NAME

#define REAL double
#define REAL_MAX DBL_MAX
#define NAME(x) x##_f64
#include "kernels/affine_l1_ref.inc"

int kn_affine_l1_f64_ref(int64_t B, int64_t n, const double *decoded, const double *gt, const uint8_t *mask,
                         const double *weight, double *sums, double *grad, double *fit) {
  return batch_f64(B, 3, n, decoded, gt, mask, weight, sums, grad, fit);
}

int kn_affine_l1_f32_ref(int64_t B, int64_t n, const float *decoded, const float *gt, const uint8_t *mask,
                         const float *weight, float *sums, float *grad, float *fit) {
  return batch_f32(B, 3, n, decoded, gt, mask, weight, sums, grad, fit);
}

int kn_affine_l1_pred_f64_ref(int64_t B, int64_t n, const double *pred, const double *gt, const uint8_t *mask,
                              const double *weight, double *sums, double *grad, double *fit) {
  return batch_f64(B, 1, n, pred, gt, mask, weight, sums, grad, fit);
}

int kn_affine_l1_pred_f32_ref(int64_t B, int64_t n, const float *pred, const float *gt, const uint8_t *mask,
                              const float *weight, float *sums, float *grad, float *fit) {
  return batch_f32(B, 1, n, pred, gt, mask, weight, sums, grad, fit);
}
