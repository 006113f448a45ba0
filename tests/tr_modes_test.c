/* Every kind of noise, prediction and precision runs from the command line and leaves weights of the right shape. */
#include "tests/support/runs.h"

/* Steps whose losses are finite and change from the first to the last. */
static void check_learns(const char *dir, int steps) {
  static runs_line lines[RUNS_STEPS];

  assert_int_equal(runs_metrics(dir, lines), steps);
  for (int i = 0; i < steps; i++) {
    assert_true(isfinite(lines[i].loss) && lines[i].loss > 0 && lines[i].grad_norm > 0);
    assert_false(lines[i].skipped);
  }
}

static int64_t input_channels(void **state, const char *run) {
  st_file *f = NULL;
  check_ok(st_open(tmpdir_at(state, "%s/" RUNS_UNET, run), &f));
  const int64_t channels = golden_find(f, "conv_in.weight")->shape[1];
  st_close(&f);
  json_t *config = json_load_file(tmpdir_at(state, "%s/model/unet/config.json", run), 0, NULL);
  assert_int_equal(json_integer_value(json_object_get(config, "in_channels")), channels);
  json_decref(config);
  return channels;
}

static void noises_run(void **state) {
  const struct { const char *noise, *task; int channels; } all[] = {
      {"none", "normals", 4}, {"zeros", "normals", 8}, {"gaussian", "depth", 8}, {"pyramid", "depth", 8}};

  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    char set[64];
    snprintf(set, sizeof set, "model.noise=%s", all[i].noise);
    RUNS_TRAIN(0, runs_config(state, all[i].task), tmpdir_at(state, "%s", all[i].noise), "-s", "optim.steps=3", "-s", set);
    check_learns(tmpdir_at(state, "%s", all[i].noise), 3);
    assert_int_equal(input_channels(state, all[i].noise), all[i].channels);
  }
}

static void noise_does_not_follow_micro_batches(void **state) {
  RUNS_TRAIN(0, runs_config(state, "depth"), tmpdir_at(state, "a"), "-s", "optim.steps=2", "-s", "optim.batch=8", "-s",
             "model.noise=pyramid", "-s", "optim.micro_batch=2");
  RUNS_TRAIN(0, runs_config(state, "depth"), tmpdir_at(state, "b"), "-s", "optim.steps=2", "-s", "optim.batch=8", "-s",
             "model.noise=pyramid", "-s", "optim.micro_batch=8");
  runs_same_metrics(tmpdir_at(state, "a"), tmpdir_at(state, "b"), 1e-6);
}

static void no_noise_needs_four_channels(void **state) {
  program p = runs_train(2, runs_config(state, "depth"), tmpdir_at(state, "run"), "-s", "model.noise=none", NULL);
  program_expect_error(&p, 2, "model.noise");
  program_free(&p);
}

/* A copy of a model folder with another value in its scheduler's config. */
static const char *model_with(void **state, const char *from, const char *key, const char *value) {
  const char *to = tmpdir_at(state, "model-%s", value), *path = tmpdir_at(state, "model-%s/scheduler/scheduler_config.json", value);
  char source[IO_PATH_MAX];

  snprintf(source, sizeof source, "%s/golden/models/%s", TEST_DATA, from);
  check_ok(io_copy_tree(source, to));
  json_t *doc = json_load_file(path, 0, NULL);
  assert_non_null(doc);
  json_object_set_new(doc, key, json_string(value));
  assert_int_equal(json_dump_file(doc, path, 0), 0);
  json_decref(doc);
  return to;
}

static void predictions_run(void **state) {
  const char *const kinds[] = {"epsilon", "sample"};

  for (int i = 0; i < 2; i++) {
    char set[IO_PATH_MAX];
    snprintf(set, sizeof set, "model.path=%.4000s", model_with(state, "tiny-marigold", "prediction_type", kinds[i]));
    RUNS_TRAIN(0, runs_config(state, "depth"), tmpdir_at(state, "%s", kinds[i]), "-s", "optim.steps=3", "-s", set);
    check_learns(tmpdir_at(state, "%s", kinds[i]), 3);
  }
}

static void random_weights_and_options_run(void **state) {
  RUNS_TRAIN(0, runs_config(state, "depth"), tmpdir_at(state, "a"), "-s", "optim.steps=2", "-s", "model.init=random", "-s",
             "model.text=short", "-s", "optim.kind=adam", "-s", "optim.clip=0", "-s", "run.deterministic=true", "-s",
             "optim.schedule=constant");
  check_learns(tmpdir_at(state, "a"), 2);
}

static void dry_run_writes_nothing(void **state) {
  program p = runs_train(0, runs_config(state, "depth"), tmpdir_at(state, "run"), "--dry-run", NULL);

  assert_non_null(strstr(p.out, "optim.lr: 0.0003"));
  assert_non_null(strstr(p.out, "depth.yaml:"));
  assert_non_null(strstr(p.out, "2 groups of 2"));
  assert_false(io_exists(tmpdir_at(state, "run")));
  program_free(&p);
}

static void what_comes_later_says_so(void **state) {
  const char *const sets[] = {"model.family=geowizard", "objective.kind=diffusion"};

  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
    program p = runs_train(2, runs_config(state, "depth"), tmpdir_at(state, "run"), "-s", sets[i], NULL);
    program_expect_error(&p, 2, "not available yet");
    program_free(&p);
    assert_false(io_exists(tmpdir_at(state, "run/config.yaml")));
  }
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      IN_FOLDER(noises_run),       IN_FOLDER(noise_does_not_follow_micro_batches), IN_FOLDER(no_noise_needs_four_channels),
      IN_FOLDER(predictions_run),  IN_FOLDER(random_weights_and_options_run),      IN_FOLDER(dry_run_writes_nothing),
      IN_FOLDER(what_comes_later_says_so)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
