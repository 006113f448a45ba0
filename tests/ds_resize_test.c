#include "datasets/resize.h"

#include <math.h>
#include <stdio.h>

#include "tests/support/golden.h"

static st_file *open_truth(void) {
  st_file *f = NULL;

  check_ok(st_open(TEST_DATA "/synth/truth/resize.safetensors", &f));
  return f;
}

static const st_tensor *find(const st_file *f, const char *test, const char *what) {
  char name[64];

  snprintf(name, sizeof name, "%s.%s", test, what);
  return golden_find(f, name);
}

static const char *const tests_of_images[] = {"1x1-5x7",   "17x31-8x9",   "31x17-62x40",
                                              "9x33-9x11", "30x33-11x33", "40x64-25x40"};

/* To the bit. One resizer for all: taps are made anew when sizes change. */
static void as_pillow(void **state) {
  (void)state;
  st_file *f = open_truth();
  ds_resizer r = {0};
  uint8_t rgb[3 * 62 * 40];
  float depth[64 * 64], nearest[62 * 40];
  int H, W, h, w;

  for (size_t i = 0; i < sizeof tests_of_images / sizeof *tests_of_images; i++) {
    const char *test = tests_of_images[i];
    assert_int_equal(sscanf(test, "%dx%d-%dx%d", &H, &W, &h, &w), 4);
    check_ok(ds_resize_rgb8(&r, find(f, test, "rgb")->data, H, W, rgb, h, w));
    assert_memory_equal(rgb, find(f, test, "bilinear")->data, 3 * h * w);
    for (int j = 0; j < H * W; j++) depth[j] = (float)j;
    check_ok(ds_resize_nearest(&r, depth, H, W, nearest, h, w, true));
    assert_memory_equal(nearest, find(f, test, "nearest")->data, (size_t)(h * w) * sizeof(float));
  }
  ds_resizer_free(&r);
  st_close(&f);
}

/* Pillow adds up; floor((i + 0.5) s) lands elsewhere in 28 of 640 columns. */
static void nearest_both_ways(void **state) {
  (void)state;
  const int sizes[][3] = {{1024, 640, 28}, {768, 480, 28}};
  st_file *f = open_truth();
  ds_resizer r = {0};
  float in[1024], out[1000], exact[1000];
  char name[32];

  for (int j = 0; j < 1024; j++) in[j] = (float)j;
  for (int i = 0; i < 2; i++) {
    const int n = sizes[i][0], m = sizes[i][1];
    int differ = 0;
    snprintf(name, sizeof name, "nearest.%d-%d", n, m);
    const int32_t *want = golden_find(f, name)->data;
    check_ok(ds_resize_nearest(&r, in, 1, n, out, 1, m, true));
    check_ok(ds_resize_nearest(&r, in, 1, n, exact, 1, m, false));
    for (int j = 0; j < m; j++) {
      int32_t w;
      memcpy(&w, want + j, sizeof w);
      assert_int_equal((int)out[j], w);
      assert_int_equal((int)exact[j], ((2 * j + 1) * n) / (2 * m)); /* in whole numbers */
      differ += out[j] != exact[j];
    }
    assert_int_equal(differ, sizes[i][2]);
  }
  ds_resizer_free(&r);
  st_close(&f);
}

/* The float filter differs from the 8-bit one by the two roundings alone. */
static void float_filter(void **state) {
  (void)state;
  st_file *f = open_truth();
  ds_resizer r = {0};
  float in[3 * 64 * 64], out[3 * 62 * 40];
  int H, W, h, w;

  for (size_t i = 0; i < sizeof tests_of_images / sizeof *tests_of_images; i++) {
    const char *test = tests_of_images[i];
    const uint8_t *rgb = find(f, test, "rgb")->data, *want = find(f, test, "bilinear")->data;
    assert_int_equal(sscanf(test, "%dx%d-%dx%d", &H, &W, &h, &w), 4);
    for (int j = 0; j < 3 * H * W; j++) in[j] = rgb[j];
    check_ok(ds_resize_rgbf(&r, in, H, W, out, h, w));
    for (int j = 0; j < 3 * h * w; j++)
      if (!(fabsf(out[j] - want[j]) <= 1.01f))
        fail_msg("%s: value %d: %g, %d in 8 bits", test, j, (double)out[j], want[j]);
  }
  ds_resizer_free(&r);
  st_close(&f);
}

static void same_size_copies(void **state) {
  (void)state;
  uint8_t in[3 * 5 * 7], out[3 * 5 * 7];
  float fin[3 * 5 * 7], fout[3 * 5 * 7];
  ds_resizer r = {0};

  for (int i = 0; i < 3 * 5 * 7; i++) fin[i] = in[i] = (uint8_t)(i * 41);
  check_ok(ds_resize_rgb8(&r, in, 5, 7, out, 5, 7));
  assert_memory_equal(in, out, sizeof in);
  check_ok(ds_resize_rgbf(&r, fin, 5, 7, fout, 5, 7));
  assert_memory_equal(fin, fout, sizeof fin);
  check_ok(ds_resize_nearest(&r, fin, 5, 7, fout, 5, 7, true));
  assert_memory_equal(fin, fout, 5 * 7 * sizeof *fin);
  ds_resizer_free(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(as_pillow), cmocka_unit_test(nearest_both_ways),
                                     cmocka_unit_test(float_filter), cmocka_unit_test(same_size_copies)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
