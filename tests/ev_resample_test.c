/* Resizing against torch's. */
#include "eval/resample.h"

#include <stdio.h>

#include "tests/support/golden.h"

static const int sizes[][2] = {{13, 18}, {7, 5}, {29, 40}, {13, 9}, {26, 18}, {1, 1}, {5, 31}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void check_mode(const st_file *g, const char *mode, ev_filter f, bool antialias) {
  float *in = golden_f32(g, "in", NULL), out[2 * 29 * 40];
  char key[64];

  for (size_t i = 0; i < SIZES; i++) {
    const int h = sizes[i][0], w = sizes[i][1];
    size_t n;
    snprintf(key, sizeof key, "%s.%d.%dx%d", mode, antialias, h, w);
    float *want = golden_f32(g, key, &n);
    assert_int_equal(n, 2 * h * w);
    check_ok(ev_resample(f, antialias, in, 2, 13, 18, out, h, w));
    golden_near_f32(key, out, want, n, 2e-6, 0);
    free(want);
  }
  free(in);
}

/* An 8-bit image as torchvision resizes it: rounded to the same bits, ties included. */
static void rounds_as_torchvision(void **state) {
  st_file *g = NULL;
  int wrong = 0;

  (void)state;
  check_ok(st_open(TEST_DATA "/resample.safetensors", &g));
  const st_tensor *in = golden_find(g, "in8"), *want = golden_find(g, "out8");
  const int H = (int)in->shape[1], W = (int)in->shape[2], h = (int)want->shape[1], w = (int)want->shape[2];
  float *x = golden_f32(g, "in8", NULL), *y = malloc(sizeof *y * (size_t)(3 * h * w));
  check_ok(ev_resample(EV_BILINEAR, true, x, 3, H, W, y, h, w));
  for (int i = 0; i < 3 * h * w; i++) wrong += rintf(y[i]) != ((const uint8_t *)want->data)[i];
  assert_int_equal(wrong, 0);
  free(x);
  free(y);
  st_close(&g);
}

static void sizes_as_torch(void **state) {
  st_file *g = NULL;

  (void)state;
  check_ok(st_open(TEST_DATA "/resample.safetensors", &g));
  check_mode(g, "bilinear", EV_BILINEAR, true);
  check_mode(g, "bilinear", EV_BILINEAR, false);
  check_mode(g, "bicubic", EV_BICUBIC, true);
  check_mode(g, "bicubic", EV_BICUBIC, false);
  check_mode(g, "nearest-exact", EV_NEAREST, false);
  st_close(&g);
}

static void nothing_to_resize(void **state) {
  float x = 1;

  (void)state;
  check_fails(E_SHAPE, "resize: 1 x 1 to 0 x 1", ev_resample(EV_BILINEAR, true, &x, 1, 1, 1, &x, 0, 1));
  check_fails(E_SHAPE, "resize: 0 x 1 to 1 x 1", ev_resample(EV_BILINEAR, true, &x, 1, 0, 1, &x, 1, 1));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(sizes_as_torch), cmocka_unit_test(rounds_as_torchvision),
                                     cmocka_unit_test(nothing_to_resize)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
