/* Every operator once, against numbers worked out by hand or an identity; operands that do not fit. */
#include "tests/support/tchc_check.h"

static tchc_tensor *row(float a, float b, float c) { return from_floats((const float[]){a, b, c}, DIMS(3)); }

/* Checks the result and ends it. */
static void expect(tchc_tensor **t, const float *want, int64_t n, double tol) {
  assert_floats(*t, want, n, tol);
  tchc_free(t);
}
#define EXPECT(t, tol, ...)                                                                                            \
  expect(&(t), (const float[]){__VA_ARGS__}, (int64_t)(sizeof((float[]){__VA_ARGS__}) / sizeof(float)), (tol))

static void arithmetic(void **state) {
  (void)state;
  tchc_tensor *a = row(1, -2, 3), *b = row(4, 5, -6), *p = NULL, *r = NULL;
  check_ok(tchc_add(a, b, 0.5, &r));
  EXPECT(r, 0, 3, 0.5f, 0);
  check_ok(tchc_mul(a, b, &r));
  EXPECT(r, 0, 4, -10, -18);
  check_ok(tchc_div(b, a, &r));
  EXPECT(r, 0, 4, -2.5f, -2);
  check_ok(tchc_clamp(a, -1, 2.5, &r));
  EXPECT(r, 0, 1, -1, 2.5f);
  check_ok(tchc_mul(a, a, &p));
  check_ok(tchc_sqrt(p, &r));
  tchc_free(&p);
  EXPECT(r, 1e-6, 1, 2, 3);
  tchc_free(&a);
  tchc_free(&b);
}

static void affine_makes_a_new_tensor(void **state) {
  (void)state;
  tchc_tensor *a = row(1, -2, 3), *i = NULL, *r = NULL;
  check_ok(tchc_affine(a, 2, -0.5, &r));
  EXPECT(r, 0, 1.5f, -4.5f, 5.5f);
  check_ok(tchc_affine(a, -1, 0, &r));
  EXPECT(r, 0, -1, 2, -3);
  check_ok(tchc_affine(a, 1, 0, &r));
  assert_ptr_not_equal(tchc_data(a), tchc_data(r));
  EXPECT(r, 0, 1, -2, 3);
  check_ok(tchc_arange(3, TCHC_I64, TCHC_CPU_DEVICE, &i));
  check_ok(tchc_affine(i, 3, 1, &r));
  assert_int_equal(tchc_type(r), TCHC_I64);
  EXPECT(r, 0, 1, 4, 7);
  tchc_free(&a);
  tchc_free(&i);
}

static void functions_of_one(void **state) {
  (void)state;
  tchc_tensor *a = row(0, 1, -2), *r = NULL;
  check_ok(tchc_exp(a, &r));
  EXPECT(r, 1e-6, 1, 2.7182818f, 0.13533528f);
  check_ok(tchc_sin(a, &r));
  EXPECT(r, 1e-6, 0, 0.84147098f, -0.90929743f);
  check_ok(tchc_cos(a, &r));
  EXPECT(r, 1e-6, 1, 0.54030231f, -0.41614684f);
  check_ok(tchc_silu(a, &r));
  EXPECT(r, 1e-6, 0, 0.73105858f, -0.23840584f);
  check_ok(tchc_gelu(a, &r)); /* x/2 (1 + erf(x/sqrt 2)) */
  EXPECT(r, 1e-6, 0, 0.84134475f, -0.04550026f);
  check_ok(tchc_quick_gelu(a, &r));
  EXPECT(r, 1e-6, 0, 0.84579577f, -0.06434100f);
  check_ok(tchc_softmax(a, 0, &r));
  EXPECT(r, 1e-6, 0.25949646f, 0.70538451f, 0.03511903f);
  tchc_free(&a);
}

static void reductions(void **state) {
  (void)state;
  tchc_tensor *a = from_floats((const float[]){3, 4, 0, -5, 12, 0}, DIMS(2, 3)), *r = NULL;
  check_ok(tchc_sum(a, &r));
  assert_int_equal(tchc_ndim(r), 0);
  EXPECT(r, 0, 14);
  check_ok(tchc_mean_dim(a, 1, true, &r));
  assert_int_equal(tchc_size(r, 1), 1);
  EXPECT(r, 1e-6, 7.f / 3, 7.f / 3);
  check_ok(tchc_mean_dim(a, -2, false, &r));
  EXPECT(r, 0, -1, 8, 0);
  check_ok(tchc_norm_dim(a, 1, false, &r));
  EXPECT(r, 1e-6, 5, 13);
  tchc_free(&a);
}

static void norm_of_zeros_has_a_finite_gradient(void **state) {
  (void)state;
  tchc_tensor *a = NULL, *n = NULL, *s = NULL, *g = NULL;
  check_ok(tchc_full(DIMS(1, 3), 0, TCHC_F32, TCHC_CPU_DEVICE, &a));
  check_ok(tchc_requires_grad_(a, true));
  check_ok(tchc_norm_dim(a, 1, true, &n));
  check_ok(tchc_sum(n, &s));
  check_ok(tchc_backward(s, NULL));
  check_ok(tchc_grad(a, &g));
  EXPECT(g, 0, 0, 0, 0);
  tchc_free(&a);
  tchc_free(&n);
  tchc_free(&s);
}

static void joining_and_products(void **state) {
  (void)state;
  tchc_tensor *a = from_floats((const float[]){1, 2, 3, 4}, DIMS(2, 2)),
              *b = from_floats((const float[]){5, 6}, DIMS(2, 1));
  tchc_tensor *r = NULL;
  check_ok(tchc_cat((const tchc_tensor *const[]){a, b}, 2, 1, &r));
  EXPECT(r, 0, 1, 2, 5, 3, 4, 6);
  check_ok(tchc_matmul(a, b, &r));
  EXPECT(r, 0, 17, 39);
  check_fails(E_SHAPE, "cat", tchc_cat((const tchc_tensor *const[]){a, b}, 2, 0, &r));
  check_fails(E_FAIL, "NULL", tchc_cat((const tchc_tensor *const[]){a, NULL}, 2, 0, &r));
  check_fails(E_FAIL, "list", tchc_cat(NULL, 2, 0, &r));
  check_fails(E_SHAPE, "matmul [2,1] f32, [2,1] f32", tchc_matmul(b, b, &r));
  tchc_free(&a);
  tchc_free(&b);
}

static void in_place(void **state) {
  (void)state;
  tchc_tensor *a = row(1, 2, 3), *b = NULL, *i = NULL, *z = NULL;
  check_ok(tchc_full(DIMS(3), 0.5, TCHC_BF16, TCHC_CPU_DEVICE, &b));
  check_ok(tchc_requires_grad_(a, true)); /* a leaf may be written: no graph is made */
  check_ok(tchc_add_(a, b, -2));
  assert_floats(a, (const float[]){0, 1, 2}, 3, 0);
  check_ok(tchc_arange(3, TCHC_I64, TCHC_CPU_DEVICE, &i));
  check_ok(tchc_add_(i, a, 2)); /* floats into integers: converted first */
  assert_floats(i, (const float[]){0, 3, 6}, 3, 0);
  check_ok(tchc_zeros_like(i, &z));
  assert_int_equal(tchc_type(z), TCHC_I64);
  assert_floats(z, (const float[]){0, 0, 0}, 3, 0);
  check_ok(tchc_zero_(a));
  assert_floats(a, (const float[]){0, 0, 0}, 3, 0);
  tchc_free(&a);
  tchc_free(&b);
  tchc_free(&i);
  tchc_free(&z);
}

static void convolution(void **state) {
  (void)state;
  tchc_tensor *x = from_floats((const float[]){1, 2, 3, 4, 5, 6, 7, 8, 9}, DIMS(1, 1, 3, 3));
  tchc_tensor *w = from_floats((const float[]){1, 0, 0, -1}, DIMS(1, 1, 2, 2)),
              *b = from_floats((const float[]){10}, DIMS(1));
  tchc_tensor *r = NULL;
  check_ok(tchc_conv2d(x, w, b, 1, 0, &r));
  EXPECT(r, 1e-6, 6, 6, 6, 6);
  check_ok(tchc_conv2d(x, w, NULL, 2, 1, &r));
  EXPECT(r, 1e-6, -1, -3, -7, -4);
  check_fails(E_SHAPE, "conv2d [1,1,3,3] f32, [1] f32, none", tchc_conv2d(x, b, NULL, 1, 0, &r));
  tchc_free(&x);
  tchc_free(&w);
  tchc_free(&b);
}

static void transposed_convolution_is_the_adjoint(void **state) {
  (void)state;
  tchc_tensor *x = NULL, *w = NULL, *y = NULL, *cx = NULL, *cy = NULL, *p = NULL, *s = NULL;
  double left = 0, right = 0;
  check_ok(tchc_manual_seed(3));
  check_ok(tchc_randn(DIMS(2, 3, 7, 6), TCHC_F64, TCHC_CPU_DEVICE, &x));
  check_ok(tchc_randn(DIMS(4, 3, 3, 4), TCHC_F64, TCHC_CPU_DEVICE, &w));
  check_ok(tchc_randn(DIMS(2, 4, 4, 3), TCHC_F64, TCHC_CPU_DEVICE, &y));
  check_ok(tchc_conv2d(x, w, NULL, 2, 1, &cx)); /* <conv x, y> = <x, conv^T y> */
  check_ok(tchc_mul(cx, y, &p));
  check_ok(tchc_sum(p, &s));
  check_ok(tchc_item(s, &left));
  tchc_free(&p);
  tchc_free(&s);
  check_ok(tchc_conv_transpose2d(y, w, NULL, 2, 1, &cy));
  check_ok(tchc_mul(cy, x, &p));
  check_ok(tchc_sum(p, &s));
  check_ok(tchc_item(s, &right));
  assert_true(fabs(left - right) < 1e-10 * fabs(left));
  check_fails(E_SHAPE, "conv_transpose2d", tchc_conv_transpose2d(x, w, NULL, 2, 1, &cy));
  tchc_tensor *all[] = {x, w, y, cx, cy, p, s};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) tchc_free(&all[i]);
}

static void linear_and_embedding(void **state) {
  (void)state;
  tchc_tensor *x = row(1, 2, 3), *w = from_floats((const float[]){1, 0, -1, 2, 2, 2}, DIMS(2, 3));
  tchc_tensor *b = from_floats((const float[]){10, 20}, DIMS(2)), *ids = NULL, *r = NULL;
  const int64_t id[3] = {1, 0, 1}, outside[1] = {2};
  check_ok(tchc_linear(x, w, b, &r));
  EXPECT(r, 1e-6, 8, 32);
  check_ok(tchc_linear(x, w, NULL, &r));
  EXPECT(r, 1e-6, -2, 12);
  check_fails(E_SHAPE, "linear [2] f32, [2,3] f32", tchc_linear(b, w, NULL, &r));
  check_ok(tchc_from_host(id, DIMS(3), TCHC_I64, TCHC_CPU_DEVICE, &ids));
  check_ok(tchc_embedding(w, ids, &r));
  EXPECT(r, 0, 2, 2, 2, 1, 0, -1, 2, 2, 2);
  tchc_free(&ids);
  check_ok(tchc_from_host(outside, DIMS(1), TCHC_I64, TCHC_CPU_DEVICE, &ids));
  check_fails(E_SHAPE, "embedding", tchc_embedding(w, ids, &r));
  tchc_free(&ids);
  tchc_free(&x);
  tchc_free(&w);
  tchc_free(&b);
}

static void norms(void **state) {
  (void)state;
  /* two groups of two values each: (1, 3) and (10, 30), normalised to -1, 1 */
  tchc_tensor *x = from_floats((const float[]){1, 3, 10, 30}, DIMS(1, 4, 1, 1));
  tchc_tensor *w = from_floats((const float[]){1, 2, 3, 4}, DIMS(4)),
              *b = from_floats((const float[]){0, 0, 0, 5}, DIMS(4));
  tchc_tensor *rows = NULL, *r = NULL;
  check_ok(tchc_group_norm(x, 2, w, b, 0, &r));
  EXPECT(r, 1e-5, -1, 2, -3, 9);
  check_ok(tchc_group_norm(x, 2, NULL, NULL, 1, &r)); /* variances 1 and 100 */
  EXPECT(r, 1e-5, -0.70710678f, 0.70710678f, -0.99503719f, 0.99503719f);
  check_fails(E_SHAPE, "group_norm", tchc_group_norm(x, 3, NULL, NULL, 0, &r));
  check_ok(tchc_reshape(x, DIMS(2, 2), &rows));
  check_ok(tchc_layer_norm(rows, NULL, NULL, 0, &r));
  EXPECT(r, 1e-5, -1, 1, -1, 1);
  check_fails(E_SHAPE, "layer_norm", tchc_layer_norm(rows, w, b, 0, &r));
  tchc_tensor *none = NULL;
  check_ok(tchc_sum(x, &none));
  check_fails(E_SHAPE, "layer_norm [] f32", tchc_layer_norm(none, NULL, NULL, 0, &r));
  tchc_free(&none);
  tchc_free(&x);
  tchc_free(&rows);
  tchc_free(&w);
  tchc_free(&b);
}

static void attention(void **state) {
  (void)state;
  /* d = 1: scores are q k; q = 0 weighs all alike */
  tchc_tensor *q = from_floats((const float[]){0, 0, 0}, DIMS(1, 1, 3, 1)),
              *k = from_floats((const float[]){1, 2, 3}, DIMS(1, 1, 3, 1));
  tchc_tensor *v = from_floats((const float[]){3, 6, 12}, DIMS(1, 1, 3, 1)), *r = NULL;
  tchc_tensor *wrong = from_floats((const float[]){1}, DIMS(1));
  check_ok(tchc_attention(q, k, v, false, &r));
  EXPECT(r, 1e-5, 7, 7, 7);
  check_ok(tchc_attention(q, k, v, true, &r));
  EXPECT(r, 1e-5, 3, 4.5f, 7);
  check_ok(tchc_attention(k, k, v, false, &r)); /* softmax of (1, 2, 3) for the first query */
  float first[3];
  to_floats(r, first, 3);
  assert_true(fabs(first[0] - (0.09003057 * 3 + 0.24472847 * 6 + 0.66524096 * 12)) < 1e-5);
  tchc_free(&r);
  check_fails(E_SHAPE, "attention [1,1,3,1] f32, [1,1,3,1] f32, [1] f32", tchc_attention(q, k, wrong, false, &r));
  tchc_free(&wrong);
  tchc_free(&q);
  tchc_free(&k);
  tchc_free(&v);
}

static void resizing(void **state) {
  (void)state;
  tchc_tensor *x = from_floats((const float[]){1, 2, 3, 4}, DIMS(1, 1, 2, 2)), *r = NULL;
  check_ok(tchc_upsample_nearest(x, 3, 4, &r)); /* source row = floor(y 2/3) */
  EXPECT(r, 0, 1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4);
  check_ok(tchc_pad(x, 0, 1, 1, 0, &r));
  EXPECT(r, 0, 0, 0, 0, 1, 2, 0, 3, 4, 0);
  check_fails(E_SHAPE, "upsample_nearest", tchc_upsample_nearest(x, 0, 4, &r));
  check_fails(E_SHAPE, "pad", tchc_pad(x, -3, 0, 0, 0, &r));
  tchc_free(&x);
}

static void random_numbers(void **state) {
  (void)state;
  tchc_tensor *a = NULL, *b = NULL, *c = NULL;
  float x[64], y[64];
  int zeros = 0;
  check_ok(tchc_manual_seed(5));
  check_ok(tchc_randn(DIMS(64), TCHC_F32, TCHC_CPU_DEVICE, &a));
  check_ok(tchc_manual_seed(5));
  check_ok(tchc_randn(DIMS(64), TCHC_F32, TCHC_CPU_DEVICE, &b));
  to_floats(a, x, 64);
  to_floats(b, y, 64);
  assert_memory_equal(x, y, sizeof x);
  check_ok(tchc_dropout(a, 0.5, &c));
  to_floats(c, y, 64);
  for (int i = 0; i < 64; i++) {
    zeros += y[i] == 0;
    assert_true(y[i] == 0 || fabs(y[i] - 2 * x[i]) < 1e-6);
  }
  assert_in_range(zeros, 10, 54);
  check_fails(E_SHAPE, "dropout", tchc_dropout(a, 1.5, &c));
  tchc_free(&a);
  tchc_free(&b);
  tchc_free(&c);
}

static void operands_that_do_not_fit_are_named(void **state) {
  (void)state;
  tchc_tensor *x = row(1, 2, 3), *w = NULL, *r = NULL;
  check_ok(tchc_full(DIMS(2, 3), 1, TCHC_BF16, TCHC_CPU_DEVICE, &w));
  check_fails(E_SHAPE, "linear [3] f32, [2,3] bf16, none", tchc_linear(x, w, NULL, &r));
  tchc_free(&w);
  check_ok(tchc_full(DIMS(2, 2), 1, TCHC_F32, TCHC_CPU_DEVICE, &w));
  check_fails(E_SHAPE, "add [3] f32, [2,2] f32", tchc_add(x, w, 1, &r));
  tchc_free(&x);
  tchc_free(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(arithmetic),
      LIVE_TEST(affine_makes_a_new_tensor),
      LIVE_TEST(functions_of_one),
      LIVE_TEST(reductions),
      LIVE_TEST(norm_of_zeros_has_a_finite_gradient),
      LIVE_TEST(joining_and_products),
      LIVE_TEST(in_place),
      LIVE_TEST(convolution),
      LIVE_TEST(transposed_convolution_is_the_adjoint),
      LIVE_TEST(linear_and_embedding),
      LIVE_TEST(norms),
      LIVE_TEST(attention),
      LIVE_TEST(resizing),
      LIVE_TEST(random_numbers),
      LIVE_TEST(operands_that_do_not_fit_are_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
