#include "base/npy.h"

#include <stdio.h>
#include <string.h>

#include "base/io.h"

enum { NPY_HEADER_MAX = 512 };
static const char magic[8] = "\x93NUMPY\x01\x00";

/* Elements of a shape; false when a size is negative or the product has no size_t of bytes. */
static bool count_of(int ndim, const int64_t *shape, size_t size, size_t *n) {
  size_t bytes = size;

  *n = 1;
  for (int i = 0; i < ndim; i++) {
    if (shape[i] < 0 || __builtin_mul_overflow(*n, (size_t)shape[i], n)) return false;
  }
  return !__builtin_mul_overflow(bytes, *n, &bytes) && bytes <= PTRDIFF_MAX;
}

/* Magic, length and dictionary, padded so that the data begins at a multiple of 64 as numpy does. */
static size_t format_header(const char *descr, int ndim, const int64_t *shape, char out[NPY_HEADER_MAX]) {
  const size_t front = sizeof magic + 2;
  int n = snprintf(out + front, NPY_HEADER_MAX - front, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);

  for (int i = 0; i < ndim; i++) {
    n += snprintf(out + front + n, NPY_HEADER_MAX - front - (size_t)n, "%s%lld%s", i ? " " : "", (long long)shape[i],
                  i + 1 < ndim || ndim == 1 ? "," : "");
  }
  n += snprintf(out + front + n, NPY_HEADER_MAX - front - (size_t)n, "), }");
  const size_t total = (front + (size_t)n + 1 + 63) / 64 * 64, length = total - front;
  memset(out + front + n, ' ', length - (size_t)n);
  out[total - 1] = '\n';
  memcpy(out, magic, sizeof magic);
  out[sizeof magic] = (char)(length & 0xff);
  out[sizeof magic + 1] = (char)(length >> 8);
  return total;
}

static int save(const char *path, const char *descr, size_t size, int ndim, const int64_t *shape, const void *data) {
  int st = OK;
  size_t n;
  char head[NPY_HEADER_MAX];
  io_file f = {.fd = -1};

  NEED(ndim >= 0 && ndim <= NPY_MAX_DIMS && count_of(ndim, shape, size, &n), E_SHAPE, "%s: %d dimensions", path, ndim);
  TRY(io_create(path, &f));
  TRY(io_write(&f, head, format_header(descr, ndim, shape, head)));
  TRY(io_write(&f, data, n * size));
  TRY(io_close(&f));
out:
  if (st != OK) io_discard(&f, "");
  return st;
}

int npy_save_f32(const char *path, int ndim, const int64_t *shape, const float *data) {
  return save(path, "<f4", sizeof *data, ndim, shape, data);
}

int npy_save_bool(const char *path, int ndim, const int64_t *shape, const uint8_t *data) {
  return save(path, "|b1", sizeof *data, ndim, shape, data);
}
