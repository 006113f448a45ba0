/* datasets/exif.h: which way up a photo is. Cameras store pixels as the sensor lies and say in the file's Exif header how to
 * turn them. Format: Exif 2.3, TIFF 6.0. */
#ifndef DATASETS_EXIF_H
#define DATASETS_EXIF_H
#include "datasets/buffer.h"
#ifdef __cplusplus
extern "C" {
#endif
/* The orientation of a JPEG file in memory, 1 to 8; 1, upright, where it says none or the header is damaged. */
int ds_exif_orientation(const void *jpeg, size_t n);
/* Turns and mirrors rgb [H,W,3] u8 of that orientation upright; H and W change places for 5 to 8. Errors: E_NOMEM. */
int ds_turn_upright(int orientation, ds_buf *rgb, int *H, int *W);
#ifdef __cplusplus
}
#endif
#endif
