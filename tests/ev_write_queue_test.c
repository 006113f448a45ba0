/* Results written by threads: all of them, said in order; the first error comes back, and nothing hangs. */
#include "eval/write_queue.h"

#include <stdio.h>

#include "base/npy.h"
#include "tests/support/tmpdir.h"

enum { H = 5, W = 7, N = 60 };

typedef struct said { int n; bool ordered; } said;

static void note(void *ctx, const char *name) {
  said *s = ctx;
  s->ordered &= atoi(name + 1) == s->n++;
}

static void put_one(ev_write_queue *q, int i, int *st) {
  float v[H * W];
  char name[32];
  uint8_t rgb[3 * H * W] = {0};
  const ev_image image = {.rgb = {rgb, sizeof rgb}, .H = H, .W = W};
  const ev_prediction p = {.C = 1, .H = H, .W = W, .values = v};

  for (int k = 0; k < H * W; k++) v[k] = (float)(i + k) / 1000;
  snprintf(name, sizeof name, "r%d", i);
  *st = ev_write_queue_put(q, name, &image, &p);
}

static void all_are_written_in_order(void **state) {
  const ev_write_opts o = {.out = *state, .sheet = true};
  said s = {0, true};
  ev_write_queue *q = NULL;
  int64_t shape[8];
  int ndim, st;
  float *v = NULL;

  check_ok(ev_write_queue_open(&o, 4, note, &s, &q));
  for (int i = 0; i < N; i++) {
    put_one(q, i, &st);
    assert_int_equal(st, OK);
  }
  check_ok(ev_write_queue_finish(q));
  assert_true(s.ordered && s.n == N);
  ev_write_queue_close(&q);
  for (int i = 0; i < N; i++) {
    check_ok(npy_load_f32(tmpdir_at(state, "r%d.npy", i), &ndim, shape, &v));
    assert_true(ndim == 2 && v[3] == (float)(i + 3) / 1000);
    free(v);
    assert_true(io_exists(tmpdir_at(state, "r%d_sheet.png", i)));
  }
}

static void an_error_ends_it(void **state) {
  const ev_write_opts o = {.out = tmpdir_at(state, "missing")};
  ev_write_queue *q = NULL;
  int st = OK;

  check_ok(ev_write_queue_open(&o, 3, NULL, NULL, &q));
  for (int i = 0; i < N && st == OK; i++) put_one(q, i, &st);
  if (st == OK) st = ev_write_queue_finish(q);
  assert_int_not_equal(st, OK);
  assert_non_null(strstr(err_text(), "missing/r"));
  assert_int_equal(ev_write_queue_finish(q), st);
  ev_write_queue_close(&q);
  assert_null(q);
  ev_write_queue_close(&q);
}

static void closing_drops_what_waits(void **state) {
  const ev_write_opts o = {.out = *state};
  ev_write_queue *q = NULL;
  int st;

  check_ok(ev_write_queue_open(&o, 1, NULL, NULL, &q));
  for (int i = 0; i < 2; i++) put_one(q, i, &st);
  ev_write_queue_close(&q);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {IN_FOLDER(all_are_written_in_order), IN_FOLDER(an_error_ends_it),
                                     IN_FOLDER(closing_drops_what_waits)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
