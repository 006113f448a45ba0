/* What needs a GPU; exits 77 where there is none. tchc_cuda_open is the first torch call of the program. */
#include "tests/support/tchc_check.h"

static const tchc_device GPU = {TCHC_CUDA, 0};

static void device_is_described(void **state) {
  (void)state;
  char name[64] = "";
  void *stream = NULL;
  int64_t available = 0, total = 0;
  check_ok(tchc_cuda_open()); /* again is fine */
  check_ok(tchc_cuda_name(0, name, sizeof name));
  assert_true(name[0] != 0);
  check_ok(tchc_cuda_stream(0, &stream));
  check_ok(tchc_memory_info(GPU, &available, &total));
  assert_true(available > 0 && available <= total);
  check_ok(tchc_synchronize(GPU));
  print_message("%s, %.1f of %.1f GiB free\n", name, (double)available / 0x1p30, (double)total / 0x1p30);
}

/* Loss and weight gradient of a small convolution on a device. */
static double convolve(tchc_device d, const tchc_tensor *x, const tchc_tensor *w, float *gradient, int64_t n) {
  double loss = 0;
  tchc_scope *s = NULL;
  tchc_tensor *dx, *dw, *y, *sum, *g;
  check_ok(tchc_scope_open(&s));
  check_ok(tchc_to(x, TCHC_F32, d, TCHC_CHANNELS_LAST, &dx));
  check_ok(tchc_to(w, TCHC_F32, d, TCHC_CHANNELS_LAST, &dw));
  check_ok(tchc_leaf(dw, &dw));
  check_ok(tchc_conv2d(dx, dw, NULL, 1, 1, &y));
  check_ok(tchc_mul(y, y, &y));
  check_ok(tchc_sum(y, &sum));
  check_ok(tchc_item(sum, &loss));
  check_ok(tchc_backward(sum, NULL));
  check_ok(tchc_grad(dw, &g));
  to_floats(g, gradient, n);
  tchc_scope_close(&s);
  return loss;
}

static void agrees_with_the_cpu(void **state) {
  (void)state;
  static float cpu[16 * 8 * 9], gpu[16 * 8 * 9];
  tchc_tensor *x = NULL, *w = NULL;
  double most = 0, a, b;
  check_ok(tchc_set_backend(&(tchc_backend_opts){0}));
  check_ok(tchc_manual_seed(1));
  check_ok(tchc_randn(DIMS(2, 8, 17, 13), TCHC_F32, TCHC_CPU_DEVICE, &x));
  check_ok(tchc_randn(DIMS(16, 8, 3, 3), TCHC_F32, TCHC_CPU_DEVICE, &w));
  a = convolve(TCHC_CPU_DEVICE, x, w, cpu, 16 * 8 * 9);
  b = convolve(GPU, x, w, gpu, 16 * 8 * 9);
  assert_true(fabs(a - b) < 1e-5 * fabs(a));
  for (int i = 0; i < 16 * 8 * 9; i++) most = fmax(most, fabs((double)cpu[i]));
  for (int i = 0; i < 16 * 8 * 9; i++) assert_true(fabs((double)cpu[i] - gpu[i]) < 1e-5 * most);
  tchc_free(&x);
  tchc_free(&w);
}

static void memory_is_counted(void **state) {
  (void)state;
  tchc_memory before, with, after;
  tchc_tensor *t = NULL;
  check_ok(tchc_memory_empty_cache(GPU));
  check_ok(tchc_memory_stats(GPU, &before));
  check_ok(tchc_empty(DIMS(1 << 22), TCHC_F32, GPU, TCHC_CONTIGUOUS, &t));
  check_ok(tchc_memory_stats(GPU, &with));
  assert_int_equal(with.allocated - before.allocated, 1 << 24);
  tchc_free(&t);
  check_ok(tchc_memory_stats(GPU, &after));
  assert_int_equal(after.allocated, before.allocated);
  assert_true(after.allocated_peak >= with.allocated);
  check_ok(tchc_memory_reset_peak(GPU));
  check_ok(tchc_memory_stats(GPU, &after));
  assert_int_equal(after.allocated_peak, after.allocated);
}

static void too_much_memory_is_a_status(void **state) {
  (void)state;
  tchc_tensor *t = NULL;
  check_fails(E_NOMEM, "empty", tchc_empty(DIMS(1LL << 42), TCHC_F32, GPU, TCHC_CONTIGUOUS, &t));
  assert_null(t);
}

/* Backward on a GPU runs in a thread of autograd's: its message must arrive here. */
static int fine(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  (void)ctx, (void)call, (void)nin, (void)nout;
  return tchc_affine(in[0], 2, 0, &out[0]);
}

static int fails(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  (void)ctx, (void)call, (void)in, (void)nin, (void)out, (void)nout;
  return err_set(E_NUMERIC, __FILE__, __LINE__, "from another thread");
}

static void failing_backward_carries_its_message(void **state) {
  (void)state;
  const tchc_op op = {"twice", fine, fails, NULL};
  tchc_tensor *x = NULL, *y = NULL, *s = NULL;
  check_ok(tchc_full(DIMS(3), 1, TCHC_F32, GPU, &x));
  check_ok(tchc_requires_grad_(x, true));
  check_ok(tchc_apply(&op, NULL, &x, 1, &y, 1));
  check_ok(tchc_sum(y, &s));
  check_fails(E_NUMERIC, "twice backward: from another thread", tchc_backward(s, NULL));
  tchc_free(&x);
  tchc_free(&y);
  tchc_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(device_is_described),         LIVE_TEST(agrees_with_the_cpu),
      LIVE_TEST(memory_is_counted),           LIVE_TEST(too_much_memory_is_a_status),
      LIVE_TEST(failing_backward_carries_its_message),
  };
  if (tchc_cuda_open() != OK) print_message("skipped: %s\n", err_text());
  else if (tchc_cuda_count() == 0) print_message("skipped: no GPU\n");
  else return cmocka_run_group_tests(tests, NULL, NULL);
  return 77;
}
