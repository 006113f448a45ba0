/* models/noise.h: the latent noise beside the RGB latent, as a function of (seed, step, group, sample). */
#ifndef MODELS_NOISE_H
#define MODELS_NOISE_H
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { MD_ZEROS, MD_GAUSSIAN, MD_PYRAMID } md_noise;
typedef struct md_noise_at {
  uint64_t seed;
  int64_t step; /* from 1; 0 is for predictions */
  int g;        /* group of the step, from 0 */
} md_noise_at;

/* out [B,C,H,W]: the noise of one group of B samples.
 * MD_GAUSSIAN: standard normal. MD_PYRAMID: normal noise of shrinking sizes, each enlarged bilinearly and weighted by
 * 0.9^i, divided by the group's standard deviation (the reference normalises over its micro-batch, which is a group).
 * MD_ZEROS: zeros. Errors: E_NOMEM, E_FAIL (no such kind). Source: training/util/noise.py pyramid_noise_like. */
int md_noise_group(md_noise kind, md_noise_at at, int B, int C, int H, int W, float *out);
#ifdef __cplusplus
}
#endif
#endif
