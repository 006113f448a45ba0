#include "datasets/quantile.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/rng.h"
#include "tests/support/golden.h"

/* Shapes that hurt selections. */
typedef enum { RANDOM, CONSTANT, RISING, FALLING, TENT, TWO_VALUES, SHAPES } shape;

static void fill(shape s, float *v, size_t n) {
  const rng_key k = rng_stream(3, "values", s, n);

  for (size_t i = 0; i < n; i++) {
    const float x = (float)i, m = (float)n;
    v[i] = s == RANDOM     ? (float)rng_uniform(&k, i) * 20
           : s == CONSTANT ? 3
           : s == RISING   ? x
           : s == FALLING  ? m - x
           : s == TENT     ? fminf(x, m - x)
                           : (float)rng_below(&k, i, 2);
  }
}

static int by_value(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static void selects(void **state) {
  (void)state;
  const size_t sizes[] = {1, 2, 3, 7, 31, 257, 4096};
  float v[4096], sorted[4096];
  double wide[4096];

  for (int s = 0; s < SHAPES; s++)
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
      for (int j = 0; j < 5; j++) {
        const size_t n = sizes[i], k = (n - 1) * (size_t)j / 4;
        fill((shape)s, sorted, n);
        memcpy(v, sorted, n * sizeof *v);
        for (size_t e = 0; e < n; e++) wide[e] = v[e];
        qsort(sorted, n, sizeof *sorted, by_value);
        ds_select_f32(v, n, k);
        ds_select_f64(wide, n, k);
        assert_true(v[k] == sorted[k] && wide[k] == (double)sorted[k]);
        for (size_t e = 0; e < n; e++) assert_true(e < k ? v[e] <= v[k] : v[e] >= v[k]);
        qsort(v, n, sizeof *v, by_value);
        assert_memory_equal(v, sorted, n * sizeof *v); /* nothing got lost */
      }
}

/* A million values in any order take milliseconds; quadratic time would take hours. */
static void stays_linear(void **state) {
  (void)state;
  enum { N = 1 << 20 };
  float *v = malloc(N * sizeof *v), a, b;
  const clock_t start = clock();

  assert_non_null(v);
  for (int s = 0; s < SHAPES; s++) {
    fill((shape)s, v, N);
    ds_quantiles_02_98(v, N, &a, &b);
    assert_true(a <= b);
  }
  assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 20);
  free(v);
}

static void check_golden(const st_file *g, const char *n, float *v, size_t count) {
  char name[32];
  float q[2], *want[2];

  snprintf(name, sizeof name, "%s.q02", n);
  want[0] = golden_f32(g, name, NULL);
  snprintf(name, sizeof name, "%s.q98", n);
  want[1] = golden_f32(g, name, NULL);
  ds_quantiles_02_98(v, count, &q[0], &q[1]);
  for (int i = 0; i < 2; i++) {
    if (q[i] != *want[i])
      fail_msg("%s values, quantile %d: %.9g, torch has %.9g", n, i, (double)q[i], (double)*want[i]);
    free(want[i]);
  }
}

/* The manifest allows 1e-6; ours are the same bits. */
static void as_torch(void **state) {
  (void)state;
  static const char *const counts[] = {"1", "2", "7", "50", "1000"};
  st_file *g = golden_open("data/quantile.safetensors");
  char name[32];
  size_t n;
  float *v;

  for (int i = 0; i < 5; i++) {
    snprintf(name, sizeof name, "%s.values", counts[i]);
    v = golden_f32(g, name, &n);
    check_golden(g, counts[i], v, n);
    free(v);
  }
  v = golden_f32(g, "76800.values_u16_div16", &n);
  for (size_t i = 0; i < n; i++) v[i] = (v[i] < 0 ? v[i] + 65536 : v[i]) / 16; /* 16 bits, stored as signed */
  check_golden(g, "76800", v, n);
  free(v);
  st_close(&g);
}

/* Rows on which another order of the same operations gives other bits. */
static void rounds_as_torch(void **state) {
  (void)state;
  enum { ROWS = 400, N = 23 };
  st_file *g = NULL;
  float a, b;

  check_ok(st_open(TEST_DATA "/synth/truth/quantile.safetensors", &g));
  float *v = golden_f32(g, "values", NULL), *q02 = golden_f32(g, "q02", NULL), *q98 = golden_f32(g, "q98", NULL);
  for (int i = 0; i < ROWS; i++) {
    ds_quantiles_02_98(v + i * N, N, &a, &b);
    if (a != q02[i] || b != q98[i])
      fail_msg("row %d: %.9g %.9g, torch has %.9g %.9g", i, (double)a, (double)b, (double)q02[i], (double)q98[i]);
  }
  free(v);
  free(q02);
  free(q98);
  st_close(&g);
}

static void as_numpy(void **state) {
  (void)state;
  assert_true(ds_percentile((double[]){7}, 1, 0.9) == 7);
  assert_true(ds_percentile((double[]){2, 1}, 2, 0.9) == 1.9);
  assert_true(ds_percentile((double[]){5, 1, 4, 2, 3}, 5, 0.9) == 4.6);
  assert_true(ds_percentile((double[]){5, 1, 4, 2, 3}, 5, 0.5) == 3);
  assert_true(ds_percentile((double[]){0.3, -1, 0.1}, 3, 0) == -1);
  assert_true(ds_percentile((double[]){0.3, -1, 0.1}, 3, 1) == 0.3);
  assert_false(isfinite(ds_percentile((double[]){INFINITY, 1, 0.1}, 3, 0.9)));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(selects), cmocka_unit_test(stays_linear),
                                     cmocka_unit_test(as_torch), cmocka_unit_test(rounds_as_torch),
                                     cmocka_unit_test(as_numpy)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
