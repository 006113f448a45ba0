#include "datasets/image_write.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include "base/io.h"

/* Files are small: each is made in memory, so that writing is one io_* path with its error handling. */
typedef struct memory { unsigned char *data; size_t n, room; } memory;

static void grow(png_structp png, png_bytep data, png_size_t n) {
  memory *m = png_get_io_ptr(png);

  if (m->n + n > m->room) {
    const size_t room = 2 * (m->n + n);
    unsigned char *p = realloc(m->data, room);
    if (!p) png_error(png, "out of memory");
    m->data = p;
    m->room = room;
  }
  memcpy(m->data + m->n, data, n);
  m->n += n;
}

static void no_flush(png_structp png) { (void)png; }

static void keep_message(png_structp png, png_const_charp text) {
  char *message = png_get_error_ptr(png);

  strncpy(message, text, 127);
  png_longjmp(png, 1);
}

static void no_warning(png_structp png, png_const_charp text) {
  (void)png;
  (void)text;
}

static int write_memory(const char *path, const void *data, size_t n) {
  int st = OK;
  io_file f = {.fd = -1};

  TRY(io_create(path, &f));
  TRY(io_write(&f, data, n));
  TRY(io_close(&f));
out:
  io_close(&f);
  return st;
}

/* setjmp leaves locals that change after it undefined: all state lives in *m and behind png. */
static int encode(png_structp png, png_infop info, memory *m, int W, int H, int channels, int bits, const void *pixels) {
  static const int type[5] = {0, PNG_COLOR_TYPE_GRAY, 0, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA};
  const size_t row = (size_t)W * (size_t)channels * (size_t)bits / 8;

  if (setjmp(png_jmpbuf(png))) return E_FAIL;
  png_set_write_fn(png, m, grow, no_flush);
  png_set_IHDR(png, info, (png_uint_32)W, (png_uint_32)H, bits, type[channels], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  if (bits == 16) png_set_swap(png); /* the file is big endian, this machine is not */
  for (int y = 0; y < H; y++) png_write_row(png, (png_const_bytep)pixels + (size_t)y * row);
  png_write_end(png, info);
  return OK;
}

/* Into m, whose data are the caller's to free. name: for messages. */
static int encode_png(const char *name, int W, int H, int channels, int bits, const void *pixels, memory *m) {
  int st = OK;
  char message[128] = "";
  png_structp png = NULL;
  png_infop info = NULL;

  NEED((png = png_create_write_struct(PNG_LIBPNG_VER_STRING, message, keep_message, no_warning)) != NULL, E_NOMEM, "%s: libpng", name);
  NEED((info = png_create_info_struct(png)) != NULL, E_NOMEM, "%s: libpng", name);
  NEED(encode(png, info, m, W, H, channels, bits, pixels) == OK, E_FAIL, "%s: cannot encode: %s", name, message);
out:
  png_destroy_write_struct(&png, &info);
  return st;
}

static int write_png(const char *path, int W, int H, int channels, int bits, const void *pixels) {
  int st = OK;
  memory m = {0};

  TRY(encode_png(path, W, H, channels, bits, pixels, &m));
  TRY(write_memory(path, m.data, m.n));
out:
  free(m.data);
  return st;
}

int ds_png_encode8(int W, int H, int channels, const uint8_t *pixels, unsigned char **data, size_t *n) {
  int st = OK;
  memory m = {0};

  TRY(encode_png("a picture", W, H, channels, 8, pixels, &m));
  *data = m.data;
  *n = m.n;
  m.data = NULL;
out:
  free(m.data);
  return st;
}

int ds_png_write8(const char *path, int W, int H, int channels, const uint8_t *pixels) {
  return write_png(path, W, H, channels, 8, pixels);
}

int ds_png_write16(const char *path, int W, int H, int channels, const uint16_t *pixels) {
  return write_png(path, W, H, channels, 16, pixels);
}

int ds_jpeg_write(const char *path, int W, int H, const uint8_t *pixels, int quality) {
  int st = OK;
  unsigned char *data = NULL;
  unsigned long n = 0;
  tjhandle tj = NULL;

  NEED((tj = tjInitCompress()) != NULL, E_NOMEM, "%s: turbojpeg", path);
  NEED(!tjCompress2(tj, pixels, W, 0, H, TJPF_RGB, &data, &n, TJSAMP_444, quality, TJFLAG_ACCURATEDCT), E_FAIL, "%s: cannot encode: %s",
       path, tjGetErrorStr2(tj));
  TRY(write_memory(path, data, n));
out:
  tjFree(data);
  if (tj) tjDestroy(tj);
  return st;
}
