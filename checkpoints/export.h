/* checkpoints/export.h: diffusers folders that leave the program: a trained U-Net with the parts of its base.
 *   ck_export_begin(&e, tmp)          OUT.tmp with all but the card
 *   ... look at tmp, write tmp/README.md ...
 *   ck_export_finish(out, tmp)        SHA256SUMS, sync, rename: only now is there an OUT
 *   ck_export_abandon(tmp)            on failure */
#ifndef CHECKPOINTS_EXPORT_H
#define CHECKPOINTS_EXPORT_H
#include <jansson.h>

#include "checkpoints/part.h"
#ifdef __cplusplus
extern "C" {
#endif
#define CK_SHRINK 0.25f

typedef struct ck_export {
  const char *base;          /* the model folder the run started from */
  const char *out;
  json_t *unet_config;       /* borrowed; in_channels already that of the weights */
  const st_tensor *unet;     /* F32, diffusers names */
  size_t n_unet;
  const char *const *stamp;  /* 2 n_stamp strings for the U-Net's __metadata__, besides format=pt */
  size_t n_stamp;
  ck_precisions precisions;
  const char *prediction;    /* prediction_type of the scheduler; NULL: the base's */
  const json_t *pipeline;    /* borrowed: _class_name and settings for model_index.json; default_processing_resolution
                              * gives way to the base's own */
  bool flip_x;               /* the decoder's first channel is negated: normals with x to the other side */
  bool shrink;               /* the decoder's image is made CK_SHRINK times as large: for normals, whose length is free
                              * in training, while diffusers clips at 1 before it normalises */
  bool unet_only;            /* unet/ alone: no other part, no index */
} ck_export;

/* Makes OUT.tmp: unet/, the base's vae/, text_encoder/ and tokenizer/ where it has them, scheduler/ (DDIM, with the base's
 * betas, timestep_spacing trailing, set_alpha_to_one true), model_index.json, files named LICENSE or NOTICE. Nothing
 * else of the base. OUT may be missing, an empty folder, or a model, which is replaced at the end.
 * Errors: E_DISK, E_CKPT (base not readable, out not a model folder or inside base), E_NUMERIC (see ck_weights_write),
 * E_NOMEM. Leaves nothing behind after one. */
int ck_export_begin(const ck_export *e, char tmp[IO_PATH_MAX]);
/* Writes SHA256SUMS of all files and gives tmp its name. Errors: E_DISK, E_CKPT; an older OUT is there then. */
int ck_export_finish(const char *out, const char *tmp);
/* Removes tmp; the error message stays. */
void ck_export_abandon(const char *tmp);
#ifdef __cplusplus
}
#endif
#endif
