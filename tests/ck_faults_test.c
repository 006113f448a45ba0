/* Every call that the checkpoint and run folder code makes of the system fails once, in every way that a disk has: what was
 * there is intact, the status is the documented one, a path is named, a failed fsync is not tried again, and the next try
 * succeeds. */
#include "base/log.h"
#include "checkpoints/best.h"
#include "checkpoints/rundir.h"
#include "tests/support/faults.h"
#include "tests/support/tiny_state.h"
#include "tests/support/tmpdir.h"

static const int errors[] = {ENOSPC, EDQUOT, EROFS, EIO, EACCES, EINTR};
enum { ERRORS = sizeof errors / sizeof *errors };

/* ---- what is done ---- */

static int save_next(const char *dir) {
  tiny_state t;
  tiny_init(&t, 3, 1);
  return ck_save(dir, &t.s, 2);
}

static int save_again(const char *dir) {
  tiny_state t;
  tiny_init(&t, 2, 1);
  return ck_save(dir, &t.s, 2);
}

static int mark_best(const char *dir) {
  return ck_best_mark(dir, &(ck_best){.step = 2, .metric = "depth.abs_rel", .value = 0.5});
}

static int go_back(const char *dir) { return ck_drop_after(dir, 1); }

static int open_run(const char *dir) {
  ck_rundir *r = NULL;
  const int st = ck_rundir_open(dir, &r);
  ck_rundir_close(&r);
  return st;
}

static int cut_metrics(const char *dir) {
  ck_rundir *r = NULL;
  io_file f = {.fd = -1};
  int st = ck_rundir_open(dir, &r);

  if (st == OK) st = ck_metrics_open(r, 1, &f);
  (void)io_close(&f);
  ck_rundir_close(&r);
  return st;
}

static int load_newest(const char *dir) {
  char path[IO_PATH_MAX];
  bool found = false;
  tiny_state t;
  int st = OK;

  tiny_blank(&t, 1);
  TRY(ck_latest(dir, path, &found));
  NEED(found, E_CKPT, "%s/checkpoints: none is good", dir);
  TRY(ck_load(path, &t.s, NULL));
out:
  return st;
}

static const struct { const char *what; int (*call)(const char *dir); int64_t oldest; int sites; } acts[] = {
    {"the next save", save_next, 2, 70},   {"a save of the same step", save_again, 2, 70},
    {"the mark of the best", mark_best, 2, 8}, {"going back", go_back, 1, 8},
    {"opening the run folder", open_run, 2, 1}, {"cutting metrics", cut_metrics, 2, 8},
    {"loading", load_newest, 2, 8}};

/* ---- before and after ---- */

static void prepare(const char *dir) {
  char path[IO_PATH_MAX];

  check_ok(io_remove_tree(dir));
  for (int step = 1; step <= 2; step++) {
    tiny_state t;
    tiny_init(&t, step, 1);
    check_ok(ck_save(dir, &t.s, 0));
  }
  check_ok(io_path(path, "%s/metrics.jsonl", dir));
  tmpdir_put(path, "{\"step\": 1}\n{\"step\": 2}\n", 24);
  check_ok(io_path(path, "%s/checkpoints/step-000009.tmp", dir)); /* of a run that was killed */
  check_ok(io_make_dirs(path));
}

static void check_newest(const char *dir, int64_t oldest) {
  char path[IO_PATH_MAX];
  bool found = false;
  tiny_state want, got;

  check_ok(ck_latest(dir, path, &found));
  assert_true(found);
  tiny_blank(&got, 1);
  check_ok(ck_load(path, &got.s, NULL));
  if (got.s.step < oldest) fail_msg("%s is the newest", path);
  tiny_init(&want, got.s.step, 1);
  tiny_check_equal(&want, &got);
}

static void check_status(int st, int error, const char *what, bool reading) {
  const int exit_status = err_exit_status(st);
  const bool disk = error != EACCES && error != EINTR;

  if (!strstr(err_text(), "/run")) fail_msg("%s, %s: names no file: %s", what, faults.what, err_text());
  if (exit_status != (disk ? 5 : 4) && !(strstr(err_text(), "reads back") && exit_status == 5) &&
      !(reading && exit_status == 4)) /* it is the checkpoint that cannot be read */
    fail_msg("%s, %s, %s: exit status %d: %s", what, faults.what, strerror(error), exit_status, err_text());
}

static int fail_each_call(const char *dir, size_t act, int error) {
  int sites = 0;

  for (int i = 1;; i++) {
    prepare(dir);
    faults_begin(i, error, FAULTS_ONCE);
    const int st = acts[act].call(dir);
    if (!faults_end()) {
      check_ok(st);
      return sites;
    }
    sites++;
    if (faults.synced_again) fail_msg("%s: fsync of %s was tried again after it failed", acts[act].what, faults.what);
    if (st != OK) check_status(st, error, acts[act].what, acts[act].call == load_newest);
    check_newest(dir, acts[act].oldest);
    check_ok(acts[act].call(dir));
    check_newest(dir, acts[act].oldest);
  }
}

static void each_call_fails(void **state) {
  const char *dir = tmpdir_at(state, "run");

  for (size_t a = 0; a < sizeof acts / sizeof *acts; a++) {
    int all = 0;
    for (int e = 0; e < ERRORS; e++) {
      const int sites = fail_each_call(dir, a, errors[e]);
      if (sites < acts[a].sites) fail_msg("%s: %d calls, %d expected at least", acts[a].what, sites, acts[a].sites);
      all += sites;
    }
    print_message("%s: %d failures\n", acts[a].what, all);
  }
}

/* No write takes all it is given, and every other call is interrupted. */
static void short_writes(void **state) {
  const char *dir = tmpdir_at(state, "run");

  for (size_t a = 0; a < sizeof acts / sizeof *acts; a++) {
    prepare(dir);
    faults_begin(0, 0, FAULTS_SLOW);
    const int st = acts[a].call(dir);
    faults_end();
    check_ok(st);
    check_newest(dir, acts[a].oldest);
  }
}

static int quiet(void **state) {
  log_set_level(LOG_ERROR + 1);
  return faults_no_sync(state);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(each_call_fails), TEST(short_writes)};
  return cmocka_run_group_tests(tests, quiet, NULL);
}
