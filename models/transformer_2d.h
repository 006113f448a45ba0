/* models/transformer_2d.h: diffusers' Transformer2DModel on images. Source: transformers/transformer_2d.py. */
#ifndef MODELS_TRANSFORMER_2D_H
#define MODELS_TRANSFORMER_2D_H
#include "models/attention.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct md_transformer_2d {
  char name[MD_NAME_MAX];
  md_group_norm norm;
  bool linear;                  /* projections are linear layers on pixels (SD-2), else 1x1 convolutions (SD-1) */
  md_linear proj_in, proj_out;
  md_conv conv_in, conv_out;    /* the same two as convolutions; both carry the keys proj_in, proj_out */
  int layers;
  md_transformer_block *blocks; /* owned */
} md_transformer_2d;

typedef struct md_transformer_shape {
  int channels, heads, layers, context; /* context: width of the text */
  int groups;
  bool linear;
} md_transformer_shape;

/* Errors besides those of the layers: E_NOMEM. */
int md_transformer_2d_build(const md_build *b, const md_transformer_shape *shape, md_transformer_2d *t,
                            const char *name_fmt, ...) ERR_PRINTF(4, 5);
/* md_attention_join for all its attentions. */
int md_transformer_2d_join(const md_params *p, md_transformer_2d *t);
void md_transformer_2d_fini(md_transformer_2d *t);
/* x [B,C,h,w], text [B,m,context] -> x + proj_out(blocks(proj_in(norm(x)))) */
int md_transformer_2d_forward(const md_transformer_2d *t, const md_run *run, const tchc_tensor *x,
                              const tchc_tensor *text, tchc_tensor **out);
#ifdef __cplusplus
}
#endif
#endif
