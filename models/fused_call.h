/* models/fused_call.h: what the files that implement fused_nodes.h share. */
#ifndef MODELS_FUSED_CALL_H
#define MODELS_FUSED_CALL_H
#include "models/fused_nodes.h"
#ifdef __cplusplus
extern "C" {
#endif
kn_type md_kn_type(const tchc_tensor *t);
/* The current stream of t's device; NULL on the CPU. */
int md_stream_of(const tchc_tensor *t, void **stream);
/* t as [N,HW,C]: an image channels last, or rows. */
typedef struct md_extent { int64_t N, HW, C; } md_extent;
md_extent md_extent_of(const tchc_tensor *t);
/* t in the layout that the kernels take: images channels last, rows row-major. Differentiable. */
int md_laid_out(const tchc_tensor *t, tchc_tensor **out);
/* An uninitialised tensor of t's shape, type and layout. */
int md_empty_like(const tchc_tensor *t, tchc_tensor **out);
#ifdef __cplusplus
}
#endif
#endif
