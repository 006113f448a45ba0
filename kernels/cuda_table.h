/* kernels/cuda_table.h: what the program and libe2eft_kernels.so agree on. */
#ifndef KERNELS_CUDA_TABLE_H
#define KERNELS_CUDA_TABLE_H
#include "kernels/cuda.h"
#ifdef __cplusplus
extern "C" {
#endif
extern const kn_cuda kn_cuda_kernels;

/* The library's one exported function. size: the caller's sizeof(kn_cuda); err_set: the caller's, for messages to
 * arrive in its own thread-local text. NULL when the sizes differ. */
typedef int (*kn_err_set)(int code, const char *file, int line, const char *fmt, ...);
typedef const kn_cuda *(*kn_cuda_entry_fn)(size_t size, kn_err_set err_set);
#define KN_CUDA_ENTRY "kn_cuda_entry"
#ifdef __cplusplus
}
#endif
#endif
