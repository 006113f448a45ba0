/* bf16 networks with fp32 masters, gradient sums and loss train like fp32: mean loss of steps 41 to 50 within 2 %. */
#include "tests/support/runs.h"

static double late_loss(const char *dir) {
  static runs_line lines[RUNS_STEPS];
  double sum = 0;

  assert_int_equal(runs_metrics(dir, lines), 50);
  for (int i = 40; i < 50; i++) sum += lines[i].loss;
  return sum / 10;
}

static void losses_stay_together(void **state, const char *task) {
  const char *config = runs_config(state, task), *fp32 = tmpdir_at(state, "fp32"), *bf16 = tmpdir_at(state, "bf16");

  RUNS_TRAIN(0, config, fp32, "-s", "optim.steps=50", "-s", "optim.decay_steps=50");
  RUNS_TRAIN(0, config, bf16, "-s", "optim.steps=50", "-s", "optim.decay_steps=50", "-s", "run.precision=bf16",
             "-s", "optim.micro_batch=2");
  const double a = late_loss(fp32), b = late_loss(bf16);
  print_message("%s: mean loss of steps 41 to 50: fp32 %.6g, bf16 %.6g (%+.3f %%)\n", task, a, b, 100 * (b / a - 1));
  if (!(fabs(b / a - 1) <= 0.02)) fail_msg("fp32 %.6g, bf16 %.6g", a, b);
}

static void depth(void **state) { losses_stay_together(state, "depth"); }
static void normals(void **state) { losses_stay_together(state, "normals"); }

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {IN_FOLDER(depth), IN_FOLDER(normals)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
