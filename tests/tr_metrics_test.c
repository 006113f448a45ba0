/* The line of metrics.jsonl, digit for digit, and the ETA from the median step. */
#include <math.h>

#include "tests/support/check.h"
#include "trainer/metrics.h"
#include "trainer/progress.h"

static void a_line_has_the_documented_fields(void **state) {
  const double groups[] = {0.5, 0, 1.0 / 3};
  const bool empty[] = {false, true, false};
  const tr_metrics m = {.step = 12, .loss = 0.1, .group_loss = groups, .group_empty = empty, .groups = 3,
                        .grad_norm = 1234.56789012, .lr = 3e-5 / 7, .seconds = 0.25, .samples_per_second = 16,
                        .data_wait = 0, .peak_bytes = 123456789012.0};
  char *line = NULL;
  size_t n;
  (void)state;
  check_ok(tr_metrics_line(&m, &line, &n));
  assert_string_equal(line, "{\"step\": 12, \"loss\": 0.1, \"micro_losses\": [0.5, null, 0.333333333], "
                            "\"grad_norm\": 1234.56789, \"lr\": 4.2857142857142855e-06, \"seconds\": 0.25, "
                            "\"samples_per_second\": 16, \"data_wait\": 0, \"peak_bytes\": 1.23456789e+11}\n");
  assert_int_equal(n, strlen(line));
  free(line);
}

static void what_json_lacks_is_a_string(void **state) {
  const double groups[] = {(double)NAN, -(double)INFINITY};
  const bool empty[] = {false, false};
  const tr_metrics m = {.step = 1, .loss = -(double)NAN, .group_loss = groups, .group_empty = empty, .groups = 2,
                        .grad_norm = (double)INFINITY, .seconds = 1, .save_stall = 0.25, .skipped = true};
  char *line = NULL;
  size_t n;
  (void)state;
  check_ok(tr_metrics_line(&m, &line, &n));
  assert_non_null(strstr(line, "\"loss\": \"nan\", \"micro_losses\": [\"nan\", \"-inf\"], \"grad_norm\": \"inf\""));
  assert_non_null(strstr(line, ", \"save_stall\": 0.25, \"skipped\": true}\n"));
  free(line);
}

static void eta_is_the_median_of_the_last_steps(void **state) {
  tr_progress p;
  tr_metrics m = {.seconds = 1};
  (void)state;
  tr_progress_init(&p, 1000);
  assert_true(tr_progress_eta(&p, 0) < 0);
  for (m.step = 1; m.step <= 150; m.step++) {
    m.seconds = m.step <= 50 ? 100 : m.step % 10 == 0 ? 50 : 2; /* a slow start and rare outliers */
    tr_progress_step(&p, &m, false);
  }
  assert_true(fabs(tr_progress_eta(&p, 150) - 850 * 2) < 1e-9);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_line_has_the_documented_fields),
                                     cmocka_unit_test(what_json_lacks_is_a_string),
                                     cmocka_unit_test(eta_is_the_median_of_the_last_steps)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
