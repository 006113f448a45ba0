/* checkpoints/background: what the thread writes is what was there at the start; errors reach the thread that trains. */
#include "checkpoints/background.h"

#include <time.h>

#include "base/log.h"
#include "tests/support/faults.h"
#include "tests/support/tiny_state.h"
#include "tests/support/tmpdir.h"

/* Holds the thread until the file at ctx is gone. */
static int wait_for_go(void *ctx) {
  while (io_exists(ctx)) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  return OK;
}

static int refuse(void *ctx) { return err_set(E_DISK, __FILE__, __LINE__, "%s: no", (const char *)ctx); }

static void check_step(void **state, int64_t step) {
  char path[IO_PATH_MAX];
  bool found = false;
  tiny_state want, got;

  check_ok(ck_latest(*state, path, &found));
  assert_true(found);
  tiny_init(&want, step, 1);
  tiny_blank(&got, 1);
  check_ok(ck_load(path, &got.s, NULL));
  tiny_check_equal(&want, &got);
}

static void saves_beside(void **state) {
  const char *gate = tmpdir_at(state, "gate");
  ck_background *b = NULL;
  tiny_state t;

  tmpdir_put(gate, "", 0);
  check_ok(ck_background_open(*state, 2, wait_for_go, (void *)(uintptr_t)gate, &b));
  check_ok(ck_background_claim(b)); /* nothing yet */
  tiny_init(&t, 1, 1);
  check_ok(ck_background_start(b, &t.s));
  check_ok(ck_background_check(b)); /* on its way: no word of it */
  assert_false(io_exists(tmpdir_at(state, "checkpoints")));
  check_ok(io_remove_tree(gate));
  check_ok(ck_background_claim(b));
  check_step(state, 1);
  for (int step = 2; step <= 5; step++) {
    check_ok(ck_background_claim(b));
    tiny_init(&t, step, 1);
    check_ok(ck_background_start(b, &t.s));
  }
  ck_background_close(&b); /* waits */
  ck_background_close(&b);
  check_step(state, 5);
  assert_false(io_exists(tmpdir_at(state, "checkpoints/step-000003")));
}

/* Told once, with its own message and status, by whichever call comes first. */
static void errors_reach_the_trainer(void **state) {
  ck_background *b = NULL;
  tiny_state t;

  check_ok(ck_background_open(*state, 2, NULL, NULL, &b));
  tiny_init(&t, 1, 1);
  check_ok(ck_background_start(b, &t.s));
  check_ok(ck_background_claim(b));
  faults_begin(6, ENOSPC, FAULTS_ONCE);
  tiny_init(&t, 2, 1);
  check_ok(ck_background_start(b, &t.s));
  check_fails(E_DISK, "No space left on device", ck_background_claim(b));
  assert_non_null(strstr(err_text(), "step-000002.tmp"));
  faults_end();
  check_ok(ck_background_claim(b));
  check_ok(ck_background_check(b));
  check_step(state, 1);
  t.buffers[1][3] = (float)(0.0 / 0.0);
  check_ok(ck_background_start(b, &t.s));
  int st = OK;
  for (int i = 0; i < 10000 && st == OK; i++) { /* each step of a trainer */
    st = ck_background_check(b);
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  check_fails(E_NUMERIC, "adam_m.safetensors is not finite", st);
  check_ok(ck_background_check(b));
  check_step(state, 1);
  ck_background_close(&b);
}

/* What must be on the disk first is not: no checkpoint says that it is. */
static void nothing_without_what_comes_before(void **state) {
  ck_background *b = NULL;
  tiny_state t;

  tiny_init(&t, 1, 1);
  check_ok(ck_background_open(*state, 2, refuse, "metrics.jsonl", &b));
  check_ok(ck_background_start(b, &t.s));
  check_fails(E_DISK, "metrics.jsonl: no", ck_background_claim(b));
  assert_false(io_exists(tmpdir_at(state, "checkpoints")));
  ck_background_close(&b);
}

static int quiet(void **state) {
  log_set_level(LOG_WARN);
  return faults_no_sync(state);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(saves_beside), TEST(errors_reach_the_trainer),
                                     TEST(nothing_without_what_comes_before)};
  return cmocka_run_group_tests(tests, quiet, NULL);
}
