/* What needs a GPU; exits 77 where there is none. tchc_cuda_open is the first torch call of the program. */
#include "tchc/stream.h"
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

static void the_cap_holds(void **state) {
  (void)state;
  tchc_memory m;
  tchc_tensor *t = NULL;
  check_ok(tchc_memory_empty_cache(GPU));
  check_ok(tchc_memory_stats(GPU, &m));
  check_ok(tchc_memory_cap(GPU, m.reserved + (64 << 20)));
  check_fails(E_NOMEM, "empty", tchc_empty(DIMS(256 << 20), TCHC_U8, GPU, TCHC_CONTIGUOUS, &t));
  check_ok(tchc_memory_cap(GPU, 0));
  check_ok(tchc_empty(DIMS(256 << 20), TCHC_U8, GPU, TCHC_CONTIGUOUS, &t));
  tchc_free(&t);
}

/* Pinned memory to the GPU and back on a stream of its own, in order by events. */
static void copies_run_beside(void **state) {
  (void)state;
  enum { N = 1 << 20 };
  tchc_stream *side = NULL;
  tchc_event *ready = NULL, *back = NULL;
  tchc_tensor *host = NULL, *result = NULL, *x = NULL, *y = NULL;
  double ms = -1;
  check_ok(tchc_stream_open(GPU, true, &side));
  check_ok(tchc_event_open(GPU, true, &ready));
  check_ok(tchc_event_open(GPU, true, &back));
  check_ok(tchc_empty_pinned(DIMS(N), TCHC_F32, &host));
  check_ok(tchc_empty_pinned(DIMS(N), TCHC_F32, &result));
  assert_true(tchc_is_pinned(host));
  for (int i = 0; i < N; i++) ((float *)tchc_data(host))[i] = (float)(i % 1000);
  check_ok(tchc_stream_enter(side));
  check_ok(tchc_empty(DIMS(N), TCHC_F32, GPU, TCHC_CONTIGUOUS, &x));
  check_ok(tchc_copy(x, host, true));
  check_ok(tchc_event_record(ready));
  check_ok(tchc_stream_leave(side));
  check_ok(tchc_event_wait(ready));
  check_ok(tchc_affine(x, 2, 1, &y));
  check_ok(tchc_copy(result, y, true));
  check_ok(tchc_event_record(back));
  check_ok(tchc_event_synchronize(back));
  check_ok(tchc_event_elapsed(ready, back, &ms));
  assert_true(ms >= 0);
  for (int i = 0; i < N; i++) assert_true(((const float *)tchc_data(result))[i] == (float)(2 * (i % 1000) + 1));
  check_ok(tchc_stream_uses(side, y));
  check_ok(tchc_stream_synchronize(side));
  tchc_stream_close(&side);
  tchc_event_close(&ready);
  tchc_event_close(&back);
  tchc_tensor *all[] = {host, result, x, y};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) tchc_free(&all[i]);
}

static void locked_memory_of_others(void **state) {
  (void)state;
  const size_t n = 1 << 20;
  float *data = aligned_alloc(4096, n);
  tchc_tensor *t = NULL;
  assert_non_null(data);
  check_ok(tchc_host_lock(data, n));
  check_ok(tchc_from_blob(data, DIMS(1 << 18), TCHC_F32, NULL, NULL, &t));
  assert_true(tchc_is_pinned(t));
  tchc_free(&t);
  check_ok(tchc_host_unlock(data));
  check_fails(E_DEVICE, "CUDA error", tchc_host_unlock(data));
  free(data);
}

/* One step of training, forward and backward: loss = sum (x w)^2 into memory that is there before. */
typedef struct linear {
  tchc_tensor *x, *w, *loss, *grad;
  int status;
} linear;

static int linear_step(void *ctx) {
  int st = OK;
  linear *l = ctx;
  tchc_tensor *y = NULL, *sum = NULL;
  TRY(tchc_zero_(l->grad));
  TRY(tchc_linear(l->x, l->w, NULL, &y));
  TRY(tchc_mul(y, y, &y));
  TRY(tchc_sum(y, &sum));
  TRY(tchc_backward(sum, NULL));
  TRY(tchc_copy(l->loss, sum, false));
  NEED(l->status == OK, l->status, "the step went wrong");
out:
  return st;
}

static void a_captured_step_replays_on_new_inputs(void **state) {
  (void)state;
  linear l = {0};
  tchc_graph *g = NULL;
  tchc_tensor *x = NULL, *w = NULL;
  double want = 0, got = 0;
  float want_grad[8 * 16], got_grad[8 * 16];
  check_ok(tchc_manual_seed(1));
  check_ok(tchc_randn(DIMS(4, 16), TCHC_F32, GPU, &l.x));
  check_ok(tchc_randn(DIMS(8, 16), TCHC_F32, GPU, &w));
  check_ok(tchc_leaf(w, &l.w));
  check_ok(tchc_zeros_like(w, &l.grad));
  check_ok(tchc_set_grad(l.w, l.grad));
  check_ok(tchc_full(NULL, 0, 0, TCHC_F32, GPU, &l.loss));
  for (int i = 0; i < 3; i++) { /* cuBLAS makes its workspaces */
    tchc_scope *s = NULL;
    check_ok(tchc_scope_open(&s));
    check_ok(linear_step(&l));
    tchc_scope_close(&s);
  }
  check_ok(tchc_graph_capture(GPU, linear_step, &l, &g));
  check_ok(tchc_randn(DIMS(4, 16), TCHC_F32, GPU, &x));
  check_ok(tchc_copy(l.x, x, false));
  check_ok(tchc_graph_replay(g));
  check_ok(tchc_item(l.loss, &got));
  to_floats(l.grad, got_grad, 8 * 16);
  tchc_scope *s = NULL;
  check_ok(tchc_scope_open(&s));
  check_ok(linear_step(&l));
  tchc_scope_close(&s);
  check_ok(tchc_item(l.loss, &want));
  to_floats(l.grad, want_grad, 8 * 16);
  assert_true(fabs(want - got) <= 1e-6 * fabs(want));
  for (int i = 0; i < 8 * 16; i++) assert_true(fabs((double)want_grad[i] - got_grad[i]) <= 1e-4);
  tchc_graph_close(&g);
  l.status = E_NUMERIC;
  check_fails(E_NUMERIC, "captured step: the step went wrong", tchc_graph_capture(GPU, linear_step, &l, &g));
  assert_null(g);
  tchc_tensor *all[] = {l.x, l.w, l.loss, l.grad, x, w};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) tchc_free(&all[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(device_is_described),
      LIVE_TEST(agrees_with_the_cpu),
      LIVE_TEST(memory_is_counted),
      LIVE_TEST(too_much_memory_is_a_status),
      LIVE_TEST(failing_backward_carries_its_message),
      LIVE_TEST(the_cap_holds),
      LIVE_TEST(copies_run_beside),
      LIVE_TEST(locked_memory_of_others),
      LIVE_TEST(a_captured_step_replays_on_new_inputs),
  };
  if (tchc_cuda_open() != OK) print_message("skipped: %s\n", err_text());
  else if (tchc_cuda_count() == 0) print_message("skipped: no GPU\n");
  else return cmocka_run_group_tests(tests, NULL, NULL);
  return 77;
}
