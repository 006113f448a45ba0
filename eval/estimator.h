/* eval/estimator.h: a model that predictions are made with: read from a folder in diffusers' layout, or lent by the
 * trainer, whose networks predict between two steps without a second copy. */
#ifndef EVAL_ESTIMATOR_H
#define EVAL_ESTIMATOR_H
#include "eval/task.h"
#include "models/scheduler.h"
#include "models/unet.h"
#include "models/vae.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ev_estimator {
  md_vae_config vae_config;
  md_schedule schedule;
  md_unet *unet;
  md_vae *vae;
  tchc_tensor *text;         /* [1,T,cross_attention_dim] */
  tchc_device device;
  int unet_channels;         /* 8, or 4 for a U-Net that sees the RGB latent alone */

  /* what the folder says of itself */
  bool says_task;
  ev_task task;
  int timestep;              /* that its one step was trained at; -1: it does not say */
  int default_steps;         /* default_denoising_steps of model_index.json; 0: it does not say */
  int default_resolution;    /* default_processing_resolution; -1: it does not say */
  bool half_z;               /* use_full_z_range false: z of decoded normals is (z + 1) / 2 */
  bool scale_invariant, shift_invariant; /* of its depth; true when it does not say */

  md_params *unet_params, *vae_params; /* owned; NULL where the networks are lent */
  md_params *unet_wide, *vae_wide;     /* owned: f32 copies that fused bf16 networks read their norms from, else NULL */
} ev_estimator;

/* Reads DIR: unet/ vae/ text_encoder/ tokenizer/ scheduler/ model_index.json. The task is e2eft.task in the U-Net file's
 * metadata, which training writes, or model_index.json's prediction_type or pipeline class. dtype: of the weights as they
 * compute, f32, bf16 or f16. kernels: the networks run through these (f32 and bf16); NULL: through libtorch's operators.
 * e is zeroed first; ev_estimator_fini frees it, after errors too. Errors: E_CKPT, E_NOMEM. */
int ev_estimator_load(const char *dir, tchc_device d, tchc_dtype dtype, const kn_cuda *kernels, ev_estimator *e);
void ev_estimator_fini(ev_estimator *e);
#ifdef __cplusplus
}
#endif
#endif
