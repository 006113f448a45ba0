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

/* As this side was built. */
kn_cuda_layout kn_cuda_layout_here(void);

/* The library's one exported function. layout: the caller's; err_set: the caller's, for messages to arrive in its own
 * thread-local text. NULL when the layouts differ. */
typedef int (*kn_err_set)(int code, const char *file, int line, const char *fmt, ...);
typedef const kn_cuda *(*kn_cuda_entry_fn)(const kn_cuda_layout *layout, kn_err_set err_set);
#define KN_CUDA_ENTRY "kn_cuda_entry_2" /* numbered with the function's own parameters */
#ifdef __cplusplus
}
#endif
#endif
