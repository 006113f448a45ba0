/* kernels/cuda.h: the CUDA kernels at run time. They are a shared library of their own, libe2eft_kernels.so, opened when
 * there is a device, so that one program serves machines with and without CUDA. */
#ifndef KERNELS_CUDA_H
#define KERNELS_CUDA_H
#include "kernels/adamw.h"
#include "kernels/add_stats.h"
#include "kernels/affine_l1.h"
#include "kernels/angular.h"
#include "kernels/geglu.h"
#include "kernels/group_norm.h"
#include "kernels/layer_norm.h"
#include "kernels/softmax.h"
#ifdef __cplusplus
extern "C" {
#endif
/* One entry for each *_cuda function of the headers above. */
typedef struct kn_cuda {
  int (*affine_l1)(void *stream, const kn_loss_args *a);
  int (*angular)(void *stream, const kn_loss_args *a, int reference);
  int (*sumsq_f32)(void *stream, int64_t n, const float *g, const float *also, int64_t n_also, void *workspace,
                   kn_norm *out);
  int (*adamw_f32)(void *stream, const kn_adamw_step *s, int64_t n, float *p, const float *g, const kn_norm *norm,
                   float *m, float *v, float *ema, uint16_t *bf16);
  int (*add_stats)(void *stream, const kn_add_stats_args *a);
  int (*group_norm_coef)(void *stream, const kn_group_norm_coef_args *a);
  int (*group_norm_apply)(void *stream, const kn_group_norm_args *a);
  int (*group_norm_reduce)(void *stream, const kn_group_norm_args *a);
  int (*group_norm_back)(void *stream, const kn_group_norm_back_args *a);
  int (*group_norm_params)(void *stream, int64_t N, int64_t C, const float *red, float *dgamma, float *dbeta,
                           float *dbias);
  int (*group_norm_dx)(void *stream, const kn_group_norm_args *a);
  int (*softmax)(void *stream, kn_type type, int64_t rows, int64_t n, float scale, void *s);
  int (*softmax_bwd)(void *stream, kn_type type, int64_t rows, int64_t n, float scale, const void *p, void *dp);
  int (*geglu)(void *stream, kn_type type, int64_t M, int64_t F, const void *p, void *y);
  int (*geglu_bwd)(void *stream, kn_type type, int64_t M, int64_t F, const void *p, const void *dy, void *dp, void *y,
                   float *part);
  int (*colsum)(void *stream, int64_t S, int64_t C, int64_t ld, const float *part, float *out);
  int (*layer_norm)(void *stream, const kn_layer_norm_args *a);
  int (*layer_norm_bwd)(void *stream, const kn_layer_norm_bwd_args *a);
} kn_cuda;

/* Opens dir/libe2eft_kernels.so; dir NULL: beside the running program, in ../lib of it, or one folder above. Where
 * libcudart is not on the loader's path, libtorch_cuda has to be loaded before. *out lives as long as the process.
 * Errors: E_DEVICE with the loader's reason. */
int kn_cuda_open(const char *dir, const kn_cuda **out);
#ifdef __cplusplus
}
#endif
#endif
