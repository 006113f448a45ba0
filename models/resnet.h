/* models/resnet.h: diffusers' ResnetBlock2D with time_embedding_norm "default". Source: diffusers resnet.py. */
#ifndef MODELS_RESNET_H
#define MODELS_RESNET_H
#include "models/layers.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct md_resnet {
  char name[MD_NAME_MAX];
  md_group_norm norm1, norm2;
  md_conv conv1, conv2;
  md_conv conv_shortcut;   /* w NULL where in and out channels agree */
  md_linear time_emb_proj; /* w NULL in the VAE, which knows no time */
  bool timed, shortcut;
} md_resnet;

/* temb: width of the time embedding, 0 for none. */
int md_resnet_build(const md_build *b, int in, int out, int temb, int groups, double eps, md_resnet *r,
                    const char *name_fmt, ...) ERR_PRINTF(8, 9);
/* x [B,in-skip,h,w], skip [B,skip,h,w] or NULL: the input is cat(x, skip). temb [B,temb], after its silu, or NULL.
 * out [B,out,h,w] = shortcut(cat) + conv2(silu(norm2(conv1(silu(norm1(cat))) + time_emb_proj(temb)))). */
int md_resnet_forward(const md_resnet *r, const md_run *run, const tchc_tensor *x, const tchc_tensor *skip,
                      const tchc_tensor *temb, tchc_tensor **out);
#ifdef __cplusplus
}
#endif
#endif
