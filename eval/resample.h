/* eval/resample.h: images resized as torch.nn.functional.interpolate does it, in float. */
#ifndef EVAL_RESAMPLE_H
#define EVAL_RESAMPLE_H
#include <stdbool.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { EV_BILINEAR, EV_BICUBIC, EV_NEAREST } ev_filter;

/* in [planes,H,W] -> out [planes,h,w], align_corners false. antialias: the filter widens as the image shrinks, and the
 * cubic has a = -0.5; without it a = -0.75 and borders are repeated. EV_NEAREST is "nearest-exact" either way.
 * Errors: E_NOMEM, E_SHAPE (a size of 0). Source: torch aten/src/ATen/native/cpu/UpSampleKernel.cpp. */
int ev_resample(ev_filter filter, bool antialias, const float *in, int planes, int H, int W, float *out, int h, int w);
#ifdef __cplusplus
}
#endif
#endif
