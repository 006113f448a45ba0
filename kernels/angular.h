/* kernels/angular.h: normals loss on the decoded image, fused with its decoding: x / (|x| + 1e-5), clamp to [-1,1],
 * angle to the unit target in radians. Source: diffusion-e2e-ft training/train.py, training/util/loss.py AngularLoss. */
#ifndef KERNELS_ANGULAR_H
#define KERNELS_ANGULAR_H
#include <stdint.h>

#include "base/err.h"
#include "kernels/loss_args.h"
#ifdef __cplusplus
extern "C" {
#endif
/* decoded, gt [B,3,n], mask [B,n], weight [B]. sums [B] out: sum over valid pixels of acos(clamp(<p,gt>,-1,1)).
 * grad [B,3,n] out, may be NULL: as in affine_l1.h; |x|'s gradient at x = 0 is 0. The value is the source's everywhere,
 * and the gradient where |dot| < 1 - 1e-6; from there to +-1 the gradient is that of |dot| = 1 - 1e-6, finite; beyond
 * (by rounding) it is 0, as the source's. reference != 0 restores the source's infinities and NaN at |dot| = 1, also at
 * masked-out pixels (0 times inf). Errors: E_SHAPE. Host pointers. */
int kn_angular_f64_ref(int64_t B, int64_t n, const double *decoded, const double *gt, const uint8_t *mask,
                       const double *weight, int reference, double *sums, double *grad);
int kn_angular_f32_ref(int64_t B, int64_t n, const float *decoded, const float *gt, const uint8_t *mask,
                       const float *weight, int reference, float *sums, float *grad);
/* The loss alone, on pred [B,3,n] as it is. */
int kn_angular_pred_f64_ref(int64_t B, int64_t n, const double *pred, const double *gt, const uint8_t *mask,
                            const double *weight, int reference, double *sums, double *grad);
int kn_angular_pred_f32_ref(int64_t B, int64_t n, const float *pred, const float *gt, const uint8_t *mask,
                            const float *weight, int reference, float *sums, float *grad);
/* sums, total and grad of decoded, as kn_angular_f32_ref. One pass over the image. */
int kn_angular_cuda(void *stream, const kn_loss_args *a, int reference);
#ifdef __cplusplus
}
#endif
#endif
