/* datasets/colour_map.h: numbers as colours, for images that people look at. */
#ifndef DATASETS_COLOUR_MAP_H
#define DATASETS_COLOUR_MAP_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
/* The colour of v in [0,1] (clamped) in matplotlib's Spectral, 256 levels, as 8-bit RGB: the bytes of
 * cm.get_cmap("Spectral")(v, bytes=True). 0 is red, 1 violet; NaN is black. */
void ds_colour_spectral(float v, uint8_t rgb[3]);
/* values [n] -> rgb [n,3]: lo..hi to 0..1; black where mask (may be NULL) is 0. lo == hi gives 0. */
void ds_colour_depth(const float *values, const uint8_t *mask, size_t n, float lo, float hi, uint8_t *rgb);
/* Planes [3,n] of numbers in [-1,1] -> rgb [n,3] as (v + 1)/2 * 255 rounded: images and normal maps. Black where mask
 * (may be NULL) is 0. */
void ds_colour_signed(const float *planes, const uint8_t *mask, size_t n, uint8_t *rgb);
#ifdef __cplusplus
}
#endif
#endif
