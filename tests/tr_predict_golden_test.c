/* Both pipelines' golden numbers from the command line. */
#include <stdio.h>

#include "base/npy.h"
#include "tests/support/predict.h"

/* golden/manifest.json, pipeline */
#define DEPTH_ABS 2e-4
#define NORMALS_ABS 2e-3
#define ENSEMBLE_ABS 2e-2

static void expect_npy(void **state, const char *stem, const st_file *g, const char *key, bool channels_last, double tol) {
  int64_t shape[8], planes, pixels;
  int ndim;
  size_t n;
  float *got = NULL, *want = golden_f32(g, key, &n);

  check_ok(npy_load_f32(tmpdir_at(state, "out/%s.npy", stem), &ndim, shape, &got));
  planes = ndim == 3 ? shape[0] : 1;
  pixels = shape[ndim - 2] * shape[ndim - 1];
  assert_int_equal(n, planes * pixels);
  float *turned = malloc(n * sizeof *turned);
  assert_non_null(turned);
  for (int64_t i = 0; i < pixels; i++)
    for (int64_t c = 0; c < planes; c++)
      turned[channels_last ? i * planes + c : c * pixels + i] = got[c * pixels + i];
  golden_near_f32(key, turned, want, n, 0, tol);
  free(turned);
  free(got);
  free(want);
}

/* One after the other along the first dimension. */
static const char *joined_latents(void **state, const st_file *g, const char *const *from, size_t n) {
  const char *path = tmpdir_at(state, "latents.safetensors");
  st_tensor t = *golden_find(g, from[0]);
  const size_t one = t.nbytes;
  char *all = malloc(n * one);

  assert_non_null(all);
  for (size_t i = 0; i < n; i++) memcpy(all + i * one, golden_find(g, from[i])->data, one);
  t.name = "latents";
  t.data = all;
  t.nbytes = n * one;
  t.shape[0] = (int64_t)n;
  check_ok(st_write(path, &t, 1, NULL, 0));
  free(all);
  return path;
}

static void golden_diffusers(void **state) {
  st_file *g = golden_open("pipeline/diffusers_marigold.safetensors");
  const struct { const char *name, *steps, *resolution, *scheduler, *keep; } cases[] = {
      {"native", "1", "0", "ddim", NULL}, {"resized", "1", "64", "ddim", NULL}, {"steps4", "4", "64", "ddim", NULL},
      {"lcm2", "2", "64", "lcm", NULL},   {"resized_nomatch", "1", "64", "ddim", "--keep-size"}};

  for (int t = 0; t < 2; t++)
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
      const char *task = t ? "normals" : "depth";
      char start[64], after[64], pred[64];
      snprintf(start, sizeof start, "%s.%s.latents", task, cases[i].name);
      snprintf(after, sizeof after, "%s.%s.lcm_noise0", task, cases[i].name);
      snprintf(pred, sizeof pred, "%s.%s.pred", task, cases[i].name);
      const char *latents = latents_file(state, g, (const char *const[]){start, after}, (const char *const[]){"latents", "noise0"},
                                         strcmp(cases[i].scheduler, "lcm") ? 1 : 2);
      predict_ok(state, PREDICT_IMAGE, (const char *const[]){"--task", task, "--steps", cases[i].steps, "--resolution", cases[i].resolution,
                                                     "--scheduler", cases[i].scheduler, "--latents", latents, cases[i].keep, NULL});
      expect_npy(state, "image", g, pred, true, t ? NORMALS_ABS : DEPTH_ABS);
    }
  st_close(&g);
}

static void golden_reference(void **state) {
  st_file *g = golden_open("pipeline/e2e_marigold.safetensors");
  const struct { const char *name; const char *more[7]; } plain[] = {
      {"native", {"--resolution", "0"}},
      {"resized", {"--resolution", "64"}},
      {"bicubic", {"--resolution", "64", "--resample", "bicubic"}},
      {"upsized_nomatch", {"--resolution", "96", "--keep-size"}}};

  for (int t = 0; t < 2; t++) {
    const char *task = t ? "normals" : "depth";
    const double tol = t ? NORMALS_ABS : DEPTH_ABS;
    char key[4][64];
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
      const char *args[16] = {"--pipeline", "reference", "--task", task, "--steps", "1"};
      memcpy(args + 6, plain[i].more, sizeof plain[i].more);
      snprintf(key[0], sizeof key[0], "%s.%s.pred", task, plain[i].name);
      predict_ok(state, PREDICT_IMAGE, args);
      expect_npy(state, "image", g, key[0], false, tol);
    }
    snprintf(key[0], sizeof key[0], "%s.steps4_leading.noise0", task);
    snprintf(key[1], sizeof key[1], "%s.steps4_leading.pred", task);
    predict_ok(state, PREDICT_IMAGE, (const char *const[]){"--pipeline", "reference", "--task", task, "--steps", "4", "--spacing", "leading",
                                                   "--resolution", "0", "--latents",
                                                   joined_latents(state, g, (const char *const[]){key[0]}, 1), NULL});
    expect_npy(state, "image", g, key[1], false, tol);
    for (int i = 0; i < 3; i++) snprintf(key[i], sizeof key[i], "%s.ensemble3.noise%d", task, i);
    snprintf(key[3], sizeof key[3], "%s.ensemble3.pred", task);
    predict_ok(state, PREDICT_IMAGE, (const char *const[]){"--pipeline", "reference", "--task", task, "--steps", "2", "--ensemble", "3",
                                                   "--resolution", "64", "--uncertainty", "--latents",
                                                   joined_latents(state, g, (const char *const[]){key[0], key[1], key[2]}, 3), NULL});
    expect_npy(state, "image", g, key[3], false, ENSEMBLE_ABS);
    if (!t) expect_npy(state, "image_uncertainty", g, "depth.ensemble3.uncertainty", false, ENSEMBLE_ABS);
  }
  st_close(&g);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {IN_FOLDER(golden_diffusers), IN_FOLDER(golden_reference)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
