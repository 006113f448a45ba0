#include <inttypes.h>
#include <string.h>

#include "base/npy.h"
#include "datasets/array.h"

enum { FILE_MAX = 1 << 30 };

int ds_npy_read(const char *path, ds_buf *file, ds_array *out) {
  int st = OK;
  size_t n;
  npy_array a;

  TRY(ds_file_read(path, FILE_MAX, file, &n));
  TRY_AS(E_DATA, npy_parse(file->p, n, &a), "%s", path);
  NEED(a.ndim >= 1 && a.ndim <= DS_ARRAY_DIMS_MAX, E_DATA, "%s: an array of %d dimensions, 1 to %d wanted", path, a.ndim, DS_ARRAY_DIMS_MAX);
  for (int i = 0; i < a.ndim; i++) NEED(a.shape[i] > 0, E_DATA, "%s: dimension %d is %" PRId64, path, i, a.shape[i]);
  *out = (ds_array){.type = a.type, .ndim = a.ndim, .data = a.data};
  memcpy(out->shape, a.shape, (size_t)a.ndim * sizeof *a.shape);
out:
  return st;
}
