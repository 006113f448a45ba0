/* .npy: magic, version, length of the header, a Python dictionary, the elements. Format: numpy's lib/format. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "datasets/array.h"

enum { FILE_MAX = 1 << 30, FRONT = 8, DIGITS_MAX = 10 };

/* The dictionary from `at` to `end`, read from left to right. */
typedef struct text { const char *at, *end; } text;

typedef struct header {
  bool has_descr, has_order, has_shape, fortran;
  char descr[16];
  int ndim;
  int64_t shape[DS_ARRAY_DIMS_MAX];
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

/* (3, 4) or (3,) */
static bool take_shape(text *t, header *h) {
  if (!take(t, '(')) return false;
  for (h->ndim = 0; !take(t, ')');) {
    if (h->ndim == DS_ARRAY_DIMS_MAX || !take_integer(t, &h->shape[h->ndim++])) return false;
    if (take(t, ',')) continue;
    return h->ndim > 1 && take(t, ')');
  }
  return h->ndim > 0;
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

static bool find_type(const char *descr, ds_element *out) {
  static const struct { const char *descr; ds_element type; } all[] = {
      {"|u1", DS_U8}, {"|b1", DS_U8}, {"|i1", DS_I8}, {"<u2", DS_U16}, {"<i2", DS_I16}, {"<u4", DS_U32},
      {"<i4", DS_I32}, {"<f2", DS_F16}, {"<f4", DS_F32}, {"<f8", DS_F64}};

  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (strcmp(descr, all[i].descr) == 0) {
      *out = all[i].type;
      return true;
    }
  return false;
}

/* Where the dictionary lies, and where the elements begin. */
static int find_header(const char *path, const char *bytes, size_t n, text *dict, size_t *start) {
  int st = OK;
  const uint8_t *b = (const uint8_t *)bytes;

  NEED(n >= FRONT + 2 && memcmp(bytes, "\x93NUMPY", 6) == 0, E_DATA, "%s: not a .npy file", path);
  NEED(b[6] >= 1 && b[6] <= 3 && b[7] == 0, E_DATA, "%s: a .npy file of version %d.%d, 1.0 to 3.0 are read", path, b[6], b[7]);
  const size_t width = b[6] == 1 ? 2 : 4;
  NEED(n >= FRONT + width, E_DATA, "%s: truncated in the .npy header", path);
  size_t length = (size_t)b[8] | (size_t)b[9] << 8;
  if (width == 4) length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
  NEED(length <= n - FRONT - width, E_DATA, "%s: truncated in the .npy header", path);
  *start = FRONT + width + length;
  *dict = (text){bytes + FRONT + width, bytes + *start};
out:
  return st;
}

static int check_header(const char *path, const header *h, size_t bytes, ds_array *out) {
  int st = OK;
  uint64_t want;

  NEED(find_type(h->descr, &out->type), E_DATA,
       "%s: elements of type '%s'; wanted u1, u2, u4, i1, i2, i4, f2, f4, f8 or b1, little endian", path, h->descr);
  NEED(!h->fortran, E_DATA, "%s: an array in Fortran order, C order wanted (numpy.ascontiguousarray)", path);
  want = ds_element_size(out->type);
  for (int i = 0; i < h->ndim; i++) {
    NEED(h->shape[i] > 0 && h->shape[i] <= FILE_MAX && (want *= (uint64_t)h->shape[i]) <= FILE_MAX, E_DATA,
         "%s: dimension %d is %" PRId64, path, i, h->shape[i]);
    out->shape[i] = h->shape[i];
  }
  out->ndim = h->ndim;
  NEED(bytes == want, E_DATA, "%s: %zu bytes of elements, the header wants %" PRIu64, path, bytes, want);
out:
  return st;
}

int ds_npy_read(const char *path, ds_buf *file, ds_array *out) {
  int st = OK;
  size_t n, start = 0;
  text dict = {0};
  header h;
  ds_array a = {0};

  TRY(ds_file_read(path, FILE_MAX, file, &n));
  TRY(find_header(path, file->p, n, &dict, &start));
  NEED(take_header(&dict, &h), E_DATA,
       "%s: the .npy header is no dictionary of descr, fortran_order and a shape of 1 to %d dimensions", path,
       DS_ARRAY_DIMS_MAX);
  TRY(check_header(path, &h, n - start, &a));
  a.data = (const char *)file->p + start;
  *out = a;
out:
  return st;
}
