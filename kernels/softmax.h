/* kernels/softmax.h: softmax over the rows of an attention matrix, in place, and its backward, in place: for the VAE's
 * 512-wide single head, where matrix products and this are faster than any fused attention. */
#ifndef KERNELS_SOFTMAX_H
#define KERNELS_SOFTMAX_H
#include <stdint.h>

#include "base/err.h"
#include "kernels/type.h"
#ifdef __cplusplus
extern "C" {
#endif
/* s [rows,n] in/out: softmax(scale * s) of each row. */
int kn_softmax_ref(int64_t rows, int64_t n, double scale, double *s);
/* p [rows,n] of the forward; dp [rows,n] in: gradient by p, out: gradient by s: scale p (dp - <p,dp>). */
int kn_softmax_bwd_ref(int64_t rows, int64_t n, double scale, const double *p, double *dp);
/* Each element is read and written once as long as a row fits the registers of a block: n up to 16384 for bf16, 8192
 * for f32, and n a multiple of 8 or 4; other rows are read three times, mostly from cache. */
int kn_softmax_cuda(void *stream, kn_type type, int64_t rows, int64_t n, float scale, void *s);
int kn_softmax_bwd_cuda(void *stream, kn_type type, int64_t rows, int64_t n, float scale, const void *p, void *dp);
#ifdef __cplusplus
}
#endif
#endif
