/* checkpoints/export.h: diffusers folders. */
#ifndef CHECKPOINTS_EXPORT_H
#define CHECKPOINTS_EXPORT_H
#include <jansson.h>

#include "base/safetensors.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ck_export {
  const char *base;          /* the model folder the run started from; everything but unet/ is copied from it */
  const char *out;           /* written beside as OUT.tmp, synced, renamed */
  json_t *unet_config;       /* borrowed; in_channels already that of the weights */
  const st_tensor *unet;     /* F32, diffusers names */
  size_t n_unet;
  const char *const *stamp;  /* 2 n_stamp strings for __metadata__, besides format=pt */
  size_t n_stamp;
} ck_export;
/* A folder to train on further and for tools that pass zero latents themselves: U-Net exactly as trained, scheduler with
 * timestep_spacing trailing and set_alpha_to_one true. Left out: hidden entries, weights at the top, folders that model_index.json
 * does not name and that hold no *config.json (one log line each). An older model folder at `out` is replaced, any other folder is not.
 * Errors: E_DISK, E_CKPT (base not readable, out not a model folder or inside base), E_NOMEM. */
int ck_export_model(const ck_export *e);
#ifdef __cplusplus
}
#endif
#endif
