#include "eval/sparse_points.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "base/npy.h"
#include "datasets/csv.h"
#include "datasets/png.h"

static int number(const ds_csv *c, const char *name, const char *text, double *out) {
  int st = OK;
  char *end;

  *out = strtod(text, &end);
  NEED(end != text && !end[strspn(end, " ")], E_DATA, "%s:%d: %s: wanted a number, found '%s'", ds_csv_path(c), ds_csv_line(c), name, text);
out:
  return st;
}

static int read_csv(const char *path, int H, int W, float *target) {
  static const char *const names[] = {"x", "y", "depth"};
  int st = OK, col[3];
  double v[3];
  char **fields;
  ds_csv *c = NULL;

  TRY(ds_csv_open(path, &c));
  for (int i = 0; i < 3; i++) TRY(ds_csv_column(c, names[i], &col[i]));
  for (;;) {
    TRY(ds_csv_next(c, &fields));
    if (!fields) break;
    for (int i = 0; i < 3; i++) TRY(number(c, names[i], fields[col[i]], &v[i]));
    NEED(v[0] >= 0 && v[0] < W && v[1] >= 0 && v[1] < H, E_DATA, "%s:%d: (%g, %g) lies outside the image of %d x %d", path,
         ds_csv_line(c), v[0], v[1], W, H);
    target[(size_t)v[1] * (size_t)W + (size_t)v[0]] = (float)v[2];
  }
out:
  ds_csv_close(&c);
  return st;
}

static int read_npy(const char *path, int H, int W, float *target) {
  int st = OK, ndim;
  int64_t shape[8];
  float *values = NULL;

  TRY_AS(E_DATA, npy_load_f32(path, &ndim, shape, &values), "points");
  NEED(ndim == 2 && shape[0] == H && shape[1] == W, E_DATA, "%s: wanted [%d,%d] as the image has, found an array of %d dimensions%s",
       path, H, W, ndim, ndim == 2 ? " and another size" : "");
  memcpy(target, values, sizeof *values * (size_t)H * (size_t)W);
out:
  free(values);
  return st;
}

static int read_png(const char *path, int H, int W, float *target) {
  int st = OK, h, w;
  ds_buf buf = {0};

  TRY(ds_png_read_grey16(path, &buf, &h, &w));
  NEED(h == H && w == W, E_DATA, "%s: wanted %d x %d as the image has, found %d x %d", path, W, H, w, h);
  for (size_t i = 0; i < (size_t)H * (size_t)W; i++) target[i] = (float)((const uint16_t *)buf.p)[i] * 1e-3f;
out:
  ds_buf_free(&buf);
  return st;
}

int ev_points_read(const char *path, int H, int W, float *target, uint8_t *mask) {
  int st = OK;
  const char *dot = strrchr(path, '.');
  const size_t n = (size_t)H * (size_t)W;
  size_t known = 0;

  memset(target, 0, sizeof *target * n);
  if (dot && !strcasecmp(dot, ".csv")) TRY(read_csv(path, H, W, target));
  else if (dot && !strcasecmp(dot, ".npy")) TRY(read_npy(path, H, W, target));
  else if (dot && !strcasecmp(dot, ".png")) TRY(read_png(path, H, W, target));
  else FAIL(E_DATA, "%s: points are .csv, .npy or .png", path);
  for (size_t i = 0; i < n; i++) known += mask[i] = isfinite(target[i]) && target[i] > 0;
  NEED(known >= 2, E_DATA, "%s: %zu point%s with a depth, two are wanted at least", path, known, known == 1 ? "" : "s");
out:
  return st;
}

int ev_points_find(const char *path, const char *name, char out[IO_PATH_MAX]) {
  static const char *const endings[] = {".csv", ".npy", ".png"};
  int st = OK;

  if (!io_is_dir(path)) {
    TRY(io_path(out, "%s", path));
    NEED(io_exists(out), E_DATA, "%s: no such file or folder", path);
    goto out;
  }
  for (int i = 0; i < 3; i++) {
    TRY(io_path(out, "%s/%s%s", path, name, endings[i]));
    if (io_exists(out)) goto out;
  }
  FAIL(E_DATA, "%s: no points of %s in it (.csv, .npy or .png)", path, name);
out:
  return st;
}
