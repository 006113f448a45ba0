/* Start-up, settings and memory where no GPU is used: each call answers or gives a status. */
#include "tests/support/tchc_check.h"

static const tchc_device NO_SUCH_GPU = {TCHC_CUDA, 63};

static void version_and_threads(void **state) {
  (void)state;
  const int was = tchc_threads();
  assert_true(was >= 1);
  assert_memory_equal(tchc_torch_version(), "2.", 2);
  tchc_set_threads(2);
  assert_int_equal(tchc_threads(), 2);
  tchc_set_threads(0); /* at least one */
  assert_int_equal(tchc_threads(), 1);
  tchc_set_threads(was);
}

static void an_open_after_another_torch_call_says_so(void **state) {
  (void)state;
  tchc_cuda_count();                            /* from here on torch believes that there is no CUDA */
  assert_int_equal(tchc_cuda_open(), E_DEVICE); /* "another torch call came first", or no libtorch_cuda here */
  assert_true(*err_text() != 0);
  assert_int_equal(tchc_cuda_count(), 0);
}

static void no_such_device(void **state) {
  (void)state;
  char name[16] = "";
  void *stream = NULL;
  tchc_memory m = {0};
  int64_t available = -1, total = -1;
  tchc_tensor *t = NULL, *u = NULL;
  check_fails(E_DEVICE, "no such CUDA device", tchc_cuda_name(63, name, sizeof name));
  check_fails(E_DEVICE, "no such CUDA device", tchc_cuda_name(-1, name, sizeof name));
  check_fails(E_FAIL, "NULL", tchc_cuda_name(0, NULL, 0));
  check_fails(E_DEVICE, "no such CUDA device", tchc_cuda_stream(63, &stream));
  check_fails(E_DEVICE, "no such CUDA device", tchc_synchronize(NO_SUCH_GPU));
  check_fails(E_DEVICE, "no such CUDA device", tchc_memory_stats(NO_SUCH_GPU, &m));
  check_fails(E_DEVICE, "no such CUDA device", tchc_memory_reset_peak(NO_SUCH_GPU));
  check_fails(E_DEVICE, "no such CUDA device", tchc_memory_info(NO_SUCH_GPU, &available, &total));
  check_fails(E_DEVICE, "no such CUDA device", tchc_memory_empty_cache(NO_SUCH_GPU));
  check_fails(E_DEVICE, "no such CUDA device", tchc_memory_cap(NO_SUCH_GPU, 1 << 30));
  check_fails(E_DEVICE, "no such CUDA device", tchc_empty(DIMS(1), TCHC_F32, NO_SUCH_GPU, TCHC_CONTIGUOUS, &t));
  check_fails(E_DEVICE, "device type",
              tchc_empty(DIMS(1), TCHC_F32, (tchc_device){TCHC_NO_DEVICE, 0}, TCHC_CONTIGUOUS, &t));
  check_ok(tchc_full(DIMS(1), 1, TCHC_F32, TCHC_CPU_DEVICE, &t));
  check_fails(E_DEVICE, "to [1] f32: no such CUDA device", tchc_to(t, TCHC_F32, NO_SUCH_GPU, TCHC_PRESERVE, &u));
  assert_true(available == -1 && !stream && !u);
  tchc_free(&t);
}

/* Tensors made before do not count; those that autograd makes do. */
static void host_memory_is_counted(void **state) {
  (void)state;
  enum { N = 1 << 16 };
  tchc_memory m;
  tchc_tensor *before = NULL, *x = NULL, *y = NULL, *sum = NULL;
  check_ok(tchc_full(DIMS(N), 1, TCHC_F32, TCHC_CPU_DEVICE, &before));
  check_ok(tchc_memory_count(true));
  check_fails(E_FAIL, "counting already", tchc_memory_count(true));
  tchc_free(&before);
  check_ok(tchc_full(DIMS(N), 1, TCHC_F32, TCHC_CPU_DEVICE, &x));
  check_ok(tchc_memory_stats(TCHC_CPU_DEVICE, &m));
  assert_int_equal(m.allocated, 4 * N);
  check_ok(tchc_requires_grad_(x, true));
  check_ok(tchc_mul(x, x, &y));
  check_ok(tchc_sum(y, &sum));
  tchc_free(&y);
  check_ok(tchc_backward(sum, NULL));
  tchc_free(&sum);
  check_ok(tchc_memory_stats(TCHC_CPU_DEVICE, &m));
  assert_true(m.allocated == 8 * N && m.allocated_peak >= 12 * N); /* x and its gradient; y besides */
  check_ok(tchc_memory_reset_peak(TCHC_CPU_DEVICE));
  tchc_free(&x);
  check_ok(tchc_memory_stats(TCHC_CPU_DEVICE, &m));
  assert_true(m.allocated == 0 && m.allocated_peak == 8 * N);
  check_ok(tchc_memory_count(false));
  check_fails(E_FAIL, "not counting", tchc_memory_count(false));
  check_ok(tchc_memory_stats(TCHC_CPU_DEVICE, &m));
  assert_int_equal(m.allocated_peak, 0);
}

static void cpu_answers(void **state) {
  (void)state;
  tchc_memory m = {1, 1, 1, 1, 1, 1};
  int64_t a = 0, b = 0;
  check_ok(tchc_synchronize(TCHC_CPU_DEVICE));
  check_ok(tchc_memory_stats(TCHC_CPU_DEVICE, &m));
  assert_true(m.allocated == 0 && m.reserved_peak == 0 && m.ooms == 0);
  check_ok(tchc_memory_reset_peak(TCHC_CPU_DEVICE));
  check_ok(tchc_memory_empty_cache(TCHC_CPU_DEVICE));
  check_fails(E_DEVICE, "not a CUDA device", tchc_memory_info(TCHC_CPU_DEVICE, &a, &b));
  check_fails(E_DEVICE, "not a CUDA device", tchc_memory_cap(TCHC_CPU_DEVICE, 1));
  check_fails(E_FAIL, "NULL", tchc_memory_stats(TCHC_CPU_DEVICE, NULL));
}

static void settings(void **state) {
  (void)state;
  tchc_backend_opts o = {.deterministic = true, .cudnn_benchmark = true};
  tchc_tensor *x = NULL, *y = NULL;
  check_ok(tchc_set_backend(&o));
  assert_non_null(getenv("CUBLAS_WORKSPACE_CONFIG"));
  check_ok(tchc_full(DIMS(1, 2, 4, 4), 1, TCHC_F32, TCHC_CPU_DEVICE, &x));
  check_ok(tchc_upsample_nearest(x, 8, 8, &y));
  tchc_free(&x);
  tchc_free(&y);
  o = (tchc_backend_opts){.tf32 = true};
  check_ok(tchc_set_backend(&o));
  for (int i = TCHC_ATTENTION_MATH; i <= TCHC_ATTENTION_CUDNN; i++) {
    o = (tchc_backend_opts){.attention = (tchc_attention_kernel)i};
    check_ok(tchc_set_backend(&o));
    check_ok(tchc_full(DIMS(1, 2, 3, 4), 1, TCHC_F32, TCHC_CPU_DEVICE, &x));
    check_ok(tchc_attention(x, x, x, true, &y));
    assert_floats(y, (const float[]){1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 24, 1e-6);
    tchc_free(&x);
    tchc_free(&y);
  }
  o.attention = (tchc_attention_kernel)5;
  check_fails(E_DEVICE, "attention", tchc_set_backend(&o));
  o = (tchc_backend_opts){0};
  check_ok(tchc_set_backend(&o));
  check_fails(E_FAIL, "NULL", tchc_set_backend(NULL));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(version_and_threads),
      LIVE_TEST(an_open_after_another_torch_call_says_so),
      LIVE_TEST(no_such_device),
      LIVE_TEST(host_memory_is_counted), LIVE_TEST(cpu_answers),
      LIVE_TEST(settings),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
