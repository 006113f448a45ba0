#include "base/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/half.h"

enum { HEADER_MAX = 100 * 1000 * 1000 };

/* ---- types ---- */

/* rank: place in the writer's order, which is by alignment, then by the enum of Python's writer. */
static const struct { const char *name; size_t size; int rank; } dtypes[ST_DTYPES] = {
    [ST_I64] = {"I64", 8, 0}, [ST_F64] = {"F64", 8, 1},   [ST_F32] = {"F32", 4, 2}, [ST_I32] = {"I32", 4, 3},
    [ST_BF16] = {"BF16", 2, 4}, [ST_F16] = {"F16", 2, 5}, [ST_I16] = {"I16", 2, 6}, [ST_I8] = {"I8", 1, 7},
    [ST_U8] = {"U8", 1, 8},   [ST_BOOL] = {"BOOL", 1, 9}};

size_t st_dtype_size(st_dtype t) { return dtypes[t].size; }
const char *st_dtype_name(st_dtype t) { return dtypes[t].name; }

int64_t st_numel(const st_tensor *t) {
  int64_t n = 1;
  for (int i = 0; i < t->ndim; i++) n *= t->shape[i];
  return n;
}

const char *st_shape_text(int ndim, const int64_t *shape) {
  enum { RING = 4, SIZE = 22 * ST_MAX_DIMS };
  static _Thread_local char ring[RING][SIZE];
  static _Thread_local unsigned next;
  char *text = ring[next++ % RING];
  int n = snprintf(text, SIZE, "[");

  for (int i = 0; i < ndim && i < ST_MAX_DIMS; i++)
    n += snprintf(text + n, (size_t)(SIZE - n), "%s%lld", i ? "," : "", (long long)shape[i]);
  snprintf(text + n, (size_t)(SIZE - n), "]");
  return text;
}

/* Bytes of shape times type; false on overflow or a negative size. */
static bool byte_count(st_dtype dtype, int ndim, const int64_t *shape, size_t *bytes) {
  int64_t n = (int64_t)dtypes[dtype].size;

  for (int i = 0; i < ndim; i++) {
    if (shape[i] < 0 || __builtin_mul_overflow(n, shape[i], &n)) return false;
  }
  *bytes = (size_t)n;
  return true;
}

/* ---- reading ---- */

struct st_file {
  char *path;
  void *map;
  size_t size;
  json_t *header; /* owns the names and the metadata */
  size_t n;
  st_tensor *tensors; /* by name */
};

static int map_file(st_file *f) {
  int st = OK;
  struct stat s;
  const int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang the program */

  NEED(fd >= 0, E_IO, "%s: cannot open: %s", f->path, strerror(errno));
  NEED(fstat(fd, &s) == 0, E_IO, "%s: cannot look at: %s", f->path, strerror(errno));
  NEED(S_ISREG(s.st_mode), E_IO, "%s: not a file%s", f->path, S_ISDIR(s.st_mode) ? " but a folder" : "");
  NEED(s.st_size >= 8, E_FORMAT, "%s: %lld bytes, too short for a safetensors file", f->path, (long long)s.st_size);
  f->map = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  NEED(f->map != MAP_FAILED, errno == ENOMEM ? E_NOMEM : E_IO, "%s: cannot map: %s", f->path, strerror(errno));
  f->size = (size_t)s.st_size;
out:
  if (f->map == MAP_FAILED) f->map = NULL;
  if (fd >= 0) close(fd);
  return st;
}

/* Parses the JSON; *data is where the tensors' bytes begin. */
static int parse_json(st_file *f, size_t *data) {
  int st = OK;
  uint64_t length = 0;
  json_error_t why;
  const unsigned char *b = f->map;

  for (int i = 7; i >= 0; i--) length = length << 8 | b[i];
  NEED(length <= HEADER_MAX, E_FORMAT, "%s: header of %llu bytes, at most %d are allowed", f->path,
       (unsigned long long)length, HEADER_MAX);
  NEED(length <= f->size - 8, E_FORMAT, "%s: header of %llu bytes in a file of %zu: the file is cut", f->path,
       (unsigned long long)length, f->size);
  NEED(length && b[8] == '{', E_FORMAT, "%s: the header is no JSON object", f->path);
  f->header = json_loadb((const char *)b + 8, (size_t)length, JSON_REJECT_DUPLICATES, &why);
  NEED(f->header || why.text[0], E_NOMEM, "%s: header: out of memory", f->path);
  NEED(f->header, E_FORMAT, "%s: header: %s (line %d, column %d)", f->path, why.text, why.line, why.column);
  *data = 8 + (size_t)length;
out:
  return st;
}

static bool dtype_from(const char *name, st_dtype *out) {
  for (int i = 0; name && i < ST_DTYPES; i++) {
    if (strcmp(name, dtypes[i].name) != 0) continue;
    *out = (st_dtype)i;
    return true;
  }
  return false;
}

static int parse_shape(const st_file *f, const json_t *shape, st_tensor *t) {
  int st = OK;

  NEED(json_is_array(shape), E_FORMAT, "%s: %s: no shape", f->path, t->name);
  NEED(json_array_size(shape) <= ST_MAX_DIMS, E_FORMAT, "%s: %s: %zu dimensions, at most %d are read", f->path, t->name,
       json_array_size(shape), ST_MAX_DIMS);
  t->ndim = (int)json_array_size(shape);
  for (int i = 0; i < t->ndim; i++) {
    const json_t *d = json_array_get(shape, (size_t)i);
    NEED(json_is_integer(d) && json_integer_value(d) >= 0, E_FORMAT, "%s: %s: dimension %d is no size", f->path, t->name,
         i);
    t->shape[i] = json_integer_value(d);
  }
out:
  return st;
}

static int parse_tensor(const st_file *f, size_t data, const char *name, const json_t *o, st_tensor *t) {
  int st = OK;
  size_t want;
  const char *dtype = json_string_value(json_object_get(o, "dtype"));
  const json_t *offsets = json_object_get(o, "data_offsets");
  const json_t *b = json_array_get(offsets, 0), *e = json_array_get(offsets, 1);

  t->name = name;
  NEED(dtype_from(dtype, &t->dtype), E_FORMAT, "%s: %s: type %s is not known", f->path, name, dtype ? dtype : "(none)");
  TRY(parse_shape(f, json_object_get(o, "shape"), t));
  NEED(json_array_size(offsets) == 2 && json_is_integer(b) && json_is_integer(e), E_FORMAT,
       "%s: %s: data_offsets are not two integers", f->path, name);
  const json_int_t begin = json_integer_value(b), end = json_integer_value(e);
  NEED(begin >= 0 && end >= begin, E_FORMAT, "%s: %s: data_offsets [%lld,%lld]", f->path, name, (long long)begin,
       (long long)end);
  NEED((size_t)end <= f->size - data, E_FORMAT, "%s: %s: ends at byte %lld of the data, which has %zu: the file is cut",
       f->path, name, (long long)end, f->size - data);
  NEED(byte_count(t->dtype, t->ndim, t->shape, &want) && want == (size_t)(end - begin), E_FORMAT,
       "%s: %s: %s %s does not take %lld bytes", f->path, name, dtype, st_shape_text(t->ndim, t->shape),
       (long long)(end - begin));
  t->data = (const char *)f->map + data + begin;
  t->nbytes = want;
out:
  return st;
}

static int check_metadata(const st_file *f, json_t *meta) {
  int st = OK;
  const char *key;
  json_t *value;

  NEED(!meta || json_is_object(meta), E_FORMAT, "%s: __metadata__ is no object", f->path);
  json_object_foreach(meta, key, value)
    NEED(json_is_string(value), E_FORMAT, "%s: __metadata__: the value of %s is no text", f->path, key);
out:
  return st;
}

static int by_place(const void *a, const void *b) {
  const st_tensor *x = a, *y = b;
  if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
  return (x->nbytes > y->nbytes) - (x->nbytes < y->nbytes); /* an empty tensor before the one at its place */
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const st_tensor *)a)->name, ((const st_tensor *)b)->name);
}

/* The tensors must lie one behind the other from the first byte of the data to the last. */
static int check_layout(const st_file *f, size_t data) {
  int st = OK;
  const char *at = (const char *)f->map + data;

  for (size_t i = 0; i < f->n; i++) {
    const st_tensor *t = &f->tensors[i];
    NEED(t->data == at, E_FORMAT, "%s: %s: begins at byte %td of the data, %td wanted: %s", f->path, t->name,
         (const char *)t->data - (const char *)f->map - (ptrdiff_t)data, at - (const char *)f->map - (ptrdiff_t)data,
         (const char *)t->data < at ? "it overlaps the one before" : "there is a hole");
    at += t->nbytes;
  }
  NEED(at == (const char *)f->map + f->size, E_FORMAT, "%s: %td bytes behind the last tensor", f->path,
       (const char *)f->map + f->size - at);
out:
  return st;
}

static int parse_header(st_file *f) {
  int st = OK;
  size_t data;
  const char *name;
  json_t *o;

  TRY(parse_json(f, &data));
  TRY(check_metadata(f, json_object_get(f->header, "__metadata__")));
  f->tensors = calloc(json_object_size(f->header) + 1, sizeof *f->tensors);
  NEED(f->tensors, E_NOMEM, "%s: a table of %zu tensors", f->path, json_object_size(f->header));
  json_object_foreach(f->header, name, o) {
    if (strcmp(name, "__metadata__") == 0) continue;
    TRY(parse_tensor(f, data, name, o, &f->tensors[f->n]));
    f->n++;
  }
  qsort(f->tensors, f->n, sizeof *f->tensors, by_place);
  TRY(check_layout(f, data));
  qsort(f->tensors, f->n, sizeof *f->tensors, by_name);
out:
  return st;
}

int st_open(const char *path, st_file **out) {
  int st = OK;
  st_file *f = calloc(1, sizeof *f);

  NEED(f && (f->path = strdup(path)), E_NOMEM, "%s: cannot open: out of memory", path);
  TRY(map_file(f));
  TRY(parse_header(f));
  *out = f;
  f = NULL;
out:
  st_close(&f);
  return st;
}

void st_close(st_file **f) {
  st_file *s = *f;

  if (!s) return;
  if (s->map) munmap(s->map, s->size);
  json_decref(s->header);
  free(s->tensors);
  free(s->path);
  free(s);
  *f = NULL;
}

const char *st_path(const st_file *f) { return f->path; }
size_t st_count(const st_file *f) { return f->n; }
const st_tensor *st_at(const st_file *f, size_t i) { return &f->tensors[i]; }

const st_tensor *st_find(const st_file *f, const char *name) {
  const st_tensor key = {.name = name};
  return f->n ? bsearch(&key, f->tensors, f->n, sizeof key, by_name) : NULL;
}

const char *st_metadata(const st_file *f, const char *key) {
  return json_string_value(json_object_get(json_object_get(f->header, "__metadata__"), key));
}

int st_to_f32(const st_tensor *t, float *out) {
  int st = OK;
  const size_t n = (size_t)st_numel(t);
  const char *p = t->data;
  uint16_t h;
  double d;

  switch (t->dtype) {
  case ST_F32:
    if (n) memcpy(out, p, n * sizeof *out);
    break;
  case ST_F16:
    for (size_t i = 0; i < n; i++) memcpy(&h, p + 2 * i, 2), out[i] = half_to_f32(h);
    break;
  case ST_BF16:
    for (size_t i = 0; i < n; i++) memcpy(&h, p + 2 * i, 2), out[i] = bf16_to_f32(h);
    break;
  case ST_F64:
    for (size_t i = 0; i < n; i++) memcpy(&d, p + 8 * i, 8), out[i] = (float)d;
    break;
  case ST_U8:
    for (size_t i = 0; i < n; i++) out[i] = (float)(unsigned char)p[i];
    break;
  default: FAIL(E_FORMAT, "%s: type %s, a float type or U8 wanted", t->name, dtypes[t->dtype].name);
  }
out:
  return st;
}

/* ---- writing ---- */

static int by_write_order(const void *a, const void *b) {
  const st_tensor *x = *(const st_tensor *const *)a, *y = *(const st_tensor *const *)b;
  if (x->dtype != y->dtype) return dtypes[x->dtype].rank - dtypes[y->dtype].rank;
  return strcmp(x->name, y->name);
}

/* A JSON string with the escapes of Python's writer (serde_json): UTF-8 stays, \u00xx in lower case. */
static void put_string(FILE *h, const char *s) {
  static const char plain[] = "\b\f\n\r\t\"\\", after[] = "bfnrt\"\\";

  fputc('"', h);
  for (; *s; s++) {
    const char *hit = strchr(plain, *s);
    if (hit) fprintf(h, "\\%c", after[hit - plain]);
    else if ((unsigned char)*s < 0x20) fprintf(h, "\\u%04x", (unsigned char)*s);
    else fputc(*s, h);
  }
  fputc('"', h);
}

static void put_metadata(FILE *h, const char *const *meta, size_t n_meta) {
  fprintf(h, "\"__metadata__\":{");
  for (size_t i = 0; i < n_meta; i++) {
    if (i) fputc(',', h);
    put_string(h, meta[2 * i]);
    fputc(':', h);
    put_string(h, meta[2 * i + 1]);
  }
  fputc('}', h);
}

static void put_tensor(FILE *h, const st_tensor *t, size_t begin) {
  put_string(h, t->name);
  fprintf(h, ":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", dtypes[t->dtype].name,
          st_shape_text(t->ndim, t->shape), begin, begin + t->nbytes);
}

/* The header with its length in front, padded to 8, from malloc. */
static int make_header(const char *path, const st_tensor **order, size_t n, const char *const *meta, size_t n_meta,
                       char **out, size_t *size) {
  int st = OK;
  bool good = false;
  char *text = NULL;
  size_t bytes = 0, at = 0;
  FILE *h = open_memstream(&text, &bytes);

  NEED(h, E_NOMEM, "%s: its header", path);
  fwrite("\0\0\0\0\0\0\0\0{", 1, 9, h);
  if (n_meta) put_metadata(h, meta, n_meta);
  for (size_t i = 0; i < n; i++) {
    if (i || n_meta) fputc(',', h);
    put_tensor(h, order[i], at);
    at += order[i]->nbytes;
  }
  fputc('}', h);
  fflush(h);
  for (size_t pad = (8 - bytes % 8) % 8; pad; pad--) fputc(' ', h);
  good = !ferror(h);
out:
  if (h && fclose(h) != 0) good = false;
  if (st == OK && !good) st = err_set(E_NOMEM, __FILE__, __LINE__, "%s: its header", path);
  if (st != OK) {
    free(text);
    return st;
  }
  for (int i = 0; i < 8; i++) text[i] = (char)((bytes - 8) >> 8 * i & 0xff);
  *out = text;
  *size = bytes;
  return st;
}

static int by_name_ref(const void *a, const void *b) {
  return by_name(*(const st_tensor *const *)a, *(const st_tensor *const *)b);
}

/* Leaves order sorted by name. */
static int check_tensors(const char *path, const st_tensor **order, size_t n) {
  int st = OK;
  size_t want;

  qsort(order, n, sizeof *order, by_name_ref);
  for (size_t i = 0; i < n; i++) {
    const st_tensor *t = order[i];
    NEED(byte_count(t->dtype, t->ndim, t->shape, &want) && want == t->nbytes, E_FAIL, "%s: %s: %zu bytes for %s %s", path,
         t->name, t->nbytes, dtypes[t->dtype].name, st_shape_text(t->ndim, t->shape));
    NEED(i == 0 || by_name(order[i - 1], t) != 0, E_FAIL, "%s: two tensors are named %s", path, t->name);
  }
out:
  return st;
}

int st_write_into(io_file *f, const st_tensor *tensors, size_t n, const char *const *meta, size_t n_meta) {
  int st = OK;
  char *head = NULL;
  size_t size = 0;
  const st_tensor **order = malloc((n + 1) * sizeof *order);

  NEED(order, E_NOMEM, "%s: a table of %zu tensors", f->path, n);
  for (size_t i = 0; i < n; i++) order[i] = &tensors[i];
  TRY(check_tensors(f->path, order, n));
  qsort(order, n, sizeof *order, by_write_order);
  TRY(make_header(f->path, order, n, meta, n_meta, &head, &size));
  TRY(io_write(f, head, size));
  for (size_t i = 0; i < n; i++) TRY(io_write(f, order[i]->data, order[i]->nbytes));
out:
  free(head);
  free(order);
  return st;
}

int st_write(const char *path, const st_tensor *tensors, size_t n, const char *const *meta, size_t n_meta) {
  int st = OK;
  char tmp[IO_PATH_MAX] = "";
  io_file f = {.fd = -1};

  TRY(io_path(tmp, "%s.tmp", path));
  TRY(io_create(tmp, &f));
  TRY(st_write_into(&f, tensors, n, meta, n_meta));
  TRY(io_sync(&f));
  TRY(io_close(&f));
  TRY(io_rename(tmp, path));
  TRY(io_sync_parent(path));
out:
  if (st != OK) io_discard(&f, tmp);
  return st;
}
