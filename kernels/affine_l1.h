/* kernels/affine_l1.h: depth loss on the decoded image, fused with its decoding: mean of the 3 channels, clamp to
 * [-1,1], per-image least-squares scale and shift against metres, L1. Raw pointers, no tensor type.
 * Source: diffusion-e2e-ft training/train.py (post-processing), training/util/loss.py ScaleAndShiftInvariantLoss. */
#ifndef KERNELS_AFFINE_L1_H
#define KERNELS_AFFINE_L1_H
#include <stdint.h>

#include "base/err.h"
#include "kernels/loss_args.h"
#ifdef __cplusplus
extern "C" {
#endif
/* decoded [B,3,n], gt [B,n] metres, mask [B,n] 1 = valid, weight [B].
 * sums [B] out: sum over valid pixels of |s p + t - gt|. grad [B,3,n] out, may be NULL: d (sum_b weight[b] sums[b]) /
 * d decoded, through clamp (which passes it at the bounds), s and t; 0 where mask is 0. fit [B,2] out, may be NULL: s
 * and t. det > 0 or s = t = 0, as the source. B, n >= 0. Errors: E_SHAPE. Host pointers.
 *
 * What is not as the source: sums are f64 and taken about the first valid prediction, so that det is exactly 0 for a
 * constant prediction (the source's is rounding noise of either sign) and s, t of an image have f32's full accuracy.
 * Predictions so large that the source's f32 products overflow go its way, to its inf and NaN; a NaN or inf at a
 * masked-out pixel is not seen. */
int kn_affine_l1_f64_ref(int64_t B, int64_t n, const double *decoded, const double *gt, const uint8_t *mask,
                         const double *weight, double *sums, double *grad, double *fit);
/* The same in f32, with f64 sums: what training on the CPU uses. */
int kn_affine_l1_f32_ref(int64_t B, int64_t n, const float *decoded, const float *gt, const uint8_t *mask,
                         const float *weight, float *sums, float *grad, float *fit);
/* The loss alone, on pred [B,n] as it is, without mean and clamp; grad [B,n]. */
int kn_affine_l1_pred_f64_ref(int64_t B, int64_t n, const double *pred, const double *gt, const uint8_t *mask,
                              const double *weight, double *sums, double *grad, double *fit);
int kn_affine_l1_pred_f32_ref(int64_t B, int64_t n, const float *pred, const float *gt, const uint8_t *mask,
                              const float *weight, float *sums, float *grad, float *fit);
/* sums, total and grad of decoded, as kn_affine_l1_f32_ref. Three passes over the image. */
int kn_affine_l1_cuda(void *stream, const kn_loss_args *a);
#ifdef __cplusplus
}
#endif
#endif
