/* datasets/resize.h: the three ways an image is made smaller or larger here. */
#ifndef DATASETS_RESIZE_H
#define DATASETS_RESIZE_H
#include <stdbool.h>

#include "datasets/buffer.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Triangle filter taps of one axis: output i is the sum over j of weight[i*taps + j] * input[first[i] + j], j <
 * count[i]. */
typedef struct ds_taps {
  int in, out;         /* sizes these taps are for; 0 at first */
  int taps;            /* room for each output */
  ds_buf first, count; /* int [out] */
  ds_buf weight;       /* double [out,taps], they sum to 1 */
  ds_buf fixed;        /* int32 [out,taps], weight rounded to 1/2^22 */
} ds_taps;

/* Taps and the image between the two passes, kept from call to call. Starts as {0}. */
typedef struct ds_resizer {
  ds_taps x, y;
  ds_buf between, index;
} ds_resizer;
void ds_resizer_free(ds_resizer *r);

/* in [H,W,3] -> out [h,w,3], Pillow's BILINEAR on 8-bit images to the bit: antialiased triangle filter, weights
 * rounded to 1/2^22, each pass (rows of the image first) rounded and clipped to 8 bits. Equal sizes copy. Source:
 * python-pillow src/libImaging/Resample.c. Errors: E_NOMEM. */
int ds_resize_rgb8(ds_resizer *r, const uint8_t *in, int H, int W, uint8_t *out, int h, int w);
/* The same filter in float and without rounding between passes. */
int ds_resize_rgbf(ds_resizer *r, const float *in, int H, int W, float *out, int h, int w);
/* in [H,W] -> out [h,w]: the nearest pixel, floor((i + 0.5) * in/out). as_pillow: Pillow adds in/out up from pixel to
 * pixel instead, which lands one pixel off where the product is a whole number (28 of 640 columns from 1024). */
int ds_resize_nearest(ds_resizer *r, const float *in, int H, int W, float *out, int h, int w, bool as_pillow);
#ifdef __cplusplus
}
#endif
#endif
