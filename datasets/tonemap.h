/* datasets/tonemap.h: Hypersim's tone mapping of linear HDR colour. Source: apple/ml-hypersim
 * code/python/tools/scene_generate_images_tonemap.py, in double as there. */
#ifndef DATASETS_TONEMAP_H
#define DATASETS_TONEMAP_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
/* The factor that brings the 90th percentile of brightness (0.3 R + 0.59 G + 0.11 B) over valid pixels to 0.8 after
 * gamma. rgb [n,3] halves' bits, entity [n], -1 = nothing was hit; scratch [n]. 1 without a valid pixel, 0 when that
 * percentile is below 1e-4. Pixels with a NaN do not count, and an infinite percentile gives 0 (the source gives NaN
 * images for both). */
double ds_tonemap_scale(const uint16_t *rgb, const int16_t *entity, size_t n, double *scratch);
/* out [n] = (uint8)(255 clip(max(scale * in, 0)^(1/2.2), 0, 1)), cut and not rounded, as Marigold writes its PNGs;
 * NaN gives 0. */
void ds_tonemap(const uint16_t *in, size_t n, double scale, uint8_t *out);
#ifdef __cplusplus
}
#endif
#endif
