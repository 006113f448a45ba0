/* The weights folders that a run ends with, and e2eft export: what is in them, what is refused, what a kill leaves. */
#include "base/sha256.h"
#include "tests/support/runs.h"

enum { LIMIT_S = 120 };
#define TWO_STEPS "-s", "optim.steps=2", "-s", "checkpoint.keep=0"

static program run_list(int status, const char *const *args) {
  program p = program_start_v(args);
  program_wait(&p, LIMIT_S);
  program_expect(&p, status);
  return p;
}

/* e2eft with these arguments must end so; its words are not wanted. */
#define E2EFT(status, ...) \
  do { \
    program p_ = run_list((status), (const char *[]){__VA_ARGS__, NULL}); \
    program_free(&p_); \
  } while (0)
#define REFUSED(status, part, ...) \
  do { \
    program p_ = program_start_v((const char *[]){__VA_ARGS__, NULL}); \
    program_wait(&p_, LIMIT_S); \
    program_expect_error(&p_, (status), (part)); \
    program_free(&p_); \
  } while (0)

/* Every line of SHA256SUMS holds: the folder is complete and as it was written. */
static void check_sums(const char *dir) {
  char path[IO_PATH_MAX], *text = NULL, *rest, hex[65];
  size_t n;
  int lines = 0;

  check_ok(io_path(path, "%s/SHA256SUMS", dir));
  check_ok(io_read_file(path, 1 << 20, &text, &n));
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), lines++) {
    check_ok(io_path(path, "%s/%s", dir, line + 66));
    check_ok(sha256_file(path, hex));
    if (strncmp(hex, line, 64)) fail_msg("%s: another sum than listed", path);
  }
  assert_true(lines >= 12);
  free(text);
}

static char *read_text(const char *path) {
  char *text = NULL;
  size_t n;
  check_ok(io_read_file(path, 1 << 24, &text, &n));
  return text;
}

static void check_holds(const char *path, const char *part) {
  char *text = read_text(path);
  if (!strstr(text, part)) fail_msg("%s: no \"%s\" in: %s", path, part, text);
  free(text);
}

static double said(const char *run, const char *form, const char *key) {
  char path[IO_PATH_MAX];
  check_ok(io_path(path, "%s/run.json", run));
  json_t *doc = json_load_file(path, 0, NULL), *v;
  assert_non_null(v = json_object_get(json_object_get(json_object_get(doc, "exports"), form), key));
  const double value = json_number_value(v);
  json_decref(doc);
  return value;
}

static void a_run_leaves_both_forms(void **state) {
  const char *config = runs_config(state, "depth"), *run = tmpdir_at(state, "run");

  RUNS_TRAIN(0, config, run, TWO_STEPS);
  check_sums(tmpdir_at(state, "run/model"));
  check_sums(tmpdir_at(state, "run/portable"));
  assert_true(said(run, "model", "difference") == 0);
  assert_true(said(run, "portable", "difference") < 1e-5);
  assert_true(said(run, "portable", "text_difference") > 1e-4); /* trained with 77 tokens */
  check_holds(tmpdir_at(state, "run/portable/README.md"), "between the two the\nprediction for that image differs by");
  check_holds(tmpdir_at(state, "run/portable/README.md"), "MarigoldDepthPipeline");
  check_holds(tmpdir_at(state, "run/portable/README.md"), "- loss: ");
  check_holds(tmpdir_at(state, "run/model/README.md"), "warmup: 3"); /* the settings */
  RUNS_TRAIN(0, config, run, TWO_STEPS, "--resume=auto");
  assert_true(io_exists(tmpdir_at(state, "run/portable")));
}

/* Without either folder a run is not finished; what is exported again is the same. */
static void a_missing_form_comes_again(void **state) {
  const char *config = runs_config(state, "normals"), *run = tmpdir_at(state, "run");
  const char *const forms[] = {"portable", "model"};
  char *sums[2];

  RUNS_TRAIN(0, config, run, TWO_STEPS, "-s", "optim.ema=0.5");
  for (int i = 0; i < 2; i++) sums[i] = read_text(tmpdir_at(state, "run/%s/SHA256SUMS", forms[i]));
  for (int i = 0; i < 2; i++) {
    check_ok(io_remove_tree(tmpdir_at(state, "run/%s", forms[i])));
    RUNS_TRAIN(0, config, run, TWO_STEPS, "-s", "optim.ema=0.5", "--resume=auto");
    for (int k = 0; k < 2; k++) {
      char *again = read_text(tmpdir_at(state, "run/%s/SHA256SUMS", forms[k]));
      assert_string_equal(again, sums[k]);
      free(again);
    }
  }
  free(sums[0]);
  free(sums[1]);
  check_holds(tmpdir_at(state, "run/portable/README.md"), "x to the left, y up");
  check_holds(tmpdir_at(state, "run/portable/README.md"), "running mean");
}

static void noise_cannot_be_folded(void **state) {
  const char *config = runs_config(state, "depth"), *run = tmpdir_at(state, "run");

  program p = runs_train(0, config, run, TWO_STEPS, "-s", "model.noise=gaussian", NULL);
  if (!strstr(p.err, "no portable/: the answer depends on the noise")) fail_msg("no word of it: %s", p.err);
  program_free(&p);
  assert_false(io_exists(tmpdir_at(state, "run/portable")));
  check_sums(tmpdir_at(state, "run/model"));
  p = runs_train(0, config, run, TWO_STEPS, "-s", "model.noise=gaussian", "--resume=auto", NULL);
  if (!strstr(p.err, "finished already")) fail_msg("not finished: %s", p.err);
  program_free(&p);
  REFUSED(2, "no portable form: the answer depends on the noise", "export", "--checkpoint", run, "-o", tmpdir_at(state, "out"), "--folded");
  assert_false(io_exists(tmpdir_at(state, "out")));
}

/* Killed while it exports: nothing has the name of a finished folder, and the next try leaves no trace of it. */
static void a_killed_export_looks_unfinished(void **state) {
  const char *config = runs_config(state, "depth"), *run = tmpdir_at(state, "run");
  const char *const marks[] = {"run/model.tmp/unet", "run/model.tmp/vae", "run/model.tmp/README.md", "run/portable.tmp/unet"};
  char set[IO_PATH_MAX];

  RUNS_TRAIN(0, config, run, TWO_STEPS);
  snprintf(set, sizeof set, "run.dir=%.4000s", run);
  for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
    check_ok(io_remove_tree(tmpdir_at(state, "run/model")));
    program p = program_start_v((const char *[]){"train", config, "-s", set, TWO_STEPS, "--resume=auto", NULL});
    const double end = program_now() + LIMIT_S;
    while (!io_exists(tmpdir_at(state, "%s", marks[i])) && program_now() < end) program_nap();
    kill(p.pid, SIGKILL);
    program_wait(&p, LIMIT_S);
    program_free(&p);
    assert_false(io_exists(tmpdir_at(state, "run/model")));
  }
  RUNS_TRAIN(0, config, run, TWO_STEPS, "--resume=auto");
  check_sums(tmpdir_at(state, "run/model"));
  check_sums(tmpdir_at(state, "run/portable"));
  assert_false(io_exists(tmpdir_at(state, "run/model.tmp")));
  assert_false(io_exists(tmpdir_at(state, "run/portable.tmp")));
}

static void from_a_checkpoint(void **state) {
  const char *config = runs_config(state, "normals"), *run = tmpdir_at(state, "run"), *base = tmpdir_at(state, "moved");

  RUNS_TRAIN(0, config, run, TWO_STEPS);
  E2EFT(0, "export", "--checkpoint", tmpdir_at(state, "run/checkpoints/step-000002"), "-o", tmpdir_at(state, "a"), "--folded");
  char *want = read_text(tmpdir_at(state, "run/portable/SHA256SUMS")), *got = read_text(tmpdir_at(state, "a/SHA256SUMS"));
  assert_string_equal(want, got);
  free(want);
  free(got);
  E2EFT(0, "export", "--checkpoint", run, "-o", tmpdir_at(state, "b"), "--unet-only", "--dtype", "f16");
  assert_true(io_exists(tmpdir_at(state, "b/unet/diffusion_pytorch_model.fp16.safetensors")));
  assert_false(io_exists(tmpdir_at(state, "b/unet/diffusion_pytorch_model.safetensors")));
  assert_false(io_exists(tmpdir_at(state, "b/vae")));
  check_ok(io_copy_tree(TEST_DATA "/golden/models/tiny-sd2", base));
  E2EFT(0, "export", "--checkpoint", run, "-o", tmpdir_at(state, "c"), "--base", base, "--dtype", "f32", "--normals-frame", "marigold");
  check_holds(tmpdir_at(state, "c/README.md"), "x to the right");
  E2EFT(0, "inspect", tmpdir_at(state, "c"));
  tmpdir_put(tmpdir_at(state, "run/metrics.jsonl"), "damaged\n", 8); /* the card goes without the losses */
  E2EFT(0, "export", "--checkpoint", run, "-o", tmpdir_at(state, "d"), "--dtype", "f32");
  char *card = read_text(tmpdir_at(state, "d/README.md"));
  assert_true(strstr(card, "## Training") && !strstr(card, "- loss: "));
  free(card);
}

static void bad_words(void **state) {
  const char *config = runs_config(state, "depth"), *run = tmpdir_at(state, "run"), *out = tmpdir_at(state, "out");
  const char *checkpoint = tmpdir_at(state, "run/checkpoints/step-000002");

  RUNS_TRAIN(0, config, run, TWO_STEPS);
  REFUSED(2, "--checkpoint DIR is missing", "export", "-o", out);
  REFUSED(2, "-o DIR is missing", "export", "--checkpoint", run);
  REFUSED(2, "--dtype f8: wanted f32, f16 or both", "export", "--checkpoint", run, "-o", out, "--dtype", "f8");
  REFUSED(2, "--normals-frame up: wanted lub or marigold", "export", "--checkpoint", run, "-o", out, "--normals-frame", "up");
  REFUSED(2, "predicts depth", "export", "--checkpoint", run, "-o", out, "--normals-frame", "marigold");
  REFUSED(2, "run: is there already", "export", "--checkpoint", run, "-o", run);
  REFUSED(4, "none: no such folder", "export", "--checkpoint", tmpdir_at(state, "none"), "-o", out);
  REFUSED(4, "neither a checkpoint", "export", "--checkpoint", tmpdir_at(state, "batches"), "-o", out);
  REFUSED(4, "no such folder", "export", "--checkpoint", run, "-o", out, "--base", tmpdir_at(state, "none"));
  REFUSED(4, "U-Net configuration", "export", "--checkpoint", run, "-o", out, "--base", TEST_DATA "/variants");
  assert_int_equal(truncate(tmpdir_at(state, "run/checkpoints/step-000002/weights.safetensors"), 1000), 0);
  REFUSED(4, "weights.safetensors", "export", "--checkpoint", checkpoint, "-o", out);
  assert_false(io_exists(out));
  assert_false(io_exists(tmpdir_at(state, "out.tmp")));
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {IN_FOLDER(a_run_leaves_both_forms), IN_FOLDER(a_missing_form_comes_again),
                                     IN_FOLDER(noise_cannot_be_folded), IN_FOLDER(a_killed_export_looks_unfinished),
                                     IN_FOLDER(from_a_checkpoint), IN_FOLDER(bad_words)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
