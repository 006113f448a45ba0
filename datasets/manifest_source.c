/* A user's own images, as a manifest lists them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "datasets/kind.h"
#include "datasets/manifest_rows.h"
#include "datasets/normals_frame.h"
#include "datasets/pixel_file.h"

typedef struct list {
  ds_manifest *m;
  ds_pixel_reader reader;
  ds_buf mask;
} list;

/* Metres per stored unit when neither row nor config says: integers are millimetres, as most cameras and tools write. */
static const double MILLIMETRE = 0.001;
/* Lengths that pass for a unit vector's, and the share of vectors that must. */
static const float UNIT_MIN = 0.8f, UNIT_MAX = 1.2f;

static list *list_of(const ds_source *s) { return s->list; }
static const ds_row *row_at(const ds_source *s, int64_t i) { return &list_of(s)->m->row[i]; }

/* ---- the list ---- */

/* The first file of a row that is not there; "" when all that will be read are. */
static int find_missing(const ds_source *s, const ds_row *row, char missing[IO_PATH_MAX], const char **field) {
  int st = OK;
  size_t file;

  missing[0] = 0;
  for (int f = 0; f < DS_ROW_FILES; f++) {
    if (!row->file[f] || (f == DS_ROW_NORMALS && !(s->o.need & DS_NEED_NORMALS))) continue;
    TRY(ds_manifest_path(list_of(s)->m, row, (ds_row_file)f, missing));
    ds_file_format_of(missing, &file);
    missing[file] = 0;
    *field = ds_row_file_name((ds_row_file)f);
    if (!io_exists(missing)) goto out;
  }
  missing[0] = 0;
out:
  return st;
}

/* With bad_file: fatal every file must be there, otherwise those of one row; what is missing then is reported when its
 * turn comes. */
static int check_files(const ds_source *s) {
  int st = OK;
  char missing[IO_PATH_MAX], text[IO_PATH_MAX + 64];
  const char *field = "";
  const ds_manifest *m = list_of(s)->m;
  ds_problems problems = {0};

  for (int64_t i = 0; i < m->n; i++) {
    TRY(find_missing(s, &m->row[i], missing, &field));
    if (!missing[0] && s->o.skip_bad_files) goto out;
    if (!missing[0]) continue;
    snprintf(text, sizeof text, "%s:%d: %s: %.2000s: no such file", m->path, m->row[i].line, field, missing);
    TRY(ds_problems_add(&problems, text));
  }
  TRY(ds_problems_tell(&problems, m->path));
out:
  free(problems.text);
  return st;
}

static int manifest_open(ds_source *s) {
  int st = OK;
  list *l;
  const ds_manifest_wants wants = {.split = s->o.split,
                                   .depth = s->o.need & (DS_NEED_METRIC | DS_NEED_DEPTH),
                                   .normals = s->o.need & DS_NEED_NORMALS,
                                   .euclidean = s->o.euclidean};

  NEED((s->list = l = calloc(1, sizeof *l)) != NULL, E_NOMEM, "out of memory: manifest");
  TRY(ds_manifest_open(s->o.root, &wants, &l->m));
  TRY(check_files(s));
  s->count = l->m->n;
  log_info("%s: %lld rows of split %s; %lld of others", l->m->path, (long long)l->m->n, s->o.split, (long long)l->m->other);
out:
  return st;
}

static void manifest_close(ds_source *s) {
  list *l = s->list;

  if (!l) return;
  ds_manifest_close(&l->m);
  ds_pixel_reader_free(&l->reader);
  ds_buf_free(&l->mask);
  free(l);
}

static void manifest_describe(const ds_source *s, int64_t i, char id[DS_ID_MAX]) {
  snprintf(id, DS_ID_MAX, "%s", row_at(s, i)->file[DS_ROW_RGB]);
}

static int manifest_domain(const ds_source *s, int64_t i) { return row_at(s, i)->domain; }

/* The row but for its line. */
static void manifest_fingerprint(const ds_source *s, int64_t i, ds_hasher *h) {
  const ds_row *row = row_at(s, i);
  const double numbers[] = {row->has_camera, row->fx, row->fy, row->cx, row->cy, row->depth_unit, row->euclidean, row->near_m, row->far_m};

  for (int f = 0; f < DS_ROW_FILES; f++) ds_hasher_add(h, row->file[f] ? row->file[f] : "", row->file[f] ? strlen(row->file[f]) + 1 : 1);
  ds_hasher_add(h, numbers, sizeof numbers);
}

/* ---- a row ---- */

static int begin_file(ds_source *s, const ds_row *row, ds_row_file f, char path[IO_PATH_MAX]) {
  int st = OK;

  TRY(ds_manifest_path(list_of(s)->m, row, f, path));
  ds_source_reading(s, path);
out:
  return st;
}

static int manifest_size(ds_source *s, int64_t i, int *H, int *W) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(begin_file(s, row_at(s, i), DS_ROW_RGB, path));
  TRY(ds_pixels_size(&list_of(s)->reader, path, H, W));
out:
  return st;
}

/* One of the row's float files, of the size of its image. */
static int read_floats(ds_source *s, const ds_row *row, ds_row_file f, int channels, ds_buf *out, el_type *stored) {
  int st = OK;
  char path[IO_PATH_MAX], rgb[IO_PATH_MAX];
  int H, W;

  TRY(begin_file(s, row, f, path));
  TRY(ds_pixels_floats(&list_of(s)->reader, path, channels, out, &H, &W, stored));
  TRY(ds_manifest_path(list_of(s)->m, row, DS_ROW_RGB, rgb));
  TRY(ds_same_size(path, H, W, rgb, s->frame.H, s->frame.W));
out:
  return st;
}

/* Distance along the ray to depth along the axis. The centre of the first pixel is (0,0), as in OpenCV. */
static void make_planar(const ds_row *row, float *depth, int H, int W) {
  for (int y = 0; y < H; y++)
    for (int x = 0; x < W; x++) {
      const double a = (x - row->cx) / row->fx, b = (y - row->cy) / row->fy;
      float *d = depth + (size_t)y * (size_t)W + (size_t)x;
      *d = (float)(*d / sqrt(a * a + b * b + 1));
    }
}

static int read_depth(ds_source *s, const ds_row *row) {
  int st = OK;
  el_type stored;

  TRY(read_floats(s, row, DS_ROW_DEPTH, 1, &s->frame.depth, &stored));
  const size_t n = (size_t)s->frame.H * (size_t)s->frame.W;
  const double given = row->depth_unit > 0 ? row->depth_unit : s->o.depth_unit;
  const double unit = given > 0 ? given : el_is_float(stored) ? 1 : MILLIMETRE;
  float *depth = s->frame.depth.p;
  for (size_t i = 0; i < n; i++) depth[i] = (float)(depth[i] * unit);
  if (row->euclidean < 0 ? s->o.euclidean : row->euclidean) make_planar(row, depth, s->frame.H, s->frame.W);
  for (size_t i = 0; i < n; i++)
    if (!(depth[i] > row->near_m && depth[i] < row->far_m)) depth[i] = 0;
out:
  return st;
}

/* Without depth every pixel counts, as far as its normal is known. */
static int no_depth(ds_source *s) {
  int st = OK;
  const size_t n = (size_t)s->frame.H * (size_t)s->frame.W;

  TRY(ds_buf_need(&s->frame.depth, n * sizeof(float)));
  float *depth = s->frame.depth.p;
  for (size_t i = 0; i < n; i++) depth[i] = 1;
out:
  return st;
}

static int apply_mask(ds_source *s, const ds_row *row) {
  int st = OK;
  list *l = list_of(s);
  el_type stored;

  TRY(read_floats(s, row, DS_ROW_MASK, 1, &l->mask, &stored));
  const float *mask = l->mask.p;
  float *depth = s->frame.depth.p;
  for (size_t i = 0; i < (size_t)s->frame.H * (size_t)s->frame.W; i++)
    if (!(mask[i] > 0)) depth[i] = 0;
out:
  return st;
}

/* Codes to vectors in the data set's own frame: code / largest code * 2 - 1; all codes 0: unknown. */
static void decode_codes(float *v, size_t n, float largest) {
  for (size_t i = 0; i < n; i++, v += 3) {
    const bool known = v[0] > 0 || v[1] > 0 || v[2] > 0;
    for (int c = 0; c < 3; c++) v[c] = known ? v[c] / largest * 2 - 1 : 0;
  }
}

/* Vectors of unit length are turned to our frame; the others are unknown. Returns how many there are of each. */
static void take_vectors(ds_normals_frame frame, float *v, size_t n, size_t *unit, size_t *other) {
  *unit = *other = 0;
  for (size_t i = 0; i < n; i++, v += 3) {
    const float length = sqrtf(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    const bool good = length >= UNIT_MIN && length <= UNIT_MAX;
    *unit += good;
    *other += !good && length > 0.02f; /* mid-grey is none: codes cannot hold an exact zero */
    if (good) ds_normals_to_lub(frame, v);
    else v[0] = v[1] = v[2] = 0;
  }
}

static int read_normals(ds_source *s, const ds_row *row) {
  int st = OK;
  el_type stored;
  size_t unit, other;
  char path[IO_PATH_MAX];

  TRY(read_floats(s, row, DS_ROW_NORMALS, 3, &s->frame.normals, &stored));
  TRY(ds_manifest_path(list_of(s)->m, row, DS_ROW_NORMALS, path));
  NEED(el_is_float(stored) || stored == EL_U8 || stored == EL_U16, E_DATA,
       "%s: normals as %s; wanted floats, or 8 or 16-bit codes", path, el_name(stored));
  const size_t n = (size_t)s->frame.H * (size_t)s->frame.W;
  if (!el_is_float(stored)) decode_codes(s->frame.normals.p, n, stored == EL_U8 ? 255 : 65535);
  take_vectors(s->o.normals_frame, s->frame.normals.p, n, &unit, &other);
  NEED(unit >= other, E_DATA, "%s: no normal map: %zu vectors are not of unit length, %zu are", path, other, unit);
  s->frame.normals_are_images = false;
out:
  return st;
}

static int manifest_decode(ds_source *s, int64_t i) {
  int st = OK;
  const ds_row *row = row_at(s, i);
  char path[IO_PATH_MAX];

  s->item_domain = row->domain;
  s->frame.no_depth = !row->file[DS_ROW_DEPTH];
  TRY(begin_file(s, row, DS_ROW_RGB, path));
  TRY(ds_pixels_rgb8(&list_of(s)->reader, path, &s->frame.rgb, &s->frame.H, &s->frame.W));
  TRY(s->frame.no_depth ? no_depth(s) : read_depth(s, row));
  if (row->file[DS_ROW_MASK]) TRY(apply_mask(s, row));
  if (s->o.need & DS_NEED_NORMALS) TRY(read_normals(s, row));
out:
  return st;
}

const ds_kind ds_kind_manifest = {.name = "manifest",
                                  .far_default = INFINITY,
                                  .domain_default = DS_INDOOR,
                                  .open = manifest_open,
                                  .close = manifest_close,
                                  .describe = manifest_describe,
                                  .domain = manifest_domain,
                                  .fingerprint = manifest_fingerprint,
                                  .size = manifest_size,
                                  .decode = manifest_decode};
