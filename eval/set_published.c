/* eval/set_published.c: sets in their published layout: list, image, truth, valid pixels. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/npy.h"
#include "datasets/jpeg.h"
#include "datasets/png.h"
#include "eval/set_kind.h"

enum { LIST_MAX = 1 << 26, COLUMNS = 4, CROP_H = 352, CROP_W = 1216 };

/* ---- list ---- */

static int add_entry(ev_set *s, const ev_names *names, const char *problem) {
  int st = OK;

  if ((size_t)s->total == s->room) {
    const size_t room = s->room ? 2 * s->room : 256;
    ev_entry *grown = realloc(s->entries, room * sizeof *grown);
    NEED(grown, E_NOMEM, "%s: %zu images", s->name, room);
    s->entries = grown;
    s->room = room;
  }
  ev_entry *e = &s->entries[s->total];
  *e = (ev_entry){*names, NULL};
  if (problem) NEED((e->problem = strdup(problem)) != NULL, E_NOMEM, "%s: out of memory", s->name);
  s->total++;
out:
  return st;
}

/* Words of a line, at most COLUMNS; the line is cut into them. */
static int split_line(char *line, char *words[COLUMNS]) {
  int n = 0;

  for (char *rest = NULL, *w = strtok_r(line, " \t\r", &rest); w && n < COLUMNS; w = strtok_r(NULL, " \t\r", &rest)) words[n++] = w;
  return n;
}

static bool copy_name(char out[EV_NAME_MAX], const char *word) {
  while (word[0] == '.' && word[1] == '/') word += 2;
  return snprintf(out, EV_NAME_MAX, "%s", word) < EV_NAME_MAX;
}

/* One line: rgb, truth and whatever else the set's lists have. A wrong line becomes an entry that cannot be read. */
static int add_line(ev_set *s, const char *list, int number, char *words[COLUMNS], int n) {
  int st = OK;
  const ev_protocol *p = s->protocol;
  ev_names names = {0};
  char problem[EV_NAME_MAX] = "", rgb[EV_NAME_MAX] = "";

  if (n >= 2 && !strcmp(words[1], "None")) return OK; /* KITTI: images without truth */
  if (!copy_name(rgb, words[0])) snprintf(problem, sizeof problem, "%.200s:%d: a path is too long", list, number);
  else if (n < p->columns)
    snprintf(problem, sizeof problem, "%.200s:%d: wanted %d paths, found %d", list, number, p->columns, n);
  else if (p->columns == 1 ? !p->names_of(rgb, &names)
                           : !copy_name(names.truth, words[1]) || (p->columns > 2 && !copy_name(names.mask, words[2])))
    snprintf(problem, sizeof problem, "%.200s:%d: '%.200s' is no image of this set", list, number, words[0]);
  strcpy(names.rgb, rgb);
  TRY(add_entry(s, &names, problem[0] ? problem : NULL));
out:
  return st;
}

static int read_list(ev_set *s, const char *path) {
  int st = OK, number = 0;
  char *text = NULL, *words[COLUMNS];
  size_t size;

  TRY_AS(E_DATA, io_read_file(path, LIST_MAX, &text, &size), "%s", s->name);
  NEED(strlen(text) == size, E_DATA, "%s: a 0 byte in a list of files", path);
  for (char *line = text, *end; line; line = end) {
    if ((end = strchr(line, '\n'))) *end++ = 0;
    number++;
    const int n = split_line(line, words);
    if (n) TRY(add_line(s, path, number, words, n));
  }
  NEED(s->total, E_DATA, "%s: lists no image", path);
out:
  free(text);
  return st;
}

/* The published list, beside the archive or in the folder; "" when it is not there. */
static int find_list(const ev_set *s, char out[IO_PATH_MAX]) {
  int st = OK;
  const char *at = ev_store_path(s->store), *file = s->protocol->list;

  TRY(io_is_dir(at) ? io_path(out, "%s/%s", at, file) : io_path_beside(out, at, file));
  if (!io_exists(out)) out[0] = 0;
out:
  return st;
}

/* Every file that the layout makes an image of the set. KITTI's images without truth do not count. */
static int list_by_layout(ev_set *s) {
  int st = OK;
  const char *const *files;
  size_t n;
  ev_names names;

  TRY(ev_store_list(s->store, &files, &n));
  for (size_t i = 0; i < n; i++) {
    if (!s->protocol->names_of(files[i], &names)) continue;
    if (s->protocol->benchmark_crop && !ev_store_has(s->store, names.truth)) continue;
    TRY(add_entry(s, &names, NULL));
  }
  NEED(s->total, E_DATA, "%s: none of its %zu files is an image in %s's published layout; give a list with --set list=FILE",
       ev_store_path(s->store), n, s->protocol->title);
out:
  return st;
}

int ev_published_list(ev_set *s) {
  int st = OK;
  char path[IO_PATH_MAX] = "";

  if (s->settings.list[0]) TRY(io_path(path, "%s", s->settings.list));
  else TRY(find_list(s, path));
  if (path[0]) TRY(read_list(s, path));
  else TRY(list_by_layout(s));
out:
  return st;
}

/* ---- image and truth ---- */

static int read_image(ev_set *s, const char *name, ev_item *item) {
  int st = OK;
  size_t n;

  TRY(ev_store_read(s->store, name, &s->file, &n));
  if (n > 2 && !memcmp(s->file.p, "\xff\xd8", 2)) TRY(ds_jpeg_decode_rgb8(name, s->file.p, n, &s->rgb, &item->H, &item->W));
  else TRY(ds_png_decode_rgb8(name, s->file.p, n, &s->rgb, &item->H, &item->W));
out:
  return st;
}

static int same_size(const char *name, int H, int W, const ev_item *item) {
  int st = OK;

  NEED(H == item->H && W == item->W, E_DATA, "%s: %dx%d pixels (width x height), but %s has %dx%d", name, W, H, item->id,
       item->W, item->H);
out:
  return st;
}

static int read_u16_depth(ev_set *s, const char *name, const ev_item *item) {
  int st = OK, H, W;
  size_t bytes;
  const size_t n = (size_t)item->H * (size_t)item->W;

  TRY(ev_store_read(s->store, name, &s->file, &bytes));
  TRY(ds_png_decode_grey16(name, s->file.p, bytes, &s->pixels, &H, &W));
  TRY(same_size(name, H, W, item));
  for (size_t i = 0; i < n; i++) ((float *)s->truth.p)[i] = (float)((double)((uint16_t *)s->pixels.p)[i] / (double)s->protocol->unit);
out:
  return st;
}

static int read_raw_depth(ev_set *s, const char *name, const ev_item *item) {
  int st = OK;
  size_t bytes;
  const size_t n = (size_t)item->H * (size_t)item->W;
  float *truth = s->truth.p;

  TRY(ev_store_read(s->store, name, &s->file, &bytes));
  NEED(bytes == n * sizeof *truth, E_DATA, "%s: %zu bytes, wanted %zu: a float for each of %dx%d pixels (width x height)",
       name, bytes, n * sizeof *truth, item->W, item->H);
  memcpy(truth, s->file.p, bytes);
  for (size_t i = 0; i < n; i++)
    if (isinf(truth[i])) truth[i] = 0;
out:
  return st;
}

/* .npy [H,W], [H,W,1] or [1,H,W] into out. */
static int read_plane(ev_set *s, const char *name, const ev_item *item, float *out) {
  int st = OK, ndim;
  size_t bytes;
  int64_t shape[8], dims[8];
  int kept = 0;
  float *data = NULL;

  TRY(ev_store_read(s->store, name, &s->file, &bytes));
  TRY_AS(E_DATA, npy_parse_f32(name, s->file.p, bytes, &ndim, shape, &data), "%s", ev_store_path(s->store));
  for (int i = 0; i < ndim; i++)
    if (shape[i] != 1 || ndim <= 2) dims[kept++] = shape[i];
  NEED(kept == 2 && dims[0] == item->H && dims[1] == item->W, E_DATA,
       "%s: an array that is not [%d,%d], the image's height and width", name, item->H, item->W);
  memcpy(out, data, (size_t)item->H * (size_t)item->W * sizeof *out);
out:
  free(data);
  return st;
}

static int read_npy_depth(ev_set *s, const ev_names *names, const ev_item *item) {
  int st = OK;
  const size_t n = (size_t)item->H * (size_t)item->W;
  float *truth = s->truth.p, *marks;

  TRY(read_plane(s, names->truth, item, truth));
  TRY(ds_buf_need(&s->planes, n * sizeof *marks));
  marks = s->planes.p;
  TRY(read_plane(s, names->mask, item, marks));
  for (size_t i = 0; i < n; i++) ((uint8_t *)s->mask.p)[i] = marks[i] != 0 && isfinite(truth[i]) && truth[i] > 0;
out:
  return st;
}

/* PNG [H,W,3], 8 or 16 bit, to planes in [-1,1]; (0,0,0) is unknown. */
static int read_png_normals(ev_set *s, const char *name, const ev_item *item) {
  int st = OK, channels, bits, H, W;
  size_t bytes;
  const size_t n = (size_t)item->H * (size_t)item->W;
  float *truth = s->truth.p;
  uint8_t *mask = s->mask.p;

  TRY(ev_store_read(s->store, name, &s->file, &bytes));
  TRY(ds_png_decode(name, s->file.p, bytes, &s->pixels, &H, &W, &channels, &bits));
  NEED(channels == 3, E_DATA, "%s: wanted a PNG of normals, RGB, found grey", name);
  TRY(same_size(name, H, W, item));
  const float most = bits == 16 ? 65535.f : 255.f;
  for (size_t i = 0; i < n; i++) {
    mask[i] = 0;
    for (size_t c = 0; c < 3; c++) {
      const int v = bits == 16 ? ((uint16_t *)s->pixels.p)[3 * i + c] : ((uint8_t *)s->pixels.p)[3 * i + c];
      truth[c * n + i] = (float)v / most * 2 - 1;
      mask[i] |= v > 0;
    }
  }
out:
  return st;
}

/* .npy [H,W,3] to planes. */
static int read_vectors(ev_set *s, const char *name, const ev_item *item) {
  int st = OK, ndim;
  size_t bytes;
  int64_t shape[8];
  float *data = NULL, *truth = s->truth.p;
  const size_t n = (size_t)item->H * (size_t)item->W;

  TRY(ev_store_read(s->store, name, &s->file, &bytes));
  TRY_AS(E_DATA, npy_parse_f32(name, s->file.p, bytes, &ndim, shape, &data), "%s", ev_store_path(s->store));
  NEED(ndim == 3 && shape[0] == item->H && shape[1] == item->W && shape[2] == 3, E_DATA,
       "%s: an array that is not [%d,%d,3], the image's height and width", name, item->H, item->W);
  for (size_t i = 0; i < n; i++) {
    double square = 0;
    for (size_t c = 0; c < 3; c++) {
      truth[c * n + i] = data[3 * i + c];
      square += (double)data[3 * i + c] * (double)data[3 * i + c];
    }
    ((uint8_t *)s->mask.p)[i] = isfinite(square) && (s->protocol->truth == EV_REGION_NORMALS ? square > 0 : sqrt(square) > 0.5);
  }
out:
  free(data);
  return st;
}

/* stem: "DIR/X_normal"; what lies there decides. */
static int read_normals(ev_set *s, const char *stem, const ev_item *item) {
  int st = OK;
  char npy[EV_NAME_MAX + 8], png[EV_NAME_MAX + 8], original[EV_NAME_MAX + 8];

  snprintf(npy, sizeof npy, "%s.npy", stem);
  snprintf(png, sizeof png, "%s.png", stem);
  snprintf(original, sizeof original, "%s.%s", stem, s->protocol->truth == EV_REGION_NORMALS ? "pkl" : "exr");
  if (s->protocol->truth != EV_PNG_NORMALS && ev_store_has(s->store, npy)) {
    TRY(read_vectors(s, npy, item));
    goto out;
  }
  NEED(ev_store_has(s->store, png) || !ev_store_has(s->store, original), E_DATA,
       "%s: %s: convert the set once with scripts/convert_normals.py", ev_store_path(s->store), original);
  TRY(read_png_normals(s, png, item));
out:
  return st;
}

/* ---- valid pixels ---- */

static void cut(void *image, int W, int top, int left, size_t pixel) {
  for (int y = 0; y < CROP_H; y++)
    memmove((char *)image + (size_t)y * CROP_W * pixel, (char *)image + ((size_t)(top + y) * (size_t)W + (size_t)left) * pixel,
            CROP_W * pixel);
}

static int crop(ev_set *s, ev_item *item) {
  int st = OK;
  const int top = item->H - CROP_H, left = (item->W - CROP_W) / 2;

  NEED(s->task == EV_DEPTH, E_CONFIG, "--set crop: %s has no benchmark crop", s->protocol->title);
  NEED(item->H >= CROP_H && item->W >= CROP_W, E_DATA, "%s: %dx%d pixels (width x height) are less than the benchmark crop %dx%d",
       item->id, item->W, item->H, CROP_W, CROP_H);
  cut(s->rgb.p, item->W, top, left, 3);
  cut(s->truth.p, item->W, top, left, sizeof(float));
  cut(s->mask.p, item->W, top, left, 1);
  item->H = CROP_H;
  item->W = CROP_W;
out:
  return st;
}

static void mark_range(const ev_settings *o, const float *depth, size_t n, uint8_t *mask) {
  for (size_t i = 0; i < n; i++) mask[i] = depth[i] > o->near_m && depth[i] < o->far_m;
}

static int read_truth(ev_set *s, const ev_names *names, const ev_item *item) {
  switch (s->protocol->truth) {
  case EV_U16_DEPTH: return read_u16_depth(s, names->truth, item);
  case EV_RAW_DEPTH: return read_raw_depth(s, names->truth, item);
  case EV_NPY_DEPTH: return read_npy_depth(s, names, item);
  case EV_PNG_NORMALS:
  case EV_VECTOR_NORMALS:
  case EV_REGION_NORMALS: break;
  }
  return read_normals(s, names->truth, item);
}

int ev_published_read(ev_set *s, int64_t i, ev_item *out) {
  int st = OK;
  const ev_entry *e = &s->entries[i];
  const int channels = s->task == EV_NORMALS ? 3 : 1;

  NEED(!e->problem, E_DATA, "%s", e->problem);
  TRY(read_image(s, e->names.rgb, out));
  const size_t n = (size_t)out->H * (size_t)out->W;
  TRY(ds_buf_need(&s->truth, n * (size_t)channels * sizeof(float)));
  TRY(ds_buf_need(&s->mask, n));
  TRY(read_truth(s, &e->names, out));
  if (s->task == EV_DEPTH && !s->protocol->all_in_range) mark_range(&s->settings, s->truth.p, n, s->mask.p);
  if (s->settings.benchmark_crop) TRY(crop(s, out));
  ev_mark_box(s->settings.box, out->H, out->W, s->mask.p);
  out->rgb = s->rgb.p;
  out->truth = s->truth.p;
  out->mask = s->mask.p;
out:
  return st;
}
