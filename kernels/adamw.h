/* kernels/adamw.h: the optimizer over flat buffers: global norm, and AdamW with clipping, EMA and the refresh of the
 * bf16 copy in one pass. Formula: torch.optim.AdamW (decoupled) or Adam (L2 in the gradient). */
#ifndef KERNELS_ADAMW_H
#define KERNELS_ADAMW_H
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct kn_adamw_step {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;      /* AdamW; false: Adam with L2 */
  int64_t t;           /* number of this update, from 1 */
  double clip;         /* gradients are scaled by min(1, clip / (norm + 1e-6)); 0 = off */
  double ema_decay;    /* of this step, when ema is there */
} kn_adamw_step;
/* sum of g[i]^2, in f64, in fixed blocks: the same bits for any number of threads. *finite 0 when one g is not. Host. */
int kn_sumsq_f32_ref(const float *g, int64_t n, double *sum, int *finite);
/* p, m, v [n] f32 in/out; g [n] f32; ema [n] f32 in/out and bf16 [n] out may be NULL. norm: global norm of g. Host. */
int kn_adamw_f32_ref(const kn_adamw_step *s, int64_t n, float *p, const float *g, double norm, float *m, float *v,
                     float *ema, uint16_t *bf16);
#ifdef __cplusplus
}
#endif
#endif
