/* base/npy.h: numpy's .npy, version 1.0, C order. */
#ifndef BASE_NPY_H
#define BASE_NPY_H
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Writes f32. Errors: E_DISK, E_IO, E_SHAPE (more than 8 dimensions, a negative size). */
int npy_save_f32(const char *path, int ndim, const int64_t *shape, const float *data);
/* The same for data of 0 and 1, as numpy's bool. */
int npy_save_bool(const char *path, int ndim, const int64_t *shape, const uint8_t *data);
/* Reads f4 or, converted, f8, f2, u1 or bool into malloc'ed memory. shape has room for 8. Errors: E_IO, E_FORMAT,
 * E_NOMEM. */
int npy_load_f32(const char *path, int *ndim, int64_t *shape, float **data);
/* The same from a file in memory, buf [bytes]; path is for messages. */
int npy_parse_f32(const char *path, const char *buf, size_t bytes, int *ndim, int64_t *shape, float **data);
#ifdef __cplusplus
}
#endif
#endif
