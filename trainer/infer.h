/* trainer/infer.h: what the commands that predict have in common: the model, the device, and how it is run. */
#ifndef TRAINER_INFER_H
#define TRAINER_INFER_H
#include "eval/latents.h"
#include "trainer/cli.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Zeroed: nothing was given. */
typedef struct tr_infer_args {
  const char *model, *task, *device, *precision, *scheduler, *spacing, *noise, *pipeline, *resample, *resolution, *latents, *reduction;
  int64_t steps, seed, ensemble, batch, iterations;
  double tolerance;
} tr_infer_args;

/* Rows of a command's option table; AT(field) is the offset of a tr_infer_args field. */
#define TR_INFER_OPTIONS(AT) \
  {"model", 'm', CLI_TEXT, AT(model), "DIR", NULL, "diffusers folder: a run's model/ or portable/, Marigold, SD; needed"}, \
  {"task", 0, CLI_TEXT, AT(task), "TASK", NULL, "depth or normals (what the folder says)"}, \
  {"steps", 0, CLI_COUNT, AT(steps), "N", NULL, "denoising steps (what the folder says, else 1)"}, \
  {"scheduler", 0, CLI_TEXT, AT(scheduler), "NAME", NULL, "ddim or lcm (ddim)"}, \
  {"spacing", 0, CLI_TEXT, AT(spacing), "NAME", NULL, "trailing, leading or linspace (trailing)"}, \
  {"noise", 0, CLI_TEXT, AT(noise), "KIND", NULL, "zeros, gaussian or pyramid (zeros)"}, \
  {"seed", 0, CLI_NUMBER, AT(seed), "N", NULL, "of the noise (0)"}, \
  {"latents", 0, CLI_TEXT, AT(latents), "FILE", NULL, "the noise itself: safetensors, latents [B,4,h,w]"}, \
  {"ensemble", 0, CLI_COUNT, AT(ensemble), "N", NULL, "predictions an image, combined to one (1)"}, \
  {"ensemble-reduction", 0, CLI_TEXT, AT(reduction), "HOW", NULL, "median, mean or closest (median; normals: closest)"}, \
  {"ensemble-iterations", 0, CLI_COUNT, AT(iterations), "N", NULL, "of the alignment of depth (2)"}, \
  {"ensemble-tolerance", 0, CLI_REAL, AT(tolerance), "X", NULL, "of the alignment (1e-3)"}, \
  {"resolution", 0, CLI_TEXT, AT(resolution), "N", NULL, "longer side in processing, 0 = native (the folder's, else 0)"}, \
  {"pipeline", 0, CLI_TEXT, AT(pipeline), "NAME", NULL, "diffusers or reference: whose conventions (diffusers)"}, \
  {"resample", 0, CLI_TEXT, AT(resample), "HOW", NULL, "bilinear, bicubic or nearest (bilinear)"}, \
  {"batch", 0, CLI_COUNT, AT(batch), "N", NULL, "samples at once (CPU 1, GPU 4)"}, \
  {"device", 0, CLI_TEXT, AT(device), "NAME", NULL, "auto, cpu or cuda (auto)"}, \
  {"precision", 0, CLI_TEXT, AT(precision), "TYPE", NULL, "fp32, bf16 or fp16 (fp32)"}

/* `text` among the NULL-ended names, by index; NULL text gives 0. Errors: E_CONFIG with the nearest name. */
int tr_choice(const char *option, const char *text, const char *const *names, int *out);
/* Checks what can be checked without the model, opens the device and loads it. Errors: E_CONFIG, E_DEVICE, E_CKPT. */
int tr_infer_open(const tr_infer_args *a, ev_estimator *e);
/* The folder's wishes, overridden by what was given; *latents (NULL when none were given) is the caller's to free.
 * Errors: E_CONFIG, E_DATA. */
int tr_infer_opts(const tr_infer_args *a, const ev_estimator *e, ev_predict_opts *o, ev_latents **latents);
#ifdef __cplusplus
}
#endif
#endif
