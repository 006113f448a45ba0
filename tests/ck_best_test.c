/* checkpoints/best: the mark, what retention makes of it, and a disk that does not keep what it is given. */
#include "checkpoints/best.h"

#include "base/log.h"
#include "tests/support/faults.h"
#include "tests/support/tiny_state.h"
#include "tests/support/tmpdir.h"

static void save(void **state, int64_t step, int keep) {
  tiny_state t;
  tiny_init(&t, step, 0);
  check_ok(ck_save(*state, &t.s, keep));
}

static bool has(void **state, int64_t step) {
  return io_exists(tmpdir_at(state, "checkpoints/step-%06lld/manifest.json", (long long)step));
}

static void mark(void **state, int64_t step, double value) {
  check_ok(ck_best_mark(*state, &(ck_best){.step = step, .metric = "depth.abs_rel", .value = value}));
}

static void the_best_outlives_the_newest(void **state) {
  ck_best best = {0};
  bool found = true;

  check_ok(ck_best_read(*state, &best, &found));
  assert_false(found);
  save(state, 1, 2);
  mark(state, 1, 0.25);
  for (int step = 2; step <= 6; step++) save(state, step, 2);
  assert_true(has(state, 1) && !has(state, 2) && !has(state, 4) && has(state, 5) && has(state, 6));
  mark(state, 6, 0.125);
  assert_true(has(state, 1)); /* until the next save */
  save(state, 7, 2);
  assert_true(!has(state, 1) && !has(state, 5) && has(state, 6) && has(state, 7));
  check_ok(ck_best_read(*state, &best, &found));
  assert_true(found && best.step == 6 && best.value == 0.125);
  assert_string_equal(best.metric, "depth.abs_rel");
}

static void a_mark_without_its_checkpoint_is_none(void **state) {
  ck_best best = {0};
  bool found = true;

  save(state, 1, 0);
  check_fails(E_CKPT, "there is no checkpoint of step 2", ck_best_mark(*state, &(ck_best){.step = 2, .metric = "m"}));
  save(state, 2, 0);
  mark(state, 2, 1);
  check_ok(ck_drop_after(*state, 1)); /* the run goes on from step 1 */
  check_ok(ck_best_read(*state, &best, &found));
  assert_false(found);
}

static void damaged_marks(void **state) {
  static const char *const texts[] = {"", "{", "[]", "{\"step\": 1}", "{\"step\": \"1\", \"metric\": \"m\", \"value\": 1}",
                                      "{\"step\": 1, \"metric\": \"m\", \"value\": null}"};
  ck_best best = {0};

  save(state, 1, 1);
  log_set_level(LOG_ERROR);
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    bool found = true;
    tmpdir_put(tmpdir_at(state, "checkpoints/best.json"), texts[i], strlen(texts[i]));
    check_ok(ck_best_read(*state, &best, &found));
    assert_false(found);
    save(state, 2 + (int64_t)i, 1); /* and saving goes on */
  }
  log_set_level(LOG_WARN);
}

/* Whichever call fails, the mark is the old one or the new one. */
static void failing_calls(void **state) {
  save(state, 1, 0);
  save(state, 2, 0);
  for (int i = 1, failed = 1; failed; i++) {
    ck_best best = {0};
    bool found = false;
    mark(state, 1, 1);
    faults_begin(i, i % 2 ? ENOSPC : EACCES, FAULTS_ONCE);
    const int st = ck_best_mark(*state, &(ck_best){.step = 2, .metric = "m", .value = 2});
    failed = faults_end();
    if (st != OK) check_fails(i % 2 ? E_DISK : E_CKPT, "/checkpoints", st);
    check_ok(ck_best_read(*state, &best, &found));
    assert_true(found && (best.step == 2 || (best.step == 1 && st != OK)));
  }
}

/* ---- a disk that lies ---- */

static int lie_at, writes;

static ssize_t lying_write(int fd, const void *buf, size_t n) {
  char copy[1 << 12];

  if (++writes != lie_at || n == 0 || n > sizeof copy) return write(fd, buf, n);
  memcpy(copy, buf, n);
  copy[n / 2] ^= 4;
  return write(fd, copy, n);
}

/* One write lands with a bit changed: the save fails by name, what was there stays, and it is the newest. */
static void what_reads_back_wrong_is_no_checkpoint(void **state) {
  static const io_calls lying = {.open = faults_open, .write = lying_write, .fsync = faults_fsync, .close = close,
                          .rename = rename, .mkdir = mkdir, .unlink = unlink, .rmdir = rmdir, .read = read};
  tiny_state t;

  save(state, 1, 1);
  tiny_init(&t, 2, 0);
  io_set_calls(&lying);
  for (lie_at = 1;; lie_at++) {
    char path[IO_PATH_MAX];
    bool found = false;
    writes = 0;
    const int st = ck_save(*state, &t.s, 1);
    if (writes < lie_at) break;
    check_fails(E_DISK, "reads back otherwise than it was written", st);
    assert_non_null(strstr(err_text(), "step-000002/"));
    check_ok(ck_latest(*state, path, &found));
    assert_true(found && has(state, 1) && !has(state, 2));
    assert_false(io_exists(tmpdir_at(state, "checkpoints/step-000002")));
  }
  assert_true(lie_at > 15 && has(state, 2) && !has(state, 1));
}

static int quiet(void **state) {
  log_set_level(LOG_WARN);
  return faults_no_sync(state);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(the_best_outlives_the_newest), TEST(a_mark_without_its_checkpoint_is_none),
                                     TEST(damaged_marks), TEST(failing_calls), TEST(what_reads_back_wrong_is_no_checkpoint)};
  return cmocka_run_group_tests(tests, quiet, NULL);
}
