#include "kernels/angular.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <tgmath.h>

static const double NORM_EPS = 1e-5;     /* of the source's x / (|x| + eps) */
static const double NEAR_ONE = 1 - 1e-6; /* the gradient is that of at most this |dot| */

#define REAL float
#define NAME(x) x##_f32
#include "kernels/angular_ref.inc"
#undef REAL
#undef NAME

#define REAL double
#define NAME(x) x##_f64
#include "kernels/angular_ref.inc"

int kn_angular_f64_ref(int64_t B, int64_t n, const double *decoded, const double *gt, const uint8_t *mask,
                       const double *weight, int reference, double *sums, double *grad) {
  return batch_f64(B, true, n, decoded, gt, mask, weight, reference != 0, sums, grad);
}

int kn_angular_f32_ref(int64_t B, int64_t n, const float *decoded, const float *gt, const uint8_t *mask,
                       const float *weight, int reference, float *sums, float *grad) {
  return batch_f32(B, true, n, decoded, gt, mask, weight, reference != 0, sums, grad);
}

int kn_angular_pred_f64_ref(int64_t B, int64_t n, const double *pred, const double *gt, const uint8_t *mask,
                            const double *weight, int reference, double *sums, double *grad) {
  return batch_f64(B, false, n, pred, gt, mask, weight, reference != 0, sums, grad);
}

int kn_angular_pred_f32_ref(int64_t B, int64_t n, const float *pred, const float *gt, const uint8_t *mask,
                            const float *weight, int reference, float *sums, float *grad) {
  return batch_f32(B, false, n, pred, gt, mask, weight, reference != 0, sums, grad);
}
