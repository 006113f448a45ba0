/* datasets/h5_write.h: HDF5 files as Hypersim's are: one dataset called `dataset`, gzip, earliest format.
 * Compression runs outside HDF5, which has one global lock: several threads may write at a time. */
#ifndef DATASETS_H5_WRITE_H
#define DATASETS_H5_WRITE_H
#include <stdint.h>

#include "datasets/array.h"
#ifdef __cplusplus
extern "C" {
#endif
/* data: rank dims, row-major; f16 as IEEE bits. Types of 2 bytes are compressed, others written contiguous, as Hypersim's camera
 * files are. Errors: E_DISK, E_IO, E_NOMEM. */
int ds_h5_write(const char *path, el_type type, int rank, const int64_t *dims, const void *data);
#ifdef __cplusplus
}
#endif
#endif
