/* trainer/fold.h: the U-Net of a one-step run made to answer the same whatever noise, timestep, number of steps or
 * scheduler a Marigold client asks for. The noise latent was zero and the timestep fixed in training, so that
 *   conv_in      gets weight 0 for the noise channels (a 4-channel one gets four such channels),
 *   conv_out     is multiplied by the factor between the network's output and x0 for x = 0: the scheduler says "sample",
 *   linear_1     of the time embedding gets weight 0 and its value at the timestep as bias. */
#ifndef TRAINER_FOLD_H
#define TRAINER_FOLD_H
#include "base/safetensors.h"
#include "models/scheduler.h"
#include "models/unet.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { TR_FOLDED = 5 };
typedef struct tr_folded {
  st_tensor *tensors;       /* [n]; all but those that were made new lend their data from the source */
  size_t n;
  float *owned[TR_FOLDED];
} tr_folded;

/* x0 = factor * out for x = 0 at timestep t: -sqrt(1-a) (v), -sqrt((1-a)/a) (epsilon), 1 (sample). Errors: E_CKPT:
 * epsilon where a is 0. */
int tr_fold_factor(const md_schedule *s, int t, double *factor);
/* tensors [n]: F32 weights of the U-Net that c describes (4 or 8 input channels), in any order.
 * Errors: E_CKPT, E_NOMEM. */
int tr_fold(const md_unet_config *c, const md_schedule *s, int t, const st_tensor *tensors, size_t n, tr_folded *out);
void tr_folded_fini(tr_folded *f);
#ifdef __cplusplus
}
#endif
#endif
