#include "datasets/pixel_file.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "datasets/jpeg.h"
#include "datasets/png.h"

static bool ends_with(const char *path, size_t n, const char *ending) {
  const size_t m = strlen(ending);

  return n > m && strncasecmp(path + n - m, ending, m) == 0;
}

ds_file_format ds_file_format_of(const char *path, size_t *file) {
  static const struct { const char *ending; ds_file_format format; } all[] = {
      {".png", DS_FILE_PNG}, {".jpg", DS_FILE_JPEG}, {".jpeg", DS_FILE_JPEG},
      {".npy", DS_FILE_NPY}, {".h5", DS_FILE_H5},    {".hdf5", DS_FILE_H5}};
  const char *colon = strrchr(path, ':');

  *file = strlen(path);
  if (colon && (ends_with(path, (size_t)(colon - path), ".h5") || ends_with(path, (size_t)(colon - path), ".hdf5"))) {
    *file = (size_t)(colon - path);
    return DS_FILE_H5;
  }
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (ends_with(path, *file, all[i].ending)) return all[i].format;
  return DS_FILE_UNKNOWN;
}

void ds_pixel_reader_free(ds_pixel_reader *r) {
  ds_buf_free(&r->file);
  ds_buf_free(&r->pixels);
  ds_buf_free(&r->floats);
  ds_h5_free(&r->h5);
}

/* ---- arrays ---- */

static int read_h5(ds_pixel_reader *r, const char *path, size_t file, ds_array *out) {
  int st = OK;
  char name[IO_PATH_MAX];

  TRY(io_path(name, "%.*s", (int)file, path));
  TRY(ds_h5_read_array(&r->h5, name, path[file] ? path + file + 1 : NULL, &r->pixels, out));
out:
  return st;
}

static int read_png(ds_pixel_reader *r, const char *path, ds_array *out) {
  int st = OK;
  int H, W, channels, bits;

  TRY(ds_png_read(path, &r->pixels, &H, &W, &channels, &bits));
  *out = (ds_array){bits == 8 ? EL_U8 : EL_U16, 3, {H, W, channels}, r->pixels.p};
out:
  return st;
}

/* Anything but JPEG as an array. */
static int read_array(ds_pixel_reader *r, const char *path, ds_array *out) {
  int st = OK;
  size_t file;

  switch (ds_file_format_of(path, &file)) {
  case DS_FILE_PNG: TRY(read_png(r, path, out)); break;
  case DS_FILE_NPY: TRY(ds_npy_read(path, &r->pixels, out)); break;
  case DS_FILE_H5: TRY(read_h5(r, path, file, out)); break;
  case DS_FILE_JPEG: FAIL(E_DATA, "%s: a JPEG holds only colours; wanted .png, .npy or .h5", path);
  case DS_FILE_UNKNOWN: FAIL(E_DATA, "%s: an ending that is not read; wanted .png, .jpg, .npy or .h5", path);
  }
out:
  return st;
}

int ds_pixels_floats(ds_pixel_reader *r, const char *path, int channels, ds_buf *out, int *H, int *W,
                     el_type *stored) {
  int st = OK;
  int h, w, c;
  ds_array a;

  TRY(read_array(r, path, &a));
  TRY(ds_array_size(&a, path, &h, &w, &c));
  NEED(c == channels, E_DATA, "%s: %d channel%s, wanted %d", path, c, c == 1 ? "" : "s", channels);
  TRY(ds_buf_need(out, (size_t)h * (size_t)w * (size_t)c * sizeof(float)));
  TRY(ds_array_floats(&a, path, out->p));
  *H = h;
  *W = w;
  *stored = a.type;
out:
  return st;
}

/* ---- size ---- */

int ds_pixels_size(ds_pixel_reader *r, const char *path, int *H, int *W) {
  int st = OK;
  int c;
  size_t file;
  ds_array a;
  const ds_file_format format = ds_file_format_of(path, &file);

  if (format == DS_FILE_PNG) TRY(ds_png_size(path, H, W));
  else if (format == DS_FILE_JPEG) TRY(ds_jpeg_size(path, &r->file, H, W));
  else {
    TRY(read_array(r, path, &a));
    TRY(ds_array_size(&a, path, H, W, &c));
  }
out:
  return st;
}

/* ---- colours ---- */

/* Floats of a file in bytes; floats as stored may reach a little over 1 by rounding. */
static int to_byte(const char *path, el_type stored, float v, uint8_t *out) {
  int st = OK;

  if (stored == EL_U8) *out = (uint8_t)v;
  else if (stored == EL_U16) *out = (uint8_t)((unsigned)v >> 8);
  else {
    NEED(v >= -0.01f && v <= 1.01f, E_DATA, "%s: a colour of %g; floats are colours from 0 to 1", path, (double)v);
    *out = (uint8_t)(v <= 0 ? 0 : v >= 1 ? 255 : v * 255 + 0.5f);
  }
out:
  return st;
}

static int array_rgb8(ds_pixel_reader *r, const char *path, ds_buf *out, int *H, int *W) {
  int st = OK;
  int h, w, c;
  ds_array a;

  TRY(read_array(r, path, &a));
  TRY(ds_array_size(&a, path, &h, &w, &c));
  NEED(a.type == EL_U8 || a.type == EL_U16 || el_is_float(a.type), E_DATA,
       "%s: colours of %s; wanted u1, u2 or floats from 0 to 1", path, el_name(a.type));
  const size_t n = (size_t)h * (size_t)w;
  TRY(ds_buf_need(&r->floats, n * (size_t)c * sizeof(float)));
  TRY(ds_array_floats(&a, path, r->floats.p));
  TRY(ds_buf_need(out, 3 * n));
  const float *from = r->floats.p;
  uint8_t *to = out->p;
  for (size_t i = 0; i < 3 * n; i++) TRY(to_byte(path, a.type, from[c == 3 ? i : i / 3], &to[i]));
  *H = h;
  *W = w;
out:
  return st;
}

int ds_pixels_rgb8(ds_pixel_reader *r, const char *path, ds_buf *out, int *H, int *W) {
  size_t file;
  const ds_file_format format = ds_file_format_of(path, &file);

  if (format == DS_FILE_PNG) return ds_png_read_rgb8(path, out, H, W);
  if (format == DS_FILE_JPEG) return ds_jpeg_read_rgb8(path, &r->file, out, H, W);
  return array_rgb8(r, path, out, H, W);
}
