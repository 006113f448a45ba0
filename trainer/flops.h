/* trainer/flops.h: operations that a step must do, counted from the models' configs: two for each multiplication of
 * convolutions, linear layers and attention. What lies between them is bound by memory and not counted. */
#ifndef TRAINER_FLOPS_H
#define TRAINER_FLOPS_H
#include "models/unet.h"
#include "models/vae.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_flops {
  double unet, unet_back;       /* of one sample; backward: by inputs and weights */
  double decoder, decoder_back; /* frozen: by inputs alone */
  double encoder;
} tr_flops;
/* Of one sample of H x W pixels with a text of T tokens. */
tr_flops tr_flops_count(const md_unet_config *u, const md_vae_config *v, int H, int W, int T);
#ifdef __cplusplus
}
#endif
#endif
