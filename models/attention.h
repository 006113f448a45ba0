/* models/attention.h: multi-head attention, the gated feed-forward and the transformer block made of them.
 * Sources: diffusers attention_processor.py (Attention, AttnProcessor2_0), attention.py (BasicTransformerBlock,
 * FeedForward), activations.py (GEGLU). ATen's attention keeps scores and softmax in fp32 for every input type, so a
 * config's upcast_attention asks for nothing more. */
#ifndef MODELS_ATTENTION_H
#define MODELS_ATTENTION_H
#include "models/layers.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct md_attention {
  char name[MD_NAME_MAX];
  md_linear to_q, to_k, to_v, to_out;
  tchc_tensor *qkv, *kv; /* to_q, to_k, to_v as one matrix, and the last two: owned; NULL unless md_attention_join was called */
  int heads;
} md_attention;

typedef struct md_feed_forward {
  char name[MD_NAME_MAX];
  md_linear proj, out; /* net.0.proj, net.2 */
} md_feed_forward;

typedef struct md_transformer_block {
  char name[MD_NAME_MAX];
  md_layer_norm norm1, norm2, norm3;
  md_attention attn1, attn2; /* to itself, to the text */
  md_feed_forward ff;
} md_transformer_block;

/* The VAE's attention over pixels, one head, with a residual of its own. */
typedef struct md_pixel_attention {
  md_group_norm group_norm;
  md_attention attn;
} md_pixel_attention;

/* dim: width of the queries and of the output; context: width of what keys and values are made from; inner: heads
 * times head size; bias: do the three input projections have one. */
int md_attention_build(const md_build *b, int dim, int context, int inner, int heads, bool bias, md_attention *a,
                       const char *name_fmt, ...) ERR_PRINTF(8, 9);
/* Makes qkv, where all three read the same, and kv from p, whose projections they are. Without biases only. */
int md_attention_join(const md_params *p, md_attention *a);
void md_attention_fini(md_attention *a);
/* x [B,n,dim], context [B,m,context] or NULL for x itself -> [B,n,dim]. Dumps the projections, not the result. */
int md_attention_forward(const md_attention *a, const md_probe *probe, const tchc_tensor *x, const tchc_tensor *context,
                         tchc_tensor **out);

int md_transformer_block_build(const md_build *b, int dim, int context, int heads, md_transformer_block *t,
                               const char *name_fmt, ...) ERR_PRINTF(6, 7);
/* x [B,n,dim], text [B,m,context] -> [B,n,dim] */
int md_transformer_block_forward(const md_transformer_block *t, const md_probe *probe, const tchc_tensor *x,
                                 const tchc_tensor *text, tchc_tensor **out);

int md_pixel_attention_build(const md_build *b, int channels, int groups, double eps, md_pixel_attention *a,
                             const char *name_fmt, ...) ERR_PRINTF(6, 7);
/* x [B,C,h,w] -> [B,C,h,w] */
int md_pixel_attention_forward(const md_pixel_attention *a, const md_run *run, const tchc_tensor *x, tchc_tensor **out);
#ifdef __cplusplus
}
#endif
#endif
