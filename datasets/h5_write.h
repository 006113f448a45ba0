/* datasets/h5_write.h: HDF5 files as Hypersim's are: one dataset called `dataset`, gzip, earliest format.
 * Compression runs outside HDF5, which has one global lock: several threads may write at a time. */
#ifndef DATASETS_H5_WRITE_H
#define DATASETS_H5_WRITE_H
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { DS_H5_F16, DS_H5_I16, DS_H5_F64, DS_H5_I64 } ds_h5_type;
/* data: rank dims, row-major; f16 as IEEE bits. f64 and i64 are written contiguous and uncompressed, as Hypersim's camera
 * files are. Errors: E_DISK, E_IO, E_NOMEM. */
int ds_h5_write(const char *path, ds_h5_type type, int rank, const int64_t *dims, const void *data);
#ifdef __cplusplus
}
#endif
#endif
