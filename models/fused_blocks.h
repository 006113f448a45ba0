/* models/fused_blocks.h: the blocks of U-Net and VAE on the nodes of fused_nodes.h: the same functions as resnet.h,
 * transformer_2d.h, attention.h and sampling.h have, with fewer passes over memory and fewer tensors kept.
 *
 * No convolution adds its bias: what follows it does (a residual sum, a norm). Statistics travel with an image to the
 * norms that read it, concatenated skips are never copied, and gradients of a residual meet in a norm's backward. */
#ifndef MODELS_FUSED_BLOCKS_H
#define MODELS_FUSED_BLOCKS_H
#include "models/fused_nodes.h"
#include "models/resnet.h"
#include "models/sampling.h"
#include "models/transformer_2d.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct md_fused_run {
  const kn_cuda *k;
  bool recompute; /* resnets and transformers run again in backward */
} md_fused_run;

/* A convolution without its bias: through torch, or without keeping anything where w is frozen and x is not. */
int md_fused_conv(const md_conv *c, const tchc_tensor *x, tchc_tensor **out);
/* convolution + bias, with statistics */
int md_fused_conv_image(const kn_cuda *k, const md_conv *c, const tchc_tensor *x, md_image *out);
/* skip->t may be NULL; temb [B or 1,temb] after silu, or NULL. */
int md_fused_resnet(const md_fused_run *run, const md_resnet *r, const md_image *x, const md_image *skip,
                    const tchc_tensor *temb, md_image *out);
/* text [B or 1,T,context]: with 1, keys and values are made once for all samples. */
int md_fused_transformer(const md_fused_run *run, const md_transformer_2d *t, const md_image *x, const tchc_tensor *text,
                         md_image *out);
/* The VAE's attention over pixels, one head: products and a softmax in place. */
int md_fused_pixel_attention(const kn_cuda *k, const md_pixel_attention *a, const md_image *x, md_image *out);
int md_fused_downsample(const kn_cuda *k, const md_downsample *d, const md_image *x, md_image *out);
/* To exactly twice the size by one transposed convolution, to others as the plain way. */
int md_fused_upsample(const kn_cuda *k, const md_upsample *u, const md_image *x, int64_t to_h, int64_t to_w,
                      md_image *out);
#ifdef __cplusplus
}
#endif
#endif
