/* Micro-batches hold whole groups of one shape, in order, each group once. */
#include "tests/support/check.h"
#include "trainer/pack.h"

enum { MOST = 8 };

static void groups_of_shapes(const int (*shapes)[2], int n, ds_group *g, ds_group **p) {
  for (int i = 0; i < n; i++) {
    g[i] = (ds_group){.g = i, .B = 2, .H = shapes[i][0], .W = shapes[i][1]};
    p[i] = &g[i];
  }
}

static void shapes_go_together_in_order(void **state) {
  const int shapes[][2] = {{8, 8}, {8, 16}, {8, 8}, {8, 8}, {8, 16}, {16, 8}};
  const int want[][3] = {{0, 2, -1}, {1, 4, -1}, {3, -1, -1}, {5, -1, -1}};
  ds_group g[6], *p[6];
  bool done[6] = {false};
  int picked[MOST], n;
  (void)state;

  groups_of_shapes(shapes, 6, g, p);
  for (int step = 0; step < 4; step++) {
    n = tr_pack_next(p, 6, done, 2, picked);
    for (int i = 0; i < n; i++) {
      assert_int_equal(picked[i], want[step][i]);
      done[picked[i]] = true;
    }
    assert_int_equal(want[step][n], -1);
  }
  assert_int_equal(tr_pack_next(p, 6, done, 2, picked), 0);
}

static void done_groups_are_left_out(void **state) {
  const int shapes[][2] = {{8, 8}, {8, 8}, {8, 8}};
  ds_group g[3], *p[3];
  const bool done[3] = {false, true, false};
  int picked[MOST];
  (void)state;

  groups_of_shapes(shapes, 3, g, p);
  assert_int_equal(tr_pack_next(p, 3, done, MOST, picked), 2);
  assert_int_equal(picked[1], 2);
  assert_int_equal(tr_pack_next(p, 0, done, MOST, picked), 0);
}

static void valid_pixels_add_up(void **state) {
  int64_t valid[] = {5, 0, 7};
  const ds_group g = {.B = 3, .valid = valid};
  (void)state;
  assert_int_equal(tr_group_valid(&g), 12);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(shapes_go_together_in_order),
                                     cmocka_unit_test(done_groups_are_left_out), cmocka_unit_test(valid_pixels_add_up)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
