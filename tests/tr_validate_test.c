/* Validation between steps: it changes no bit of the training, writes metrics and pictures, keeps the best checkpoint, is
 * done once a step over kills and resumes, and says what it cannot measure on. */
#include "tests/support/damage.h"
#include "tests/support/runs.h"

/* Stored samples, as the training's own, are the validation set: kind batches. */
#define VALIDATE "-s", "optim.ema=0.9", "-s", "validate.every=2", "-s", "validate.pictures=1", "-s", "validate.limit=3", "-s", "log.tensorboard=true"

static const char *sets(void **state) {
  return tmpdir_at(state, "validate.sets=[\"batches:%s\"]", (const char *)tmpdir_at(state, "batches")) + strlen(*state) + 1;
}

/* Lines of validation/metrics.jsonl: the steps, in order; returns their number. */
static int validated(const char *dir, int64_t steps[RUNS_STEPS], double *last_abs_rel) {
  char path[IO_PATH_MAX], *line = NULL;
  size_t cap = 0;
  int n = 0;
  FILE *f;

  check_ok(io_path(path, "%s/validation/metrics.jsonl", dir));
  assert_non_null(f = fopen(path, "r"));
  while (getline(&line, &cap, f) > 0) {
    json_t *doc = json_loads(line, 0, NULL);
    const json_t *set = json_array_get(json_object_get(doc, "results"), 0);
    assert_non_null(set);
    assert_true(n < RUNS_STEPS);
    steps[n++] = json_integer_value(json_object_get(doc, "step"));
    assert_int_equal(json_integer_value(json_object_get(set, "images")) + json_integer_value(json_object_get(set, "failed")), 3);
    *last_abs_rel = json_number_value(json_object_get(set, "abs_rel"));
    json_decref(doc);
  }
  free(line);
  fclose(f);
  return n;
}

static void expect_same(void **state, const char *a, const char *b) {
  const char *const files[] = {RUNS_UNET, "checkpoints/step-000008/adam_v.safetensors", "checkpoints/step-000008/ema.safetensors"};

  runs_same_metrics(tmpdir_at(state, "%s", a), tmpdir_at(state, "%s", b), 0);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    runs_same_weights(tmpdir_at(state, "%s/%s", a, files[i]), tmpdir_at(state, "%s/%s", b, files[i]));
}

/* The model card of what was exported has the numbers and the pictures. */
static void the_card_shows_it(const char *dir) {
  char path[IO_PATH_MAX], *card = NULL;
  size_t n;

  check_ok(io_path(path, "%s/README.md", dir));
  check_ok(io_read_file(path, 1 << 20, &card, &n));
  assert_non_null(strstr(card, "After step 8, trained weights"));
  assert_non_null(strstr(card, "abs_rel "));
  assert_non_null(strstr(card, "(pictures/0-000.png)"));
  free(card);
  check_ok(io_path(path, "%s/pictures/0-000.png", dir));
  assert_true(io_exists(path));
}

static void training_is_the_same_with_it(void **state, const char *precision) {
  const char *config = runs_config(state, "depth"), *s = sets(state);
  int64_t steps[RUNS_STEPS];
  double ema, trained;

  RUNS_TRAIN(0, config, tmpdir_at(state, "without"), "-s", "optim.ema=0.9", "-s", precision);
  RUNS_TRAIN(0, config, tmpdir_at(state, "with"), VALIDATE, "-s", s, "-s", precision);
  RUNS_TRAIN(0, config, tmpdir_at(state, "ema"), VALIDATE, "-s", s, "-s", precision, "-s", "validate.weights=ema");
  expect_same(state, "without", "with");
  expect_same(state, "without", "ema");
  assert_int_equal(validated(tmpdir_at(state, "with"), steps, &trained), 4);
  assert_int_equal(steps[3], 8);
  assert_int_equal(validated(tmpdir_at(state, "ema"), steps, &ema), 4);
  assert_true(trained > 0 && ema > 0 && trained != ema); /* other weights were measured */
  assert_true(io_exists(tmpdir_at(state, "with/validation/step-000008/0-000.png")));
  assert_false(io_exists(tmpdir_at(state, "with/validation/step-000008/0-001.png")));
  the_card_shows_it(tmpdir_at(state, "with/portable"));
}

static void training_in_fp32_is_the_same(void **state) { training_is_the_same_with_it(state, "run.precision=fp32"); }
static void training_in_bf16_is_the_same(void **state) { training_is_the_same_with_it(state, "run.precision=bf16"); }

static void the_best_checkpoint_stays(void **state) {
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "best");
  char *text = NULL;
  size_t n;

  /* a rate that ruins the model: the first measurement stays the best */
  RUNS_TRAIN(0, config, dir, VALIDATE, "-s", sets(state), "-s", "validate.best=abs_rel", "-s", "checkpoint.keep=1", "-s",
             "checkpoint.every=1", "-s", "optim.lr=0.3", "-s", "optim.warmup=3");
  check_ok(io_read_file(tmpdir_at(state, "best/checkpoints/best.json"), 4096, &text, &n));
  json_t *doc = json_loads(text, 0, NULL);
  const int64_t step = json_integer_value(json_object_get(doc, "step"));
  assert_true(step >= 2 && step < 8);
  assert_true(io_is_dir(tmpdir_at(state, "best/checkpoints/step-%06lld", (long long)step)));
  assert_true(io_is_dir(tmpdir_at(state, "best/checkpoints/step-000008")));
  assert_false(io_is_dir(tmpdir_at(state, "best/checkpoints/step-000007")));
  json_decref(doc);
  free(text);
}

static void wait_for(const char *path) {
  const double end = program_now() + 60;
  while (!io_exists(path)) {
    if (program_now() > end) fail_msg("%s: not there after 60 s", path);
    program_nap();
  }
}

static void each_step_is_measured_once_over_kills(void **state) {
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "killed"), *s = sets(state);
  int64_t steps[RUNS_STEPS];
  double abs_rel;
  char set[IO_PATH_MAX];

  snprintf(set, sizeof set, "run.dir=%.4000s", dir);
  RUNS_TRAIN(0, config, tmpdir_at(state, "straight"), VALIDATE, "-s", s, "-s", "checkpoint.every=3");
  for (int i = 0; i < 8; i++) { /* the folder is made inside a validation: every other run dies there, the rest anywhere */
    program p = program_start_v((const char *[]){"train", config, "-s", set, VALIDATE, "-s", s, "-s", "checkpoint.every=3", "--resume=auto", NULL});
    if (i % 2) nanosleep(&(struct timespec){.tv_sec = i / 3, .tv_nsec = i % 3 * 330000000L}, NULL);
    else wait_for(tmpdir_at(state, "killed/validation/step-%06d", 2 + i));
    kill(-p.pid, SIGKILL);
    program_wait(&p, 60);
    program_free(&p);
  }
  RUNS_TRAIN(0, config, dir, VALIDATE, "-s", s, "-s", "checkpoint.every=3", "--resume=auto");
  expect_same(state, "straight", "killed");
  assert_int_equal(validated(dir, steps, &abs_rel), 4);
  for (int i = 0; i < 4; i++) assert_int_equal(steps[i], 2 * (i + 1));
}

static void expect_refused(void **state, int status, const char *part, const char *a, const char *b) {
  char dir[IO_PATH_MAX];
  snprintf(dir, sizeof dir, "run.dir=%.4000s", tmpdir_at(state, "refused"));
  program p = program_run(60, "train", runs_config(state, "depth"), "-s", dir, "-s", "validate.every=2", "-s", a, "-s", b, NULL);
  program_expect_error(&p, status, part);
  program_free(&p);
}

static void what_cannot_be_measured_is_said(void **state) {
  (void)runs_config(state, "depth");
  check_ok(io_make_dirs(tmpdir_at(state, "ibims")));
  const char *good = sets(state);
  expect_refused(state, 2, "validate.sets names nothing", "run.seed=0", "run.seed=0");
  expect_refused(state, 2, "'abs_rell' is no metric of", good, "validate.best=abs_rell");
  expect_refused(state, 2, "has no set 3", good, "validate.best=3.abs_rel");
  expect_refused(state, 2, "optim.ema is 0", good, "validate.weights=ema");
  expect_refused(state, 2, "validate.sets.0: --data nowhere", "validate.sets=[nowhere]", "run.seed=0");
  expect_refused(state, 3, "/nowhere", "validate.sets=[\"nyuv2:/nowhere\"]", "run.seed=0");
  damaged_save(tmpdir_at(state, "ibims/a_img.png"), "x", 1);
  damaged_save(tmpdir_at(state, "ibims/a_normal.npy"), "x", 1);
  expect_refused(state, 2, "is a set for normals",
                 tmpdir_at(state, "validate.sets=[\"ibims:%s\"]", tmpdir_at(state, "ibims")) + strlen(*state) + 1, "run.seed=0");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(training_in_fp32_is_the_same, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(training_in_bf16_is_the_same, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(the_best_checkpoint_stays, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(each_step_is_measured_once_over_kills, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(what_cannot_be_measured_is_said, tmpdir_setup, tmpdir_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
