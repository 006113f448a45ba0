/* checkpoints/rundir: lock, what a folder says about its run, metrics cut back. */
#include "checkpoints/rundir.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/support/faults.h"
#include "tests/support/tmpdir.h"

static void put(void **state, const char *name, const char *text) {
  tmpdir_put(tmpdir_at(state, "run/%s", name), text, strlen(text));
}

static ck_rundir *opened(void **state) {
  ck_rundir *r = NULL;
  check_ok(ck_rundir_open(tmpdir_at(state, "run"), &r));
  return r;
}

/* Opens the folder in a child; its status and message. */
static int open_in_child(const char *path, char *text, size_t size) {
  int ends[2], status = 0;

  assert_int_equal(pipe(ends), 0);
  const pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    ck_rundir *r = NULL;
    const int st = ck_rundir_open(path, &r);
    const ssize_t n = write(ends[1], err_text(), strlen(err_text()));
    _exit(n < 0 ? 99 : -st);
  }
  close(ends[1]);
  const ssize_t n = read(ends[0], text, size - 1);
  text[n > 0 ? n : 0] = 0;
  close(ends[0]);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  return -WEXITSTATUS(status);
}

static void second_trainer_is_refused(void **state) {
  char text[1024], want[64], *pid = NULL;
  size_t n = 0;
  ck_rundir *r = opened(state);
  const char *path = tmpdir_at(state, "run");

  assert_string_equal(ck_rundir_path(r), path);
  snprintf(want, sizeof want, "is used by another trainer (pid %ld)", (long)getpid());
  assert_int_equal(open_in_child(path, text, sizeof text), E_CKPT);
  assert_non_null(strstr(text, want));
  assert_non_null(strstr(text, path));
  check_ok(io_read_file(tmpdir_at(state, "run/lock"), 100, &pid, &n));
  assert_int_equal(atol(pid), getpid());
  free(pid);
  ck_rundir_close(&r);
  ck_rundir_close(&r);
  assert_int_equal(open_in_child(path, text, sizeof text), OK); /* a lock that nobody holds any more is no lock */
  r = opened(state);
  ck_rundir_close(&r);
}

/* A child that outlives the trainer does not hold its lock. */
static void children_do_not_inherit_the_lock(void **state) {
  int ends[2];
  char text[1024], byte;
  ck_rundir *r = opened(state);

  assert_int_equal(pipe(ends), 0);
  const pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    close(ends[1]);
    _exit(read(ends[0], &byte, 1) < 0); /* until the parent is done */
  }
  close(ends[0]);
  ck_rundir_close(&r);
  assert_int_equal(open_in_child(tmpdir_at(state, "run"), text, sizeof text), OK);
  close(ends[1]);
  waitpid(pid, NULL, 0);
}

static void no_folder_to_be_had(void **state) {
  ck_rundir *r = NULL;

  tmpdir_put(tmpdir_at(state, "file"), "", 0);
  check_fails(E_CKPT, "file: cannot make the folder: a file of that name is there",
              ck_rundir_open(tmpdir_at(state, "file"), &r));
  check_fails(E_CKPT, "file: cannot make the folder", ck_rundir_open(tmpdir_at(state, "file/run"), &r));
  check_ok(io_make_dirs(tmpdir_at(state, "a/lock")));
  check_fails(E_CKPT, "a/lock: cannot open: Is a directory", ck_rundir_open(tmpdir_at(state, "a"), &r));
  faults_begin(1, EACCES, FAULTS_ONCE);
  check_fails(E_CKPT, "new: cannot make the folder: Permission denied", ck_rundir_open(tmpdir_at(state, "new"), &r));
  faults_begin(1, EROFS, FAULTS_ONCE);
  check_fails(E_DISK, "new: cannot make the folder: Read-only file system", ck_rundir_open(tmpdir_at(state, "new"), &r));
  faults_end();
  assert_null(r);
}

static void opening_cleans_up(void **state) {
  check_ok(io_make_dirs(tmpdir_at(state, "run/checkpoints/step-000005.tmp")));
  check_ok(io_make_dirs(tmpdir_at(state, "run/checkpoints/step-000001.del/x")));
  check_ok(io_make_dirs(tmpdir_at(state, "run/checkpoints/step-000003.old/kept")));
  check_ok(io_make_dirs(tmpdir_at(state, "run/checkpoints/step-000004.old")));
  check_ok(io_make_dirs(tmpdir_at(state, "run/checkpoints/step-000004")));
  check_ok(io_make_dirs(tmpdir_at(state, "run/model.tmp")));
  ck_rundir *r = opened(state);
  assert_false(io_exists(tmpdir_at(state, "run/checkpoints/step-000005.tmp")));
  assert_false(io_exists(tmpdir_at(state, "run/checkpoints/step-000001.del")));
  assert_false(io_exists(tmpdir_at(state, "run/checkpoints/step-000004.old")));
  assert_true(io_exists(tmpdir_at(state, "run/checkpoints/step-000003/kept")));
  assert_true(io_exists(tmpdir_at(state, "run/model.tmp"))); /* says that the run is not finished */
  ck_rundir_close(&r);
}

static void used(void **state) {
  static const char *const signs[] = {"config.yaml", "run.json", "metrics.jsonl"};
  ck_rundir *r = opened(state);

  assert_false(ck_rundir_used(r));
  put(state, "log.txt", "x");
  put(state, "mine.txt", "x");
  assert_false(ck_rundir_used(r));
  for (int i = 0; i < 3; i++) {
    put(state, signs[i], "");
    assert_true(ck_rundir_used(r));
    check_ok(io_remove_tree(tmpdir_at(state, "run/%s", signs[i])));
  }
  check_ok(io_make_dirs(tmpdir_at(state, "run/checkpoints")));
  assert_false(ck_rundir_used(r));
  check_ok(io_make_dirs(tmpdir_at(state, "run/checkpoints/step-000001")));
  assert_true(ck_rundir_used(r));
  ck_rundir_close(&r);
}

static void finished(void **state) {
  ck_rundir *r = opened(state);

  assert_false(ck_rundir_finished(r));
  check_ok(io_make_dirs(tmpdir_at(state, "run/model/unet")));
  assert_false(ck_rundir_finished(r));
  put(state, "model/unet/config.json", "{}");
  assert_false(ck_rundir_finished(r));
  put(state, "model/unet/diffusion_pytorch_model.safetensors", "");
  assert_true(ck_rundir_finished(r));
  check_ok(io_make_dirs(tmpdir_at(state, "run/portable.tmp")));
  assert_false(ck_rundir_finished(r));
  check_ok(io_remove_tree(tmpdir_at(state, "run/portable.tmp")));
  check_ok(io_make_dirs(tmpdir_at(state, "run/model.tmp")));
  assert_false(ck_rundir_finished(r));
  ck_rundir_close(&r);
}

static void clear(void **state) {
  static const char *const files[] = {"config.yaml", "run.json", "run.json.tmp", "metrics.jsonl", "log.txt", "mine.txt"};
  static const char *const folders[] = {"model/unet", "model.tmp", "portable", "checkpoints/step-000001", "tensorboard",
                                        "validation", "nonfinite/step-000001"};
  char **names = NULL;
  size_t n = 0;
  ck_rundir *r = opened(state);

  check_ok(ck_rundir_clear(r)); /* nothing there */
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) put(state, files[i], "torn {");
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) check_ok(io_make_dirs(tmpdir_at(state, "run/%s", folders[i])));
  check_ok(ck_rundir_clear(r));
  check_ok(io_list_dir(tmpdir_at(state, "run"), &names, &n));
  assert_int_equal(n, 2);
  assert_string_equal(names[0], "lock");
  assert_string_equal(names[1], "mine.txt");
  io_free_names(&names, n);
  assert_false(ck_rundir_used(r));
  ck_rundir_close(&r);
}

/* ---- metrics ---- */

/* Opens with `step`, appends one line, and compares the file. */
static void check_metrics(void **state, const char *before, int64_t step, const char *after) {
  io_file f;
  char *text = NULL;
  size_t n = 0;
  ck_rundir *r = opened(state);

  if (before) put(state, "metrics.jsonl", before);
  check_ok(ck_metrics_open(r, step, &f));
  check_ok(io_write(&f, "+", 1));
  check_ok(io_close(&f));
  ck_rundir_close(&r);
  check_ok(io_read_file(tmpdir_at(state, "run/metrics.jsonl"), 1 << 20, &text, &n));
  assert_int_equal(text[n - 1], '+');
  text[n - 1] = 0;
  assert_string_equal(text, after);
  free(text);
  assert_false(io_exists(tmpdir_at(state, "run/metrics.jsonl.tmp")));
}

#define L1 "{\"step\": 1, \"loss\": 0.5}\n"
#define L2 "{\"step\": 2, \"loss\": \"nan\", \"skipped\": true}\n"
#define L3 "{\"step\": 3, \"loss\": 0.25, \"micro_losses\": [0.25, null]}\n"

static void metrics_are_cut_back(void **state) {
  log_set_level(LOG_ERROR);
  check_metrics(state, NULL, 0, "");
  check_metrics(state, "", 5, "");
  check_metrics(state, L1 L2 L3, 3, L1 L2 L3);
  check_metrics(state, L1 L2 L3, 9, L1 L2 L3);
  check_metrics(state, L1 L2 L3, 2, L1 L2);
  check_metrics(state, L1 L2 L3, 0, "");
  check_metrics(state, L1 L2 "{\"step\": 3, \"loss\": 0.2", 3, L1 L2); /* torn */
  check_metrics(state, L1 L2 "{\"step\": 3}", 3, L1 L2);               /* whole but for its end: its bytes may not be all */
  check_metrics(state, L1 L2 "{\"st", 3, L1 L2);
  check_metrics(state, "{", 3, "");
  check_metrics(state, L1 L2 L2 L1 L3, 3, L1 L2 L3); /* once each */
  check_metrics(state, L1 "rubbish\n" L2 "\n" "{\"loss\": 1}\n" "{\"step\": 2.5}\n" "[1]\n" L3, 3, L1 L2 L3);
  check_metrics(state, L1 "{\"step\": 1000000000000, \"x\": 1e999}\n" L2, 3, L1 L2);
  log_set_level(LOG_INFO);
}

static void metrics_with_zero_bytes(void **state) {
  io_file f;
  char *text = NULL;
  size_t n = 0;
  ck_rundir *r = opened(state);

  tmpdir_put(tmpdir_at(state, "run/metrics.jsonl"), L1 "\0\0\0\0", sizeof L1 + 3); /* what a power cut leaves */
  check_ok(ck_metrics_open(r, 5, &f));
  check_ok(io_close(&f));
  check_ok(io_read_file(tmpdir_at(state, "run/metrics.jsonl"), 1 << 20, &text, &n));
  assert_string_equal(text, L1);
  assert_int_equal(n, sizeof L1 - 1);
  free(text);
  ck_rundir_close(&r);
}

static void metrics_are_durable(void **state) {
  io_file f;
  ck_rundir *r = opened(state);

  put(state, "metrics.jsonl", L1 L2 L3);
  faults_begin(0, 0, FAULTS_COUNT);
  check_ok(ck_metrics_open(r, 2, &f));
  check_ok(io_close(&f));
  assert_string_equal(faults.log, "open metrics.jsonl.tmp\nfsync metrics.jsonl.tmp\n"
                                  "rename metrics.jsonl.tmp metrics.jsonl\nfsync run\nopen metrics.jsonl\nfsync run\n");
  ck_rundir_close(&r);
}

static void metrics_faults(void **state) {
  ck_rundir *r = opened(state);

  for (int i = 1, failed = 1; failed; i++) {
    io_file f;
    char *text = NULL;
    size_t n = 0;
    put(state, "metrics.jsonl", L1 L2 L3);
    faults_begin(i, i % 2 ? ENOSPC : EACCES, FAULTS_ONCE);
    const int st = ck_metrics_open(r, 2, &f);
    failed = faults_end();
    if (st != OK) {
      check_fails(i % 2 ? E_DISK : E_CKPT, tmpdir_at(state, "run"), st);
      assert_int_equal(f.fd, -1);
    }
    check_ok(io_close(&f));
    check_ok(io_read_file(tmpdir_at(state, "run/metrics.jsonl"), 1 << 20, &text, &n));
    assert_true(strcmp(text, L1 L2) == 0 || (st != OK && strcmp(text, L1 L2 L3) == 0));
    free(text);
  }
  ck_rundir_close(&r);
}

static void metrics_name_in_the_way(void **state) {
  io_file f;
  ck_rundir *r = opened(state);

  check_ok(io_make_dirs(tmpdir_at(state, "run/metrics.jsonl")));
  check_fails(E_CKPT, "metrics.jsonl: not a file but a folder", ck_metrics_open(r, 1, &f));
  ck_rundir_close(&r);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {
      TEST(second_trainer_is_refused), TEST(children_do_not_inherit_the_lock), TEST(no_folder_to_be_had),
      TEST(opening_cleans_up), TEST(used), TEST(finished), TEST(clear), TEST(metrics_are_cut_back),
      TEST(metrics_with_zero_bytes), TEST(metrics_are_durable), TEST(metrics_faults), TEST(metrics_name_in_the_way)};
  return cmocka_run_group_tests(tests, faults_no_sync, NULL);
}
