/* trainer/footprint.h: how much a step keeps in memory, estimated from the models' configs. */
#ifndef TRAINER_FOOTPRINT_H
#define TRAINER_FOOTPRINT_H
#include "models/unet.h"
#include "models/vae.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_footprint_way {
  bool recompute; /* blocks run again in backward */
  bool fused;     /* run.kernels */
} tr_footprint_way;

/* Numbers (of the network's type) of one sample: kept from the forward pass for backward, and how many more there are at
 * backward's highest point. fixed: kept besides, whatever the number of samples. */
typedef struct tr_footprint { int64_t kept, back, fixed; } tr_footprint;
/* A U-Net in training on h x w latents; a frozen decoder of h x w latents. Statistics of norms are left out: some 2 %, 6 % where blocks run again. */
tr_footprint tr_footprint_unet(const md_unet_config *c, int h, int w, tr_footprint_way way);
tr_footprint tr_footprint_decoder(const md_vae_config *c, int h, int w, tr_footprint_way way);
/* Bytes of memory of this machine; 0 when it cannot be asked. */
int64_t tr_footprint_host_bytes(void);
#ifdef __cplusplus
}
#endif
#endif
