#include "datasets/target.h"

#include <math.h>

#include "tests/support/check.h"

static float scratch[64];

static void nothing_valid(void **state) {
  (void)state;
  const float depth[] = {0, -1, NAN, INFINITY, 100, 80};
  float metric[6], normalised[6];
  uint8_t mask[6];

  assert_int_equal(ds_target_depth(depth, 6, 1e-5f, 80, scratch, mask, metric, normalised), 0);
  for (int i = 0; i < 6; i++) assert_true(mask[i] == 0 && metric[i] == 0 && normalised[i] == 0);
}

/* Both percentiles the same: nothing to learn from, so nothing is valid. One pixel is such a case. */
static void constant(void **state) {
  (void)state;
  float depth[50], metric[50], normalised[50];
  uint8_t mask[50];

  for (int n = 1; n <= 50; n += 49) {
    for (int i = 0; i < n; i++) depth[i] = 7;
    assert_int_equal(ds_target_depth(depth, (size_t)n, 1e-5f, 80, scratch, mask, metric, normalised), 0);
    for (int i = 0; i < n; i++) assert_true(mask[i] == 0 && metric[i] == 0 && normalised[i] == 0);
  }
}

/* 1, 2, .. 50, and what is not valid: q02 at rank 0.98, q98 at 48.02. */
static void percentiles(void **state) {
  (void)state;
  float depth[53] = {0, 80, NAN}, metric[53], normalised[53];
  uint8_t mask[53];

  for (int i = 0; i < 50; i++) depth[3 + i] = (float)(50 - i);
  assert_int_equal(ds_target_depth(depth, 53, 1e-5f, 80, scratch, mask, metric, normalised), 50);
  const float q98 = metric[0], q02 = metric[52];
  assert_true(fabsf(q98 - 49.02f) < 1e-5f && fabsf(q02 - 1.98f) < 1e-5f);
  for (int i = 0; i < 53; i++) {
    assert_int_equal(mask[i], i >= 3);
    const float d = i < 3 ? q98 : fminf(fmaxf(depth[i], q02), q98);
    assert_true(metric[i] == d);
    assert_true(fabsf(normalised[i] - ((d - q02) / (q98 - q02) * 2 - 1)) < 1e-6f && fabsf(normalised[i]) <= 1);
  }
}

static void bounds_are_outside(void **state) {
  (void)state;
  const float depth[] = {0.5f, 0.50001f, 1, 1.9999f, 2};
  uint8_t mask[5];

  ds_target_depth(depth, 5, 0.5f, 2, scratch, mask, NULL, NULL); /* planes may be missing */
  assert_memory_equal(mask, ((uint8_t[]){0, 1, 1, 1, 0}), 5);
}

static void unit_normals(void **state) {
  (void)state;
  float n[3][4] = {{0, 3, 1e-20f, 5}, {0, 0, 0, 5}, {-2, 4, 0, 5}}; /* pixels (0,0,-2) (3,0,4) (1e-20,0,0) masked */
  const uint8_t mask[] = {1, 1, 1, 0};

  ds_target_normals(&n[0][0], 4, mask);
  assert_true(n[2][0] == -1 && n[0][0] == 0);
  assert_true(n[0][1] == 3 / 5.f && n[2][1] == 4 / 5.f);
  assert_true(fabsf(n[0][2] - 1e-8f) < 1e-12f); /* over 1e-12, not over its length */
  assert_true(n[0][3] == 0 && n[1][3] == 0 && n[2][3] == 0);
}

static void unknown_normals(void **state) {
  (void)state;
  const float n[3][5] = {{0, 1, NAN, 0.005f, INFINITY}, {0, 0, 0, 0, 0}, {0, 0, 0, 0.001f, 0}};
  uint8_t mask[] = {1, 1, 1, 1, 1};

  assert_int_equal(ds_target_drop_unknown(&n[0][0], 5, mask), 1);
  assert_memory_equal(mask, ((uint8_t[]){0, 1, 0, 0, 0}), 5);
  mask[1] = 0;
  assert_int_equal(ds_target_drop_unknown(&n[0][0], 5, mask), 0); /* what is masked stays so */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_valid), cmocka_unit_test(constant),
                                     cmocka_unit_test(percentiles),   cmocka_unit_test(bounds_are_outside),
                                     cmocka_unit_test(unit_normals),  cmocka_unit_test(unknown_normals)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
