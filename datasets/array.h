/* datasets/array.h: arrays of numbers as .npy and HDF5 files hold them, before anything is made of them. */
#ifndef DATASETS_ARRAY_H
#define DATASETS_ARRAY_H
#include "base/element.h"
#include "datasets/buffer.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { DS_ARRAY_DIMS_MAX = 3 };

/* C order, little endian; data is lent by the buffer that it was read into and need not be aligned. */
typedef struct ds_array {
  el_type type;
  int ndim;
  int64_t shape[DS_ARRAY_DIMS_MAX];
  const void *data;
} ds_array;

/* numpy's .npy, versions 1.0 to 3.0, C order, little endian, 1 to 3 dimensions; booleans are u8. `file` keeps the bytes.
 * Errors: E_DATA naming the file: what is not such a file, sizes that differ from the header's; E_NOMEM. */
int ds_npy_read(const char *path, ds_buf *file, ds_array *out);

/* An array as an image of C channels: [H,W], [H,W,C] or [C,H,W]; C = 1 or 3 (of 4, the last is dropped). When the last
 * dimension can be channels it is. Errors: E_DATA naming path and shape, or a size that ds_size_check refuses. */
int ds_array_size(const ds_array *a, const char *path, int *H, int *W, int *C);
/* out [H,W,C] of an array that ds_array_size takes, as floats. Errors: as there. */
int ds_array_floats(const ds_array *a, const char *path, float *out);
#ifdef __cplusplus
}
#endif
#endif
