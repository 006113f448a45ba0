/* base/safetensors.h: the safetensors file format, read by mapping and written byte for byte as Python's writer does.
 * A reader trusts nothing: header length against the file, 100 MB header cap, offsets in order without holes or
 * overlap, shape times type equal to the bytes, no duplicate names. Source: huggingface/safetensors README "Format". */
#ifndef BASE_SAFETENSORS_H
#define BASE_SAFETENSORS_H
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { ST_MAX_DIMS = 8 };
typedef enum { ST_BOOL, ST_U8, ST_I8, ST_I16, ST_F16, ST_BF16, ST_I32, ST_F32, ST_F64, ST_I64, ST_DTYPES } st_dtype;

typedef struct st_tensor {
  const char *name;
  st_dtype dtype;
  int ndim;
  int64_t shape[ST_MAX_DIMS];
  const void *data; /* little endian, row-major; not aligned in general */
  size_t nbytes;
} st_tensor;

typedef struct st_file st_file;
/* Errors: E_IO (missing, unreadable), E_FORMAT (anything wrong inside, with what), E_NOMEM. */
int st_open(const char *path, st_file **out);
void st_close(st_file **f);
const char *st_path(const st_file *f);
size_t st_count(const st_file *f);
/* Lent until st_close; in name order. */
const st_tensor *st_at(const st_file *f, size_t i);
/* NULL when there is none of that name. */
const st_tensor *st_find(const st_file *f, const char *name);
/* Value of a __metadata__ key, or NULL. */
const char *st_metadata(const st_file *f, const char *key);
/* n elements of t as float into out, from any float type or u8. Errors: E_FORMAT (integer type). */
int st_to_f32(const st_tensor *t, float *out);

size_t st_dtype_size(st_dtype t);
const char *st_dtype_name(st_dtype t); /* "F32" */
int64_t st_numel(const st_tensor *t);
/* "[2,3,40,56]", borrowed from a thread-local ring of 4 buffers. */
const char *st_shape_text(int ndim, const int64_t *shape);

/* Writes path.tmp, fsync, rename, fsync of the folder. meta: 2 n_meta strings, key then value, may be NULL.
 * Order of tensors as Python's writer: I64 F64 F32 I32 BF16 F16 I16 I8 U8 BOOL, then name. With more than one metadata
 * key Python's order is that of a random hash; here it is the caller's. Nothing but the header is held in memory.
 * Errors: E_DISK, E_IO, E_NOMEM, E_FAIL (two tensors of one name, nbytes unlike shape times type). */
int st_write(const char *path, const st_tensor *tensors, size_t n, const char *const *meta, size_t n_meta);
/* The same bytes into a file that the caller created, and will sync and close. */
int st_write_into(io_file *f, const st_tensor *tensors, size_t n, const char *const *meta, size_t n_meta);
#ifdef __cplusplus
}
#endif
#endif
