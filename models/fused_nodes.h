/* models/fused_nodes.h: the operators between the large ones (convolutions, products, attention), each one node of the
 * graph on the kernels of kernels/cuda.h. They keep only what their backward needs, and pass a residual through, so that
 * its gradient is added while another one is in registers.
 *
 * Images [B,C,h,w] lie channels last and rows [M,C] row-major; other layouts are copied first. Vectors (md_vector) are f32
 * and gather their gradients in place, beside torch's own. Where it says "overwritten", an argument must be the fresh
 * result of an operator that does not keep its result. */
#ifndef MODELS_FUSED_NODES_H
#define MODELS_FUSED_NODES_H
#include "kernels/cuda.h"
#include "models/layers.h"
#ifdef __cplusplus
extern "C" {
#endif
/* An image and its statistics by channel, which the operator that made it gathered on the way. */
typedef struct md_image {
  tchc_tensor *t;    /* [B,C,h,w] */
  tchc_tensor *part; /* [B,S,2,C] f32 as in kernels/add_stats.h, or NULL: the next norm reads the image for them */
} md_image;
void md_image_free(md_image *i);
void md_image_promote(md_image *i);

/* y = f(norm(cat(x, skip))), f: SiLU or nothing; skip->t may be NULL. pass[0], pass[1]: x and skip for their other uses. */
int md_fused_norm(const kn_cuda *k, const md_group_norm *n, bool silu, const md_image *x, const md_image *skip,
                  tchc_tensor **y, tchc_tensor *pass[2]);
/* y = silu(norm(h + bias + shift)); shift [B,C] f32 may be NULL. */
int md_fused_shifted_norm(const kn_cuda *k, const md_group_norm *n, const tchc_tensor *h, const md_vector *bias,
                          const tchc_tensor *shift, tchc_tensor **y);
/* out = h + x + bias + bias2, of images or rows; x, bias, bias2 may be NULL. h is overwritten. Statistics for images. */
int md_fused_add(const kn_cuda *k, const tchc_tensor *h, const tchc_tensor *x, const md_vector *bias,
                 const md_vector *bias2, md_image *out);
/* sum = x + h + bias, y = layer norm of sum, [M,C]. h and bias may be NULL. h is overwritten, or x where h is NULL. */
int md_fused_layer_norm(const kn_cuda *k, const md_layer_norm *n, const tchc_tensor *x, const tchc_tensor *h,
                        const md_vector *bias, tchc_tensor **sum, tchc_tensor **y);
/* p [M,2F] -> (u gelu(v)) w^T, [u v] = p, w [C,F]. p is kept and overwritten by its gradient, whose column sums are the
 * gradient of `bias`, which was added to p before. */
int md_fused_geglu_linear(const kn_cuda *k, const tchc_tensor *p, const md_vector *bias, const tchc_tensor *w,
                          tchc_tensor **out);
/* softmax(scale s) over the last dimension. s is overwritten, as is the gradient that comes back. */
int md_fused_softmax(const kn_cuda *k, double scale, const tchc_tensor *s, tchc_tensor **out);
/* A convolution, or a transposed one, with a frozen kernel w: keeps nothing. */
int md_fused_frozen_conv(const tchc_tensor *w, int stride, int pad, bool transposed, const tchc_tensor *x,
                         tchc_tensor **out);
/* w [O,I,3,3] after nearest upsampling by 2 -> [I,O,4,4], the kernel of one transposed convolution of stride 2 and padding
 * 1 that does both: w with a 2x2 box of ones. Differentiable. spread: md_fused_upsample_spread of w's type and device. */
int md_fused_upsample_kernel(const tchc_tensor *w, const tchc_tensor *spread, tchc_tensor **out);
/* The box as a matrix [1,16,9]. */
int md_fused_upsample_spread(const tchc_tensor *w, tchc_tensor **out);
#ifdef __cplusplus
}
#endif
#endif
