/* kernels/group_norm.h: GroupNorm (+ SiLU) from statistics that were gathered with its input, and its backward.
 *
 * Forward: kn_add_stats (or kn_channel_stats) -> part; coef: part -> y = a x + b; apply.
 * Backward: reduce -> part; coef: part -> dx = a dz + B + D x; apply. SiLU is recomputed, xhat never stored.
 * The input may be a channel concatenation that exists nowhere: coef takes the statistics of up to two sources, and
 * reduce and apply are called once for each, with the columns [c0, c0 + C) of the norm's channels. */
#ifndef KERNELS_GROUP_NORM_H
#define KERNELS_GROUP_NORM_H
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "kernels/add_stats.h"
#include "kernels/type.h"
#ifdef __cplusplus
extern "C" {
#endif
/* ---- statistics -> coefficients ----
 * What is normalised is x + offset[n,c], a sum that exists nowhere; offset [N,C] may be NULL, none. part [N,S,2,C] of x ->
 * coef [N,2,C]: y = a x + b, a = rstd gamma, b = beta - (mean - offset) a; stats [N,groups,2]: mean and
 * rstd = 1/sqrt(var + eps) of the sum; sum [N,C], may be NULL: of x over HW. gamma, beta [C]. */
int kn_group_norm_coef_ref(int64_t N, int64_t HW, int64_t C, int groups, double eps, const double *part,
                           const double *gamma, const double *beta, const double *offset, double *coef, double *stats,
                           double *sum);
typedef struct kn_group_norm_coef_args {
  int64_t N, HW, C;        /* C: of all sources */
  int groups;
  double eps;
  const float *part[2];    /* [N,S,2,C1], [N,S,2,C - C1]; the second is not read when C1 = C */
  int64_t C1;
  const float *gamma, *beta;
  const float *bias, *shift; /* [C], [N,C]: their sum is the offset; may be NULL */
  float *offset;           /* [N,C], out; NULL: none */
  float *coef, *stats, *sum;
} kn_group_norm_coef_args;
int kn_group_norm_coef_cuda(void *stream, const kn_group_norm_coef_args *a);

/* ---- apply: y = f(a x + b), f: SiLU or nothing ---- */
int kn_group_norm_apply_ref(int64_t N, int64_t HW, int64_t C, bool silu, const double *x, const double *coef, double *y);
/* One source: columns c0.. of the norm's. ld: row length of what spans all channels (y; dy in backward). */
typedef struct kn_group_norm_args {
  kn_type type;              /* of x, y, dy, dx and residuals */
  int64_t N, HW, C;          /* this source's channels */
  int64_t c0, norm_C;        /* its first column among the norm's norm_C channels */
  int groups;
  bool silu;
  const void *x;             /* [N,HW,C] */
  const float *coef, *stats; /* [N,2,norm_C], [N,groups,2] */
  const float *offset;       /* backward reduce: [N,norm_C], may be NULL */
  void *y;                   /* apply: [N,HW,ld], columns c0.. are written */
  const void *dy;            /* backward: [N,HW,ld], columns c0.. are read */
  int64_t ld;                /* >= norm_C */
  float *part;               /* backward reduce, out: [N,S,2,norm_C], columns c0.. */
  const float *back;         /* backward apply: [N,2,norm_C] */
  const void *residual[2];   /* backward apply: [N,HW,C] added to dx; may be NULL */
  void *dx;                  /* backward apply, out: [N,HW,C]; may be dy when ld = C, or a residual */
} kn_group_norm_args;
/* Moves x and y once. */
int kn_group_norm_apply_cuda(void *stream, const kn_group_norm_args *a);

/* ---- backward, first pass: part [N,S,2,C]: sums over each chunk of dz and of dz xhat, dz = dy f'(a x + b) ---- */
int kn_group_norm_reduce_ref(int64_t N, int64_t HW, int64_t C, int groups, bool silu, const double *x, const double *dy,
                             const double *coef, const double *stats, const double *offset, double *part);
/* Moves x and dy once. */
int kn_group_norm_reduce_cuda(void *stream, const kn_group_norm_args *a);

/* ---- backward, in between: part -> back [N,2,C]: B, D of dx = a dz + B + D x; and per image, red [N,3,C], may be
 * NULL: sums over HW of dz xhat, of dz, of dx (which needs `sum`; the third is left alone where that is NULL). */
int kn_group_norm_back_ref(int64_t N, int64_t HW, int64_t C, int groups, const double *part, const double *gamma,
                           const double *stats, const double *offset, const double *sum, double *back, double *red);
typedef struct kn_group_norm_back_args {
  int64_t N, HW, C;
  int groups;
  const float *part, *gamma, *stats, *offset, *sum; /* offset, sum: may be NULL */
  float *back, *red;
} kn_group_norm_back_args;
int kn_group_norm_back_cuda(void *stream, const kn_group_norm_back_args *a);
/* red [N,3,C] summed over images in order and added to the flat gradients: dgamma, dbeta, dbias [C]; each may be NULL. */
int kn_group_norm_params_cuda(void *stream, int64_t N, int64_t C, const float *red, float *dgamma, float *dbeta,
                              float *dbias);

/* ---- backward, second pass: dx = a dz + B + D x + residuals ---- */
int kn_group_norm_dx_ref(int64_t N, int64_t HW, int64_t C, bool silu, const double *x, const double *dy,
                         const double *coef, const double *back, double *dx);
/* Moves x, dy, dx and the residuals once. */
int kn_group_norm_dx_cuda(void *stream, const kn_group_norm_args *a);
#ifdef __cplusplus
}
#endif
#endif
