/* trainer/footprint.h: how much a step keeps in memory, estimated from the models' configs. */
#ifndef TRAINER_FOOTPRINT_H
#define TRAINER_FOOTPRINT_H
#include "models/unet.h"
#include "models/vae.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Numbers kept for backward by one sample: a U-Net on h x w latents, a frozen decoder that makes H x W images.
 * Counted a block at a time (inputs of norms, activations, convolutions and linears), so an estimate. */
int64_t tr_footprint_unet(const md_unet_config *c, int h, int w, bool recompute);
int64_t tr_footprint_decoder(const md_vae_config *c, int h, int w, bool recompute);
/* Bytes of memory of this machine; 0 when it cannot be asked. */
int64_t tr_footprint_host_bytes(void);
#ifdef __cplusplus
}
#endif
#endif
