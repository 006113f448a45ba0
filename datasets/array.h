/* datasets/array.h: arrays of numbers as .npy and HDF5 files hold them, before anything is made of them. */
#ifndef DATASETS_ARRAY_H
#define DATASETS_ARRAY_H
#include <stdbool.h>

#include "datasets/buffer.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { DS_U8, DS_I8, DS_U16, DS_I16, DS_U32, DS_I32, DS_I64, DS_F16, DS_F32, DS_F64 } ds_element;
enum { DS_ELEMENTS = 10, DS_ARRAY_DIMS_MAX = 3 };

/* C order, little endian; data is lent by the buffer that it was read into and need not be aligned. */
typedef struct ds_array {
  ds_element type;
  int ndim;
  int64_t shape[DS_ARRAY_DIMS_MAX];
  const void *data;
} ds_array;

size_t ds_element_size(ds_element t);
/* "16-bit float" */
const char *ds_element_name(ds_element t);
/* Integers are codes that stand for something, floats are the thing itself. */
bool ds_element_is_float(ds_element t);

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
