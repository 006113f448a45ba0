/* Noise is a function of (seed, step, group, sample), has the pyramid's statistics and the reference's enlargement. */
#include <math.h>

#include "tests/support/check.h"
#include "models/noise.h"

enum { B = 2, C = 4, H = 30, W = 40, N = B * C * H * W };

static double mean(const float *x, size_t n) {
  double s = 0;
  for (size_t i = 0; i < n; i++) s += x[i];
  return s / (double)n;
}

static double deviation(const float *x, size_t n) {
  const double m = mean(x, n);
  double s = 0;
  for (size_t i = 0; i < n; i++) s += (x[i] - m) * (x[i] - m);
  return sqrt(s / (double)(n - 1));
}

/* Mean product of horizontal neighbours over the variance: 0 for white noise. */
static double neighbours(const float *x) {
  double s = 0, v = 0;
  for (int r = 0; r < B * C * H; r++)
    for (int i = 0; i + 1 < W; i++) s += x[r * W + i] * x[r * W + i + 1], v += x[r * W + i] * x[r * W + i];
  return s / v;
}

static void gaussian_is_white(void **state) {
  static float x[N];
  (void)state;
  check_ok(md_noise_group(MD_GAUSSIAN, (md_noise_at){7, 1, 0}, B, C, H, W, x));
  assert_true(fabs(mean(x, N)) < 0.05);
  assert_true(fabs(deviation(x, N) - 1) < 0.03);
  assert_true(fabs(neighbours(x)) < 0.05);
}

static void pyramid_is_normalised_and_smooth(void **state) {
  static float x[N];
  (void)state;
  for (int g = 0; g < 5; g++) {
    check_ok(md_noise_group(MD_PYRAMID, (md_noise_at){7, 3, g}, B, C, H, W, x));
    assert_true(fabs(deviation(x, N) - 1) < 1e-5);
    assert_true(neighbours(x) > 0.1);
  }
}

static void draws_follow_seed_step_and_group(void **state) {
  static float x[N], y[N];
  const md_noise_at base = {7, 3, 1}, others[] = {{8, 3, 1}, {7, 4, 1}, {7, 3, 2}};
  (void)state;
  for (int kind = MD_GAUSSIAN; kind <= MD_PYRAMID; kind++) {
    check_ok(md_noise_group((md_noise)kind, base, B, C, H, W, x));
    check_ok(md_noise_group((md_noise)kind, base, B, C, H, W, y));
    assert_memory_equal(x, y, sizeof x);
    for (int i = 0; i < 3; i++) {
      check_ok(md_noise_group((md_noise)kind, others[i], B, C, H, W, y));
      assert_true(fabs(x[0] - y[0]) > 1e-6 && fabs(x[N - 1] - y[N - 1]) > 1e-6);
    }
  }
  assert_true(fabs(x[0] - x[N / 2]) > 1e-6); /* samples of a group differ */
}

static void odd_sizes_work(void **state) {
  const int sizes[][2] = {{1, 1}, {1, 9}, {9, 1}, {2, 3}, {31, 33}};
  static float x[B * C * 31 * 33];
  (void)state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    const int h = sizes[i][0], w = sizes[i][1];
    check_ok(md_noise_group(MD_PYRAMID, (md_noise_at){1, 1, 0}, B, C, h, w, x));
    for (int j = 0; j < B * C * h * w; j++) assert_true(isfinite(x[j]));
  }
  check_ok(md_noise_group(MD_PYRAMID, (md_noise_at){1, 1, 0}, 1, 1, 1, 1, x));
  assert_true(isfinite(x[0]));
  check_ok(md_noise_group(MD_ZEROS, (md_noise_at){1, 1, 0}, B, C, 2, 3, x));
  for (int j = 0; j < B * C * 6; j++) assert_true(x[j] == 0);
  check_fails(E_FAIL, "noise", md_noise_group((md_noise)3, (md_noise_at){1, 1, 0}, B, C, 2, 3, x));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(gaussian_is_white),
                                     cmocka_unit_test(pyramid_is_normalised_and_smooth),
                                     cmocka_unit_test(draws_follow_seed_step_and_group), cmocka_unit_test(odd_sizes_work)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
