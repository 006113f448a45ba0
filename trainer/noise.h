/* trainer/noise.h: the latent noise beside the RGB latent, as a function of (seed, step, group, sample). */
#ifndef TRAINER_NOISE_H
#define TRAINER_NOISE_H
#include <stdint.h>

#include "configs/config.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_noise_at {
  uint64_t seed;
  int64_t step; /* from 1 */
  int g;        /* group of the step, from 0 */
} tr_noise_at;

/* out [B,C,H,W]: the noise of one group of B samples.
 * CF_GAUSSIAN: standard normal. CF_PYRAMID: normal noise of shrinking sizes, each enlarged bilinearly and weighted by
 * 0.9^i, divided by the group's standard deviation (the reference normalises over its micro-batch, which is a group).
 * CF_ZEROS: zeros. Errors: E_NOMEM, E_FAIL (CF_NONE has no noise). Source: training/util/noise.py pyramid_noise_like. */
int tr_noise_group(cf_noise kind, tr_noise_at at, int B, int C, int H, int W, float *out);
#ifdef __cplusplus
}
#endif
#endif
