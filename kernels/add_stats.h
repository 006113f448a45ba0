/* kernels/add_stats.h: what lies between two convolutions: residual + bias, and the statistics that the next GroupNorm
 * needs, while the sum is in registers. */
#ifndef KERNELS_ADD_STATS_H
#define KERNELS_ADD_STATS_H
#include <stdint.h>

#include "base/err.h"
#include "kernels/type.h"
#ifdef __cplusplus
extern "C" {
#endif
/* An image's rows (its HW pixels) are reduced in chunks of this many; of HW alone. */
int64_t kn_chunk_rows(int64_t HW);
/* Number of chunks S: ceil(HW / kn_chunk_rows(HW)). */
int64_t kn_chunks(int64_t HW);

/* Partial statistics of x [N,HW,C]: part [N,S,2,C] f32; [.,s,0,c] is the sum of channel c over chunk s, [.,s,1,c] the
 * sum of squares about the chunk's own mean, so that a large mean costs no digits. */
int kn_channel_stats_ref(int64_t N, int64_t HW, int64_t C, const double *x, double *part);
/* out = h + x + bias[c]; x [N,HW,C] and bias [C] may be NULL. */
int kn_add_ref(int64_t N, int64_t HW, int64_t C, const double *h, const double *x, const double *bias, double *out);

typedef struct kn_add_stats_args {
  kn_type type;             /* of h, x, out */
  int64_t N, HW, C;
  const void *h, *x;        /* [N,HW,C]; x may be NULL */
  const float *bias;        /* [C]; may be NULL */
  void *out;                /* [N,HW,C], may be h or x; NULL: only the statistics of the sum */
  float *part;              /* [N,S,2,C] of out as rounded to type; NULL: only the sum */
} kn_add_stats_args;
/* Moves h, x and out once. */
int kn_add_stats_cuda(void *stream, const kn_add_stats_args *a);
#ifdef __cplusplus
}
#endif
#endif
