/* datasets/h5_type.h: what both sides of HDF5, h5.c and h5_write.c, call an element's type. */
#ifndef DATASETS_H5_TYPE_H
#define DATASETS_H5_TYPE_H
#include <stdint.h>

#include "datasets/array.h"
#ifdef __cplusplus
extern "C" {
#endif
/* An hid_t: little endian, as files have it; to be closed with H5Tclose. Negative: libhdf5 failed. */
int64_t ds_h5_type(el_type t);
#ifdef __cplusplus
}
#endif
#endif
