/* Autograd driven from C: leaves and gradients in flat buffers, modes, errors. */
#include "tests/support/tchc_check.h"

enum { FLAT = 64, CHANNELS = 3, KERNEL = CHANNELS * 2 * 2 * 2, BIAS = CHANNELS };

/* Parameters as the trainer keeps them: views of one flat tensor, gradients views of another. */
typedef struct model {
  tchc_tensor *flat, *grads;
  tchc_tensor *w, *b; /* leaves: [3,2,2,2] stored channels last, and [3] */
  tchc_tensor *gw, *gb;
} model;

/* Elements [at, at + 24) of t as a [3,2,2,2] tensor whose channels are innermost. */
static tchc_tensor *kernel_view(const tchc_tensor *t, int64_t at) {
  tchc_tensor *part = NULL, *shaped = NULL, *turned = NULL;
  check_ok(tchc_narrow(t, 0, at, KERNEL, &part));
  check_ok(tchc_reshape(part, DIMS(CHANNELS, 2, 2, 2), &shaped));
  check_ok(tchc_permute(shaped, (const int64_t[]){0, 3, 1, 2}, 4, &turned));
  tchc_free(&part);
  tchc_free(&shaped);
  return turned;
}

static model model_make(void) {
  model m = {0};
  tchc_tensor *v = NULL;
  check_ok(tchc_manual_seed(1));
  check_ok(tchc_randn(DIMS(FLAT), TCHC_F32, TCHC_CPU_DEVICE, &m.flat));
  check_ok(tchc_zeros_like(m.flat, &m.grads));
  v = kernel_view(m.flat, 5);
  check_ok(tchc_leaf(v, &m.w));
  tchc_free(&v);
  check_ok(tchc_narrow(m.flat, 0, 5 + KERNEL, BIAS, &v));
  check_ok(tchc_leaf(v, &m.b));
  tchc_free(&v);
  m.gw = kernel_view(m.grads, 5);
  check_ok(tchc_narrow(m.grads, 0, 5 + KERNEL, BIAS, &m.gb));
  check_ok(tchc_set_grad(m.w, m.gw));
  check_ok(tchc_set_grad(m.b, m.gb));
  return m;
}

static void model_end(model *m) {
  tchc_tensor **all[] = {&m->flat, &m->grads, &m->w, &m->b, &m->gw, &m->gb};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) tchc_free(all[i]);
}

/* Sum of squares of the convolution of x, and its gradients. */
static void run(const tchc_tensor *x, const tchc_tensor *w, const tchc_tensor *b) {
  tchc_scope *s = NULL;
  tchc_tensor *y = NULL, *loss = NULL;
  check_ok(tchc_scope_open(&s));
  check_ok(tchc_conv2d(x, w, b, 1, 0, &y));
  check_ok(tchc_mul(y, y, &y));
  check_ok(tchc_sum(y, &loss));
  check_ok(tchc_backward(loss, NULL));
  tchc_scope_close(&s);
}

static tchc_tensor *input(void) {
  tchc_tensor *x = NULL;
  check_ok(tchc_randn(DIMS(2, 2, 5, 4), TCHC_F32, TCHC_CPU_DEVICE, &x));
  return x;
}

/* The same by leaves of their own, without flat buffers: what the sums must be. */
static void expected(const model *m, const tchc_tensor *x, int passes, float gw[KERNEL], float gb[BIAS]) {
  tchc_tensor *w = NULL, *b = NULL, *g = NULL;
  check_ok(tchc_contiguous(m->w, TCHC_CONTIGUOUS, &w));
  check_ok(tchc_detach(w, &g));
  tchc_free(&w);
  check_ok(tchc_leaf(g, &w));
  tchc_free(&g);
  check_ok(tchc_leaf(m->b, &b));
  for (int i = 0; i < passes; i++) run(x, w, b);
  check_ok(tchc_grad(w, &g));
  to_floats(g, gw, KERNEL);
  tchc_free(&g);
  check_ok(tchc_grad(b, &g));
  to_floats(g, gb, BIAS);
  tchc_free(&g);
  tchc_free(&w);
  tchc_free(&b);
}

static void leaves_share_the_flat_memory(void **state) {
  (void)state;
  model m = model_make();
  assert_ptr_equal(tchc_data(m.w), (float *)tchc_data(m.flat) + 5);
  assert_true(tchc_is_format(m.w, TCHC_CHANNELS_LAST));
  assert_true(tchc_requires_grad(m.w));
  assert_false(tchc_requires_grad(m.flat));
  check_ok(tchc_zero_(m.flat)); /* an update in place is seen by the leaf */
  assert_true(*(float *)tchc_data(m.b) == 0);
  model_end(&m);
}

static void two_passes_sum_up_in_the_flat_gradient(void **state) {
  (void)state;
  model m = model_make();
  tchc_tensor *x = input(), *g = NULL;
  float gw[KERNEL], gb[BIAS], flat[FLAT];
  const void *before = tchc_data(m.grads);
  expected(&m, x, 2, gw, gb);
  run(x, m.w, m.b);
  run(x, m.w, m.b);
  check_ok(tchc_grad(m.w, &g));
  assert_ptr_equal(tchc_data(g), (const float *)before + 5); /* still the view that was given */
  tchc_free(&g);
  assert_floats(m.gw, gw, KERNEL, 2e-4);
  assert_floats(m.gb, gb, BIAS, 2e-4);
  to_floats(m.grads, flat, FLAT);
  for (int i = 0; i < 5; i++) assert_true(flat[i] == 0); /* and nothing beside it */
  for (int i = 5 + KERNEL + BIAS; i < FLAT; i++) assert_true(flat[i] == 0);
  assert_true(flat[5 + KERNEL] != 0);
  check_ok(tchc_zero_(m.grads)); /* the next step starts from zero */
  expected(&m, x, 1, gw, gb);
  run(x, m.w, m.b);
  assert_floats(m.gw, gw, KERNEL, 2e-4);
  tchc_free(&x);
  model_end(&m);
}

static void bf16_leaf_sums_in_fp32(void **state) {
  (void)state;
  tchc_tensor *w = NULL, *g = NULL, *x = NULL, *y = NULL, *s = NULL;
  check_ok(tchc_full(DIMS(4), 1, TCHC_BF16, TCHC_CPU_DEVICE, &w));
  check_ok(tchc_requires_grad_(w, true));
  check_ok(tchc_full(DIMS(4), 256, TCHC_F32, TCHC_CPU_DEVICE, &g)); /* 256 + 0.5 is no bf16 number */
  check_ok(tchc_full(DIMS(4), 0.5, TCHC_BF16, TCHC_CPU_DEVICE, &x));
  check_ok(tchc_set_grad(w, g));
  for (int i = 0; i < 2; i++) {
    check_ok(tchc_mul(w, x, &y));
    check_ok(tchc_sum(y, &s));
    check_ok(tchc_backward(s, NULL));
    tchc_free(&y);
    tchc_free(&s);
  }
  assert_int_equal(tchc_type(g), TCHC_F32);
  assert_floats(g, (const float[]){257, 257, 257, 257}, 4, 0);
  tchc_free(&w);
  tchc_free(&g);
  tchc_free(&x);
}

static void gradient_of_given_direction(void **state) {
  (void)state;
  tchc_tensor *x = from_floats((const float[]){1, 2, 3}, DIMS(3)),
              *u = from_floats((const float[]){1, 10, 100}, DIMS(3));
  tchc_tensor *y = NULL, *g = NULL;
  check_ok(tchc_grad(x, &g));
  assert_null(g); /* none yet */
  check_ok(tchc_requires_grad_(x, true));
  check_ok(tchc_mul(x, x, &y));
  check_fails(E_SHAPE, "backward [3] f32, none", tchc_backward(y, NULL)); /* no scalar */
  check_ok(tchc_backward(y, u));
  check_ok(tchc_grad(x, &g));
  assert_floats(g, (const float[]){2, 40, 600}, 3, 0);
  tchc_free(&g);
  check_fails(E_SHAPE, "second time", tchc_backward(y, u)); /* the graph is gone */
  check_ok(tchc_set_grad(x, NULL));
  check_ok(tchc_grad(x, &g));
  assert_null(g);
  tchc_free(&y);
  tchc_free(&u);
  tchc_free(&x);
}

static void gradients_that_do_not_fit(void **state) {
  (void)state;
  tchc_tensor *x = from_floats((const float[]){1, 2, 3}, DIMS(3)), *wrong = from_floats((const float[]){1, 2}, DIMS(2));
  tchc_tensor *ints = NULL, *y = NULL;
  check_ok(tchc_arange(3, TCHC_I64, TCHC_CPU_DEVICE, &ints));
  check_fails(E_SHAPE, "set_grad [3] f32, [2] f32", tchc_set_grad(x, wrong));
  check_fails(E_SHAPE, "floating", tchc_set_grad(x, ints));
  check_fails(E_FAIL, "NULL", tchc_set_grad(NULL, wrong));
  check_fails(E_SHAPE, "floating", tchc_requires_grad_(ints, true));
  check_fails(E_SHAPE, "requires a gradient", tchc_backward(x, NULL));
  check_ok(tchc_requires_grad_(x, true));
  check_ok(tchc_sum(x, &y));
  check_fails(E_SHAPE, "leaf", tchc_set_grad(y, y));
  check_fails(E_SHAPE, "requires_grad_", tchc_requires_grad_(y, false));
  check_fails(E_SHAPE, "backward [] f32, [2] f32: the gradient has another shape", tchc_backward(y, wrong));
  tchc_free(&x);
  tchc_free(&wrong);
  tchc_free(&ints);
  tchc_free(&y);
}

static void modes_and_cuts(void **state) {
  (void)state;
  tchc_tensor *x = from_floats((const float[]){1, 2, 3}, DIMS(3)), *y = NULL, *z = NULL;
  check_ok(tchc_requires_grad_(x, true));
  assert_true(tchc_grad_mode(false));
  check_ok(tchc_mul(x, x, &y));
  assert_false(tchc_grad_mode(true));
  assert_false(tchc_requires_grad(y));
  tchc_free(&y);
  check_ok(tchc_mul(x, x, &y));
  assert_true(tchc_requires_grad(y));
  check_ok(tchc_detach(y, &z));
  assert_false(tchc_requires_grad(z));
  assert_ptr_equal(tchc_data(y), tchc_data(z));
  tchc_free(&x);
  tchc_free(&y);
  tchc_free(&z);
}

static void memory_written_between_forward_and_backward_is_noticed(void **state) {
  (void)state;
  tchc_tensor *x = from_floats((const float[]){1, 2, 3}, DIMS(3)), *w = NULL, *y = NULL, *s = NULL;
  check_ok(tchc_leaf(x, &w));
  check_ok(tchc_mul(w, w, &y));
  check_ok(tchc_sum(y, &s));
  check_ok(tchc_zero_(x)); /* the leaf's memory */
  check_fails(E_SHAPE, "modified by an inplace operation", tchc_backward(s, NULL));
  tchc_free(&x);
  tchc_free(&w);
  tchc_free(&y);
  tchc_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(leaves_share_the_flat_memory),
      LIVE_TEST(two_passes_sum_up_in_the_flat_gradient),
      LIVE_TEST(bf16_leaf_sums_in_fp32),
      LIVE_TEST(gradient_of_given_direction),
      LIVE_TEST(gradients_that_do_not_fit),
      LIVE_TEST(modes_and_cuts),
      LIVE_TEST(memory_written_between_forward_and_backward_is_noticed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
