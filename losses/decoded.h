/* losses/decoded.h: an autograd operator from a kernel that has a loss of decoded images and its gradient. */
#ifndef LOSSES_DECODED_H
#define LOSSES_DECODED_H
#include "kernels/cuda.h"
#include "losses/loss.h"
#ifdef __cplusplus
extern "C" {
#endif
/* decoded [B,3,n], target [B,target_channels,n], mask [B,n], weight [B] -> sums [B], and, where grad is not NULL,
 * grad [B,3,n] of sum_b weight[b] sums[b]. As in kernels/affine_l1.h. */
typedef struct ls_kernel {
  const char *name;
  int64_t target_channels;
  int (*f32)(int64_t B, int64_t n, const float *decoded, const float *target, const uint8_t *mask, const float *weight,
             bool reference, float *sums, float *grad);
  int (*f64)(int64_t B, int64_t n, const double *decoded, const double *target, const uint8_t *mask,
             const double *weight, bool reference, double *sums, double *grad);
  int (*cuda)(const kn_cuda *kernels, void *stream, const kn_loss_args *a, bool reference);
} ls_kernel;

/* What ls_kind.apply promises. Computed in f64 for an f64 decoded, in f32 otherwise; total and sums are of that type.
 * The gradient is computed with the value and kept until backward; decoded itself is not. With b->cuda (f32 and bf16)
 * everything stays on the device, in decoded's own layout, and the host never waits.
 * Errors: E_SHAPE, and those of tchc. */
int ls_kernel_apply(const ls_kernel *k, const ls_batch *b, tchc_tensor **total, tchc_tensor **sums);
#ifdef __cplusplus
}
#endif
#endif
