/* base/npy.h: numpy's .npy. Format: numpy's lib/format. */
#ifndef BASE_NPY_H
#define BASE_NPY_H
#include <stddef.h>
#include <stdint.h>

#include "base/element.h"
#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Writes f32, version 1.0. Errors: E_DISK, E_IO, E_SHAPE (more than 8 dimensions, a negative size). */
int npy_save_f32(const char *path, int ndim, const int64_t *shape, const float *data);
/* The same for data of 0 and 1, as numpy's bool. */
int npy_save_bool(const char *path, int ndim, const int64_t *shape, const uint8_t *data);

enum { NPY_MAX_DIMS = 8 };
/* data: of a file in memory, C order, little endian, not aligned. */
typedef struct npy_array {
  el_type type; /* u8 for booleans */
  int ndim;
  int64_t shape[NPY_MAX_DIMS];
  const void *data;
  size_t count; /* elements */
} npy_array;
/* The array of a file in memory, buf [bytes], versions 1.0 to 3.0. Errors: E_FORMAT, without the file's name. */
int npy_parse(const char *buf, size_t bytes, npy_array *out);

/* The same as floats, whatever the type, in malloc'ed memory. shape has room for NPY_MAX_DIMS. path: for messages. Errors:
 * E_FORMAT, E_NOMEM. */
int npy_parse_f32(const char *path, const char *buf, size_t bytes, int *ndim, int64_t *shape, float **data);
/* The same from a file; E_IO too. */
int npy_load_f32(const char *path, int *ndim, int64_t *shape, float **data);
#ifdef __cplusplus
}
#endif
#endif
