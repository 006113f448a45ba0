/* The look before step 1: it stops what cannot learn, says why, and changes nothing in what does. */
#include <math.h>

#include "base/safetensors.h"
#include "datasets/image_write.h"
#include "tests/support/runs.h"

enum { H = 40, W = 56, LIMIT_S = 120 };

/* A wall, seen from the left, as a user's data set of one image: depth in millimetres, normals in 8-bit codes. */
static void put_wall(void **state, const float normal[3], int depth_offset_mm) {
  uint8_t rgb[3 * H * W], codes[3 * H * W];
  uint16_t depth[H * W];

  for (int i = 0; i < H * W; i++) {
    /* plane x sin + z cos = 2 m, 0.35 rad aslant, f = 50; seen at an angle of the same sign in y */
    const double u = (i % W - 27.5) / 50, v = (i / W - 19.5) / 50, z = 2 / (0.3 * u + 0.4 * v + 0.866);
    depth[i] = (uint16_t)(1000 * z + depth_offset_mm);
    for (int c = 0; c < 3; c++) {
      rgb[3 * i + c] = (uint8_t)(i * (c + 3));
      codes[3 * i + c] = (uint8_t)lrintf((normal[c] + 1) * 127.5f);
    }
  }
  check_ok(ds_png_write8(tmpdir_at(state, "rgb.png"), W, H, 3, rgb));
  check_ok(ds_png_write8(tmpdir_at(state, "n.png"), W, H, 3, codes));
  check_ok(ds_png_write16(tmpdir_at(state, "d.png"), W, H, 1, depth));
  tmpdir_put(tmpdir_at(state, "manifest.csv"), "rgb,depth,normals\nrgb.png,d.png,n.png\n", 38);
}

static const char *put_config(void **state, const char *task, const char *model, const char *more) {
  const char *config = tmpdir_at(state, "own.yaml");
  FILE *f = fopen(config, "w");

  assert_non_null(f);
  fprintf(f,
          "run: {dir: run, device: cpu}\nmodel: {path: %s, task: %s}\ndata: [{kind: manifest, root: .%s}]\n"
          "loader: {workers: 1}\noptim: {steps: 2, batch: 2, group: 2}\n", model, task, more);
  fclose(f);
  return config;
}

static void expect(const char *config, int status, const char *part, bool dry) {
  program p = program_run(LIMIT_S, "train", config, dry ? "--dry-run" : NULL, NULL);

  if (status == 0) program_expect(&p, 0);
  else program_expect_error(&p, status, part);
  program_free(&p);
}

static const float right[3] = {0.3f, 0.4f, 0.866f}; /* x left, y up, z back of that wall */

static void a_wrong_frame_is_refused(void **state) {
  const char *model = TEST_DATA "/golden/models/tiny-sd2";

  put_wall(state, right, 0);
  expect(put_config(state, "normals", model, ""), 0, "", true);
  expect(put_config(state, "normals", model, ", normals_frame: marigold"), 3, "another frame than its depth", false);
  expect(put_config(state, "normals", model, ", normals_frame: marigold"), 3, "(-x, y, z)", true);
  expect(put_config(state, "normals", model, ", normals_frame: opencv"), 3, "(-x, -y, -z)", true);
  assert_false(io_exists(tmpdir_at(state, "run/metrics.jsonl")));
  put_wall(state, (float[]){-0.3f, 0.4f, 0.866f}, 0);
  expect(put_config(state, "normals", model, ""), 3, "data.0 (manifest, ", true);
  expect(put_config(state, "normals", model, ", normals_frame: marigold"), 0, "", true);
  program p = program_run(LIMIT_S, "train", put_config(state, "normals", model, ""), "-s", "run.preflight=false", NULL);
  program_expect(&p, 0); /* who insists */
  program_free(&p);
}

static void nothing_valid_is_refused(void **state) {
  const char *model = TEST_DATA "/golden/models/tiny-marigold";

  put_wall(state, right, 0);
  expect(put_config(state, "depth", model, ""), 0, "", true);
  expect(put_config(state, "depth", model, ", far: 0.5"), 3, "no valid pixel in the first", true);
  expect(put_config(state, "depth", model, ", depth_unit: 1, far: 100"), 3, "near 1e-05 and far 100 metres", false);
}

/* A copy of the tiny model whose decoder gives the same colour whatever it is given. */
static const char *dead_decoder(void **state) {
  const char *model = tmpdir_at(state, "dead"), *path = tmpdir_at(state, "dead/vae/diffusion_pytorch_model.safetensors");
  st_file *f = NULL;
  st_tensor *t;
  void *zeros = NULL;

  check_ok(io_copy_tree(TEST_DATA "/golden/models/tiny-marigold", model));
  check_ok(st_open(path, &f));
  assert_non_null(t = calloc(st_count(f), sizeof *t));
  for (size_t i = 0; i < st_count(f); i++) {
    t[i] = *st_at(f, i);
    if (strcmp(t[i].name, "decoder.conv_out.weight") == 0) t[i].data = zeros = calloc(1, t[i].nbytes);
  }
  assert_non_null(zeros);
  check_ok(st_write(path, t, st_count(f), NULL, 0));
  st_close(&f);
  free(zeros);
  free(t);
  return model;
}

static void a_zero_gradient_is_refused(void **state) {
  put_wall(state, right, 0);
  const char *config = put_config(state, "depth", dead_decoder(state), "");
  expect(config, 7, "the U-Net's gradient is zero everywhere", true);
  expect(config, 7, "rgb.png", false);
  assert_false(io_exists(tmpdir_at(state, "run/metrics.jsonl")));
}

/* Weights and losses are the same bits with and without, also when a run goes on. */
static void it_changes_nothing(void **state) {
  const char *with = tmpdir_at(state, "with"), *without = tmpdir_at(state, "without"), *config = runs_config(state, "normals");

  RUNS_TRAIN(0, config, with, "-s", "optim.steps=2");
  RUNS_TRAIN(0, config, with, "-s", "optim.steps=4", "--resume");
  RUNS_TRAIN(0, config, without, "-s", "optim.steps=4", "-s", "run.preflight=false");
  runs_same_metrics(with, without, 0);
  runs_same_weights(tmpdir_at(state, "with/" RUNS_UNET), tmpdir_at(state, "without/" RUNS_UNET));
}

int main(void) {
#define IN_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {IN_TMPDIR(a_wrong_frame_is_refused), IN_TMPDIR(nothing_valid_is_refused),
                                     IN_TMPDIR(a_zero_gradient_is_refused), IN_TMPDIR(it_changes_nothing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
