/* kernels/geglu.h: the gate of the transformer's feed-forward layer: y = u gelu(v), [u v] one row of the first linear
 * layer's output, gelu exact (by erf). */
#ifndef KERNELS_GEGLU_H
#define KERNELS_GEGLU_H
#include <stdint.h>

#include "base/err.h"
#include "kernels/add_stats.h"
#include "kernels/type.h"
#ifdef __cplusplus
extern "C" {
#endif
/* p [M,2F], y [M,F]. */
int kn_geglu_ref(int64_t M, int64_t F, const double *p, double *y);
/* dp [M,2F] out: gradient by p; dbias [2F] out, may be NULL: its column sums. */
int kn_geglu_bwd_ref(int64_t M, int64_t F, const double *p, const double *dy, double *dp, double *dbias);

/* Moves p and y once. */
int kn_geglu_cuda(void *stream, kn_type type, int64_t M, int64_t F, const void *p, void *y);
/* dp may be p. y [M,F] out, may be NULL: the forward's result again, for the next layer's weight gradient, so that it
 * need not be kept. part [kn_chunks(M),2F] f32 out, may be NULL: column sums of dp by chunk, for kn_colsum_cuda.
 * Moves p, dy, dp and y once. */
int kn_geglu_bwd_cuda(void *stream, kn_type type, int64_t M, int64_t F, const void *p, const void *dy, void *dp,
                      void *y, float *part);
/* out[c] += sum over s of part[s * ld + c], c < C, s < S, in order. */
int kn_colsum_cuda(void *stream, int64_t S, int64_t C, int64_t ld, const float *part, float *out);
#ifdef __cplusplus
}
#endif
#endif
