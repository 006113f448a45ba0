#include "eval/prediction_write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/npy.h"
#include "datasets/colour_map.h"
#include "datasets/image_write.h"
#include "eval/sparse_points.h"

static int path_of(const ev_write_opts *o, const char *name, const char *suffix, char path[IO_PATH_MAX]) {
  return io_path(path, "%s/%s%s", o->out, name, suffix);
}

static int make_folder(const ev_write_opts *o, const char *name) {
  int st = OK;
  char path[IO_PATH_MAX];

  if (!strchr(name, '/')) return OK;
  TRY(path_of(o, name, "", path));
  *strrchr(path, '/') = 0;
  TRY(io_make_dirs(path));
out:
  return st;
}

static int write_npy(const char *path, int C, int H, int W, const float *v) {
  const int64_t shape[] = {C, H, W};
  return npy_save_f32(path, C > 1 ? 3 : 2, shape + (C == 1), v);
}

/* Planes [C,n] -> [n,C] in 16 bits; lo to 0, lo + range to 65535. */
static int write_png16(const char *path, int C, int H, int W, const float *v, float lo, float range) {
  int st = OK;
  const size_t n = (size_t)H * (size_t)W;
  uint16_t *pixels = malloc(sizeof *pixels * n * (size_t)C);

  NEED(pixels, E_NOMEM, "%s: %d x %d pixels", path, W, H);
  for (size_t i = 0; i < n; i++)
    for (int c = 0; c < C; c++)
      pixels[i * (size_t)C + (size_t)c] = (uint16_t)lrintf(fminf(fmaxf((v[(size_t)c * n + i] - lo) / range, 0), 1) * 65535);
  TRY(ds_png_write16(path, W, H, C, pixels));
out:
  free(pixels);
  return st;
}

/* rgb [H,W,3] */
static void colour(ev_colour how, const ev_prediction *p, uint8_t *rgb) {
  const size_t n = (size_t)p->H * (size_t)p->W;

  if (p->C == 3) ds_colour_signed(p->values, NULL, n, rgb);
  else if (how == EV_COLOUR_GREY)
    for (size_t i = 0; i < n; i++) memset(rgb + 3 * i, (int)lrintf(fminf(fmaxf(p->values[i], 0), 1) * 255), 3);
  else ds_colour_depth(p->values, NULL, n, 0, 1, rgb);
}

/* Image pixel of sheet pixel i of n. */
static int nearest(int i, int n, int of) { return (int)(((int64_t)2 * i + 1) * of / (2 * (int64_t)n)); }

static int write_sheet(const char *path, const ev_image *image, const ev_prediction *p, const uint8_t *rgb) {
  int st = OK;
  const int H = p->H, W = p->W;
  const size_t row = 3 * (size_t)W;
  uint8_t *sheet = malloc(2 * row * (size_t)H);
  const uint8_t *from = image->rgb.p;

  NEED(sheet, E_NOMEM, "%s: %d x %d pixels", path, 2 * W, H);
  for (int y = 0; y < H; y++) {
    uint8_t *to = sheet + 2 * row * (size_t)y;
    const uint8_t *line = from + 3 * (size_t)image->W * (size_t)nearest(y, H, image->H);
    for (int x = 0; x < W; x++) memcpy(to + 3 * x, line + 3 * nearest(x, W, image->W), 3);
    memcpy(to + row, rgb + row * (size_t)y, row);
  }
  TRY(ds_png_write8(path, 2 * W, H, 3, sheet));
out:
  free(sheet);
  return st;
}

static int write_pictures(const ev_write_opts *o, const char *name, const ev_image *image, const ev_prediction *p) {
  int st = OK;
  char path[IO_PATH_MAX];
  uint8_t *rgb = malloc(3 * (size_t)p->H * (size_t)p->W);

  NEED(rgb, E_NOMEM, "%s: %d x %d pixels", name, p->W, p->H);
  colour(o->colour, p, rgb);
  if (o->colour != EV_COLOUR_NONE) {
    TRY(path_of(o, name, "_colour.png", path));
    TRY(ds_png_write8(path, p->W, p->H, 3, rgb));
  }
  if (o->sheet) {
    TRY(path_of(o, name, "_sheet.png", path));
    TRY(write_sheet(path, image, p, rgb));
  }
out:
  free(rgb);
  return st;
}

int ev_prediction_write(const ev_write_opts *o, const char *name, const ev_image *image, const ev_prediction *p) {
  int st = OK;
  char path[IO_PATH_MAX];
  const float lo = p->C == 1 ? 0 : -1, range = p->C == 1 ? 1 : 2;

  TRY(make_folder(o, name));
  TRY(path_of(o, name, ".npy", path));
  TRY(write_npy(path, p->C, p->H, p->W, p->values));
  TRY(path_of(o, name, ".png", path));
  TRY(write_png16(path, p->C, p->H, p->W, p->values, lo, range));
  if (o->colour != EV_COLOUR_NONE || o->sheet) TRY(write_pictures(o, name, image, p));
  if (o->uncertainty && p->uncertainty) {
    TRY(path_of(o, name, "_uncertainty.npy", path));
    TRY(write_npy(path, 1, p->uH, p->uW, p->uncertainty));
  }
out:
  return st;
}

int ev_metric_write(const ev_write_opts *o, const char *name, const char *points, ev_alignment space, const ev_prediction *p) {
  int st = OK;
  char path[IO_PATH_MAX];
  const size_t n = (size_t)p->H * (size_t)p->W;
  const ev_align_opts align = {.space = space, .far_m = INFINITY};
  float *target = malloc(sizeof *target * n), *metric = malloc(sizeof *metric * n);
  uint8_t *mask = malloc(n);

  NEED(target && metric && mask, E_NOMEM, "%s: %d x %d pixels", name, p->W, p->H);
  TRY(ev_points_find(points, name, path));
  TRY(ev_points_read(path, p->H, p->W, target, mask));
  TRY_AS(E_DATA, ev_align(&align, p->values, target, mask, p->H, p->W, metric, NULL), "%s", path);
  TRY(make_folder(o, name));
  TRY(path_of(o, name, "_metric.npy", path));
  TRY(write_npy(path, 1, p->H, p->W, metric));
out:
  free(target);
  free(metric);
  free(mask);
  return st;
}
