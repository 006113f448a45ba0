/* datasets/dump.h: what is in the data, as training sees it; for `e2eft inspect`. */
#ifndef DATASETS_DUMP_H
#define DATASETS_DUMP_H
#include <stdio.h>

#include "datasets/loader.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Writes the first `count` samples in the order in which training draws them (step 1, group 0, sample 0 first) into
 * dir, which is made: 000000.safetensors and so on, one sample a file in the `batches` format. Stored groups come
 * apart into their samples. Empty masks are kept; bad files are treated as in training.
 * Errors: as ds_loader_next and ds_group_save. */
int ds_dump(const ds_loader_opts *o, const ds_data *data, int n, const char *dir, int64_t count);
/* Kind, root, layout, count, shape, first and last id of every data set; of up to `look` samples of each that training
 * would draw: how many were kept, left out by the filter and broken, the share of valid pixels, where their depth
 * lies (as the loss sees it: each image clamped to its 2nd..98th percentile). Errors: as ds_loader_next. */
int ds_describe_all(FILE *f, const ds_loader_opts *o, const ds_data *data, int n, int64_t look);
#ifdef __cplusplus
}
#endif
#endif
