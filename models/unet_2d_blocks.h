/* models/unet_2d_blocks.h: diffusers' down and up blocks: layers of a resnet and, in the CrossAttn kinds, a transformer,
 * then a sampler. Source: unets/unet_2d_blocks.py. */
#ifndef MODELS_UNET_2D_BLOCKS_H
#define MODELS_UNET_2D_BLOCKS_H
#include "models/fused_blocks.h"
#ifdef __cplusplus
extern "C" {
#endif
/* One block; down, middle or up by which of its forward functions is called. */
typedef struct md_unet_block {
  char name[MD_NAME_MAX];
  int layers;
  md_resnet *resnets;            /* [layers], owned */
  md_transformer_2d *attentions; /* [n_attentions], owned: layers, or one less in a middle block, or 0 */
  int n_attentions;
  bool has_downsample, has_upsample;
  md_downsample downsample;
  md_upsample upsample;
} md_unet_block;

/* What the layers of a block are made from. */
typedef struct md_block_shape {
  int layers, n_attentions;
  int in, out;   /* channels into the first resnet (without its skip), and out of each */
  int skip, last_skip; /* up: channels of the skips that enter the layers, and of the last one; else 0 */
  int temb;      /* width of the time embedding; 0: none (VAE) */
  int groups;
  double eps;
  bool one_sided; /* the downsampler: see md_downsample */
  md_transformer_shape attention;
} md_block_shape;

/* Order of parameters: attentions, resnets, sampler. */
int md_unet_block_build(const md_build *b, const md_block_shape *shape, md_unet_block *k);
/* Ready for the fused forward: joins projections of p; frozen: upsampling kernels are made once. */
int md_unet_block_fuse(const md_params *p, bool frozen, md_unet_block *k);
void md_unet_block_fini(md_unet_block *k);

/* The tensors that a pass carries to every block. */
typedef struct md_condition {
  const tchc_tensor *temb; /* [B,temb] after silu, or NULL */
  const tchc_tensor *text; /* [B,m,context], or NULL */
} md_condition;

/* Outputs of down layers, on their way to the up layers of the same size. */
enum { MD_MAX_SKIPS = 8 * 17 };
typedef struct md_skips {
  tchc_tensor *t[MD_MAX_SKIPS];
  int n;
} md_skips;
void md_skips_push(md_skips *s, tchc_tensor *t);
/* The caller ends the handle. */
tchc_tensor *md_skips_pop(md_skips *s);
const tchc_tensor *md_skips_top(const md_skips *s);

/* The same walks over fused blocks, with statistics beside the images. */
typedef struct md_image_stack {
  md_image at[MD_MAX_SKIPS];
  int n;
} md_image_stack;
int md_fused_down_block(const md_fused_run *run, const md_unet_block *k, const md_condition *c, md_image_stack *skips);
int md_fused_mid_block(const md_fused_run *run, const md_unet_block *k, const md_condition *c, md_image *h);
int md_fused_up_block(const md_fused_run *run, const md_unet_block *k, const md_condition *c, md_image_stack *skips,
                      md_image *h);
/* A second handle on both tensors. */
int md_image_share(const md_image *i, md_image *out);

/* From the skip on top: pushes the output of each layer and of the sampler. */
int md_down_block_forward(const md_unet_block *k, const md_run *run, const md_condition *c, md_skips *skips);
/* resnet, then transformer and resnet while there are any. *h is replaced. */
int md_mid_block_forward(const md_unet_block *k, const md_run *run, const md_condition *c, tchc_tensor **h);
/* Pops a skip a layer; the sampler goes to the size of the next skip. *h is replaced. */
int md_up_block_forward(const md_unet_block *k, const md_run *run, const md_condition *c, md_skips *skips,
                        tchc_tensor **h);
#ifdef __cplusplus
}
#endif
#endif
