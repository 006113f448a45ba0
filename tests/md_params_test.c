/* The flat parameter buffer: layout, copies in other types, gradients, random weights. */
#include "models/params.h"

#include "tests/support/tchc_check.h"

static md_params *small(tchc_dtype dt) {
  md_params *p = NULL;
  check_ok(md_params_create("small", &p));
  check_ok(md_params_declare(p, 4, (int64_t[]){3, 2, 1, 2}, "conv.%s", "weight"));
  check_ok(md_params_declare(p, 1, (int64_t[]){3}, "conv.bias"));
  check_ok(md_params_declare(p, 1, (int64_t[]){5}, "norm.weight"));
  check_ok(md_params_declare(p, 2, (int64_t[]){2, 400}, "linear.weight"));
  if (dt != TCHC_NO_DTYPE) check_ok(md_params_allocate(p, dt, TCHC_CPU_DEVICE));
  return p;
}

static void test_layout(void **state) {
  md_params *p = small(TCHC_F32);
  (void)state;
  assert_int_equal(md_params_count(p), 4);
  assert_int_equal(md_params_numel(p), 12 + 3 + 5 + 800);
  assert_int_equal(md_params_find(p, "norm.weight"), 2);
  assert_int_equal(md_params_find(p, "norm.bias"), -1);
  assert_string_equal(md_params_at(p, 1)->name, "conv.bias");
  assert_int_equal(md_params_at(p, 1)->offset, 12);
  assert_int_equal(md_params_at(p, 3)->offset, 20);
  for (int i = 0; i < 4; i++) {
    const float *flat = tchc_data(md_params_flat(p));
    assert_ptr_equal(tchc_data(md_params_tensor(p, i)), flat + md_params_at(p, i)->offset);
    assert_int_equal(tchc_ndim(md_params_tensor(p, i)), md_params_at(p, i)->ndim);
  }
  assert_ptr_equal(md_params_get(p, "%s.bias", "conv"), md_params_tensor(p, 1));
  md_params_destroy(&p);
  md_params_destroy(&p);
}

static void test_aligned(void **state) {
  md_params *p = NULL, *q = NULL;
  const float v[11] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  float flat[24];
  (void)state;
  check_ok(md_params_create("aligned", &p));
  md_params_align(p);
  check_ok(md_params_declare(p, 1, (int64_t[]){3}, "a"));
  check_ok(md_params_declare(p, 2, (int64_t[]){1, 11}, "b"));
  check_ok(md_params_declare(p, 2, (int64_t[]){1, 11}, "c"));
  assert_int_equal(md_params_numel(p), 25);
  assert_int_equal(md_params_at(p, 1)->offset, 8);
  assert_int_equal(md_params_at(p, 2)->offset, 24);
  check_ok(md_params_allocate(p, TCHC_F32, TCHC_CPU_DEVICE));
  check_ok(md_params_put(p, 0, v));
  check_ok(md_params_put(p, 1, v));
  check_ok(md_params_clone(p, TCHC_F64, &q));
  assert_int_equal(md_params_at(q, 2)->offset, 24);
  assert_int_equal(tchc_numel(md_params_flat(q)), 35);
  check_ok(md_params_copy(p, q));
  tchc_tensor *front = NULL, *joined = NULL;
  check_ok(tchc_narrow(md_params_flat(p), 0, 0, 24, &front));
  to_floats(front, flat, 24);
  for (int i = 0; i < 24; i++) assert_true(flat[i] == (i < 3 ? v[i] : i < 8 || i > 18 ? 0 : v[i - 8]));
  check_fails(E_SHAPE, "b and c cannot be one matrix", md_params_span(p, 1, 2, &joined));
  tchc_free(&front);
  md_params_destroy(&p);
  md_params_destroy(&q);
}

static void test_twice(void **state) {
  md_params *p = small(TCHC_NO_DTYPE);
  (void)state;
  check_fails(E_FAIL, "small: conv.bias: declared twice", md_params_declare(p, 1, (int64_t[]){4}, "conv.bias"));
  assert_int_equal(md_params_count(p), 4);
  md_params_destroy(&p);
}

static void test_copies(void **state) {
  md_params *p = small(TCHC_F32), *q = NULL;
  const float v[3] = {1, 1.001f, -7};
  float got[3];
  (void)state;
  check_ok(md_params_put(p, 1, v));
  check_ok(md_params_clone(p, TCHC_BF16, &q));
  assert_int_equal(tchc_type(md_params_flat(q)), TCHC_BF16);
  to_floats(md_params_tensor(q, 1), got, 3);
  assert_true(got[0] == 1 && got[1] == 1 && got[2] == -7);
  assert_string_equal(md_params_at(q, 3)->name, "linear.weight");
  check_ok(md_params_copy(p, q)); /* and back, rounded */
  to_floats(md_params_tensor(p, 1), got, 3);
  assert_true(got[1] == 1);
  md_params_destroy(&p);
  md_params_destroy(&q);
}

/* Gradients are sums in the caller's buffer, also fp32 sums of bf16 parameters; handles stay what they were. */
static void check_gradients(tchc_dtype dt) {
  md_params *p = small(dt);
  tchc_scope *s = NULL;
  tchc_tensor *grads, *sum;
  const tchc_tensor *bias = md_params_get(p, "conv.bias");
  float got[820];

  check_ok(tchc_scope_open(&s));
  check_ok(tchc_full(DIMS(820), 0.5, TCHC_F32, TCHC_CPU_DEVICE, &grads));
  check_ok(md_params_train(p, grads));
  assert_ptr_equal(md_params_get(p, "conv.bias"), bias);
  assert_true(tchc_requires_grad(bias));
  for (int i = 0; i < 2; i++) {
    check_ok(tchc_sum(bias, &sum));
    check_ok(tchc_backward(sum, NULL));
  }
  to_floats(grads, got, 820);
  for (int i = 0; i < 820; i++) assert_true(got[i] == (i >= 12 && i < 15 ? 2.5f : 0.5f));
  check_ok(md_params_train(p, NULL));
  assert_false(tchc_requires_grad(bias));
  check_ok(tchc_full(DIMS(819), 0, TCHC_F32, TCHC_CPU_DEVICE, &grads));
  check_fails(E_SHAPE, "small: gradients: wanted [820], found [819]", md_params_train(p, grads));
  tchc_scope_close(&s);
  md_params_destroy(&p);
}

static void test_gradients(void **state) {
  (void)state;
  check_gradients(TCHC_F32);
  check_gradients(TCHC_BF16);
}

/* A parameter that changes is the parameter that runs: masters are written into the flat buffer. */
static void test_views_follow_the_flat_buffer(void **state) {
  md_params *p = small(TCHC_F32), *q = NULL;
  tchc_tensor *grads = NULL;
  const float v[3] = {4, 5, 6};
  (void)state;
  check_ok(md_params_clone(p, TCHC_F32, &q));
  check_ok(tchc_full(DIMS(820), 0, TCHC_F32, TCHC_CPU_DEVICE, &grads));
  check_ok(md_params_train(p, grads));
  check_ok(md_params_put(q, 1, v));
  check_ok(md_params_copy(p, q));
  assert_floats(md_params_tensor(p, 1), v, 3, 0);
  assert_true(tchc_requires_grad(md_params_tensor(p, 1)));
  md_params_destroy(&p);
  md_params_destroy(&q);
  tchc_free(&grads);
}

static void test_random(void **state) {
  md_params *p = small(TCHC_F32), *q = small(TCHC_F32);
  float a[820], b[820];
  double square = 0;
  (void)state;
  check_ok(md_params_randomise(p, 7));
  check_ok(md_params_randomise(q, 7));
  to_floats(md_params_flat(p), a, 820);
  to_floats(md_params_flat(q), b, 820);
  assert_memory_equal(a, b, sizeof a);
  check_ok(md_params_randomise(q, 8));
  to_floats(md_params_flat(q), b, 820);
  assert_memory_not_equal(a, b, sizeof a);
  for (int i = 12; i < 15; i++) assert_true(a[i] == 0);
  for (int i = 15; i < 20; i++) assert_true(a[i] == 1);
  for (int i = 20; i < 820; i++) square += a[i] * a[i];
  assert_true(fabs(sqrt(square / 800) * 20 - 1) < 0.15); /* std 1/sqrt(400) */
  md_params_destroy(&p);
  md_params_destroy(&q);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(test_layout),    LIVE_TEST(test_aligned), LIVE_TEST(test_twice),  LIVE_TEST(test_copies), LIVE_TEST(test_gradients),
      LIVE_TEST(test_views_follow_the_flat_buffer), LIVE_TEST(test_random)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
