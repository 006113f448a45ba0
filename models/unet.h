/* models/unet.h: diffusers' UNet2DConditionModel as Stable Diffusion 1.x, 2.x and Marigold use it. */
#ifndef MODELS_UNET_H
#define MODELS_UNET_H
#include <jansson.h>

#include "models/fusion.h"
#include "models/probe.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { MD_MAX_BLOCKS = 8, MD_MAX_LAYERS = 16 }; /* blocks of a U-Net, layers of a block */
/* mid_block_type: null; UNetMidBlock2D, one resnet; UNetMidBlock2DCrossAttn, resnet, transformer, resnet. */
typedef enum { MD_MID_NONE, MD_MID_RESNET, MD_MID_CROSS_ATTN } md_mid_block;
typedef struct md_unet_config {
  int in_channels, out_channels, blocks;
  int block_out_channels[MD_MAX_BLOCKS];
  bool down_attention[MD_MAX_BLOCKS];   /* CrossAttnDownBlock2D, else DownBlock2D */
  bool up_attention[MD_MAX_BLOCKS];     /* in the order of up_block_types */
  md_mid_block mid_block;
  int layers_per_block[MD_MAX_BLOCKS];
  int heads[MD_MAX_BLOCKS];             /* attention_head_dim of the file: despite its name the number of heads */
  int transformer_layers[MD_MAX_BLOCKS];
  int cross_attention_dim;
  int norm_groups;
  double norm_eps;
  bool linear_projection;
  bool flip_sin_to_cos;
  double freq_shift;
  bool upcast_attention;                /* asks for attention scores in fp32, which they always are here */
} md_unet_config;

/* Reads DIR/config.json. json (may be NULL) gets the document, to write it again at export; free with json_decref.
 * Errors: E_CKPT: an unknown key, a missing one without diffusers' default, a value that is not supported: each named. */
int md_unet_config_read(const char *dir, md_unet_config *out, json_t **json);
/* The names and shapes of cfg's weights, declared in module order. */
int md_unet_declare(const md_unet_config *cfg, md_params *p);
/* Loads DIR/diffusion_pytorch_model*. When the file's conv_in has half of cfg->in_channels (4 of 8), it is widened:
 * weight repeated and halved, bias halved, or kept when keep_bias. Source: training/util/unet_prep.py. */
int md_unet_load(const md_unet_config *cfg, const char *dir, bool keep_bias, md_params *p);

typedef struct md_unet md_unet;
/* Binds cfg's blocks to p's tensors, which must outlive it. */
int md_unet_create(const md_unet_config *cfg, const md_params *p, md_unet **out);
/* The same network with fewer passes over memory; rounds differently. With a probe it runs the plain way. p, wide and grads
 * must outlive it; p's md_params_train comes before. */
int md_unet_create_fused(const md_unet_config *cfg, const md_params *p, const md_fusion *f, md_unet **out);
void md_unet_destroy(md_unet **u);
/* Blocks are run again in backward instead of keeping their activations. */
void md_unet_set_recompute(md_unet *u, bool on);

/* sample [B,in,h,w], timesteps [B] or [1] (any type), text [B or 1,T,cross_attention_dim] -> out [B,out,h,w].
 * Any h, w >= 1: where h or w is no multiple of 2^(blocks-1) the upsamplers go to the skip's size. Source: diffusers
 * unet_2d_condition.py. Inputs are converted to the parameters' type, which is that of out. Errors: E_SHAPE. */
int md_unet_forward(md_unet *u, const tchc_tensor *sample, const tchc_tensor *timesteps, const tchc_tensor *text,
                    const md_probe *probe, tchc_tensor **out);
#ifdef __cplusplus
}
#endif
#endif
