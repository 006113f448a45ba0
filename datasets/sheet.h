/* datasets/sheet.h: a contact sheet of samples, and how depth is distributed; for `e2eft inspect`. */
#ifndef DATASETS_SHEET_H
#define DATASETS_SHEET_H
#include <stdio.h>

#include "datasets/loader.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Valid depths counted between edges of 0, 0.1, 0.2, 0.5, 1, 2, 5 ... 1000 metres and beyond. Starts as {0}. */
enum { DS_DEPTH_BINS = 14 };
typedef struct ds_depth_histogram { int64_t count[DS_DEPTH_BINS], total; double lo, hi; } ds_depth_histogram;
void ds_depth_histogram_add(ds_depth_histogram *h, const float *metric, const uint8_t *mask, size_t n);
/* One line a bin with its share and a bar, from the first that is not empty to the last; nothing when all are. */
void ds_depth_histogram_print(const ds_depth_histogram *h, const char *indent, FILE *f);

/* The first `rows` samples in the order in which training draws them as a PNG, one a row: RGB, depth in Spectral from the
 * sample's nearest (red) to its farthest, normals, mask, histogram of its depth. What is unknown or was not decoded is
 * black. Prints what each row is to f. Errors: E_CONFIG (more than 200 rows); as ds_loader_next and ds_png_write8. */
int ds_sheet(FILE *f, const ds_loader_opts *o, const ds_data *data, int n, int64_t rows, const char *path);
#ifdef __cplusplus
}
#endif
#endif
