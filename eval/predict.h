/* eval/predict.h: images in, depth or normals out, any number of them, in order, several at once where their sizes agree.
 *
 *   image -> processing size -> VAE encoder -> N steps of the U-Net -> VAE decoder -> depth or normals -> ensemble
 *         -> the size that was asked for
 *
 * Two conventions, each equal to a program people know (within rounding; tests hold both):
 *   EV_AS_DIFFUSERS  MarigoldDepthPipeline, MarigoldNormalsPipeline: the image is resized as floats, then padded at the
 *                    right and bottom to multiples of 8 by repeating the border; the last step gives prev_sample; depth is
 *                    left as decoded, in [0,1]; normals are clipped, then normalised; output is enlarged without antialiasing.
 *   EV_AS_REFERENCE  the reference's Marigold/marigold/marigold_pipeline.py: the image is resized and rounded to 8 bits, not
 *                    padded (the latent has floor(H/8) rows); the last step gives pred_original_sample; depth is stretched
 *                    to [0,1] image by image; output is resized with antialiasing, which also makes up for the rows lost. */
#ifndef EVAL_PREDICT_H
#define EVAL_PREDICT_H
#include "datasets/buffer.h"
#include "eval/ensemble.h"
#include "eval/estimator.h"
#include "eval/resample.h"
#include "models/denoise.h"
#include "models/noise.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { EV_AS_DIFFUSERS, EV_AS_REFERENCE } ev_convention;

/* Latents that stand in for drawn ones, f32: noise [n,C,h,w], n = ensemble (the same for every image) or ensemble times
 * images, image by image; step_noise[i] of the same shape, after step i of LCM. NULL: drawn. */
typedef struct ev_latents {
  const char *path;        /* for messages */
  int64_t n;
  int C, h, w;
  const float *noise;
  const float *const *step_noise; /* [n_step_noise] */
  int n_step_noise;
} ev_latents;

typedef struct ev_predict_opts {
  ev_task task;
  ev_convention convention;
  md_sampler sampler;
  md_spacing spacing;
  int steps;
  int timestep;            /* where the only step is taken; -1: where `spacing` says */
  md_noise noise;          /* a function of (seed, member of the ensemble): the same for every image of one size */
  uint64_t seed;
  int ensemble;            /* predictions an image */
  ev_ensemble_opts align;
  int resolution;          /* longer side in processing, a multiple of 8; 0: native */
  bool keep_processed_size; /* results stay at the processing size */
  ev_filter filter;        /* of both resizings */
  int batch;               /* samples (images times ensemble) computed at once; changes results by rounding alone */
  const ev_latents *latents; /* NULL: drawn */
} ev_predict_opts;
/* One step, trailing, zeros, diffusers' convention, native resolution, no ensemble, one at a time. */
void ev_predict_opts_default(ev_predict_opts *o);
/* What e's folder says of task, timestep, steps and resolution, where it does. */
void ev_predict_opts_from(const ev_estimator *e, ev_predict_opts *o);

/* One image: rgb [H,W,3] u8. out_H, out_W: size of the result; 0: the image's own. */
typedef struct ev_image {
  ds_buf rgb;
  int H, W, out_H, out_W;
} ev_image;

typedef struct ev_prediction {
  int C, H, W;               /* 1 or 3 channels */
  const float *values;       /* [C,H,W]; depth in [0,1], 0 near; normals unit vectors in the model's frame */
  const float *uncertainty;  /* [uH,uW] of an ensemble of 2 or more (the reference has none for normals), else NULL */
  int uH, uW;                /* H, W; with EV_AS_REFERENCE the processing size */
} ev_prediction;

/* Where images come from and predictions go to. */
typedef struct ev_images {
  size_t n;
  void *ctx;
  /* Image i into out, whose buffer is kept from call to call. An error is the image's own: it counts as failed. */
  int (*read)(void *ctx, size_t i, ev_image *out);
  /* Prediction i, lent; called once for each image, in order. p NULL: it failed, err_text() says why. Image as read.
   * An error ends the run. */
  int (*take)(void *ctx, size_t i, const ev_image *image, const ev_prediction *p);
} ev_images;

/* Predicts all images. *failed (may be NULL) counts those that could not be read or were too large for the memory.
 * Errors: E_CONFIG (options that do not fit the model), E_SHAPE (latents of another shape), E_DEVICE, and whatever `take`
 * returned. */
int ev_predict(const ev_estimator *e, const ev_predict_opts *o, const ev_images *images, size_t *failed);
/* Checks the options against the model without computing anything. */
int ev_predict_check(const ev_estimator *e, const ev_predict_opts *o);
#ifdef __cplusplus
}
#endif
#endif
