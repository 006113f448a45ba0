/* Reading .npy: magic, version, length of the header, a Python dictionary, the elements. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/npy.h"

enum { FRONT = 8, DIGITS_MAX = 18 };

/* The dictionary from `at` to `end`, read from left to right. */
typedef struct text { const char *at, *end; } text;

typedef struct header {
  bool has_descr, has_order, has_shape, fortran;
  char descr[16];
  int ndim;
  int64_t shape[NPY_MAX_DIMS];
} header;

static void skip_blanks(text *t) {
  while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\n' || *t->at == '\r')) t->at++;
}

/* Takes the letter, after blanks. */
static bool take(text *t, char letter) {
  skip_blanks(t);
  if (t->at == t->end || *t->at != letter) return false;
  t->at++;
  return true;
}

static bool take_word(text *t, const char *word) {
  const size_t n = strlen(word);

  skip_blanks(t);
  if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n) != 0) return false;
  t->at += n;
  return true;
}

/* A string between quotes of either sort, without escapes. */
static bool take_string(text *t, char *out, size_t size) {
  skip_blanks(t);
  if (t->at == t->end || (*t->at != '\'' && *t->at != '"')) return false;
  const char *from = t->at + 1, *to = memchr(from, *t->at, (size_t)(t->end - from));
  if (!to || (size_t)(to - from) >= size) return false;
  memcpy(out, from, (size_t)(to - from));
  out[to - from] = 0;
  t->at = to + 1;
  return true;
}

static bool take_integer(text *t, int64_t *out) {
  int digits = 0;

  skip_blanks(t);
  *out = 0;
  for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++) {
    if (++digits > DIGITS_MAX) return false;
    *out = 10 * *out + (*t->at - '0');
  }
  return digits > 0;
}

/* (3, 4), (3,) or () */
static bool take_shape(text *t, header *h) {
  if (!take(t, '(')) return false;
  for (h->ndim = 0; !take(t, ')');) {
    if (h->ndim == NPY_MAX_DIMS || !take_integer(t, &h->shape[h->ndim++])) return false;
    if (take(t, ',')) continue;
    return h->ndim > 1 && take(t, ')');
  }
  return true;
}

static bool take_order(text *t, header *h) {
  h->fortran = take_word(t, "True");
  return h->fortran || take_word(t, "False");
}

/* One `key: value`, each key once. */
static bool take_entry(text *t, header *h) {
  char key[32];

  if (!take_string(t, key, sizeof key) || !take(t, ':')) return false;
  if (strcmp(key, "descr") == 0 && !h->has_descr) return h->has_descr = take_string(t, h->descr, sizeof h->descr);
  if (strcmp(key, "fortran_order") == 0 && !h->has_order) return h->has_order = take_order(t, h);
  if (strcmp(key, "shape") == 0 && !h->has_shape) return h->has_shape = take_shape(t, h);
  return false;
}

static bool take_header(text *t, header *h) {
  *h = (header){0};
  if (!take(t, '{')) return false;
  while (!take(t, '}')) {
    if (!take_entry(t, h)) return false;
    if (take(t, ',')) continue;
    if (!take(t, '}')) return false;
    break;
  }
  skip_blanks(t);
  return t->at == t->end && h->has_descr && h->has_order && h->has_shape;
}

static bool find_type(const char *descr, el_type *out) {
  static const struct { const char *descr; el_type type; } all[] = {
      {"|u1", EL_U8},  {"|b1", EL_U8},  {"|i1", EL_I8},  {"<u2", EL_U16}, {"<i2", EL_I16}, {"<u4", EL_U32},
      {"<i4", EL_I32}, {"<i8", EL_I64}, {"<f2", EL_F16}, {"<f4", EL_F32}, {"<f8", EL_F64}};

  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (strcmp(descr, all[i].descr) == 0) {
      *out = all[i].type;
      return true;
    }
  return false;
}

/* Where the dictionary lies; the elements begin behind it. */
static int find_header(const char *buf, size_t n, text *dict) {
  int st = OK;
  const uint8_t *b = (const uint8_t *)buf;

  NEED(n >= FRONT + 2 && memcmp(buf, "\x93NUMPY", 6) == 0, E_FORMAT, "not a .npy file");
  NEED(b[6] >= 1 && b[6] <= 3 && b[7] == 0, E_FORMAT, "a .npy file of version %d.%d, 1.0 to 3.0 are read", b[6], b[7]);
  const size_t width = b[6] == 1 ? 2 : 4;
  NEED(n >= FRONT + width, E_FORMAT, "truncated in the .npy header");
  size_t length = (size_t)b[8] | (size_t)b[9] << 8;
  if (width == 4) length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
  NEED(length <= n - FRONT - width, E_FORMAT, "truncated in the .npy header");
  *dict = (text){buf + FRONT + width, buf + FRONT + width + length};
out:
  return st;
}

/* Type and shape; *bytes: of the elements. */
static int check_header(const header *h, npy_array *out, size_t *bytes) {
  int st = OK;

  NEED(find_type(h->descr, &out->type), E_FORMAT,
       "elements of type '%s'; wanted u1, u2, u4, i1, i2, i4, i8, f2, f4, f8 or b1, little endian", h->descr);
  NEED(!h->fortran, E_FORMAT, "an array in Fortran order, C order wanted (numpy.ascontiguousarray)");
  out->ndim = h->ndim;
  out->count = 1;
  for (int i = 0; i < h->ndim; i++) {
    out->shape[i] = h->shape[i];
    NEED(!__builtin_mul_overflow(out->count, (size_t)h->shape[i], &out->count), E_FORMAT, "dimension %d is %" PRId64, i, h->shape[i]);
  }
  NEED(!__builtin_mul_overflow(out->count, el_size(out->type), bytes), E_FORMAT, "%zu elements", out->count);
out:
  return st;
}

int npy_parse(const char *buf, size_t bytes, npy_array *out) {
  int st = OK;
  text dict = {0};
  header h;
  size_t want = 0;
  npy_array a = {0};

  TRY(find_header(buf, bytes, &dict));
  const char *const data = dict.end;
  NEED(take_header(&dict, &h), E_FORMAT,
       "the .npy header is no dictionary of descr, fortran_order and a shape of at most %d dimensions", NPY_MAX_DIMS);
  TRY(check_header(&h, &a, &want));
  const size_t found = bytes - (size_t)(data - buf);
  NEED(found == want, E_FORMAT, "%zu bytes of elements, the header wants %zu", found, want);
  a.data = data;
  *out = a;
out:
  return st;
}

int npy_parse_f32(const char *path, const char *buf, size_t bytes, int *ndim, int64_t *shape, float **data) {
  int st = OK;
  npy_array a;
  float *values = NULL;

  TRY_AS(st, npy_parse(buf, bytes, &a), "%s", path);
  NEED((values = malloc(a.count ? a.count * sizeof *values : 1)) != NULL, E_NOMEM, "%s: %zu floats", path, a.count);
  for (size_t i = 0; i < a.count; i++) values[i] = el_f32(a.type, (const char *)a.data + el_size(a.type) * i);
  *ndim = a.ndim;
  memcpy(shape, a.shape, (size_t)a.ndim * sizeof *shape);
  *data = values;
out:
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
