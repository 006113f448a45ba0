/* kernels/layer_norm.h: the transformer's residual sum and the LayerNorm that follows it, in one pass; and backward,
 * with the gradient that comes along the residual. */
#ifndef KERNELS_LAYER_NORM_H
#define KERNELS_LAYER_NORM_H
#include <stdint.h>

#include "base/err.h"
#include "kernels/add_stats.h"
#include "kernels/type.h"
#ifdef __cplusplus
extern "C" {
#endif
/* sum = x + h + bias (h [M,C] and bias [C] may be NULL), y = (sum - mean) rstd gamma + beta over each row; stats [M,2]:
 * mean, rstd = 1/sqrt(var + eps). x, sum, y [M,C]; gamma, beta [C]. */
int kn_layer_norm_ref(int64_t M, int64_t C, double eps, const double *x, const double *h, const double *bias,
                      const double *gamma, const double *beta, double *sum, double *y, double *stats);
/* x: the forward's sum. dx = dres + the norm's gradient by x; dres [M,C] may be NULL. cols [3,C] out: column sums of
 * dy xhat (dgamma), of dy (dbeta), of dx (the gradient of bias). */
int kn_layer_norm_bwd_ref(int64_t M, int64_t C, const double *x, const double *stats, const double *gamma,
                          const double *dy, const double *dres, double *dx, double *cols);

typedef struct kn_layer_norm_args {
  kn_type type;                      /* of x, h, sum, y */
  int64_t M, C;
  double eps;
  const void *x, *h;                 /* h may be NULL */
  const float *bias, *gamma, *beta;  /* bias may be NULL */
  void *sum, *y;                     /* sum: not written when h and bias are NULL; may be x or h */
  float *stats;
} kn_layer_norm_args;
/* Moves x, h, sum and y once for C up to 2560, a multiple of 8; other rows are read again, from cache. */
int kn_layer_norm_cuda(void *stream, const kn_layer_norm_args *a);

typedef struct kn_layer_norm_bwd_args {
  kn_type type;                      /* of x, dy, dres, dx */
  int64_t M, C;                      /* C at most 2048, or 1024 when it is no multiple of 8 */
  const void *x, *dy, *dres;         /* dres may be NULL */
  const float *stats, *gamma;
  void *dx;                          /* may be dy or dres */
  float *part;                       /* [kn_layer_norm_parts(M),3,C], for kn_colsum_cuda; NULL: no column sums */
} kn_layer_norm_bwd_args;
/* Blocks that share the rows; of M alone. */
int64_t kn_layer_norm_parts(int64_t M);
/* Moves x, dy, dres and dx once. */
int kn_layer_norm_bwd_cuda(void *stream, const kn_layer_norm_bwd_args *a);
#ifdef __cplusplus
}
#endif
#endif
