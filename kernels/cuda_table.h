/* kernels/cuda_table.h: what the program and libe2eft_kernels.so agree on. */
#ifndef KERNELS_CUDA_TABLE_H
#define KERNELS_CUDA_TABLE_H
#include "kernels/cuda.h"
#ifdef __cplusplus
extern "C" {
#endif
extern const kn_cuda kn_cuda_kernels;

/* What is passed between them, by size: a library of another build is refused, not called with other structs. version is
 * raised with a change that leaves all sizes as they are. */
typedef struct kn_cuda_layout {
  size_t version, table, loss, adamw, norm, add_stats, group_norm_coef, group_norm, group_norm_back, layer_norm, layer_norm_bwd;
} kn_cuda_layout;

static inline kn_cuda_layout kn_cuda_layout_here(void) {
  return (kn_cuda_layout){.version = 2,
                          .table = sizeof(kn_cuda),
                          .loss = sizeof(kn_loss_args),
                          .adamw = sizeof(kn_adamw_step),
                          .norm = sizeof(kn_norm),
                          .add_stats = sizeof(kn_add_stats_args),
                          .group_norm_coef = sizeof(kn_group_norm_coef_args),
                          .group_norm = sizeof(kn_group_norm_args),
                          .group_norm_back = sizeof(kn_group_norm_back_args),
                          .layer_norm = sizeof(kn_layer_norm_args),
                          .layer_norm_bwd = sizeof(kn_layer_norm_bwd_args)};
}

/* The library's one exported function. layout: the caller's; err_set: the caller's, for messages to arrive in its own
 * thread-local text. NULL when the layouts differ. */
typedef int (*kn_err_set)(int code, const char *file, int line, const char *fmt, ...);
typedef const kn_cuda *(*kn_cuda_entry_fn)(const kn_cuda_layout *layout, kn_err_set err_set);
#define KN_CUDA_ENTRY "kn_cuda_entry_2" /* numbered with the function's own parameters */
#ifdef __cplusplus
}
#endif
#endif
