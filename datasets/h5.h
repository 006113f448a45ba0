/* datasets/h5.h: Hypersim's HDF5 files: one root dataset called `dataset`, little endian, read with the file's own
 * type. libhdf5 1.10 crashes on some damaged files and returns wrong numbers for others. What can be checked is
 * checked here (type, extent, storage, that every chunk is there and unpacks to its exact size under zlib's
 * checksum); the rest is why files are decoded in worker processes. Not thread-safe. */
#ifndef DATASETS_H5_H
#define DATASETS_H5_H
#include "datasets/array.h"
#include "datasets/inflate.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { DS_H5_DIMS_MAX = 3 };

/* Scratch for packed and unpacked chunks. */
typedef struct ds_h5 {
  ds_buf packed, chunk;
  ds_inflater inflater;
} ds_h5;
void ds_h5_free(ds_h5 *h);

/* ndim <= DS_H5_DIMS_MAX extents. In: the wanted ones, 0 = any; out: the file's. out: the elements, halves as their
 * bits. Errors: E_DATA naming the file with libhdf5's innermost reason, E_NOMEM. */
int ds_h5_read(ds_h5 *h, const char *path, el_type type, int ndim, int64_t *shape, ds_buf *out);
/* An image [H,W] (channels 1) or [H,W,channels]. */
int ds_h5_read_image(ds_h5 *h, const char *path, el_type type, int channels, int *H, int *W, ds_buf *out);
/* Dataset `name` (a path within the file; NULL: the one that its root holds) of 1 to 3 dimensions and any type of
 * array.h. `bytes` keeps the elements. Errors: as ds_h5_read. */
int ds_h5_read_array(ds_h5 *h, const char *path, const char *name, ds_buf *bytes, ds_array *out);
/* Extents alone. */
int ds_h5_image_size(const char *path, int channels, int *H, int *W);
#ifdef __cplusplus
}
#endif
#endif
