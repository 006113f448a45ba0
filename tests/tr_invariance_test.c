/* What may not change results: how many samples are computed at once, recomputation, the number of decoders. */
#include "tests/support/runs.h"

#define SYNTH TEST_DATA "/synth"

static const char *unet_of(void **state, const char *dir) { return tmpdir_at(state, "%s/" RUNS_UNET, dir); }

static void micro_batches_change_rounding_only(void **state) {
  const char *config = runs_config(state, "depth");
  const char *const sets[] = {"optim.micro_batch=2", "optim.micro_batch=6", "optim.micro_batch=32", "optim.recompute=true"};

  for (int i = 0; i < 4; i++) {
    RUNS_TRAIN(0, config, tmpdir_at(state, "run%d", i), "-s", "optim.batch=64", "-s", "optim.steps=2", "-s",
               "optim.warmup=1", "-s", sets[i]);
    runs_same_metrics(tmpdir_at(state, "run0"), tmpdir_at(state, "run%d", i), 1e-6);
    runs_close_weights(unet_of(state, "run0"), tmpdir_at(state, "run%d/" RUNS_UNET, i));
  }
}

/* The mean over 4 samples' valid pixels from those over 2 and 2, by the counts in the files. */
static void groups_share_one_mean(void **state) {
  static runs_line two[RUNS_STEPS], four[RUNS_STEPS];
  const char *pairs = runs_config(state, "depth"), *quads = tmpdir_at(state, "quads");
  double valid[16] = {0};
  char set[IO_PATH_MAX];

  snprintf(set, sizeof set, "data.0.root=%.4000s", quads);
  check_ok(io_make_dirs(quads));
  for (int i = 0; i < 16; i += 2) {
    const char *const names[] = {"rgb", "metric", "mask"};
    st_tensor t[3];
    st_file *f[2];
    char *both[3] = {NULL};
    for (int j = 0; j < 2; j++) check_ok(st_open(tmpdir_at(state, "batches/%06d.safetensors", i + j), &f[j]));
    for (int k = 0; k < 3; k++) {
      t[k] = *golden_find(f[0], names[k]);
      assert_non_null(both[k] = malloc(2 * t[k].nbytes));
      for (int j = 0; j < 2; j++) memcpy(both[k] + (size_t)j * t[k].nbytes, golden_find(f[j], names[k])->data, t[k].nbytes);
      t[k].data = both[k];
      t[k].shape[0] = 4;
      if (k == 2)
        for (size_t p = 0; p < 2 * t[k].nbytes; p++) valid[(size_t)i + p / t[k].nbytes] += both[k][p];
      t[k].nbytes *= 2;
    }
    check_ok(st_write(tmpdir_at(state, "quads/%06d.safetensors", i), t, 3, NULL, 0));
    for (int k = 0; k < 3; k++) free(both[k]);
    for (int j = 0; j < 2; j++) st_close(&f[j]);
  }
  RUNS_TRAIN(0, pairs, tmpdir_at(state, "two"), "-s", "optim.batch=32", "-s", "optim.steps=1");
  RUNS_TRAIN(0, pairs, tmpdir_at(state, "four"), "-s", "optim.batch=32", "-s", "optim.steps=1", "-s", "optim.group=4",
             "-s", set);
  assert_int_equal(runs_metrics(tmpdir_at(state, "two"), two), 1);
  assert_int_equal(runs_metrics(tmpdir_at(state, "four"), four), 1);
  assert_int_equal(four[0].groups, 8);
  for (int g = 0; g < 8; g++) {
    const double a = isnan(two[0].group[2 * g]) ? 0 : two[0].group[2 * g] * valid[2 * g];
    const double b = isnan(two[0].group[2 * g + 1]) ? 0 : two[0].group[2 * g + 1] * valid[2 * g + 1];
    const double want = (a + b) / (valid[2 * g] + valid[2 * g + 1]);
    if (!(fabs(four[0].group[g] - want) <= 1e-6 * want)) fail_msg("group %d: %.9g, %.9g wanted", g, four[0].group[g], want);
  }
}

/* Both raw layouts mixed, shuffled and flipped. */
static const char *mixed_config(void **state) {
  const char *config = tmpdir_at(state, "mixed.yaml");
  FILE *f = fopen(config, "w");

  assert_non_null(f);
  fprintf(f,
          "run: {seed: 5, device: cpu}\n"
          "model: {path: %s/golden/models/tiny-marigold, task: depth}\n"
          "data:\n"
          "  - {kind: hypersim, root: %s/hypersim, weight: 3, size: [48, 64]}\n"
          "  - {kind: vkitti2, root: %s/virtual_kitti_2, weight: 2, size: [40, 120]}\n"
          "optim: {steps: 3, batch: 8, group: 2, lr: 3e-4, warmup: 1}\n",
          TEST_DATA, SYNTH, SYNTH);
  fclose(f);
  return config;
}

static void decoders_change_nothing(void **state) {
  const char *config = mixed_config(state);

  RUNS_TRAIN(0, config, tmpdir_at(state, "one"), "-s", "loader.workers=1");
  RUNS_TRAIN(0, config, tmpdir_at(state, "eight"), "-s", "loader.workers=8");
  runs_same_metrics(tmpdir_at(state, "one"), tmpdir_at(state, "eight"), 0);
  runs_same_weights(unet_of(state, "one"), unet_of(state, "eight"));
}

static void two_shapes_pack_apart(void **state) {
  const char *config = mixed_config(state);

  RUNS_TRAIN(0, config, tmpdir_at(state, "two"), "-s", "optim.micro_batch=2");
  RUNS_TRAIN(0, config, tmpdir_at(state, "six"), "-s", "optim.micro_batch=6");
  runs_same_metrics(tmpdir_at(state, "two"), tmpdir_at(state, "six"), 1e-6);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {IN_FOLDER(micro_batches_change_rounding_only), IN_FOLDER(groups_share_one_mean),
                                     IN_FOLDER(decoders_change_nothing), IN_FOLDER(two_shapes_pack_apart)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
