/* Alignment and metrics against the numbers of Marigold's and DSINE's own code (golden/evaluate), and cases that it leaves
 * undefined. */
#include <jansson.h>

#include "eval/align.h"
#include "eval/measure.h"
#include "tests/support/golden.h"

/* expected.json: extra and tolerance of evaluate/ in golden's manifest.json, which no strict JSON reader takes whole. */
static json_t *expected(const char *part) {
  char path[IO_PATH_MAX];
  json_error_t error;

  check_ok(io_path(path, "%s/golden/evaluate/expected.json", TEST_DATA));
  json_t *all = json_load_file(path, 0, &error), *one;
  if (!all) fail_msg("%s: %s", path, error.text);
  one = json_incref(json_object_get(all, part));
  json_decref(all);
  assert_non_null(one);
  return one;
}

static double number(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  if (!json_is_number(v)) fail_msg("no number %s", key);
  return json_number_value(v);
}

static void near(const char *what, double got, double want, double rel, double absolute) {
  if (!(fabs(got - want) <= absolute + rel * fabs(want))) fail_msg("%s: %.9g, wanted %.9g", what, got, want);
}

typedef struct depth_case {
  float *pred, *truth;
  uint8_t *mask;
  size_t n;
  int H, W;
} depth_case;

static depth_case depth_case_open(const st_file *g, const char *name) {
  char key[96];
  size_t n;
  depth_case c = {0};

  snprintf(key, sizeof key, "%s.pred", name);
  c.pred = golden_f32(g, key, &c.n);
  c.H = (int)golden_find(g, key)->shape[0];
  c.W = (int)golden_find(g, key)->shape[1];
  snprintf(key, sizeof key, "%s.gt", name);
  c.truth = golden_f32(g, key, &n);
  assert_int_equal(n, c.n);
  snprintf(key, sizeof key, "%s.mask", name);
  float *mask = golden_f32(g, key, &n);
  assert_non_null(c.mask = malloc(n));
  for (size_t i = 0; i < n; i++) c.mask[i] = mask[i] != 0;
  free(mask);
  return c;
}

static void depth_case_close(depth_case *c) {
  free(c->pred);
  free(c->truth);
  free(c->mask);
}

static void check_metrics(const char *name, const json_t *want, const ev_depth_metrics *m, double rel) {
  static const char *const keys[EV_DEPTH_METRICS] = {
      "abs_relative_difference", "squared_relative_difference", "rmse_linear", "rmse_log",  "log10",
      "silog_rmse",              "delta1_acc",                  "delta2_acc",  "delta3_acc"};
  const double *got = (const double *)m;
  char what[96];

  for (int k = 0; k < EV_DEPTH_METRICS; k++) {
    snprintf(what, sizeof what, "%s %s", name, ev_depth_names[k]);
    near(what, got[k], number(want, keys[k]), rel, 3e-7); /* one and two valid pixels fit up to rounding */
  }
}

/* name is CASE.ALIGNMENT, a key of the expected numbers. */
static void check_depth(const st_file *g, const char *name, const json_t *want, double metric_rel, double fit_rel) {
  char key[64], output[96];
  ev_fit_result fit;
  ev_depth_metrics m;
  const char *space = strchr(name, '.') + 1;
  ev_align_opts o = {.space = strcmp(space, "disparity") ? EV_ALIGN_DEPTH : EV_ALIGN_DISPARITY,
                     .max_res = strcmp(space, "ls_max_res") ? 0 : 24,
                     .near_m = 1e-5f,
                     .far_m = 10};

  snprintf(key, sizeof key, "%.*s", (int)(space - 1 - name), name);
  depth_case c = depth_case_open(g, key);
  float *aligned = malloc(c.n * sizeof *aligned);
  assert_non_null(aligned);
  check_ok(ev_align(&o, c.pred, c.truth, c.mask, c.H, c.W, aligned, &fit));
  near(name, fit.scale, number(want, "scale"), fit_rel, 0);
  near(name, fit.shift, number(want, "shift"), fit_rel, 0);
  check_ok(ev_depth_measure(aligned, c.truth, c.mask, c.n, &m));
  check_metrics(name, want, &m, metric_rel);
  snprintf(output, sizeof output, "%s.aligned", name);
  float *ref = golden_f32(g, output, NULL);
  golden_near_f32(name, aligned, ref, c.n, 1e-6, 0);
  free(ref);
  free(aligned);
  depth_case_close(&c);
}

static void depth_as_marigold(void **state) {
  st_file *g = golden_open("evaluate/depth.safetensors");
  json_t *all = expected("depth"), *want;
  const json_t *tolerance = json_object_get(all, "tolerance");
  const char *name;

  (void)state;
  json_object_foreach(json_object_get(all, "extra"), name, want)
    check_depth(g, name, want, number(tolerance, "metric_rel"), number(tolerance, "scale_shift_rel"));
  json_decref(all);
  st_close(&g);
}

static void normals_as_dsine(void **state) {
  st_file *g = golden_open("evaluate/normals.safetensors");
  json_t *all = expected("normals");
  const json_t *want = json_object_get(json_object_get(all, "extra"), "dsine");
  static const char *const keys[EV_NORMALS_METRICS] = {"mean", "median", "rmse", "a1", "a2", "a3", "a4", "a5"};
  size_t n;
  float *pred = golden_f32(g, "pred", &n), *truth = golden_f32(g, "gt", NULL), *mask = golden_f32(g, "mask", NULL);
  float *error = golden_f32(g, "error_deg", NULL), *degrees = malloc(n / 3 * sizeof *degrees);
  uint8_t *valid = malloc(n / 3);
  ev_angles a;
  ev_normals_metrics m;

  (void)state;
  assert_true(degrees && valid);
  check_ok(ev_angles_init(&a));
  for (size_t i = 0; i < n / 3; i++) valid[i] = mask[i] != 0;
  for (size_t b = 0, px = n / 6; b < 2; b++) {
    ev_normals_angles(pred + 3 * px * b, truth + 3 * px * b, px, degrees + px * b);
    ev_angles_add(&a, degrees + px * b, valid + px * b, px);
  }
  golden_near_f32("degrees", degrees, error, n / 3, 0, 0.05);
  check_ok(ev_angles_measure(&a, &m));
  for (int k = 0; k < EV_NORMALS_METRICS; k++)
    near(ev_normals_names[k], ((const double *)&m)[k], number(want, keys[k]), 0, 0.001);
  ev_angles_fini(&a);
  free(pred), free(truth), free(mask), free(error), free(degrees), free(valid);
  json_decref(all);
  st_close(&g);
}

static void sqrt_disparity_recovers(void **state) {
  enum { N = 60 };
  float pred[N], truth[N], aligned[N];
  uint8_t mask[N];
  ev_fit_result fit;
  const ev_align_opts o = {.space = EV_ALIGN_SQRT_DISPARITY, .near_m = 1e-3f, .far_m = INFINITY};

  (void)state;
  for (int i = 0; i < N; i++) {
    pred[i] = 0.01f + (float)i / N;
    const float root = 0.8f * pred[i] + 0.1f;
    truth[i] = 1 / (root * root);
    mask[i] = i % 3 != 0;
  }
  check_ok(ev_align(&o, pred, truth, mask, 6, 10, aligned, &fit));
  near("scale", fit.scale, 0.8, 1e-5, 0);
  near("shift", fit.shift, 0.1, 1e-5, 0);
  for (int i = 0; i < N; i++) near("depth", aligned[i], truth[i], 1e-5, 0);
}

/* A constant prediction: the least-norm fit gives the mean depth everywhere. */
static void constant_prediction_gives_the_mean(void **state) {
  const float pred[4] = {0.3f, 0.3f, 0.3f, 0.3f}, truth[4] = {1, 2, 3, 6};
  const uint8_t mask[4] = {1, 1, 1, 1};
  float aligned[4];
  const ev_align_opts o = {.space = EV_ALIGN_DEPTH, .near_m = 0, .far_m = INFINITY};

  (void)state;
  check_ok(ev_align(&o, pred, truth, mask, 1, 4, aligned, NULL));
  for (int i = 0; i < 4; i++) near("mean", aligned[i], 3, 1e-6, 0);
}

/* With max_res only every second column is seen, and every row. */
static void max_res_takes_columns(void **state) {
  enum { H = 8, W = 16 };
  float pred[H * W], truth[H * W];
  uint8_t mask[H * W];
  ev_fit_result fit;

  (void)state;
  for (int i = 0; i < H * W; i++) {
    const int x = i % W;
    pred[i] = (float)(i / W * 3 + x);
    truth[i] = x % 2 ? 77.f : 2 * pred[i] + 5;
    mask[i] = 1;
  }
  check_ok(ev_fit(pred, truth, mask, H, W, 8, &fit));
  near("scale", fit.scale, 2, 1e-6, 0);
  near("shift", fit.shift, 5, 1e-6, 0);
  check_ok(ev_fit(pred, truth, mask, H, W, W, &fit)); /* not smaller: all columns */
  assert_true(fabsf(fit.scale - 2) > 0.1f);
}

static void nothing_to_measure(void **state) {
  const float pred[2] = {NAN, 1}, truth[2] = {1, 1};
  const uint8_t none[2] = {0, 0}, first[2] = {1, 0};
  ev_depth_metrics m;
  ev_normals_metrics nm;
  ev_fit_result fit;
  ev_angles a;

  (void)state;
  check_fails(E_DATA, "no valid pixel", ev_fit(pred, truth, none, 1, 2, 0, &fit));
  check_fails(E_DATA, "not finite", ev_fit(pred, truth, first, 1, 2, 0, &fit));
  check_fails(E_DATA, "no valid pixel", ev_depth_measure(pred, truth, none, 2, &m));
  check_fails(E_DATA, "not finite at 1 of 1 valid pixels", ev_depth_measure(pred, truth, first, 2, &m));
  check_ok(ev_angles_init(&a));
  check_fails(E_DATA, "no valid pixel", ev_angles_measure(&a, &nm));
  ev_angles_fini(&a);
}

/* An even number of angles has the mean of the middle two as median; 180 degrees fall into the last bin. */
static void angles_of_few_pixels(void **state) {
  const float degrees[4] = {180, 1, 3, 11.25f};
  const uint8_t mask[4] = {1, 1, 1, 1};
  ev_normals_metrics m;
  ev_angles a;

  (void)state;
  check_ok(ev_angles_init(&a));
  ev_angles_add(&a, degrees, mask, 4);
  check_ok(ev_angles_measure(&a, &m));
  near("median", m.median, (3 + 11.25) / 2, 0, 5e-5);
  near("mean", m.mean, 195.25 / 4, 1e-9, 0);
  near("below 5", m.below_5, 50, 0, 0);
  near("below 11.25", m.below_11_25, 50, 0, 0);
  near("below 22.5", m.below_22_5, 75, 0, 0);
  ev_angles_fini(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(depth_as_marigold),     cmocka_unit_test(normals_as_dsine),
      cmocka_unit_test(sqrt_disparity_recovers), cmocka_unit_test(constant_prediction_gives_the_mean),
      cmocka_unit_test(max_res_takes_columns), cmocka_unit_test(nothing_to_measure),
      cmocka_unit_test(angles_of_few_pixels)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
