/* kernels/host.h: the table of kernels/cuda.h for a machine without a GPU: each entry is a C reference behind the same
 * arguments, on host memory. It makes the fused network one that every machine can run and test; it is slow. */
#ifndef KERNELS_HOST_H
#define KERNELS_HOST_H
#include "kernels/cuda.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Streams are ignored; results are there on return. Errors also E_NOMEM: elements go through f64 copies. */
const kn_cuda *kn_host(void);
#ifdef __cplusplus
}
#endif
#endif
