/* eval/sparse_points.h: depth known at some pixels of an image, in metres, to bring a prediction to metres with. */
#ifndef EVAL_SPARSE_POINTS_H
#define EVAL_SPARSE_POINTS_H
#include <stdint.h>

#include "base/io.h"
#ifdef __cplusplus
extern "C" {
#endif
/* PATH by its ending: .csv with columns x, y (pixels from the upper left, 0 to below W and H; fractions are cut off) and
 * depth (metres); .npy [H,W] metres; .png 16-bit grey, millimetres. 0, negative and non-finite depths are unknown.
 * target [H,W] metres, mask [H,W] 1 where known. Errors: E_DATA: not readable, another size, a point outside, fewer than
 * two points. */
int ev_points_read(const char *path, int H, int W, float *target, uint8_t *mask);
/* Finds the points of image `name`: `path` itself when it is a file, else path/NAME.csv, .npy or .png. Errors: E_DATA. */
int ev_points_find(const char *path, const char *name, char out[IO_PATH_MAX]);
#ifdef __cplusplus
}
#endif
#endif
