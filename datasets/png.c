#include "datasets/png.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What libpng's callbacks need and what must survive its longjmp. */
struct reader {
  const char *path;
  FILE *file;
  png_structp png;
  png_infop info;
  bool cut;       /* the file ended too early */
  int row, rows;  /* rows decoded so far, rows in all (0 before the header) */
  char text[160]; /* libpng's message */
};

static void on_error(png_structp png, png_const_charp text) {
  struct reader *r = png_get_error_ptr(png);

  snprintf(r->text, sizeof r->text, "%s", text);
  longjmp(png_jmpbuf(png), 1);
}

static void on_warning(png_structp png, png_const_charp text) {
  (void)png;
  (void)text;
}

static void on_read(png_structp png, png_bytep to, size_t n) {
  struct reader *r = png_get_io_ptr(png);

  if (fread(to, 1, n, r->file) == n) return;
  r->cut = !ferror(r->file);
  png_error(png, "cannot read");
}

/* After a longjmp: the one message. */
static int failed(const struct reader *r) {
  int st = OK;

  if (r->rows == 0) FAIL(E_DATA, "%s: %s", r->path, r->cut ? "truncated in the PNG header" : r->text);
  if (r->cut) FAIL(E_DATA, "%s: truncated at row %d of %d", r->path, r->row, r->rows);
  FAIL(E_DATA, "%s: %s at row %d of %d", r->path, r->text, r->row, r->rows);
out:
  return st;
}

/* Of a file in memory, data [n], or with data NULL of the file at path. */
static int reader_open(const char *path, const void *data, size_t n, struct reader *r) {
  int st = OK;

  *r = (struct reader){.path = path};
  NEED(!data || n, E_DATA, "%s: empty file", path);
  r->file = data ? fmemopen((void *)(uintptr_t)data, n, "rb") : fopen(path, "rb");
  NEED(r->file, E_DATA, "%s: %s", path, strerror(errno));
  NEED((r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, on_error, on_warning)) != NULL, E_NOMEM,
       "%s: libpng %s does not start", path, PNG_LIBPNG_VER_STRING);
  NEED((r->info = png_create_info_struct(r->png)) != NULL, E_NOMEM, "%s: out of memory", path);
  png_set_read_fn(r->png, r, on_read);
out:
  return st;
}

static void reader_close(struct reader *r) {
  if (r->png) png_destroy_read_struct(&r->png, &r->info, NULL);
  if (r->file) fclose(r->file);
}

static int read_header(struct reader *r, int *H, int *W) {
  int st = OK;
  png_uint_32 w, h;

  if (setjmp(png_jmpbuf(r->png))) return failed(r);
  png_set_user_limits(r->png, DS_SIDE_MAX, DS_SIDE_MAX);
  png_set_chunk_malloc_max(r->png, 1 << 20);
  png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
  png_read_info(r->png, r->info);
  w = png_get_image_width(r->png, r->info);
  h = png_get_image_height(r->png, r->info);
  TRY(ds_size_check(r->path, h, w));
  r->rows = (int)h;
  *H = (int)h;
  *W = (int)w;
out:
  return st;
}

static int wrong_format(const struct reader *r, const char *wanted) {
  static const char *const names[] = {"grey", "?", "RGB", "palette", "grey with alpha", "?", "RGBA"};
  const int colour = png_get_color_type(r->png, r->info);

  return err_set(E_DATA, __FILE__, __LINE__, "%s: wanted a PNG of %s, found %d-bit %s", r->path, wanted,
                 png_get_bit_depth(r->png, r->info), colour < 7 ? names[colour] : "?");
}

static int read_rows(struct reader *r, size_t row_bytes, ds_buf *out) {
  int st = OK;
  int passes;

  if (setjmp(png_jmpbuf(r->png))) return failed(r);
  passes = png_set_interlace_handling(r->png);
  png_read_update_info(r->png, r->info);
  NEED(png_get_rowbytes(r->png, r->info) == row_bytes, E_DATA, "%s: rows of %zu bytes, wanted %zu", r->path,
       png_get_rowbytes(r->png, r->info), row_bytes);
  TRY(ds_buf_need(out, row_bytes * (size_t)r->rows));
  for (int pass = 0; pass < passes; pass++)
    for (r->row = 0; r->row < r->rows; r->row++)
      png_read_row(r->png, (png_bytep)out->p + row_bytes * (size_t)r->row, NULL);
  png_read_end(r->png, NULL); /* checks what follows the pixels: a cut file is an error even there */
out:
  return st;
}

int ds_png_decode_rgb8(const char *path, const void *data, size_t n, ds_buf *out, int *H, int *W) {
  int st = OK;
  int h, w, depth, colour;
  struct reader r;

  TRY(reader_open(path, data, n, &r));
  TRY(read_header(&r, &h, &w));
  depth = png_get_bit_depth(r.png, r.info);
  colour = png_get_color_type(r.png, r.info);
  if (depth < 8 || (colour & PNG_COLOR_MASK_PALETTE)) {
    st = wrong_format(&r, "8 or 16-bit RGB or grey");
    goto out;
  }
  if (depth == 16) png_set_strip_16(r.png);
  if (colour & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(r.png);
  if (!(colour & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(r.png);
  TRY(read_rows(&r, 3 * (size_t)w, out));
  *H = h;
  *W = w;
out:
  reader_close(&r);
  return st;
}

int ds_png_decode_grey16(const char *path, const void *data, size_t n, ds_buf *out, int *H, int *W) {
  int st = OK;
  int h, w;
  struct reader r;

  TRY(reader_open(path, data, n, &r));
  TRY(read_header(&r, &h, &w));
  if (png_get_bit_depth(r.png, r.info) != 16 || png_get_color_type(r.png, r.info) != PNG_COLOR_TYPE_GRAY) {
    st = wrong_format(&r, "16-bit grey");
    goto out;
  }
  png_set_swap(r.png); /* files are big endian, this program runs on little-endian machines */
  TRY(read_rows(&r, 2 * (size_t)w, out));
  *H = h;
  *W = w;
out:
  reader_close(&r);
  return st;
}

int ds_png_decode(const char *path, const void *data, size_t n, ds_buf *out, int *H, int *W, int *channels, int *bits) {
  int st = OK;
  int h, w, depth, colour;
  struct reader r;

  TRY(reader_open(path, data, n, &r));
  TRY(read_header(&r, &h, &w));
  depth = png_get_bit_depth(r.png, r.info);
  colour = png_get_color_type(r.png, r.info);
  if (depth < 8 || (colour & PNG_COLOR_MASK_PALETTE)) {
    st = wrong_format(&r, "8 or 16-bit grey or RGB");
    goto out;
  }
  const int kept = colour & PNG_COLOR_MASK_COLOR ? 3 : 1;
  if (colour & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(r.png);
  if (depth == 16) png_set_swap(r.png);
  TRY(read_rows(&r, (size_t)kept * (size_t)w * (size_t)depth / 8, out));
  *H = h;
  *W = w;
  *channels = kept;
  *bits = depth;
out:
  reader_close(&r);
  return st;
}

int ds_png_read_rgb8(const char *path, ds_buf *out, int *H, int *W) {
  return ds_png_decode_rgb8(path, NULL, 0, out, H, W);
}

int ds_png_read_grey16(const char *path, ds_buf *out, int *H, int *W) {
  return ds_png_decode_grey16(path, NULL, 0, out, H, W);
}

int ds_png_read(const char *path, ds_buf *out, int *H, int *W, int *channels, int *bits) {
  return ds_png_decode(path, NULL, 0, out, H, W, channels, bits);
}

int ds_png_size(const char *path, int *H, int *W) {
  int st = OK;
  struct reader r;

  TRY(reader_open(path, NULL, 0, &r));
  TRY(read_header(&r, H, W));
out:
  reader_close(&r);
  return st;
}
