/* A run that stopped and went on is the run that did not stop, bit for bit; what a run folder refuses. */
#include "tests/support/runs.h"

/* Everything that a checkpoint has to carry is in use: EMA, a skipped step would be too. */
#define COMMON "-s", "optim.ema=0.9", "-s", "checkpoint.every=2", "-s", "checkpoint.keep=0"

static void expect_same_run(void **state, const char *a, const char *b) {
  const char *const files[] = {RUNS_UNET, "checkpoints/step-000008/weights.safetensors",
                               "checkpoints/step-000008/adam_m.safetensors", "checkpoints/step-000008/adam_v.safetensors",
                               "checkpoints/step-000008/ema.safetensors"};
  runs_same_metrics(tmpdir_at(state, "%s", a), tmpdir_at(state, "%s", b), 0);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    runs_same_weights(tmpdir_at(state, "%s/%s", a, files[i]), tmpdir_at(state, "%s/%s", b, files[i]));
}

static void stop_and_resume(void **state, const char *precision) {
  const char *config = runs_config(state, "depth"), *straight = tmpdir_at(state, "straight"), *halves = tmpdir_at(state, "halves");
  const char *chain = tmpdir_at(state, "chain");

  RUNS_TRAIN(0, config, straight, COMMON, "-s", precision);
  RUNS_TRAIN(0, config, halves, COMMON, "-s", precision, "-s", "optim.steps=3");
  RUNS_TRAIN(0, config, halves, COMMON, "-s", precision, "--resume");
  expect_same_run(state, "straight", "halves");
  RUNS_TRAIN(0, config, chain, COMMON, "-s", precision, "-s", "optim.steps=1", "--resume=auto");
  RUNS_TRAIN(0, config, chain, COMMON, "-s", precision, "-s", "optim.steps=4", "--resume=auto");
  RUNS_TRAIN(0, config, chain, COMMON, "-s", precision, "-s", "optim.steps=7", "--resume=auto");
  RUNS_TRAIN(0, config, chain, COMMON, "-s", precision, "--resume=auto");
  expect_same_run(state, "straight", "chain");
}

static void fp32_goes_on_bit_for_bit(void **state) { stop_and_resume(state, "run.precision=fp32"); }
static void bf16_goes_on_bit_for_bit(void **state) { stop_and_resume(state, "run.precision=bf16"); }

/* Back to an older checkpoint: newer ones and lines are given up, the rest comes again. */
static void an_older_checkpoint_can_be_chosen(void **state) {
  const char *config = runs_config(state, "depth");

  RUNS_TRAIN(0, config, tmpdir_at(state, "a"), COMMON);
  RUNS_TRAIN(0, config, tmpdir_at(state, "b"), COMMON);
  char resume[IO_PATH_MAX];
  snprintf(resume, sizeof resume, "--resume=%.4000s", tmpdir_at(state, "b/checkpoints/step-000004"));
  RUNS_TRAIN(0, config, tmpdir_at(state, "b"), COMMON, resume);
  expect_same_run(state, "a", "b");
}

/* Waits until the run has written n lines of metrics. */
static void wait_for_lines(const char *dir, int n, double limit) {
  const double end = program_now() + limit;
  char path[IO_PATH_MAX], *text = NULL;
  size_t size;

  check_ok(io_path(path, "%s/metrics.jsonl", dir));
  for (int lines = 0; lines < n; program_nap()) {
    if (program_now() > end) fail_msg("%s: no %d lines after %g s", path, n, limit);
    if (!io_exists(path) || io_read_file(path, 1 << 20, &text, &size) != OK) continue;
    lines = 0;
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    free(text);
  }
}

static program start(const char *config, const char *dir, const char *steps) {
  char set[IO_PATH_MAX], set_steps[64];
  snprintf(set, sizeof set, "run.dir=%.4000s", dir);
  snprintf(set_steps, sizeof set_steps, "optim.steps=%s", steps);
  return program_start_v((const char *[]){"train", config, "-s", set, "-s", set_steps, "--resume=auto", NULL});
}

static void signals_save_and_resume(void **state) {
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "stopped");
  const int signals[] = {SIGTERM, SIGINT, SIGUSR1};

  RUNS_TRAIN(0, config, tmpdir_at(state, "straight"), "-s", "optim.steps=40");
  for (int i = 0; i < 3; i++) {
    program p = start(config, dir, "40");
    wait_for_lines(dir, 3 * (i + 1), 60);
    kill(-p.pid, signals[i]); /* as a terminal or a batch system does: the decoders get it too */
    program_wait(&p, 60);
    program_expect_error(&p, 75, "stopped by signal");
    program_free(&p);
  }
  RUNS_TRAIN(0, config, dir, "-s", "optim.steps=40", "--resume=auto");
  runs_same_metrics(tmpdir_at(state, "straight"), dir, 0);
  runs_same_weights(tmpdir_at(state, "straight/" RUNS_UNET), tmpdir_at(state, "stopped/" RUNS_UNET));
}

static void killed_runs_start_over_or_go_on(void **state) {
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "killed");

  RUNS_TRAIN(0, config, tmpdir_at(state, "straight"), "-s", "optim.steps=20");
  program p = start(config, dir, "20"); /* no checkpoint before the end */
  wait_for_lines(dir, 2, 60);
  kill(p.pid, SIGKILL);
  program_wait(&p, 60);
  program_free(&p);
  RUNS_TRAIN(4, config, dir, "-s", "optim.steps=20");
  RUNS_TRAIN(0, config, dir, "-s", "optim.steps=20", "--resume=auto");
  runs_same_metrics(tmpdir_at(state, "straight"), dir, 0);
}

static void put(const char *path, const char *text) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

/* What a run killed while it began leaves: no checkpoint, torn files. */
static void torn_beginnings_are_replaced(void **state) {
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "torn");

  check_ok(io_make_dirs(tmpdir_at(state, "torn/checkpoints/step-000002.tmp")));
  check_ok(io_make_dirs(tmpdir_at(state, "torn/model.tmp/unet")));
  put(tmpdir_at(state, "torn/config.yaml"), "run: {di");
  put(tmpdir_at(state, "torn/run.json"), "{\"versi");
  put(tmpdir_at(state, "torn/metrics.jsonl"), "{\"step\": 1, \"loss\": 1}\n{\"step\": 2, \"lo");
  RUNS_TRAIN(4, config, dir, "-s", "optim.steps=2");
  RUNS_TRAIN(0, config, dir, "-s", "optim.steps=2", "--resume=auto");
  RUNS_TRAIN(0, config, tmpdir_at(state, "straight"), "-s", "optim.steps=2");
  runs_same_metrics(tmpdir_at(state, "straight"), dir, 0);
  assert_false(io_exists(tmpdir_at(state, "torn/model.tmp")));
}

/* Killed between the last checkpoint and the end of the export: the weights are made again from the checkpoint. */
static void a_torn_export_is_made_again(void **state) {
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "run");

  RUNS_TRAIN(0, config, dir, "-s", "optim.steps=2");
  check_ok(io_rename(tmpdir_at(state, "run/model"), tmpdir_at(state, "kept")));
  RUNS_TRAIN(0, config, dir, "-s", "optim.steps=2", "--resume=auto");
  runs_same_weights(tmpdir_at(state, "kept/unet/diffusion_pytorch_model.safetensors"), tmpdir_at(state, "run/" RUNS_UNET));
}

/* The newest checkpoint is damaged: the one before it is taken, and the run comes out the same. */
static void damaged_checkpoints_are_passed_over(void **state) {
  const char *config = runs_config(state, "depth"), *weights = tmpdir_at(state, "b/checkpoints/step-000006/weights.safetensors");
  char *data = NULL;
  size_t n;

  RUNS_TRAIN(0, config, tmpdir_at(state, "a"), COMMON);
  RUNS_TRAIN(0, config, tmpdir_at(state, "b"), COMMON, "-s", "optim.steps=6");
  check_ok(io_read_file(weights, 1 << 26, &data, &n));
  data[n / 2] = (char)(data[n / 2] ^ 1);
  FILE *f = fopen(weights, "wb");
  assert_int_equal(fwrite(data, 1, n, f), n);
  fclose(f);
  free(data);
  program p = runs_train(0, config, tmpdir_at(state, "b"), COMMON, "--resume=auto", NULL);
  assert_non_null(strstr(p.err, "step-000006"));
  assert_non_null(strstr(p.err, "after step 4"));
  program_free(&p);
  expect_same_run(state, "a", "b");
}

static void used_folders_are_refused(void **state) {
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "run");

  RUNS_TRAIN(0, config, dir, "-s", "optim.steps=1");
  program p = runs_train(4, config, dir, "-s", "optim.steps=1", NULL);
  program_expect_error(&p, 4, "holds a run already");
  program_free(&p);
  p = runs_train(0, config, dir, "-s", "optim.steps=1", "--resume=auto", NULL);
  assert_non_null(strstr(p.err, "finished"));
  program_free(&p);
  p = runs_train(4, config, tmpdir_at(state, "none"), "--resume=nowhere", NULL);
  program_expect_error(&p, 4, "nowhere");
  program_free(&p);
}

static void settings_that_matter_are_refused(void **state) {
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "run");

  RUNS_TRAIN(0, config, dir, "-s", "optim.steps=2");
  program p = runs_train(2, config, dir, "-s", "optim.lr=1e-3", "--resume", NULL);
  program_expect_error(&p, 2, "optim.lr: 0.0003 -> 0.001");
  program_free(&p);
  RUNS_TRAIN(0, config, dir, "-s", "optim.lr=1e-3", "-s", "optim.steps=3", "--resume", "--force");
  RUNS_TRAIN(0, config, dir, "-s", "optim.lr=1e-3", "-s", "optim.steps=4", "--resume", "-s", "loader.workers=2");
}

/* Adds to the last number of a file. */
static void alter(const char *path) {
  FILE *f = fopen(path, "r+b");
  int c;
  assert_non_null(f);
  assert_int_equal(fseek(f, -1, SEEK_END), 0);
  c = fgetc(f);
  assert_int_equal(fseek(f, -1, SEEK_END), 0);
  assert_int_equal(fputc(c ^ 1, f), c ^ 1);
  fclose(f);
}

/* The same settings, the same paths, but what lies there is something else. */
static void swapped_inputs_are_refused(void **state) {
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "run"), *model = tmpdir_at(state, "model");
  const char *moved = tmpdir_at(state, "moved");
  char set[IO_PATH_MAX], set_moved[IO_PATH_MAX];

  check_ok(io_copy_tree(TEST_DATA "/golden/models/tiny-marigold", model));
  snprintf(set, sizeof set, "model.path=%.4000s", model);
  snprintf(set_moved, sizeof set_moved, "model.path=%.4000s", moved);
  RUNS_TRAIN(0, config, dir, "-s", "optim.steps=1", "-s", set);
  check_ok(io_rename(model, moved));
  RUNS_TRAIN(0, config, dir, "-s", "optim.steps=2", "-s", set_moved, "--resume"); /* another place is no other model */
  alter(tmpdir_at(state, "moved/vae/diffusion_pytorch_model.safetensors"));
  program p = runs_train(4, config, dir, "-s", "optim.steps=3", "-s", set_moved, "--resume", NULL);
  program_expect_error(&p, 4, "another base model");
  program_free(&p);
  p = runs_train(0, config, dir, "-s", "optim.steps=3", "-s", set_moved, "--resume", "--force", NULL);
  assert_non_null(strstr(p.err, "the base model's files differ"));
  program_free(&p);
  check_ok(io_copy_file(tmpdir_at(state, "batches/000000.safetensors"), tmpdir_at(state, "batches/000099.safetensors")));
  p = runs_train(3, config, dir, "-s", "optim.steps=4", "-s", set_moved, "--resume", NULL);
  program_expect_error(&p, 3, "other data");
  program_free(&p);
}

static void one_trainer_a_folder(void **state) {
  const char *config = runs_config(state, "depth"), *dir = tmpdir_at(state, "run");
  program first = start(config, dir, "400");

  wait_for_lines(dir, 1, 60);
  program second = start(config, dir, "400");
  program_wait(&second, 60);
  program_expect_error(&second, 4, "run");
  program_free(&second);
  kill(first.pid, SIGTERM);
  program_wait(&first, 60);
  program_expect(&first, 75);
  program_free(&first);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      IN_FOLDER(fp32_goes_on_bit_for_bit),         IN_FOLDER(bf16_goes_on_bit_for_bit),
      IN_FOLDER(an_older_checkpoint_can_be_chosen), IN_FOLDER(signals_save_and_resume),
      IN_FOLDER(killed_runs_start_over_or_go_on),  IN_FOLDER(used_folders_are_refused),
      IN_FOLDER(torn_beginnings_are_replaced),     IN_FOLDER(a_torn_export_is_made_again),
      IN_FOLDER(damaged_checkpoints_are_passed_over),
      IN_FOLDER(settings_that_matter_are_refused), IN_FOLDER(swapped_inputs_are_refused),
      IN_FOLDER(one_trainer_a_folder)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
