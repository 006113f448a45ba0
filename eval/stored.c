#include "eval/stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/npy.h"
#include "datasets/png.h"
#include "eval/store.h"

struct ev_stored {
  ev_store *store;
  const ev_set *set;
  bool stems_differ; /* no two images of the set share a stem */
  ds_buf file, pixels;
};

static const char *file_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* Length of the name without its ending. */
static int stem_length(const char *file) {
  const char *dot = strrchr(file, '.');
  return dot && dot > file ? (int)(dot - file) : (int)strlen(file);
}

static int by_stem(const void *a, const void *b) {
  const char *x = *(const char *const *)a, *y = *(const char *const *)b;
  const int n = stem_length(x), m = stem_length(y), order = strncmp(x, y, (size_t)(n < m ? n : m));
  return order ? order : n - m;
}

static int compare_stems(ev_stored *s) {
  int st = OK;
  const int64_t n = ev_set_count(s->set);
  const char **files = malloc(((size_t)n + 1) * sizeof *files);

  NEED(files, E_NOMEM, "%lld names", (long long)n);
  for (int64_t i = 0; i < n; i++) files[i] = file_of(ev_set_id(s->set, i));
  qsort(files, (size_t)n, sizeof *files, by_stem);
  s->stems_differ = true;
  for (int64_t i = 1; i < n && s->stems_differ; i++) s->stems_differ = by_stem(&files[i - 1], &files[i]) != 0;
out:
  free(files);
  return st;
}

int ev_stored_open(const char *path, const ev_set *set, ev_stored **out) {
  int st = OK;
  ev_stored *s = calloc(1, sizeof *s);

  NEED(s, E_NOMEM, "%s: out of memory", path);
  s->set = set;
  TRY(ev_store_open(path, &s->store));
  TRY(compare_stems(s));
  *out = s;
  s = NULL;
out:
  ev_stored_close(&s);
  return st;
}

void ev_stored_close(ev_stored **sp) {
  ev_stored *s = *sp;

  if (!s) return;
  ev_store_close(&s->store);
  ds_buf_free(&s->file);
  ds_buf_free(&s->pixels);
  free(s);
  *sp = NULL;
}

/* The first of the names that is there. */
static int find(const ev_stored *s, const char *id, char name[EV_NAME_MAX + 8]) {
  int st = OK;
  static const char *const endings[] = {"npy", "png"};
  char stems[3][EV_NAME_MAX] = {"", "", ""};
  const char *file = file_of(id);
  const ev_protocol *p = ev_set_protocol(s->set);

  snprintf(stems[0], EV_NAME_MAX, "%.*s", (int)(file - id) + stem_length(file), id);
  if (p && !ev_protocol_pred_name(p, id, stems[1])) stems[1][0] = 0;
  if (s->stems_differ) snprintf(stems[2], EV_NAME_MAX, "%.*s", stem_length(file), file);
  for (int i = 0; i < 6; i++) {
    if (!stems[i / 2][0]) continue;
    snprintf(name, EV_NAME_MAX + 8, "%.*s.%s", EV_NAME_MAX - 1, stems[i / 2], endings[i % 2]);
    if (ev_store_has(s->store, name)) return OK;
  }
  FAIL(E_DATA, "%s: no prediction %s.npy or .png", ev_store_path(s->store), stems[0]);
out:
  return st;
}

/* The array's axes without those of size 1, as far as more than `wanted` are there. */
static int squeeze(int ndim, const int64_t *shape, int wanted, int64_t out[8]) {
  int kept = 0, spare = ndim - wanted;

  for (int i = 0; i < ndim; i++) {
    if (shape[i] == 1 && spare > 0) spare--;
    else out[kept++] = shape[i];
  }
  return kept;
}

static int wrong_shape(const char *name, int ndim, const int64_t *shape, const ev_item *item) {
  char text[128] = "";
  int n = 0;

  for (int i = 0; i < ndim && n < 100; i++)
    n += snprintf(text + n, sizeof text - (size_t)n, "%s%lld", i ? "," : "", (long long)shape[i]);
  return err_set(E_DATA, __FILE__, __LINE__, "%s: a prediction of [%s], the truth has %d rows and %d columns", name, text,
                 item->H, item->W);
}

static int read_npy(ev_stored *s, const char *name, size_t bytes, const ev_item *item, float *out) {
  int st = OK, ndim;
  int64_t shape[8], d[8];
  float *data = NULL;
  const size_t n = (size_t)item->H * (size_t)item->W;
  const bool normals = ev_set_task(s->set) == EV_NORMALS;

  TRY_AS(E_DATA, npy_parse_f32(name, s->file.p, bytes, &ndim, shape, &data), "%s", ev_store_path(s->store));
  const int axes = squeeze(ndim, shape, normals ? 3 : 2, d);
  if (!normals && axes == 2 && d[0] == item->H && d[1] == item->W) {
    memcpy(out, data, n * sizeof *out);
  } else if (normals && axes == 3 && d[0] == 3 && d[1] == item->H && d[2] == item->W) {
    memcpy(out, data, 3 * n * sizeof *out);
  } else if (normals && axes == 3 && d[0] == item->H && d[1] == item->W && d[2] == 3) {
    for (size_t i = 0; i < 3 * n; i++) out[i % 3 * n + i / 3] = data[i];
  } else {
    st = wrong_shape(name, ndim, shape, item);
  }
out:
  free(data);
  return st;
}

static int check_size(const char *name, int H, int W, const ev_item *item) {
  return H == item->H && W == item->W ? OK : wrong_shape(name, 2, (int64_t[]){H, W}, item);
}

static int read_png_depth(ev_stored *s, const char *name, size_t bytes, const ev_item *item, float *out) {
  int st = OK, H, W;

  TRY(ds_png_decode_grey16(name, s->file.p, bytes, &s->pixels, &H, &W));
  TRY(check_size(name, H, W, item));
  for (size_t i = 0; i < (size_t)H * (size_t)W; i++) out[i] = (float)((uint16_t *)s->pixels.p)[i] / 65535.f;
out:
  return st;
}

static int read_png_normals(ev_stored *s, const char *name, size_t bytes, const ev_item *item, float *out) {
  int st = OK, H, W, channels, bits;

  TRY(ds_png_decode(name, s->file.p, bytes, &s->pixels, &H, &W, &channels, &bits));
  NEED(channels == 3, E_DATA, "%s: wanted a PNG of normals, RGB, found grey", name);
  TRY(check_size(name, H, W, item));
  const size_t n = (size_t)H * (size_t)W;
  for (size_t i = 0; i < 3 * n; i++) {
    const float v = bits == 16 ? (float)((uint16_t *)s->pixels.p)[i] / 65535.f : (float)((uint8_t *)s->pixels.p)[i] / 255.f;
    out[i % 3 * n + i / 3] = v * 2 - 1;
  }
out:
  return st;
}

int ev_stored_read(void *stored, int64_t i, const ev_item *item, float *out) {
  int st = OK;
  ev_stored *s = stored;
  char name[EV_NAME_MAX + 8];
  size_t bytes;

  TRY(find(s, ev_set_id(s->set, i), name));
  TRY(ev_store_read(s->store, name, &s->file, &bytes));
  if (!strcmp(name + strlen(name) - 4, ".npy")) TRY(read_npy(s, name, bytes, item, out));
  else if (ev_set_task(s->set) == EV_NORMALS) TRY(read_png_normals(s, name, bytes, item, out));
  else TRY(read_png_depth(s, name, bytes, item, out));
out:
  return st;
}
