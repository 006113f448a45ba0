/* checkpoints/ldm.h: single files in the key layout of the original latent-diffusion code (Stable Diffusion 1.x and 2.x):
 *   model.diffusion_model.*    U-Net             (model_ema.*: its running mean, names without dots)
 *   first_stage_model.*        VAE
 *   cond_stage_model.*         text encoder: transformer.* is CLIP (1.x), model.* OpenCLIP (2.x)
 * Read as the three parts of a diffusers folder, without copying: an OpenCLIP in_proj is three ranges of its rows, a 1x1
 * convolution is a matrix. Source of the names: diffusers loaders/single_file_utils.py. */
#ifndef CHECKPOINTS_LDM_H
#define CHECKPOINTS_LDM_H
#include <stdbool.h>

#include "base/safetensors.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { CK_LDM_LEVELS = 8 };
typedef enum { CK_LDM_UNET, CK_LDM_VAE, CK_LDM_TEXT, CK_LDM_PARTS } ck_ldm_part;

/* What names and shapes tell. */
typedef struct ck_ldm_shape {
  struct {
    int in_channels, out_channels, levels, widths[CK_LDM_LEVELS], layers, cross_attention_dim;
    bool attention[CK_LDM_LEVELS]; /* by level of the down path */
    bool linear;                   /* proj_in is a matrix */
    bool has_mean;                 /* there are model_ema.* too */
  } unet;
  struct { int in_channels, out_channels, latent_channels, levels, widths[CK_LDM_LEVELS], layers; } vae;
  struct {
    bool openclip;
    int vocab, positions, hidden, intermediate;
    int layers;                    /* used: OpenCLIP's last is not */
  } text;
} ck_ldm_shape;

typedef struct ck_ldm ck_ldm;
/* Is there a safetensors file at path with keys of this layout? Reads its header alone. */
bool ck_ldm_is(const char *path);
/* mean: the U-Net's running mean instead of its weights. Errors: E_CKPT: not of this layout (SDXL and others are named),
 * a part or tensor is missing, a key that has no place; E_NOMEM. */
int ck_ldm_open(const char *path, bool mean, ck_ldm **out);
void ck_ldm_close(ck_ldm **l);
const ck_ldm_shape *ck_ldm_shape_of(const ck_ldm *l);
const st_file *ck_ldm_file(const ck_ldm *l);
/* Tensors of one part under diffusers' names; lent until ck_ldm_close. */
const st_tensor *ck_ldm_tensors(const ck_ldm *l, ck_ldm_part part, size_t *n);
#ifdef __cplusplus
}
#endif
#endif
