/* models/vae.h: diffusers' AutoencoderKL. Frozen here: no weight gets a gradient, the decoder passes one to its input. */
#ifndef MODELS_VAE_H
#define MODELS_VAE_H
#include "models/fusion.h"
#include "models/probe.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { MD_VAE_MAX_BLOCKS = 8 };
typedef struct md_vae_config {
  int in_channels, out_channels, latent_channels, blocks;
  int block_out_channels[MD_VAE_MAX_BLOCKS];
  int layers_per_block;
  int norm_groups;
  double scaling_factor;      /* 0.18215 when the file has none */
  bool quant_conv, post_quant_conv, mid_attention;
} md_vae_config;
/* Errors as md_unet_config_read. */
int md_vae_config_read(const char *dir, md_vae_config *out);
int md_vae_declare(const md_vae_config *cfg, md_params *p);
/* Both spellings of the mid attention's keys are read (to_q and the older query). */
int md_vae_load(const md_vae_config *cfg, const char *dir, md_params *p);

typedef struct md_vae md_vae;
int md_vae_create(const md_vae_config *cfg, const md_params *p, md_vae **out);
/* As md_unet_create_fused; frozen, f->grads is not looked at. */
int md_vae_create_fused(const md_vae_config *cfg, const md_params *p, const md_fusion *f, md_vae **out);
void md_vae_destroy(md_vae **v);
void md_vae_set_recompute(md_vae *v, bool on);
/* Pixels per latent cell: 2^(blocks-1). */
int md_vae_factor(const md_vae_config *cfg);
/* rgb [B,3,H,W] in [-1,1] -> moments [B,2*latent,H/f,W/f], rounded down where f does not divide (the rest is
 * seen by the last row and column). Source: autoencoder_kl.py encode. */
int md_vae_encode(md_vae *v, const tchc_tensor *rgb, const md_probe *probe, tchc_tensor **moments);
/* The latent that the U-Net sees: mean of the moments times scaling_factor, [B,latent,H/f,W/f]. One image at a time
 * inside, so that a latent does not depend on what it was batched with. */
int md_vae_latent(md_vae *v, const tchc_tensor *rgb, tchc_tensor **latent);
/* z [B,latent,h,w], already divided by scaling_factor -> [B,3,h*f,w*f]. */
int md_vae_decode(md_vae *v, const tchc_tensor *z, const md_probe *probe, tchc_tensor **image);
#ifdef __cplusplus
}
#endif
#endif
