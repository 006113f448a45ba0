/* trainer/forward.h: one evaluation of a network as training makes it, without a gradient: an image in, depth or normals
 * out. */
#ifndef TRAINER_FORWARD_H
#define TRAINER_FORWARD_H
#include "trainer/network.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_forward {
  cf_task task;
  int timestep;
  const tchc_tensor *text;   /* [1,T,cross_attention_dim] */
  const tchc_tensor *noise;  /* [1,latent,H/f,W/f] f32; NULL: zeros, or no noise channels where the U-Net has none */
} tr_forward;
/* rgb [3,H,W] in [-1,1], H and W multiples of md_vae_factor. out, depth: [H,W] in [-1,1]; normals: [3,H,W], of length 1.
 * Computed in the network's precision. Errors: E_SHAPE, E_NOMEM, E_DEVICE. */
int tr_forward_run(const tr_network *net, const tr_forward *o, const float *rgb, int H, int W, float *out);
#ifdef __cplusplus
}
#endif
#endif
