/* tests/kn_angular_test.c: the normals loss against the source's numbers, against differences of its own value, and
 * against itself in parts. */
#include <omp.h>
#include <stdbool.h>

#include "kernels/angular.h"
#include "tests/support/gradcheck.h"
#include "tests/support/loss_case.h"
#include "tests/support/pixels.h"

static const char *const plain_cases[] = {"partial", "full", "one_sample_invalid", "one_pixel", "two_pixels",
                                          "zero_target", "zero_target_half"};
/* |dot| is 1, or within 1e-6 of it, at some pixels */
static const char *const exact_cases[] = {"identical_exact", "opposite_exact", "identical_rounded",
                                          "masked_out_exact"};
enum { PLAIN = sizeof plain_cases / sizeof *plain_cases, EXACT = sizeof exact_cases / sizeof *exact_cases };

static void run_pred(const st_file *f, const char *name, int reference, loss_case *c) {
  loss_case_load(f, name, "pred", c);
  check_ok(kn_angular_pred_f32_ref(c->B, c->n, c->x, c->gt, c->mask, c->weight, reference, c->sums, c->grad));
  golden_near_f64(name, (double[]){loss_case_value(c)}, &c->want_loss, 1, 1e-5, 0);
}

static void agrees_with_the_source(void **state) {
  st_file *f = golden_open("losses/angular.safetensors");

  (void)state;
  for (int reference = 0; reference < 2; reference++) {
    for (int i = 0; i < PLAIN; i++) {
      loss_case c;
      run_pred(f, plain_cases[i], reference, &c);
      golden_near_f32(plain_cases[i], c.grad, c.want, c.numbers, 1e-4, 0);
      loss_case_free(&c);
    }
  }
  st_close(&f);
}

static void reference_has_the_sources_infinities(void **state) {
  st_file *f = golden_open("losses/angular.safetensors");

  (void)state;
  for (int i = 0; i < EXACT; i++) {
    loss_case c;
    run_pred(f, exact_cases[i], 1, &c);
    golden_near_f32(exact_cases[i], c.grad, c.want, c.numbers, 1e-4, 0);
    loss_case_free(&c);
  }
  st_close(&f);
}

/* Finite everywhere, 0 where masked out, and the source's where |dot| < 1 - 1e-6. */
static void by_default_the_gradient_is_finite(void **state) {
  st_file *f = golden_open("losses/angular.safetensors");

  (void)state;
  for (int i = 0; i < EXACT; i++) {
    loss_case c;
    run_pred(f, exact_cases[i], 0, &c);
    for (int64_t j = 0; j < c.B * c.n; j++) {
      const int64_t at = j / c.n * 3 * c.n + j % c.n;
      float dot = 0;
      for (int k = 0; k < 3; k++) dot += c.x[at + k * c.n] * c.gt[at + k * c.n];
      for (int k = 0; k < 3; k++) {
        const float got = c.grad[at + k * c.n], want = c.want[at + k * c.n];
        assert_true(isfinite(got) && fabsf(got) <= 708 * c.weight[0]); /* 1 / sqrt(2e-6) */
        if (!c.mask[j]) assert_true(got == 0);
        else if (fabsf(dot) < 1 - 1e-6f) assert_true(fabsf(got - want) <= 1e-4f * fabsf(want));
      }
    }
    loss_case_free(&c);
  }
  st_close(&f);
}

static void nothing_valid_is_nothing(void **state) {
  st_file *f = golden_open("losses/angular.safetensors");
  loss_case c;

  (void)state;
  run_pred(f, "all_invalid", 0, &c);
  assert_true(c.sums[0] == 0 && c.sums[1] == 0);
  golden_near_f32("all_invalid", c.grad, c.want, c.numbers, 0, 0);
  loss_case_free(&c);
  st_close(&f);
}

/* The zero vector at [:,:,0,0] is among its pixels. */
static void the_chain_agrees_with_the_source(void **state) {
  st_file *f = golden_open("losses/chains.safetensors");
  loss_case c;

  (void)state;
  for (int reference = 0; reference < 2; reference++) {
    loss_case_load(f, "normals", "decoded", &c);
    check_ok(kn_angular_f32_ref(c.B, c.n, c.x, c.gt, c.mask, c.weight, reference, c.sums, c.grad));
    golden_near_f64("normals", (double[]){loss_case_value(&c)}, &c.want_loss, 1, 1e-5, 0);
    golden_near_f32("normals", c.grad, c.want, c.numbers, 1e-4, 0);
    for (int64_t i = 0; i < 3; i++) { /* the zero vector's gradient is 1e5 times the others: rows of their own */
      const int64_t row = 3 * c.n + i * c.n;
      golden_near_f32("normals", c.grad + row + 1, c.want + row + 1, (size_t)c.n - 1, 1e-4, 0);
    }
    loss_case_free(&c);
  }
  st_close(&f);
}

/* ---- own derivative ---- */
typedef struct problem {
  int64_t B, n;
  bool decode;
  double *x, *gt, *grad;
  uint8_t *mask;
  double weight[3];
} problem;

static double value_and_grad(const problem *p, const double *x, double *grad) {
  double sums[3], total = 0;

  if (p->decode) check_ok(kn_angular_f64_ref(p->B, p->n, x, p->gt, p->mask, p->weight, 0, sums, grad));
  else check_ok(kn_angular_pred_f64_ref(p->B, p->n, x, p->gt, p->mask, p->weight, 0, sums, grad));
  for (int64_t b = 0; b < p->B; b++) total += p->weight[b] * sums[b];
  return total;
}

static double value(const double *x, void *ctx) { return value_and_grad(ctx, x, NULL); }

/* decode: any vectors; otherwise nearly unit ones, as the source's decoding leaves them. */
static problem problem_make(bool decode, double valid) {
  problem p = {.B = 3, .n = 35, .decode = decode, .weight = {0.02, 0.05, 0.01}};
  const size_t pixels = (size_t)(p.B * p.n);

  p.x = decode ? random_f64(1, 3 * pixels, -2, 2) : random_normals(1, p.B, p.n);
  for (size_t i = 0; !decode && i < 3 * pixels; i++) p.x[i] *= 0.99999;
  p.gt = random_normals(2, p.B, p.n);
  p.mask = random_mask(3, pixels, valid);
  p.grad = malloc(3 * pixels * sizeof *p.grad);
  assert_non_null(p.grad);
  return p;
}

static void problem_free(problem *p) {
  free(p->x);
  free(p->gt);
  free(p->grad);
  free(p->mask);
}

static double worst_direction(problem *p) {
  const int n = (int)(p->B * p->n * 3);
  double *y = malloc((size_t)n * sizeof *y), worst = 0;

  assert_non_null(y);
  value_and_grad(p, p->x, p->grad);
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
  for (int decode = 0; decode < 2; decode++) {
    for (int full = 0; full < 2; full++) {
      problem p = problem_make(decode, full ? 1 : 0.7);
      const double worst = worst_direction(&p);
      if (!(worst < 1e-6)) fail_msg("decode %d: worst directional error %.3g", decode, worst);
      problem_free(&p);
    }
  }
}

static double largest(const double *x, size_t n) {
  double most = 0;

  for (size_t i = 0; i < n; i++) most = x[i] == x[i] ? fmax(most, fabs(x[i])) : INFINITY;
  return most;
}

static void all_masked_has_no_gradient(void **state) {
  problem p = problem_make(true, 0);

  (void)state;
  assert_true(value_and_grad(&p, p.x, p.grad) == 0 && largest(p.grad, (size_t)(p.B * 3 * p.n)) == 0);
  problem_free(&p);
}

/* At x = 0 the length's gradient counts as 0, as in torch.norm: -gt / 1e-5 times the slope at dot 0 remains. */
static void the_zero_vector_is_pulled_to_the_target(void **state) {
  problem p = problem_make(true, 1);

  (void)state;
  for (int c = 0; c < 3; c++) p.x[c * p.n] = 0;
  value_and_grad(&p, p.x, p.grad);
  for (int c = 0; c < 3; c++) {
    const double want = -p.weight[0] * p.gt[c * p.n] / 1e-5;
    assert_true(fabs(p.grad[c * p.n] - want) < 1e-9 * fabs(want));
  }
  problem_free(&p);
}

/* A prediction on its target: the gradient is finite in both precisions, and 0 beyond |dot| = 1. */
static void on_the_target_the_gradient_is_finite(void **state) {
  problem p = problem_make(false, 1);
  const size_t numbers = (size_t)(p.B * 3 * p.n);

  (void)state;
  memcpy(p.x, p.gt, numbers * sizeof *p.x);
  value_and_grad(&p, p.x, p.grad);
  assert_true(largest(p.grad, numbers) < 708 * 0.05);
  for (size_t i = 0; i < numbers; i++) p.x[i] *= 1.001;
  value_and_grad(&p, p.x, p.grad);
  assert_true(largest(p.grad, numbers) == 0);
  p.decode = true;
  for (size_t i = 0; i < numbers; i++) p.x[i] *= 1000; /* x / (|x| + 1e-5) is the target to 1e-8 */
  value_and_grad(&p, p.x, p.grad);
  assert_true(isfinite(largest(p.grad, numbers)));
  problem_free(&p);
}

static void not_a_number_outside_the_mask_is_not_seen(void **state) {
  problem p = problem_make(true, 1);
  double sums[3];

  (void)state;
  p.mask[0] = 0;
  p.x[0] = p.gt[0] = NAN;
  check_ok(kn_angular_f64_ref(p.B, p.n, p.x, p.gt, p.mask, p.weight, 0, sums, p.grad));
  assert_true(isfinite(sums[0]) && isfinite(largest(p.grad, (size_t)(p.B * 3 * p.n))));
  p.mask[0] = 1;
  check_ok(kn_angular_f64_ref(p.B, p.n, p.x, p.gt, p.mask, p.weight, 0, sums, p.grad));
  assert_true(isnan(sums[0]) && isfinite(sums[1]));
  problem_free(&p);
}

/* ---- parts, sizes ---- */
static void parts_are_bit_equal_to_the_whole(void **state) {
  enum { B = 3 };
  problem p = problem_make(true, 0.6);
  const int64_t numbers = 3 * p.n;
  float *x = narrowed(p.x, (size_t)(B * numbers)), *gt = narrowed(p.gt, (size_t)(B * numbers)), weight[B], sums[2][B];
  float *grad[2] = {malloc((size_t)(B * numbers) * sizeof(float)), malloc((size_t)(B * numbers) * sizeof(float))};

  (void)state;
  assert_true(grad[0] && grad[1]);
  for (int b = 0; b < B; b++) weight[b] = (float)p.weight[b];
  omp_set_num_threads(3);
  check_ok(kn_angular_f32_ref(B, p.n, x, gt, p.mask, weight, 0, sums[0], grad[0]));
  omp_set_num_threads(1);
  for (int b = 0; b < B; b++)
    check_ok(kn_angular_f32_ref(1, p.n, x + b * numbers, gt + b * numbers, p.mask + b * p.n, weight + b, 0, sums[1] + b,
                                grad[1] + b * numbers));
  assert_memory_equal(sums[0], sums[1], sizeof sums[0]);
  assert_memory_equal(grad[0], grad[1], (size_t)(B * numbers) * sizeof(float));
  free(x), free(gt), free(grad[0]), free(grad[1]);
  problem_free(&p);
}

static void empty_and_negative_sizes(void **state) {
  float sums[2] = {7, 7};

  (void)state;
  check_ok(kn_angular_f32_ref(0, 5, NULL, NULL, NULL, NULL, 0, NULL, NULL));
  check_ok(kn_angular_f32_ref(2, 0, NULL, NULL, NULL, (float[]){1, 1}, 0, sums, NULL));
  assert_true(sums[0] == 0 && sums[1] == 0);
  check_fails(E_SHAPE, "-1 images", kn_angular_f32_ref(-1, 5, NULL, NULL, NULL, NULL, 0, NULL, NULL));
  check_fails(E_SHAPE, "-5 pixels", kn_angular_f64_ref(1, -5, NULL, NULL, NULL, NULL, 0, NULL, NULL));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(agrees_with_the_source),
      cmocka_unit_test(reference_has_the_sources_infinities),
      cmocka_unit_test(by_default_the_gradient_is_finite),
      cmocka_unit_test(nothing_valid_is_nothing),
      cmocka_unit_test(the_chain_agrees_with_the_source),
      cmocka_unit_test(the_gradient_is_the_derivative),
      cmocka_unit_test(all_masked_has_no_gradient),
      cmocka_unit_test(the_zero_vector_is_pulled_to_the_target),
      cmocka_unit_test(on_the_target_the_gradient_is_finite),
      cmocka_unit_test(not_a_number_outside_the_mask_is_not_seen),
      cmocka_unit_test(parts_are_bit_equal_to_the_whole),
      cmocka_unit_test(empty_and_negative_sizes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
