/* datasets/d2nt.h: surface normals from a depth map by the filter that makes the reference's normals of Virtual
 * KITTI 2: D2NT v3 (Feng et al., D2NT: A High-Performing Depth-to-Normal Translator), to the bit of its 16-bit PNGs.
 * Source: diffusion-e2e-ft depth-to-normal-translator/python, numpy and OpenCV on float32 depth. */
#ifndef DATASETS_D2NT_H
#define DATASETS_D2NT_H
#include "datasets/buffer.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ds_pinhole {
  double fx, fy, cx, cy; /* pixels; the filter counts columns and rows from 1 */
} ds_pinhole;

/* Kept from call to call. Starts as {0}. */
typedef struct ds_d2nt {
  ds_buf maps, normals;
} ds_d2nt;
void ds_d2nt_free(ds_d2nt *d);

/* depth_cm [H,W] planar depth in centimetres, as ds_d2nt_cm gives them; the filter's weights fall by e for each unit,
 * so metres give other normals. out [H,W,3]: LUB normals m as trunc((m + 1) 32767.5), which is what the reference's
 * PNGs hold. Errors: E_NOMEM. */
int ds_d2nt_normals(ds_d2nt *d, const float *depth_cm, int H, int W, const ds_pinhole *k, uint16_t *out);
/* A PNG's centimetres as the reference's filter sees them: through metres and back in float32, which changes bits. */
float ds_d2nt_cm(uint16_t cm);
#ifdef __cplusplus
}
#endif
#endif
