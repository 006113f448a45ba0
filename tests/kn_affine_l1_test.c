/* tests/kn_affine_l1_test.c: the depth loss against the source's numbers, against differences of its own value, and
 * against itself in parts. */
#include <omp.h>

#include "kernels/affine_l1.h"
#include "tests/support/gradcheck.h"
#include "tests/support/loss_case.h"
#include "tests/support/pixels.h"

/* ---- golden ---- */
/* The loss on the case's prediction; fit: [2][2]. */
static void run_pred(const st_file *f, const char *name, loss_case *c, float fit[2][2]) {
  loss_case_load(f, name, "pred", c);
  check_ok(kn_affine_l1_pred_f32_ref(c->B, c->n, c->x, c->gt, c->mask, c->weight, c->sums, c->grad, fit[0]));
}

static void golden_fit(const st_file *f, const char *name, float fit[2][2]) {
  char key[96];
  float *scale, *shift;

  snprintf(key, sizeof key, "%s.scale", name);
  scale = golden_f32(f, key, NULL);
  snprintf(key, sizeof key, "%s.shift", name);
  shift = golden_f32(f, key, NULL);
  golden_near_f32(name, (float[]){fit[0][0], fit[1][0]}, scale, 2, 1e-5, 0);
  golden_near_f32(name, (float[]){fit[0][1], fit[1][1]}, shift, 2, 1e-5, 0);
  free(scale);
  free(shift);
}

static void agrees_with_the_source(void **state) {
  static const char *const cases[] = {"partial", "full", "one_sample_invalid", "one_pixel", "saturated_pred",
                                      "large_values"};
  st_file *f = golden_open("losses/ssi.safetensors");

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    float fit[2][2];
    loss_case c;
    run_pred(f, cases[i], &c, fit);
    golden_near_f64(cases[i], (double[]){loss_case_value(&c)}, &c.want_loss, 1, 1e-5, 0);
    golden_near_f32(cases[i], c.grad, c.want, (size_t)(c.B * c.n), 1e-4, 0);
    golden_fit(f, cases[i], fit);
    loss_case_free(&c);
  }
  st_close(&f);
}

/* Where the source is constant, ours is exactly so: no fit, no gradient, whatever rounding made of its det. */
static void a_constant_prediction_is_not_fitted(void **state) {
  static const char *const cases[] = {"constant_pred", "constant_pred_exact", "zero_pred"};
  st_file *f = golden_open("losses/ssi.safetensors");

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    float fit[2][2];
    loss_case c;
    run_pred(f, cases[i], &c, fit);
    golden_near_f64(cases[i], (double[]){loss_case_value(&c)}, &c.want_loss, 1, 1e-5, 0);
    golden_near_f32(cases[i], c.grad, c.want, (size_t)(c.B * c.n), 0, 0); /* all zero */
    for (int b = 0; b < 2; b++) assert_true(fit[b][0] == 0 && fit[b][1] == 0);
    loss_case_free(&c);
  }
  st_close(&f);
}

/* The line goes through all points: the source's loss and gradient are the rounding of its residuals. */
static void an_exact_fit_has_no_loss(void **state) {
  static const char *const cases[] = {"two_pixels", "constant_target", "negative_correlation"};
  st_file *f = golden_open("losses/ssi.safetensors");

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    float fit[2][2];
    loss_case c;
    run_pred(f, cases[i], &c, fit);
    assert_true(loss_case_value(&c) < 1e-5 && c.want_loss < 1e-5);
    for (int64_t j = 0; j < c.B * c.n; j++)
      assert_true(fabsf(c.grad[j]) <= 4 * c.weight[0] * fabsf(fit[j / c.n][0]) + 1e-6f);
    loss_case_free(&c);
  }
  st_close(&f);
}

/* 1e18-sized predictions overflow the source's f32: NaN in one sample's shift and gradient, zeros in the other's. */
static void overflow_goes_as_in_the_source(void **state) {
  st_file *f = golden_open("losses/ssi.safetensors");
  float fit[2][2];
  loss_case c;

  (void)state;
  run_pred(f, "huge_values", &c, fit);
  assert_true(isnan(loss_case_value(&c)) && isnan(c.want_loss));
  golden_near_f32("huge_values", c.grad, c.want, (size_t)(c.B * c.n), 1e-4, 0);
  golden_fit(f, "huge_values", fit);
  loss_case_free(&c);
  st_close(&f);
}

/* det is noise in the source: only that everything stays finite. */
static void a_tiny_range_is_finite(void **state) {
  st_file *f = golden_open("losses/ssi.safetensors");
  float fit[2][2];
  loss_case c;

  (void)state;
  run_pred(f, "tiny_range", &c, fit);
  assert_true(isfinite(loss_case_value(&c)) && loss_case_value(&c) <= c.want_loss);
  for (int64_t j = 0; j < c.B * c.n; j++) assert_true(isfinite(c.grad[j]));
  loss_case_free(&c);
  st_close(&f);
}

static void nothing_valid_is_nothing(void **state) {
  st_file *f = golden_open("losses/ssi.safetensors");
  float fit[2][2];
  loss_case c;

  (void)state;
  run_pred(f, "all_invalid", &c, fit);
  assert_true(c.sums[0] == 0 && c.sums[1] == 0);
  golden_near_f32("all_invalid", c.grad, c.want, (size_t)(c.B * c.n), 0, 0);
  loss_case_free(&c);
  st_close(&f);
}

static void the_chain_agrees_with_the_source(void **state) {
  st_file *f = golden_open("losses/chains.safetensors");
  loss_case c;

  (void)state;
  loss_case_load(f, "depth", "decoded", &c);
  check_ok(kn_affine_l1_f32_ref(c.B, c.n, c.x, c.gt, c.mask, c.weight, c.sums, c.grad, NULL));
  golden_near_f64("depth", (double[]){loss_case_value(&c)}, &c.want_loss, 1, 1e-5, 0);
  golden_near_f32("depth", c.grad, c.want, (size_t)(c.B * 3 * c.n), 1e-4, 0);
  loss_case_free(&c);
  st_close(&f);
}

/* ---- own derivative ---- */
typedef struct problem {
  int64_t B, n;
  int channels;
  double *x, *gt, *grad;
  uint8_t *mask;
  double weight[3];
} problem;

static double value(const double *x, void *ctx) {
  const problem *p = ctx;
  double sums[3], total = 0;

  if (p->channels == 3) check_ok(kn_affine_l1_f64_ref(p->B, p->n, x, p->gt, p->mask, p->weight, sums, NULL, NULL));
  else check_ok(kn_affine_l1_pred_f64_ref(p->B, p->n, x, p->gt, p->mask, p->weight, sums, NULL, NULL));
  for (int64_t b = 0; b < p->B; b++) total += p->weight[b] * sums[b];
  return total;
}

/* valid: share of valid pixels, or -k for exactly k of them in each image. */
static problem problem_make(int channels, double valid) {
  problem p = {.B = 3, .n = 35, .channels = channels, .weight = {0.02, 0.05, 0.01}};
  const size_t pixels = (size_t)(p.B * p.n), numbers = pixels * (size_t)channels;

  p.x = random_f64(1, numbers, -1.3, 1.3); /* some means are clamped */
  p.gt = random_f64(2, pixels, 1, 10);
  p.mask = random_mask(3, pixels, valid < 0 ? 0 : valid);
  for (int64_t b = 0; valid < 0 && b < p.B; b++)
    for (int k = 0; k < -valid; k++) p.mask[b * p.n + 5 + 7 * k] = 1;
  p.grad = malloc(numbers * sizeof *p.grad);
  assert_non_null(p.grad);
  return p;
}

static void problem_grad(problem *p) {
  double sums[3];

  if (p->channels == 3) check_ok(kn_affine_l1_f64_ref(p->B, p->n, p->x, p->gt, p->mask, p->weight, sums, p->grad, NULL));
  else check_ok(kn_affine_l1_pred_f64_ref(p->B, p->n, p->x, p->gt, p->mask, p->weight, sums, p->grad, NULL));
}

static void problem_free(problem *p) {
  free(p->x);
  free(p->gt);
  free(p->grad);
  free(p->mask);
}

static double worst_direction(problem *p) {
  const int n = (int)(p->B * p->n * p->channels);
  double *y = malloc((size_t)n * sizeof *y), worst = 0;

  assert_non_null(y);
  problem_grad(p);
  for (uint64_t d = 0; d < 8; d++) {
    double *u = random_f64(10 + d, (size_t)n, -1, 1);
    worst = fmax(worst, gradcheck(value, p, n, p->x, p->grad, u, y, 1e-7));
    free(u);
  }
  free(y);
  return worst;
}

static void the_gradient_is_the_derivative(void **state) {
  (void)state;
  for (int channels = 1; channels <= 3; channels += 2) {
    for (int full = 0; full < 2; full++) {
      problem p = problem_make(channels, full ? 1 : 0.7);
      const double worst = worst_direction(&p);
      if (!(worst < 1e-6)) fail_msg("%d channels: worst directional error %.3g", channels, worst);
      problem_free(&p);
    }
  }
}

static void a_clamped_mean_has_no_gradient(void **state) {
  problem p = problem_make(3, 1);
  const double at[] = {1, -1, 1 + 1e-9, -1 - 1e-9};

  (void)state;
  for (int i = 0; i < 4; i++) p.x[i] = p.x[p.n + i] = p.x[2 * p.n + i] = at[i];
  problem_grad(&p);
  for (int c = 0; c < 3; c++) {
    assert_true(p.grad[c * p.n] != 0 && p.grad[c * p.n + 1] != 0); /* at the bounds it passes, as torch.clamp */
    assert_true(p.grad[c * p.n + 2] == 0 && p.grad[c * p.n + 3] == 0);
  }
  problem_free(&p);
}

static double largest(const double *x, size_t n) {
  double most = 0;

  for (size_t i = 0; i < n; i++) most = x[i] == x[i] ? fmax(most, fabs(x[i])) : INFINITY;
  return most;
}

static void few_pixels_have_no_gradient(void **state) {
  (void)state;
  for (int k = 0; k <= 2; k++) {
    problem p = problem_make(3, k == 0 ? 0 : -k);
    problem_grad(&p);
    const double most = largest(p.grad, (size_t)(p.B * 3 * p.n));
    assert_true(k < 2 ? most == 0 : most < 1e-12); /* two pixels: the line goes through both, for any prediction */
    problem_free(&p);
  }
}

static void a_constant_image_has_no_gradient(void **state) {
  problem p = problem_make(3, 0.7);

  (void)state;
  for (int64_t i = 0; i < p.B * 3 * p.n; i++) p.x[i] = 0.3;
  problem_grad(&p);
  assert_true(largest(p.grad, (size_t)(p.B * 3 * p.n)) == 0);
  problem_free(&p);
}

static void not_a_number_outside_the_mask_is_not_seen(void **state) {
  problem p = problem_make(3, 1);
  double sums[3];

  (void)state;
  p.mask[0] = 0;
  p.x[0] = p.gt[0] = NAN;
  check_ok(kn_affine_l1_f64_ref(p.B, p.n, p.x, p.gt, p.mask, p.weight, sums, p.grad, NULL));
  assert_true(isfinite(sums[0]) && isfinite(largest(p.grad, (size_t)(p.B * 3 * p.n))));
  p.mask[0] = 1;
  check_ok(kn_affine_l1_f64_ref(p.B, p.n, p.x, p.gt, p.mask, p.weight, sums, p.grad, NULL));
  assert_true(isnan(sums[0]) && isfinite(sums[1]));
  problem_free(&p);
}

/* ---- accuracy, parts, sizes ---- */
/* A real image's worth of pixels with a small spread about a large mean, where f32 sums would lose digits. */
static void full_size_keeps_its_digits(void **state) {
  const int64_t n = 480 * 640;
  const float weight = 1 / (float)n;
  double *wide = random_f64(1, (size_t)n, 0.6, 0.8), *wide_gt = random_f64(2, (size_t)n, 3, 60), sums, fit[2];
  float *x = narrowed(wide, (size_t)n), *gt = narrowed(wide_gt, (size_t)n), narrow_sums, narrow_fit[2];
  double *grad = malloc((size_t)n * sizeof *grad);
  float *narrow_grad = malloc((size_t)n * sizeof *narrow_grad);
  uint8_t *mask = random_mask(3, (size_t)n, 0.9);

  (void)state;
  for (int64_t i = 0; i < n; i++) wide[i] = x[i], wide_gt[i] = gt[i];
  check_ok(kn_affine_l1_pred_f64_ref(1, n, wide, wide_gt, mask, (double[]){weight}, &sums, grad, fit));
  check_ok(kn_affine_l1_pred_f32_ref(1, n, x, gt, mask, &weight, &narrow_sums, narrow_grad, narrow_fit));
  assert_true(fabs(narrow_sums / sums - 1) < 1e-7 && fabs(narrow_fit[0] / fit[0] - 1) < 1e-7 &&
              fabs(narrow_fit[1] / fit[1] - 1) < 1e-7);
  free(wide);
  wide = widened(narrow_grad, (size_t)n);
  golden_near_f64("gradient", wide, grad, (size_t)n, 1e-7, 0);
  free(wide), free(wide_gt), free(x), free(gt), free(grad), free(narrow_grad), free(mask);
}

static void parts_are_bit_equal_to_the_whole(void **state) {
  enum { B = 3 };
  problem p = problem_make(3, 0.6);
  const int64_t numbers = 3 * p.n;
  float *x = narrowed(p.x, (size_t)(B * numbers)), *gt = narrowed(p.gt, (size_t)(B * p.n)), weight[B], sums[2][B];
  float *grad[2] = {malloc((size_t)(B * numbers) * sizeof(float)), malloc((size_t)(B * numbers) * sizeof(float))};

  (void)state;
  assert_true(grad[0] && grad[1]);
  for (int b = 0; b < B; b++) weight[b] = (float)p.weight[b];
  omp_set_num_threads(3);
  check_ok(kn_affine_l1_f32_ref(B, p.n, x, gt, p.mask, weight, sums[0], grad[0], NULL));
  omp_set_num_threads(1);
  for (int b = 0; b < B; b++)
    check_ok(kn_affine_l1_f32_ref(1, p.n, x + b * numbers, gt + b * p.n, p.mask + b * p.n, weight + b, sums[1] + b,
                                  grad[1] + b * numbers, NULL));
  assert_memory_equal(sums[0], sums[1], sizeof sums[0]);
  assert_memory_equal(grad[0], grad[1], (size_t)(B * numbers) * sizeof(float));
  free(x), free(gt), free(grad[0]), free(grad[1]);
  problem_free(&p);
}

static void empty_and_negative_sizes(void **state) {
  float sums[2] = {7, 7};

  (void)state;
  check_ok(kn_affine_l1_f32_ref(0, 5, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
  check_ok(kn_affine_l1_f32_ref(2, 0, NULL, NULL, NULL, (float[]){1, 1}, sums, NULL, NULL));
  assert_true(sums[0] == 0 && sums[1] == 0);
  check_fails(E_SHAPE, "-1 images", kn_affine_l1_f32_ref(-1, 5, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
  check_fails(E_SHAPE, "-5 pixels", kn_affine_l1_f64_ref(1, -5, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(agrees_with_the_source),
      cmocka_unit_test(a_constant_prediction_is_not_fitted),
      cmocka_unit_test(an_exact_fit_has_no_loss),
      cmocka_unit_test(overflow_goes_as_in_the_source),
      cmocka_unit_test(a_tiny_range_is_finite),
      cmocka_unit_test(nothing_valid_is_nothing),
      cmocka_unit_test(the_chain_agrees_with_the_source),
      cmocka_unit_test(the_gradient_is_the_derivative),
      cmocka_unit_test(a_clamped_mean_has_no_gradient),
      cmocka_unit_test(few_pixels_have_no_gradient),
      cmocka_unit_test(a_constant_image_has_no_gradient),
      cmocka_unit_test(not_a_number_outside_the_mask_is_not_seen),
      cmocka_unit_test(full_size_keeps_its_digits),
      cmocka_unit_test(parts_are_bit_equal_to_the_whole),
      cmocka_unit_test(empty_and_negative_sizes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
