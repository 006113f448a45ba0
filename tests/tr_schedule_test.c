/* tests/tr_schedule_test.c: the learning rate's factor against the source's tables, and at its edges. */
#include <stdio.h>

#include "base/io.h"
#include "tests/support/golden.h"
#include "trainer/schedule.h"

static void table(const char *name, int64_t warmup, int64_t total, double ratio) {
  st_file *f = golden_open("losses/lr_iter_exponential.safetensors");
  char key[32];
  size_t n;

  snprintf(key, sizeof key, "%s.iter", name);
  double *iter = golden_f64(f, key, &n);
  snprintf(key, sizeof key, "%s.factor", name);
  double *factor = golden_f64(f, key, NULL);
  for (size_t i = 0; i < n; i++) {
    const double got = tr_lr_factor(TR_EXPONENTIAL, (int64_t)iter[i], warmup, total, ratio);
    if (!(fabs(got - factor[i]) <= 1e-12 * factor[i]))
      fail_msg("table %s, step %.0f: %.17g, wanted %.17g", name, iter[i], got, factor[i]);
  }
  free(iter);
  free(factor);
  st_close(&f);
}

static void agrees_with_the_source(void **state) {
  (void)state;
  table("0", 100, 20000, 0.01);
  table("1", 3, 20, 0.01);
}

static void warms_up_from_0(void **state) {
  (void)state;
  for (int kind = TR_EXPONENTIAL; kind <= TR_CONSTANT; kind++) {
    assert_true(tr_lr_factor((tr_schedule)kind, 0, 4, 100, 0.1) == 0);
    assert_true(tr_lr_factor((tr_schedule)kind, 1, 4, 100, 0.1) == 0.25);
    assert_true(tr_lr_factor((tr_schedule)kind, 4, 4, 100, 0.1) == 1);
    assert_true(tr_lr_factor((tr_schedule)kind, 0, 0, 100, 0.1) == 1); /* no warm-up */
  }
}

static void ends_at_the_final_ratio(void **state) {
  (void)state;
  assert_true(tr_lr_factor(TR_EXPONENTIAL, 99, 4, 100, 0.1) > 0.1);
  assert_true(tr_lr_factor(TR_EXPONENTIAL, 100, 4, 100, 0.1) == 0.1);
  assert_true(tr_lr_factor(TR_EXPONENTIAL, 1000000, 4, 100, 0.1) == 0.1);
  assert_true(tr_lr_factor(TR_EXPONENTIAL, 50, 0, 100, 1) == 1);
  assert_true(tr_lr_factor(TR_CONSTANT, 1000000, 4, 100, 0.1) == 1);
}

static void no_room_for_a_decay(void **state) {
  (void)state;
  assert_true(tr_lr_factor(TR_EXPONENTIAL, 9, 10, 10, 0.1) == 0.9);
  assert_true(tr_lr_factor(TR_EXPONENTIAL, 10, 10, 10, 0.1) == 0.1);
  assert_true(tr_lr_factor(TR_EXPONENTIAL, 7, 10, 5, 0.1) == 0.7);
  assert_true(tr_lr_factor(TR_EXPONENTIAL, 10, 10, 5, 0.1) == 0.1);
  assert_true(tr_lr_factor(TR_EXPONENTIAL, 0, 0, 0, 0.1) == 0.1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(agrees_with_the_source),
      cmocka_unit_test(warms_up_from_0),
      cmocka_unit_test(ends_at_the_final_ratio),
      cmocka_unit_test(no_room_for_a_decay),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
