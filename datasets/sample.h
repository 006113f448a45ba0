/* datasets/sample.h: one image with its ground truth, as the losses want it, in buffers of the caller.
 * Normals are "LUB": unit, x left, y up, z back to the viewer (a wall seen head-on is (0,0,1)). Depth is planar. */
#ifndef DATASETS_SAMPLE_H
#define DATASETS_SAMPLE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { DS_ID_MAX = 256 };
enum { DS_INDOOR = 0, DS_OUTDOOR = 1, DS_OBJECT = 2 };

/* A VAE latent [C,h,w] of numbers of `size` bytes. */
typedef struct ds_latent_form { int C, h, w, size; } ds_latent_form;
size_t ds_latent_bytes(const ds_latent_form *f);

/* Planes are row-major [C,H,W]; which of them must be there is the source's `need`. NULL planes are not filled. */
typedef struct ds_sample {
  int H, W;
  float *rgb;       /* [3,H,W] in [-1,1] */
  float *metric;    /* [1,H,W] metres, clamped to the 2nd..98th percentile of valid depth; invalid = q98 */
  float *depth;     /* [1,H,W] metric normalised to [-1,1] by those percentiles, for the diffusion objective */
  float *normals;   /* [3,H,W] unit, 0 where invalid */
  uint8_t *mask;    /* [1,H,W] 1 = valid */
  void *latent;     /* of rgb, which is then not there: prepared data */
  int64_t valid;    /* number of ones in mask */
  int64_t domain;   /* DS_INDOOR ... */
  char id[DS_ID_MAX]; /* "ai_001_001/cam_00/0003", "Scene01/fog/Camera_0/00012", a file's stem */
} ds_sample;

/* What a sample of H x W needs in floats for its planes, in the order rgb, metric, depth, normals. */
size_t ds_sample_floats(int H, int W);
/* Points s's planes into `floats` (ds_sample_floats) and mask into `mask` (H*W bytes). */
void ds_sample_place(ds_sample *s, int H, int W, float *floats, uint8_t *mask);
#ifdef __cplusplus
}
#endif
#endif
