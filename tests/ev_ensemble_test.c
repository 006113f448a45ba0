/* Ensembles against diffusers' and the reference's, and the minimiser under them against scipy's. */
#include "eval/ensemble.h"

#include <stdio.h>

#include "eval/bfgs.h"
#include "tests/support/golden.h"

enum { N = 5, H = 20, W = 27, PIXELS = H * W };
#define DEPTH_ABS 0.005   /* golden/manifest.json, pipeline/ensemble */
#define NORMALS_ABS 1e-5

static st_file *g;

static int open_golden(void **state) {
  (void)state;
  g = golden_open("pipeline/ensemble.safetensors");
  return 0;
}

static int close_golden(void **state) {
  (void)state;
  st_close(&g);
  return 0;
}

static void expect(const char *name, const char *part, const float *got, size_t pixels, double tol) {
  char key[96];
  size_t n;

  snprintf(key, sizeof key, "%s.%s", name, part);
  float *want = golden_f32(g, key, &n);
  assert_int_equal(n, pixels);
  golden_near_f32(key, got, want, n, 0, tol);
  free(want);
}

static void check_depth(const char *name, ev_ensemble_opts o, bool reference, bool shift) {
  float *depth = golden_f32(g, "depth", NULL), out[PIXELS], left[PIXELS];

  check_ok(ev_ensemble_depth(&o, reference, true, shift, depth, N, H, W, out, left));
  expect(name, "pred", out, PIXELS, DEPTH_ABS);
  expect(name, "uncertainty", left, PIXELS, DEPTH_ABS);
  free(depth);
}

static void depth_is_the_peers(void **state) {
  ev_ensemble_opts o;

  (void)state;
  ev_ensemble_opts_default(&o);
  check_depth("diffusers.affine_median", o, false, true);
  check_depth("diffusers.scale_median", o, false, false);
  check_depth("e2e.median", o, true, true);
  o.depth = EV_MEAN;
  check_depth("diffusers.affine_mean", o, false, true);
  check_depth("e2e.mean", o, true, true);
  o.depth = EV_MEDIAN;
  o.max_iterations = 50;
  check_depth("diffusers.affine_converged", o, false, true);
}

static void normals_are_the_peers(void **state) {
  float *normals = golden_f32(g, "normals", NULL), out[3 * PIXELS], angle[PIXELS];
  ev_ensemble_opts o;

  (void)state;
  ev_ensemble_opts_default(&o);
  check_ok(ev_ensemble_normals(&o, false, normals, N, H, W, out, angle));
  expect("diffusers.normals_closest", "pred", out, 3 * PIXELS, NORMALS_ABS);
  expect("diffusers.normals_closest", "uncertainty", angle, PIXELS, NORMALS_ABS);
  o.normals = EV_MEAN;
  check_ok(ev_ensemble_normals(&o, false, normals, N, H, W, out, angle));
  expect("diffusers.normals_mean", "pred", out, 3 * PIXELS, NORMALS_ABS);
  expect("diffusers.normals_mean", "uncertainty", angle, PIXELS, NORMALS_ABS);
  check_ok(ev_ensemble_normals(&o, true, normals, N, H, W, out, NULL));
  expect("e2e.normals", "pred", out, 3 * PIXELS, NORMALS_ABS);
  free(normals);
}

/* Without alignment the median of two is the lower one, and values stay. */
static void no_alignment(void **state) {
  float depth[] = {0.25f, 0.5f, 0.75f, 0.125f}, out[2];
  ev_ensemble_opts o;

  (void)state;
  ev_ensemble_opts_default(&o);
  check_ok(ev_ensemble_depth(&o, false, false, false, depth, 2, 1, 2, out, NULL));
  assert_true(out[0] == 0.25f && out[1] == 0.125f);
}

/* An alignment on a smaller image does not change what the start decides. */
static void small_alignment(void **state) {
  float *a = golden_f32(g, "depth", NULL), *b = golden_f32(g, "depth", NULL), x[PIXELS], y[PIXELS];
  ev_ensemble_opts o;

  (void)state;
  ev_ensemble_opts_default(&o);
  check_ok(ev_ensemble_depth(&o, false, true, true, a, N, H, W, x, NULL));
  o.max_resolution = 16;
  check_ok(ev_ensemble_depth(&o, false, true, true, b, N, H, W, y, NULL));
  assert_true(golden_diff_f32(x, y, PIXELS).max_abs < 0.2);
  free(a);
  free(b);
}

static void no_members(void **state) {
  float x[3] = {0}, y[3];
  ev_ensemble_opts o;

  (void)state;
  ev_ensemble_opts_default(&o);
  check_fails(E_CONFIG, "ensemble: wanted 1 to", ev_ensemble_depth(&o, false, true, true, x, 0, 1, 1, y, NULL));
  check_fails(E_CONFIG, "ensemble: wanted 1 to", ev_ensemble_normals(&o, false, x, 0, 1, 1, y, NULL));
}

/* ---- the minimiser ---- */

static double valley(void *ctx, const double *x) {
  ++*(int *)ctx;
  return 100 * pow(x[1] - x[0] * x[0], 2) + pow(1 - x[0], 2);
}

/* scipy 1.17.1: minimize(rosen, [-1.2, 1], method="BFGS", tol=1e-5, options={"maxiter": k}).x */
static void each_step_is_scipys(void **state) {
  static const double want[][3] = {
      {1, -1.017030141, 1.074681577}, {2, -0.875897478, 0.7355931606}, {5, -0.638232384, 0.3779290364}, {20, 0.701558419, 0.4866099437}, {1000, 0.9999932825, 0.9999865548}};
  (void)state;
  for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
    double x[] = {-1.2, 1}, value;
    int calls = 0;
    check_ok(ev_bfgs(valley, &calls, 2, 1e-5, (int)want[i][0], x, &value));
    for (int c = 0; c < 2; c++)
      if (!(fabs(x[c] - want[i][1 + c]) < (want[i][0] < 20 ? 1e-5 : 1e-3))) /* differences are rounded */
        fail_msg("after %g steps x[%d] is %.9g, not %.9g", want[i][0], c, x[c], want[i][1 + c]);
    assert_true(value == valley(&calls, x));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(depth_is_the_peers), cmocka_unit_test(normals_are_the_peers),
                                     cmocka_unit_test(no_alignment),       cmocka_unit_test(small_alignment),
                                     cmocka_unit_test(no_members),         cmocka_unit_test(each_step_is_scipys)};
  return cmocka_run_group_tests(tests, open_golden, close_golden);
}
