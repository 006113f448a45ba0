#include "datasets/png.h"

#include <png.h>
#include <string.h>

#include "tests/support/damage.h"
#include "tests/support/tmpdir.h"

struct kind {
  const char *name;
  int depth, colour, channels;
};
static const struct kind kinds[] = {
    {"grey", 8, PNG_COLOR_TYPE_GRAY, 1},      {"grey, alpha", 8, PNG_COLOR_TYPE_GRAY_ALPHA, 2},
    {"RGB", 8, PNG_COLOR_TYPE_RGB, 3},        {"RGBA", 8, PNG_COLOR_TYPE_RGBA, 4},
    {"grey 16", 16, PNG_COLOR_TYPE_GRAY, 1},  {"RGB 16", 16, PNG_COLOR_TYPE_RGB, 3},
    {"RGBA 16", 16, PNG_COLOR_TYPE_RGBA, 4},  {"grey 4", 4, PNG_COLOR_TYPE_GRAY, 1},
    {"palette", 8, PNG_COLOR_TYPE_PALETTE, 1}};
enum { GREY, GREY_ALPHA, RGB, RGBA, GREY16, RGB16, RGBA16, GREY4, PALETTE, KINDS };

/* A value for every pixel and channel, 16 bits wide. */
static unsigned value_at(int y, int x, int c) { return (unsigned)(y * 4099 + x * 257 + c * 20011 + 12345) & 0xffff; }

static void write_png(const char *path, const struct kind *k, int H, int W, int interlace) {
  const size_t bytes = (size_t)(k->depth / 8 ? k->depth / 8 : 1), row = bytes * (size_t)(k->channels * W);
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(png);
  png_bytep pixels = calloc((size_t)H, row), *rows = calloc((size_t)H, sizeof *rows);
  FILE *f = fopen(path, "wb");

  assert_true(pixels && rows && f);
  for (int y = 0; y < H; y++) {
    rows[y] = pixels + (size_t)y * row;
    for (int x = 0; x < W; x++)
      for (int c = 0; c < k->channels; c++) {
        const unsigned v = value_at(y, x, c);
        png_bytep p = rows[y] + (size_t)(x * k->channels + c) * bytes;
        p[0] = (png_byte)(k->colour == PNG_COLOR_TYPE_PALETTE ? v % 4 : v >> 8);
        if (bytes == 2) p[1] = (png_byte)v;
      }
  }
  png_init_io(png, f);
  png_set_IHDR(png, info, (png_uint_32)W, (png_uint_32)H, k->depth, k->colour, interlace, PNG_COMPRESSION_TYPE_BASE,
               PNG_FILTER_TYPE_BASE);
  if (k->colour == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, (png_color[4]){{1, 2, 3}, {4, 5, 6}}, 4);
  png_write_info(png, info);
  png_write_image(png, rows);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  fclose(f);
  free(pixels);
  free(rows);
}

static void check_rgb(const char *path, const struct kind *k, int H, int W) {
  ds_buf b = {0};
  int h, w;

  check_ok(ds_png_read_rgb8(path, &b, &h, &w));
  assert_int_equal(h, H);
  assert_int_equal(w, W);
  for (int i = 0; i < 3 * H * W; i++) {
    const unsigned want = value_at(i / 3 / W, i / 3 % W, k->channels < 3 ? 0 : i % 3) >> 8;
    if (((uint8_t *)b.p)[i] != want)
      fail_msg("%s %dx%d: value %d is %d, wanted %u", k->name, W, H, i, ((uint8_t *)b.p)[i], want);
  }
  ds_buf_free(&b);
}

static void colours(void **state) {
  const int sizes[][2] = {{1, 1}, {1, 9}, {7, 1}, {31, 33}};
  const char *path = tmpdir_at(state, "a.png");

  for (int k = GREY; k <= RGBA16; k++)
    for (int i = 0; i < 8; i++) {
      write_png(path, &kinds[k], sizes[i / 2][0], sizes[i / 2][1], i % 2 ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE);
      check_rgb(path, &kinds[k], sizes[i / 2][0], sizes[i / 2][1]);
    }
}

static void depths(void **state) {
  const char *path = tmpdir_at(state, "a.png");
  ds_buf b = {0};
  int h, w;

  for (int interlace = PNG_INTERLACE_NONE; interlace <= PNG_INTERLACE_ADAM7; interlace++) {
    write_png(path, &kinds[GREY16], 13, 5, interlace);
    check_ok(ds_png_read_grey16(path, &b, &h, &w));
    assert_int_equal(h, 13);
    assert_int_equal(w, 5);
    for (int i = 0; i < 13 * 5; i++) assert_int_equal(((uint16_t *)b.p)[i], value_at(i / 5, i % 5, 0));
  }
  check_ok(ds_png_size(path, &h, &w));
  assert_int_equal(h, 13);
  assert_int_equal(w, 5);
  ds_buf_free(&b);
}

static void other_formats_are_refused(void **state) {
  const char *path = tmpdir_at(state, "a.png");
  ds_buf b = {0};
  int h = -1, w = -1;

  write_png(path, &kinds[GREY4], 3, 4, 0);
  check_fails(E_DATA, "wanted a PNG of 8 or 16-bit RGB or grey, found 4-bit grey",
              ds_png_read_rgb8(path, &b, &h, &w));
  write_png(path, &kinds[PALETTE], 3, 4, 0);
  check_fails(E_DATA, "found 8-bit palette", ds_png_read_rgb8(path, &b, &h, &w));
  write_png(path, &kinds[RGB], 3, 4, 0);
  check_fails(E_DATA, "wanted a PNG of 16-bit grey, found 8-bit RGB", ds_png_read_grey16(path, &b, &h, &w));
  write_png(path, &kinds[GREY], 3, 4, 0);
  check_fails(E_DATA, "found 8-bit grey", ds_png_read_grey16(path, &b, &h, &w));
  check_fails(E_DATA, path, ds_png_read_grey16(path, &b, &h, &w));
  assert_true(h == -1 && w == -1); /* written only on success */
  ds_buf_free(&b);
}

static void no_file(void **state) {
  ds_buf b = {0};
  int h, w;
  const char *folder = *state, *text = tmpdir_at(state, "text.png");

  check_fails(E_DATA, "No such file", ds_png_read_rgb8(tmpdir_at(state, "none.png"), &b, &h, &w));
  check_fails(E_DATA, folder, ds_png_read_rgb8(folder, &b, &h, &w));
  damaged_save(text, "this is a text, not an image\n", 29);
  check_fails(E_DATA, "Not a PNG file", ds_png_size(text, &h, &w));
  ds_buf_free(&b);
}

static void cut_files(void **state) {
  const char *whole = tmpdir_at(state, "whole.png"), *path = tmpdir_at(state, "cut.png");
  ds_buf b = {0};
  int h, w;

  for (int k = GREY; k <= RGBA16; k++) {
    write_png(whole, &kinds[k], 40, 30, 0);
    damaged d = damaged_load(whole);
    for (int i = 0; i < DAMAGED_CUTS; i++) {
      const size_t n = damaged_cut(&d, i, path);
      check_fails(E_DATA, path, ds_png_read_rgb8(path, &b, &h, &w));
      assert_non_null(strstr(err_text(), n < 41 ? "truncated in the PNG header" : "truncated at row"));
      if (k == GREY16) check_fails(E_DATA, "truncated", ds_png_read_grey16(path, &b, &h, &w));
    }
    damaged_free(&d);
  }
  ds_buf_free(&b);
}

/* Chunk checksums see every single bit. */
static void flipped_bits(void **state) {
  const char *whole = tmpdir_at(state, "whole.png"), *path = tmpdir_at(state, "flipped.png");
  ds_buf b = {0};
  int h, w;

  write_png(whole, &kinds[RGB16], 5, 6, 0);
  damaged d = damaged_load(whole);
  for (size_t at = 0; at < d.n; at++)
    for (int bit = 0; bit < 8; bit += 1 + (int)(at % 3)) {
      damaged_flip(&d, at, bit, path);
      check_fails(E_DATA, path, ds_png_read_rgb8(path, &b, &h, &w));
    }
  damaged_free(&d);
  ds_buf_free(&b);
}

/* A header of W x H with a right checksum, and the first bytes of pixels behind it. */
static void write_header(const char *path, uint32_t W, uint32_t H) {
  unsigned char p[41] = {137, 'P', 'N', 'G', '\r', '\n', 26, '\n', 0, 0, 0, 13, 'I', 'H', 'D', 'R'};
  uint32_t crc = 0xffffffff;

  for (int i = 0; i < 4; i++) {
    p[16 + i] = (unsigned char)(W >> (24 - 8 * i));
    p[20 + i] = (unsigned char)(H >> (24 - 8 * i));
  }
  p[24] = 8;
  p[25] = PNG_COLOR_TYPE_RGB;
  for (int i = 12; i < 29; i++) {
    crc ^= p[i];
    for (int j = 0; j < 8; j++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
  }
  for (int i = 0; i < 4; i++) p[29 + i] = (unsigned char)(~crc >> (24 - 8 * i));
  memcpy(p + 33, "\0\0\1\0IDAT", 8);
  damaged_save(path, (char *)p, sizeof p);
}

static void absurd_sizes(void **state) {
  const char *path = tmpdir_at(state, "size.png");
  const uint32_t sizes[][2] = {
      {0, 5}, {5, 0}, {0, 0}, {70000, 5}, {5, 70000}, {16384, 16384}, {0x7fffffff, 0x7fffffff}};
  ds_buf b = {0};
  int h, w;

  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    write_header(path, sizes[i][0], sizes[i][1]);
    check_fails(E_DATA, path, ds_png_read_rgb8(path, &b, &h, &w));
    check_fails(E_DATA, path, ds_png_size(path, &h, &w));
  }
  assert_null(b.p); /* refused before anything was allocated */
  write_header(path, 16384, 16384);
  check_fails(E_DATA, "16384x16384 pixels", ds_png_size(path, &h, &w));
}

int main(void) {
#define IN_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {
      IN_TMPDIR(colours),     IN_TMPDIR(depths),    IN_TMPDIR(other_formats_are_refused),
      IN_TMPDIR(no_file),     IN_TMPDIR(cut_files), IN_TMPDIR(flipped_bits),
      IN_TMPDIR(absurd_sizes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
