/* NaN, infinity and empty steps: no update, the run goes on, the groups are kept, too many in a row end it. */
#include "tests/support/runs.h"
#include "tests/support/stored.h"

static const char *batch(void **state, int i) { return tmpdir_at(state, "batches/%06d.safetensors", i); }

/* Micro-batch 3 belongs to step 2. */
static void a_nan_step_is_skipped(void **state) {
  static runs_line lines[RUNS_STEPS];
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "run");

  stored_fill(batch(state, 3), "metric", (float)NAN);
  program p = runs_train(0, config, dir, "-s", "optim.steps=4", "-s", "optim.warmup=0", "-s", "checkpoint.every=1", "-s",
                         "checkpoint.keep=0", NULL);
  assert_int_equal(runs_metrics(dir, lines), 4);
  assert_true(lines[1].skipped && isnan(lines[1].loss) && isnan(lines[1].group[1]) && isfinite(lines[1].group[0]));
  assert_true(!lines[0].skipped && !lines[2].skipped && isfinite(lines[2].loss) && isfinite(lines[2].grad_norm));
  assert_non_null(strstr(p.err, "the loss of group 1 (000003) is nan"));
  program_free(&p);
  runs_same_weights(tmpdir_at(state, "run/checkpoints/step-000001/weights.safetensors"),
                    tmpdir_at(state, "run/checkpoints/step-000002/weights.safetensors"));
  /* the rate follows the step, not the updates */
  assert_true(lines[1].lr > lines[2].lr && lines[2].lr > lines[3].lr);

  st_file *f = NULL; /* the dump is the file of kind batches again */
  check_ok(st_open(tmpdir_at(state, "run/nonfinite/step-000002/000001.safetensors"), &f));
  assert_int_equal(golden_find(f, "rgb")->shape[0], 2);
  st_close(&f);
  assert_true(io_exists(tmpdir_at(state, "run/nonfinite/step-000002/000000.safetensors")));
}

static void adam_counts_updates_only(void **state) {
  const char *config = runs_config(state, "depth");
  char *text = NULL;
  size_t n;

  stored_fill(batch(state, 3), "metric", (float)INFINITY);
  RUNS_TRAIN(0, config, tmpdir_at(state, "run"), "-s", "optim.steps=3");
  check_ok(io_read_file(tmpdir_at(state, "run/checkpoints/step-000003/manifest.json"), 1 << 24, &text, &n));
  json_t *doc = json_loads(text, 0, NULL);
  assert_int_equal(json_integer_value(json_object_get(doc, "step")), 3);
  assert_int_equal(json_integer_value(json_object_get(doc, "adam_t")), 2);
  json_decref(doc);
  free(text);
}

static void too_many_in_a_row_end_the_run(void **state) {
  static runs_line lines[RUNS_STEPS];
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "run");

  for (int i = 2; i < 16; i++) stored_fill(batch(state, i), "rgb", (float)NAN);
  program p = runs_train(7, config, dir, "-s", "optim.max_nonfinite=3", NULL);
  program_expect_error(&p, 7, "optim.max_nonfinite");
  program_free(&p);
  assert_int_equal(runs_metrics(dir, lines), 4);
}

static void a_step_without_valid_pixels_is_skipped(void **state) {
  static runs_line lines[RUNS_STEPS];
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "run");

  for (int i = 0; i < 2; i++) stored_fill(batch(state, i), "mask", 0);
  program p = runs_train(0, config, dir, "-s", "optim.steps=2", NULL);
  assert_int_equal(runs_metrics(dir, lines), 2);
  assert_true(lines[0].skipped && lines[0].loss == 0 && lines[0].grad_norm == 0);
  assert_true(isnan(lines[0].group[0]) && isnan(lines[0].group[1]));
  assert_non_null(strstr(p.err, "no group has a valid pixel"));
  assert_true(io_exists(tmpdir_at(state, "run/nonfinite/step-000001/000000.safetensors")));
  program_free(&p);
}

/* optim.nonfinite: reference: the NaN group counts as 0 and the step is that of a group without valid pixels. */
static void the_reference_zeroes_a_nan_group(void **state) {
  static runs_line lines[RUNS_STEPS];
  const char *config = runs_config(state, "depth");

  stored_fill(batch(state, 3), "metric", (float)NAN);
  RUNS_TRAIN(0, config, tmpdir_at(state, "nan"), "-s", "optim.steps=3", "-s", "optim.nonfinite=reference");
  stored_fill(batch(state, 3), "mask", 0);
  RUNS_TRAIN(0, config, tmpdir_at(state, "empty"), "-s", "optim.steps=3");
  runs_same_metrics(tmpdir_at(state, "nan"), tmpdir_at(state, "empty"), 0);
  runs_same_weights(tmpdir_at(state, "nan/" RUNS_UNET), tmpdir_at(state, "empty/" RUNS_UNET));
  runs_metrics(tmpdir_at(state, "nan"), lines);
  assert_false(lines[1].skipped);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      IN_FOLDER(a_nan_step_is_skipped), IN_FOLDER(adam_counts_updates_only), IN_FOLDER(too_many_in_a_row_end_the_run),
      IN_FOLDER(a_step_without_valid_pixels_is_skipped), IN_FOLDER(the_reference_zeroes_a_nan_group)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
