#include "checkpoints/part.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/io.h"

/* ---- one precision ---- */

static bool is_float(st_dtype t) { return t == ST_F16 || t == ST_BF16 || t == ST_F32 || t == ST_F64; }

static int to_half(const char *path, const st_tensor *t, const float *values, uint16_t *out) {
  int st = OK;
  const size_t n = (size_t)st_numel(t);

  half_from_f32_n(values, out, n);
  for (size_t i = 0; i < n; i++)
    NEED(!isfinite(values[i]) || (out[i] & 0x7c00) != 0x7c00, E_NUMERIC, "%s: %s has %g, which half precision cannot hold",
         path, t->name, (double)values[i]);
out:
  return st;
}

/* *t becomes a copy of from in dtype; its data, from malloc, are *owned. */
static int convert(const char *path, const st_tensor *from, st_dtype dtype, st_tensor *t, void **owned) {
  int st = OK;
  const size_t n = (size_t)st_numel(from);
  float *wide = malloc(sizeof *wide * n + 1);
  uint16_t *half = NULL;

  NEED(wide, E_NOMEM, "%s: %s", path, from->name);
  TRY_AS(E_CKPT, st_to_f32(from, wide), "%s", path);
  *t = *from;
  t->dtype = dtype;
  t->nbytes = n * st_dtype_size(dtype);
  if (dtype == ST_F16) {
    NEED((half = malloc(sizeof *half * n + 1)) != NULL, E_NOMEM, "%s: %s", path, from->name);
    TRY(to_half(path, from, wide, half));
    *owned = half;
    half = NULL;
  } else {
    *owned = wide;
    wide = NULL;
  }
  t->data = *owned;
out:
  free(wide);
  free(half);
  return st;
}

static int write_as(st_dtype dtype, const char *path, const st_tensor *tensors, size_t n, const char *const *meta,
                    size_t n_meta) {
  int st = OK;
  st_tensor *list = calloc(n + 1, sizeof *list);
  void **owned = calloc(n + 1, sizeof *owned);

  NEED(list && owned, E_NOMEM, "%s: %zu tensors", path, n);
  for (size_t i = 0; i < n; i++) {
    list[i] = tensors[i];
    if (is_float(tensors[i].dtype) && tensors[i].dtype != dtype) TRY(convert(path, &tensors[i], dtype, &list[i], &owned[i]));
  }
  TRY(st_write(path, list, n, meta, n_meta));
out:
  for (size_t i = 0; owned && i < n; i++) free(owned[i]);
  free(owned);
  free(list);
  return st;
}

int ck_weights_write(const char *dir, const char *stem, ck_precisions p, const st_tensor *tensors, size_t n,
                     const char *const *meta, size_t n_meta) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(io_path(path, "%s/%s.safetensors", dir, stem));
  if (p.f32) TRY(write_as(ST_F32, path, tensors, n, meta, n_meta));
  TRY(io_path(path, "%s/%s.fp16.safetensors", dir, stem));
  if (p.f16) TRY(write_as(ST_F16, path, tensors, n, meta, n_meta));
out:
  return st;
}

/* ---- a part's weights, in whatever files ---- */

typedef struct part {
  char dir[IO_PATH_MAX];
  st_file **files;
  size_t n_files;
  bool single;          /* one file of the plain name, which may be copied as it is */
  st_tensor *tensors;   /* [n]; data lent by the files, or by owned */
  size_t n;
  void **owned;         /* [n]; what edits made */
} part;

static void part_close(part *w) {
  for (size_t i = 0; i < w->n_files; i++) st_close(&w->files[i]);
  for (size_t i = 0; w->owned && i < w->n; i++) free(w->owned[i]);
  free(w->files);
  free(w->owned);
  free(w->tensors);
  memset(w, 0, sizeof *w);
}

/* STEM.safetensors or, of shards, STEM-00001-of-00002.safetensors */
static bool is_of(const char *name, const char *stem) {
  const size_t n = strlen(stem), m = strlen(name), end = strlen(".safetensors");

  return m >= n + end && !strncmp(name, stem, n) && !strcmp(name + m - end, ".safetensors") &&
         (m == n + end || name[n] == '-');
}

static int open_stem(part *w, char **names, size_t n, const char *stem) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(io_path(path, "%s/%s.safetensors", w->dir, stem));
  const bool single = io_exists(path);
  NEED((w->files = calloc(n + 1, sizeof(st_file *))) != NULL, E_NOMEM, "%s", w->dir);
  for (size_t i = 0; i < n; i++) {
    if (!is_of(names[i], stem) || (single && names[i][strlen(stem)] == '-')) continue;
    TRY(io_path(path, "%s/%s", w->dir, names[i]));
    TRY_AS(E_CKPT, st_open(path, &w->files[w->n_files]), "weights");
    w->n += st_count(w->files[w->n_files++]);
  }
out:
  return st;
}

static int list_tensors(part *w) {
  int st = OK;
  size_t at = 0;

  w->tensors = calloc(w->n + 1, sizeof *w->tensors);
  w->owned = calloc(w->n + 1, sizeof *w->owned);
  NEED(w->tensors && w->owned, E_NOMEM, "%s: %zu tensors", w->dir, w->n);
  for (size_t i = 0; i < w->n_files; i++)
    for (size_t k = 0; k < st_count(w->files[i]); k++) w->tensors[at++] = *st_at(w->files[i], k);
out:
  return st;
}

static int part_open(part *w, const char *stem) {
  int st = OK;
  char **names = NULL, variant[IO_PATH_MAX];
  size_t n = 0;

  TRY(io_list_dir(w->dir, &names, &n));
  TRY(open_stem(w, names, n, stem));
  w->single = w->n_files == 1;
  if (!w->n_files) {
    free(w->files);
    TRY(io_path(variant, "%s.fp16", stem));
    TRY(open_stem(w, names, n, variant));
  }
  NEED(w->n_files, E_CKPT, "%s: no %s.safetensors", w->dir, stem);
  TRY(list_tensors(w));
out:
  io_free_names(&names, n);
  return st;
}

static int apply(part *w, const ck_part_edit *e) {
  int st = OK;
  size_t i = 0;

  while (i < w->n && strcmp(w->tensors[i].name, e->tensor)) i++;
  NEED(i < w->n && w->tensors[i].ndim && w->tensors[i].shape[0] >= e->rows, E_CKPT, "%s: no %s", w->dir, e->tensor);
  if (!w->owned[i]) TRY(convert(w->dir, &w->tensors[i], ST_F32, &w->tensors[i], &w->owned[i]));
  float *values = w->owned[i];
  const int64_t row = st_numel(&w->tensors[i]) / w->tensors[i].shape[0], rows = e->rows ? e->rows : w->tensors[i].shape[0];
  for (int64_t k = 0; k < row * rows; k++) values[k] *= e->factor;
out:
  return st;
}

static int write_weights(part *w, const char *to, const char *stem, ck_precisions p, const ck_part_edit *edits) {
  int st = OK;
  static const char *const meta[] = {"format", "pt"};
  char path[IO_PATH_MAX];

  for (const ck_part_edit *e = edits; e && e->tensor; e++) TRY(apply(w, e));
  if (p.f32 && w->single && !(edits && edits->tensor)) {
    TRY(io_path(path, "%s/%s.safetensors", to, stem));
    TRY(io_copy_file(st_path(w->files[0]), path));
    p.f32 = false;
  }
  TRY(ck_weights_write(to, stem, p, w->tensors, w->n, meta, 1));
out:
  return st;
}

int ck_part_copy(const char *base, const char *out, const char *name, const char *stem, ck_precisions p,
                 const ck_part_edit *edits, bool *found) {
  int st = OK;
  char from[IO_PATH_MAX], to[IO_PATH_MAX], dir[IO_PATH_MAX];
  part w = {.files = NULL};

  TRY(io_path(w.dir, "%s/%s", base, name));
  *found = io_is_dir(w.dir);
  if (!*found) goto out;
  TRY(io_path(dir, "%s/%s", out, name));
  TRY(io_make_dirs(dir));
  TRY(io_path(from, "%s/config.json", w.dir));
  TRY(io_path(to, "%s/config.json", dir));
  TRY(io_copy_file(from, to));
  TRY(part_open(&w, stem));
  TRY(write_weights(&w, dir, stem, p, edits));
  TRY(io_sync_dir(dir));
out:
  part_close(&w);
  return st;
}

int ck_part_copy_files(const char *base, const char *out, const char *name, bool *found) {
  int st = OK;
  char dir[IO_PATH_MAX], into[IO_PATH_MAX], from[IO_PATH_MAX], to[IO_PATH_MAX], **names = NULL;
  size_t n = 0;

  TRY(io_path(dir, "%s/%s", base, name));
  *found = io_is_dir(dir);
  if (!*found) goto out;
  TRY(io_path(into, "%s/%s", out, name));
  TRY(io_make_dirs(into));
  TRY(io_list_dir(dir, &names, &n));
  for (size_t i = 0; i < n; i++) {
    TRY(io_path(from, "%s/%s", dir, names[i]));
    TRY(io_path(to, "%s/%s", into, names[i]));
    if (names[i][0] != '.' && !io_is_dir(from)) TRY(io_copy_file(from, to));
  }
  TRY(io_sync_dir(into));
out:
  io_free_names(&names, n);
  return st;
}
