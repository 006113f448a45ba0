/* datasets/reference.h: the roundings of the reference's preprocessing and loading, for `as_reference` and `mm_wrap`.
 * Source: diffusion-e2e-ft Marigold/script/dataset_preprocess/hypersim and training/dataloaders/load.py. */
#ifndef DATASETS_REFERENCE_H
#define DATASETS_REFERENCE_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
/* Its focal length in pixels for images 1024 wide; it uses the number as it is at any width. */
#define DS_REFERENCE_FOCAL 886.81

/* Metres as its 16-bit PNG of millimetres holds them: cut, and from 65.536 m on starting again at 0. inf and NaN give
 * 0. */
uint16_t ds_reference_mm(double metres);
/* Back to metres, as it divides: in double, then rounded to float. */
float ds_reference_metres(uint16_t mm);
/* Planar depth of the pixel at (row, col) from its distance, in the mix of float and double that numpy makes of its
 * formula; focal is DS_REFERENCE_FOCAL there. */
double ds_reference_planar(double focal, int H, int W, int row, int col, double distance);
/* rgb [H,W,3] in place: a `normal_cam` preview image (x right, y up, z back) turned to the viewer by the points that
 * depth [H,W] metres gives (no half pixel added), as image of LUB normals. Every value passes through 8 bits, cut. */
void ds_reference_align(uint8_t *rgb, const float *depth, int H, int W);
#ifdef __cplusplus
}
#endif
#endif
