/* kernels/loss_args.h: arguments of the two losses on the device. */
#ifndef KERNELS_LOSS_ARGS_H
#define KERNELS_LOSS_ARGS_H
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kernels/type.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Element (b,c,i) of decoded and of grad lies at b * stride_b + c * stride_c + i * stride_p: NCHW is {3n, n, 1}, NHWC
 * {3n, 1, 3}. The results of an image do not depend on B. */
typedef struct kn_loss_args {
  int64_t B, n;                         /* images, pixels of each */
  kn_type type;                         /* of decoded and grad */
  int64_t stride_b, stride_c, stride_p; /* in elements */
  const void *decoded;                  /* [B,3,n] */
  void *grad;                           /* the same layout; NULL: values only */
  const float *gt;                      /* [B,n] metres or [B,3,n] unit vectors, row-major */
  const uint8_t *mask;                  /* [B,n] */
  const float *weight;                  /* [B] */
  float *total, *sums;                  /* [1] sum_b weight[b] sums[b]; [B] */
  void *workspace;                      /* kn_loss_workspace(B, n) bytes, aligned to 8 */
} kn_loss_args;
size_t kn_loss_workspace(int64_t B, int64_t n);
/* Stretches of pixels that an image is reduced in; of n alone. */
int kn_loss_chunks(int64_t n);
#ifdef __cplusplus
}
#endif
#endif
