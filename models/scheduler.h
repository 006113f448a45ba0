/* models/scheduler.h: the noise schedule of a model folder, and the one-step estimate of the clean latent. */
#ifndef MODELS_SCHEDULER_H
#define MODELS_SCHEDULER_H
#include "tchc/tchc.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { MD_EPSILON, MD_V_PREDICTION, MD_SAMPLE } md_prediction;
enum { MD_MAX_TRAIN_STEPS = 10000 };
typedef struct md_schedule {
  int train_steps;                 /* 1000 */
  md_prediction prediction;
  char spacing[16];                /* "leading", "trailing", "linspace" */
  int steps_offset;
  bool set_alpha_to_one, zero_snr;
  int original_inference_steps;    /* of LCM: the steps it was distilled on; 50 */
  double timestep_scaling;         /* of LCM: 10 */
  float alphas_cumprod[MD_MAX_TRAIN_STEPS]; /* computed in f32 as torch does */
} md_schedule;
/* Reads DIR/scheduler_config.json: beta_schedule linear, scaled_linear or squaredcos_cap_v2, trained_betas,
 * rescale_betas_zero_snr. Errors: E_CKPT, naming the key. clip_sample and thresholding are refused when true. */
int md_schedule_read(const char *dir, md_schedule *out);
/* x0 latent from the network's output at timestep t, a = alphas_cumprod[t] in f32:
 * v: sqrt(a) x - sqrt(1-a) out;  epsilon: (x - sqrt(1-a) out) / sqrt(a);  sample: out. x NULL means zeros. x0 is f32.
 * Errors: E_SHAPE for t out of range, E_CKPT for epsilon where a is 0. */
int md_schedule_x0(const md_schedule *s, int t, const tchc_tensor *x, const tchc_tensor *out, tchc_tensor **x0);
#ifdef __cplusplus
}
#endif
#endif
