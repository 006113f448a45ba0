/* base/element.h: numbers as files of arrays hold them (.npy, HDF5), little endian. */
#ifndef BASE_ELEMENT_H
#define BASE_ELEMENT_H
#include <stdbool.h>
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { EL_U8, EL_I8, EL_U16, EL_I16, EL_U32, EL_I32, EL_I64, EL_F16, EL_F32, EL_F64 } el_type;
enum { EL_TYPES = 10 };

size_t el_size(el_type t);
/* "16-bit float" */
const char *el_name(el_type t);
/* Integers are codes that stand for something, floats are the thing itself. */
bool el_is_float(el_type t);
/* The number at `at`, which need not be aligned. */
float el_f32(el_type t, const void *at);
#ifdef __cplusplus
}
#endif
#endif
