/* kernels/adamw.h: the optimizer over flat buffers: global norm, and AdamW with clipping, EMA and the refresh of the
 * bf16 copy in one pass. Formula: torch.optim.AdamW (decoupled) or Adam (L2 in the gradient). */
#ifndef KERNELS_ADAMW_H
#define KERNELS_ADAMW_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kernels/type.h"
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
/* The gradient's norm as it stays on the device. */
typedef struct kn_norm {
  double sumsq;
  float norm;
  int32_t finite; /* 0: a gradient, or one of `also`, is not: kn_adamw_f32_cuda then changes nothing */
} kn_norm;

/* The factors that a step's update multiplies with, rounded to f32 as torch rounds them. */
typedef struct kn_adamw_factors {
  float clip, decay, l2, lerp, beta2, square, root, eps, step, ema;
} kn_adamw_factors;
/* `clip` is s->clip, 0 where clipping is off: what it makes of a gradient depends on the norm. */
kn_adamw_factors kn_adamw_factors_of(const kn_adamw_step *s);

/* Bytes of kn_sumsq_f32_cuda's workspace. */
size_t kn_sumsq_workspace(void);
/* Norm of g [n] into *out; also [n_also] (the step's losses, say; may be NULL) must be finite as well. All on the
 * device: the host never waits for the norm. */
int kn_sumsq_f32_cuda(void *stream, int64_t n, const float *g, const float *also, int64_t n_also, void *workspace,
                      kn_norm *out);
/* kn_adamw_f32_ref with the norm of kn_sumsq_f32_cuda: one pass, 28 bytes a parameter, 8 more with ema, 2 with bf16. */
int kn_adamw_f32_cuda(void *stream, const kn_adamw_step *s, int64_t n, float *p, const float *g, const kn_norm *norm,
                      float *m, float *v, float *ema, uint16_t *bf16);
#ifdef __cplusplus
}
#endif
#endif
