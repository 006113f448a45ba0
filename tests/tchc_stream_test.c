/* Streams, events, page-locked memory and captured steps on the CPU, where they have their plain meaning. */
#include "tchc/stream.h"
#include "tests/support/tchc_check.h"

static const tchc_device NO_SUCH_GPU = {TCHC_CUDA, 63};

static void pinned_memory_is_ordinary_memory(void **state) {
  (void)state;
  tchc_tensor *t = NULL, *src = from_floats((const float[]){1, 2, 3}, DIMS(3));
  float data[4] = {0};
  check_ok(tchc_empty_pinned(DIMS(3), TCHC_BF16, &t));
  assert_string_equal(tchc_text(t), "[3] bf16");
  assert_false(tchc_is_pinned(t));
  assert_false(tchc_is_pinned(NULL));
  check_ok(tchc_copy(t, src, true));
  assert_floats(t, (const float[]){1, 2, 3}, 3, 0);
  check_fails(E_NOMEM, "empty_pinned", tchc_empty_pinned(DIMS(1LL << 46), TCHC_F32, &src));
  check_fails(E_FAIL, "NULL", tchc_empty_pinned(DIMS(3), TCHC_F32, NULL));
  check_ok(tchc_host_lock(data, sizeof data));
  check_ok(tchc_host_unlock(data));
  check_fails(E_FAIL, "NULL", tchc_host_lock(NULL, 4));
  check_fails(E_FAIL, "empty", tchc_host_lock(data, 0));
  check_fails(E_FAIL, "NULL", tchc_host_unlock(NULL));
  tchc_free(&t);
  tchc_free(&src);
}

static void streams_nest(void **state) {
  (void)state;
  tchc_stream *a = NULL, *b = NULL;
  tchc_tensor *t = NULL;
  void *native = &native;
  check_ok(tchc_stream_open(TCHC_CPU_DEVICE, false, &a));
  check_ok(tchc_stream_open(TCHC_CPU_DEVICE, true, &b));
  check_ok(tchc_stream_enter(a));
  check_ok(tchc_stream_enter(b));
  check_fails(E_FAIL, "entered already", tchc_stream_enter(b));
  check_ok(tchc_full(DIMS(2), 1, TCHC_F32, TCHC_CPU_DEVICE, &t));
  check_ok(tchc_stream_uses(a, t));
  check_ok(tchc_stream_leave(b));
  check_fails(E_FAIL, "not entered", tchc_stream_leave(b));
  check_ok(tchc_stream_native(a, &native));
  assert_null(native);
  check_ok(tchc_stream_synchronize(a));
  tchc_stream_close(&a); /* still entered */
  assert_null(a);
  tchc_stream_close(&a);
  tchc_stream_close(NULL);
  tchc_stream_close(&b);
  tchc_free(&t);
}

static void events_take_the_clock(void **state) {
  (void)state;
  tchc_event *a = NULL, *b = NULL, *plain = NULL;
  double ms = -1;
  bool done = false;
  check_ok(tchc_event_open(TCHC_CPU_DEVICE, true, &a));
  check_ok(tchc_event_open(TCHC_CPU_DEVICE, true, &b));
  check_ok(tchc_event_open(TCHC_CPU_DEVICE, false, &plain));
  check_fails(E_FAIL, "not recorded", tchc_event_elapsed(a, b, &ms));
  check_ok(tchc_event_done(a, &done));
  assert_true(done);
  check_ok(tchc_event_record(a));
  check_ok(tchc_event_wait(a));
  check_ok(tchc_event_record(b));
  check_ok(tchc_event_synchronize(b));
  check_ok(tchc_event_elapsed(a, b, &ms));
  assert_true(ms >= 0 && ms < 1e4);
  check_ok(tchc_event_record(plain));
  check_fails(E_FAIL, "without timing", tchc_event_elapsed(a, plain, &ms));
  tchc_event_close(&a);
  assert_null(a);
  tchc_event_close(&a);
  tchc_event_close(NULL);
  tchc_event_close(&b);
  tchc_event_close(&plain);
}

static void missing_arguments_and_devices(void **state) {
  (void)state;
  tchc_stream *s = NULL;
  tchc_event *e = NULL;
  double ms;
  bool done;
  check_fails(E_DEVICE, "no such CUDA device", tchc_stream_open(NO_SUCH_GPU, false, &s));
  check_fails(E_DEVICE, "no such CUDA device", tchc_event_open(NO_SUCH_GPU, false, &e));
  check_fails(E_FAIL, "NULL", tchc_stream_open(TCHC_CPU_DEVICE, false, NULL));
  check_fails(E_FAIL, "NULL", tchc_stream_enter(NULL));
  check_fails(E_FAIL, "NULL", tchc_stream_leave(NULL));
  check_fails(E_FAIL, "NULL", tchc_stream_native(NULL, NULL));
  check_fails(E_FAIL, "NULL", tchc_stream_synchronize(NULL));
  check_fails(E_FAIL, "NULL", tchc_stream_uses(NULL, NULL));
  check_fails(E_FAIL, "NULL", tchc_event_open(TCHC_CPU_DEVICE, false, NULL));
  check_fails(E_FAIL, "NULL", tchc_event_record(NULL));
  check_fails(E_FAIL, "NULL", tchc_event_wait(NULL));
  check_fails(E_FAIL, "NULL", tchc_event_done(NULL, &done));
  check_fails(E_FAIL, "NULL", tchc_event_synchronize(NULL));
  check_fails(E_FAIL, "NULL", tchc_event_elapsed(NULL, NULL, &ms));
  assert_true(!s && !e);
}

/* y = x^2 into memory that is there before. */
typedef struct square {
  tchc_tensor *x, *y;
  int runs, status;
} square;

static int square_step(void *ctx) {
  int st = OK;
  square *q = ctx;
  tchc_tensor *t = NULL;
  q->runs++;
  NEED(q->status == OK, q->status, "the step went wrong");
  TRY(tchc_mul(q->x, q->x, &t));
  TRY(tchc_copy(q->y, t, false));
out:
  return st;
}

static void a_captured_step_runs_at_each_replay(void **state) {
  (void)state;
  square q = {.x = from_floats((const float[]){1, 2}, DIMS(2)), .y = from_floats((const float[]){0, 0}, DIMS(2))};
  tchc_graph *g = NULL;
  check_ok(tchc_graph_capture(TCHC_CPU_DEVICE, square_step, &q, &g));
  assert_int_equal(q.runs, 0);
  check_ok(tchc_graph_replay(g));
  assert_floats(q.y, (const float[]){1, 4}, 2, 0);
  check_ok(tchc_add_(q.x, q.x, 1));
  check_ok(tchc_graph_replay(g));
  assert_floats(q.y, (const float[]){4, 16}, 2, 0);
  assert_int_equal(q.runs, 2);
  q.status = E_NUMERIC;
  check_fails(E_NUMERIC, "graph_replay: captured step: the step went wrong", tchc_graph_replay(g));
  tchc_graph_close(&g);
  assert_null(g);
  tchc_graph_close(&g);
  tchc_graph_close(NULL);
  check_fails(E_DEVICE, "no such CUDA device", tchc_graph_capture(NO_SUCH_GPU, square_step, &q, &g));
  check_fails(E_FAIL, "NULL", tchc_graph_capture(TCHC_CPU_DEVICE, NULL, &q, &g));
  check_fails(E_FAIL, "NULL", tchc_graph_capture(TCHC_CPU_DEVICE, square_step, &q, NULL));
  check_fails(E_FAIL, "NULL", tchc_graph_replay(NULL));
  tchc_free(&q.x);
  tchc_free(&q.y);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(pinned_memory_is_ordinary_memory),
      LIVE_TEST(streams_nest),
      LIVE_TEST(events_take_the_clock),
      LIVE_TEST(missing_arguments_and_devices),
      LIVE_TEST(a_captured_step_runs_at_each_replay),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
