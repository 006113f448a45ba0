/* trainer/network.h: the model of a run: the U-Net that is trained, the frozen VAE, the empty prompt's embedding and the
 * noise schedule, on one device in one precision. */
#ifndef TRAINER_NETWORK_H
#define TRAINER_NETWORK_H
#include <jansson.h>

#include "configs/config.h"
#include "models/scheduler.h"
#include "models/unet.h"
#include "models/vae.h"
#include "trainer/device.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_network {
  /* from the folder's JSON: no torch call was made for these */
  md_unet_config unet_config;   /* in_channels as trained: 8 with noise, 4 without */
  md_vae_config vae_config;
  md_schedule schedule;
  json_t *unet_json;            /* unet/config.json with that in_channels, for export */
  bool widened;                 /* a 4-channel conv_in becomes 8 channels */

  tchc_device device;
  tchc_dtype dtype;             /* of weights in the networks: f32 or bf16 */
  const struct kn_cuda *kernels; /* losses and optimizer run where the tensors are; NULL: C on the host */
  bool fused;                   /* the networks run through these kernels too; else ATen's operators one by one */
  md_params *masters;           /* f32; in fp32 mode the U-Net's own parameters */
  md_params *working;           /* bf16 copy, NULL in fp32 mode */
  md_params *vae_params;
  md_params *vae_wide;          /* f32 copy for biases and norms, NULL where vae_params are f32 or nothing is fused */
  tchc_tensor *grads;           /* f32 [numel]: the sum over a step */
  tchc_tensor *working_grads;   /* bf16 [numel]: a micro-batch's; NULL where they go to grads at once: in fp32 mode, and fused */
  md_unet *unet;
  md_vae *vae;
  tchc_tensor *text;            /* [1,T,cross_attention_dim] in dtype */
} tr_network;

/* Reads the folder's JSON files. Errors: E_CKPT naming file and key; E_CONFIG: model.noise or model.timestep does not
 * fit the model. net is zeroed first; tr_network_fini frees it, after errors too. */
int tr_network_read(const cf_config *c, tr_network *net);
/* Loads (model.init: random draws) weights, gets the networks ready to train on d. Errors: E_CKPT, E_NOMEM, E_DEVICE. */
int tr_network_load(const cf_config *c, const tr_device *d, tr_network *net);
/* The VAE alone, of a net whose vae_config was read: what prepares latents. */
int tr_network_load_vae(const cf_config *c, const tr_device *d, tr_network *net);
/* Declares and checks the weights' names and shapes without reading them; numel of U-Net and VAE. Errors: E_CKPT. */
int tr_network_check(const cf_config *c, const tr_network *net, int64_t *unet_numel, int64_t *vae_numel);
void tr_network_fini(tr_network *net);
/* Which networks run their blocks again in backward; after tr_network_load. */
void tr_network_recompute(tr_network *net, bool unet, bool decoder);

/* The parameters that the U-Net computes with. */
md_params *tr_network_active(const tr_network *net);
/* Adds the working gradients of a micro-batch to the step's sum; nothing in fp32 mode, where they are the sum. */
int tr_network_collect_grads(tr_network *net);
int tr_network_zero_grads(tr_network *net);
#ifdef __cplusplus
}
#endif
#endif
