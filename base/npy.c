#include "base/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/io.h"

enum { NPY_MAX_DIMS = 8, NPY_HEADER_MAX = 512 };
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

/* The value behind a key of the header's dictionary. */
static const char *value_of(const char *dict, const char *key) {
  const char *p = strstr(dict, key);
  if (!p || !(p = strchr(p + strlen(key), ':'))) return NULL;
  return p + 1 + strspn(p + 1, " ");
}

static bool parse_shape(const char *p, int *ndim, int64_t *shape) {
  *ndim = 0;
  if (*p++ != '(') return false;
  for (;;) {
    char *end;
    p += strspn(p, " ,");
    if (*p == ')') return true;
    if (*ndim == NPY_MAX_DIMS || *p < '0' || *p > '9') return false;
    shape[(*ndim)++] = strtoll(p, &end, 10);
    p = end;
  }
}

/* Types that become float, and what one element is. */
typedef struct npy_type { const char *descr; size_t size; } npy_type;
static const npy_type types[] = {{"'<f4'", 4}, {"'<f8'", 8}, {"'<f2'", 2}, {"'|u1'", 1}, {"'|b1'", 1}, {NULL, 0}};

/* Checks the header and finds the data; size: bytes an element, which tells the types apart. */
static int parse_header(const char *path, const char *buf, size_t n, int *ndim, int64_t *shape, size_t *size,
                        size_t *start) {
  int st = OK;
  char dict[NPY_HEADER_MAX];
  const char *descr, *order, *dims;
  size_t length, count;
  const npy_type *type = types;

  NEED(n >= 10 && memcmp(buf, magic, sizeof magic) == 0, E_FORMAT, "%s: not a .npy file of version 1.0", path);
  length = (size_t)(unsigned char)buf[8] | (size_t)(unsigned char)buf[9] << 8;
  NEED(length < sizeof dict && 10 + length <= n, E_FORMAT, "%s: a header of %zu bytes in a file of %zu", path, length, n);
  memcpy(dict, buf + 10, length);
  dict[length] = 0;
  descr = value_of(dict, "'descr'");
  order = value_of(dict, "'fortran_order'");
  dims = value_of(dict, "'shape'");
  NEED(descr && order && dims, E_FORMAT, "%s: header without descr, fortran_order and shape", path);
  while (type->descr && strncmp(descr, type->descr, 5)) type++;
  NEED(type->descr, E_FORMAT, "%s: elements are %.8s, '<f4', '<f8', '<f2', '|u1' or '|b1' wanted", path, descr);
  NEED(strncmp(order, "False", 5) == 0, E_FORMAT, "%s: Fortran order, C order wanted", path);
  *size = type->size;
  NEED(parse_shape(dims, ndim, shape) && count_of(*ndim, shape, *size, &count), E_FORMAT, "%s: bad shape %.60s", path,
       dims);
  NEED(n - 10 - length == count * *size, E_FORMAT, "%s: %zu bytes of data, the shape wants %zu", path, n - 10 - length,
       count * *size);
  *start = 10 + length;
out:
  return st;
}

static float element(const char *p, size_t size) {
  float f;
  double wide;
  uint16_t half;

  switch (size) {
  case 1: return (float)(unsigned char)*p;
  case 2: memcpy(&half, p, sizeof half); return half_to_f32(half);
  case 4: memcpy(&f, p, sizeof f); return f;
  default: memcpy(&wide, p, sizeof wide); return (float)wide;
  }
}

int npy_parse_f32(const char *path, const char *buf, size_t bytes, int *ndim, int64_t *shape, float **data) {
  int st = OK, nd = 0;
  int64_t dims[NPY_MAX_DIMS];
  size_t size = 0, start = 0, n;
  float *values = NULL;

  TRY(parse_header(path, buf, bytes, &nd, dims, &size, &start));
  n = (bytes - start) / size;
  NEED((values = malloc(n ? n * sizeof *values : 1)) != NULL, E_NOMEM, "%s: %zu floats", path, n);
  for (size_t i = 0; i < n; i++) values[i] = element(buf + start + size * i, size);
  *ndim = nd;
  memcpy(shape, dims, (size_t)nd * sizeof *dims);
  *data = values;
  values = NULL;
out:
  free(values);
  return st;
}

int npy_load_f32(const char *path, int *ndim, int64_t *shape, float **data) {
  int st = OK;
  size_t bytes;
  char *buf = NULL;

  TRY(io_read_file(path, PTRDIFF_MAX - 1, &buf, &bytes));
  TRY(npy_parse_f32(path, buf, bytes, ndim, shape, data));
out:
  free(buf);
  return st;
}
