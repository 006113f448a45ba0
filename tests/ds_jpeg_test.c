#include "datasets/jpeg.h"

#include <stdio.h>
#include <turbojpeg.h>

#include "tests/support/damage.h"
#include "tests/support/tmpdir.h"

enum { H = 45, W = 61 };

static void write_jpeg(const char *path, int format, int subsampling, int flags) {
  static const int channels[] = {[TJPF_RGB] = 3, [TJPF_GRAY] = 1, [TJPF_CMYK] = 4};
  tjhandle tj = tjInitCompress();
  unsigned char pixels[4 * H * W], *out = NULL;
  unsigned long n = 0;
  const int C = channels[format];

  for (int i = 0; i < C * H * W; i++)
    pixels[i] = (unsigned char)(128 + 90 * ((i / C % W) * (i % C + 1) % 40 - 20) / 20);
  assert_int_equal(tjCompress2(tj, pixels, W, C * W, H, format, &out, &n, subsampling, 92, flags), 0);
  damaged_save(path, (char *)out, n);
  tjFree(out);
  tjDestroy(tj);
}

static void colour_and_grey(void **state) {
  const char *path = tmpdir_at(state, "a.jpg");
  ds_buf file = {0}, b = {0};
  int h, w, other = 0;

  for (int flags = 0; flags <= TJFLAG_PROGRESSIVE; flags += TJFLAG_PROGRESSIVE) {
    write_jpeg(path, TJPF_RGB, TJSAMP_420, flags);
    check_ok(ds_jpeg_read_rgb8(path, &file, &b, &h, &w));
    assert_int_equal(h, H);
    assert_int_equal(w, W);
  }
  write_jpeg(path, TJPF_GRAY, TJSAMP_GRAY, 0);
  check_ok(ds_jpeg_read_rgb8(path, &file, &b, &h, &w));
  for (int i = 0; i < H * W; i++) {
    const uint8_t *p = (uint8_t *)b.p + 3 * i;
    other += p[0] != p[1] || p[1] != p[2];
    if (abs(p[0] - (128 + 90 * (i % W % 40 - 20) / 20)) > 12) fail_msg("pixel %d: %d", i, p[0]);
  }
  assert_int_equal(other, 0);
  ds_buf_free(&file);
  ds_buf_free(&b);
}

static void bad_files(void **state) {
  const char *path = tmpdir_at(state, "a.jpg"), *text = tmpdir_at(state, "text.jpg");
  ds_buf file = {0}, b = {0};
  int h = -1, w = -1;

  check_fails(E_DATA, "No such file", ds_jpeg_read_rgb8(tmpdir_at(state, "none.jpg"), &file, &b, &h, &w));
  check_fails(E_DATA, "not a file", ds_jpeg_read_rgb8(*state, &file, &b, &h, &w));
  damaged_save(text, "", 0);
  check_fails(E_DATA, "empty file", ds_jpeg_read_rgb8(text, &file, &b, &h, &w));
  damaged_save(text, "no image at all", 15);
  check_fails(E_DATA, text, ds_jpeg_read_rgb8(text, &file, &b, &h, &w));
  write_jpeg(path, TJPF_CMYK, TJSAMP_444, 0);
  check_fails(E_DATA, "found CMYK", ds_jpeg_read_rgb8(path, &file, &b, &h, &w));
  assert_true(h == -1 && w == -1);
  ds_buf_free(&file);
  ds_buf_free(&b);
}

/* A cut file is an error, not an image with a grey end. */
static void cut_files(void **state) {
  const char *whole = tmpdir_at(state, "whole.jpg"), *path = tmpdir_at(state, "cut.jpg");
  ds_buf file = {0}, b = {0};
  int h, w;

  for (int flags = 0; flags <= TJFLAG_PROGRESSIVE; flags += TJFLAG_PROGRESSIVE) {
    write_jpeg(whole, TJPF_RGB, TJSAMP_420, flags);
    damaged d = damaged_load(whole);
    for (int i = 0; i < DAMAGED_CUTS; i++) {
      damaged_cut(&d, i, path);
      check_fails(E_DATA, path, ds_jpeg_read_rgb8(path, &file, &b, &h, &w));
    }
    damaged_free(&d);
  }
  ds_buf_free(&file);
  ds_buf_free(&b);
}

/* JPEG has no checksum: a flipped bit may pass, but never harm. */
static void flipped_bits(void **state) {
  const char *whole = tmpdir_at(state, "whole.jpg"), *path = tmpdir_at(state, "flipped.jpg");
  ds_buf file = {0}, b = {0};
  int h, w, refused = 0;

  write_jpeg(whole, TJPF_RGB, TJSAMP_420, 0);
  damaged d = damaged_load(whole);
  for (size_t at = 0; at < d.n; at++) {
    damaged_flip(&d, at, (int)(at * 5 % 8), path);
    const int st = ds_jpeg_read_rgb8(path, &file, &b, &h, &w);
    assert_true(st == OK || st == E_DATA);
    if (st == OK) assert_in_range((uintmax_t)h * (uintmax_t)w, 1, DS_PIXELS_MAX);
    refused += st != OK;
  }
  assert_true(refused > (int)d.n / 20);
  damaged_free(&d);
  ds_buf_free(&file);
  ds_buf_free(&b);
}

/* The size in the frame header (SOF0: marker, length, precision, height, width) made 0 or huge. */
static void absurd_sizes(void **state) {
  const char *whole = tmpdir_at(state, "whole.jpg"), *path = tmpdir_at(state, "size.jpg");
  const int sizes[][2] = {{0, W}, {H, 0}, {65500, 65500}};
  ds_buf file = {0}, b = {0};
  int h, w;
  size_t at = 0;

  write_jpeg(whole, TJPF_RGB, TJSAMP_420, 0);
  damaged d = damaged_load(whole);
  while (at + 1 < d.n && memcmp(d.bytes + at, "\xff\xc0", 2)) at++;
  assert_true(at + 9 < d.n);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    for (int j = 0; j < 2; j++) {
      d.bytes[at + 5 + 2 * (size_t)j] = (char)(sizes[i][j] >> 8);
      d.bytes[at + 6 + 2 * (size_t)j] = (char)sizes[i][j];
    }
    damaged_save(path, d.bytes, d.n);
    check_fails(E_DATA, path, ds_jpeg_read_rgb8(path, &file, &b, &h, &w));
  }
  assert_null(b.p);
  damaged_free(&d);
  ds_buf_free(&file);
}

int main(void) {
#define IN_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {IN_TMPDIR(colour_and_grey), IN_TMPDIR(bad_files), IN_TMPDIR(cut_files),
                                     IN_TMPDIR(flipped_bits), IN_TMPDIR(absurd_sizes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
