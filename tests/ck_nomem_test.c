/* Each allocation of saving, loading and reading a config fails in turn: a clean error, nothing lost, nothing leaked. Linked
 * with --wrap, so that malloc and its kin in our own code come here; jansson's by its own hook. */
#include <jansson.h>

#include "base/log.h"
#include "checkpoints/best.h"
#include "checkpoints/rundir.h"
#include "configs/config.h"
#include "tests/support/faults.h"
#include "tests/support/tiny_state.h"
#include "tests/support/tmpdir.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);

static struct { int at, seen; } fail; /* at 0: none */

static bool fails(void) { return fail.at && ++fail.seen == fail.at; }
void *__wrap_malloc(size_t n) { return fails() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return fails() ? NULL : __real_realloc(p, n); }
char *__wrap_strdup(const char *s) { return fails() ? NULL : __real_strdup(s); }

/* ---- what is done; each frees what it made ---- */

static const char *run_dir, *config_path;

static int act_save(void) {
  tiny_state t;
  tiny_init(&t, 3, 1);
  return ck_save(run_dir, &t.s, 1);
}

static int act_latest(void) {
  char path[IO_PATH_MAX];
  bool found = false;
  return ck_latest(run_dir, path, &found);
}

static int act_load(void) {
  char path[IO_PATH_MAX], *config = NULL;
  tiny_state t;
  int st = OK;

  tiny_blank(&t, 1);
  TRY(io_path(path, "%s/checkpoints/step-000002", run_dir));
  TRY(ck_load(path, &t.s, &config));
out:
  free(config);
  return st;
}

static int act_mark(void) { return ck_best_mark(run_dir, &(ck_best){.step = 2, .metric = "m", .value = 1}); }

static int act_metrics(void) {
  ck_rundir *r = NULL;
  io_file f = {.fd = -1};
  int st = ck_rundir_open(run_dir, &r);

  if (st == OK) st = ck_metrics_open(r, 1, &f);
  (void)io_close(&f);
  ck_rundir_close(&r);
  return st;
}

static int act_config(void) {
  static const char *const overrides[] = {"optim.lr=1e-5", "data.0.weight=2"};
  cf_config *a = NULL, *b = NULL;
  char *text = NULL, *lines = NULL;
  bool matters;
  int st = OK;

  TRY(cf_load(config_path, NULL, 0, false, &a));
  TRY(cf_load(config_path, overrides, 2, false, &b));
  TRY(cf_to_yaml(b, &text));
  TRY(cf_diff(a, b, &lines, &matters));
out:
  free(text);
  free(lines);
  cf_free(&a);
  cf_free(&b);
  return st;
}

static const struct { const char *what; int (*call)(void); int least; } acts[] = {
    {"save", act_save, 100}, {"latest", act_latest, 20}, {"load", act_load, 50},
    {"mark", act_mark, 5},   {"metrics", act_metrics, 5}, {"config", act_config, 100}};

static void prepare(void) {
  char path[IO_PATH_MAX];

  check_ok(io_remove_tree(run_dir));
  for (int step = 1; step <= 2; step++) {
    tiny_state t;
    tiny_init(&t, step, 1);
    check_ok(ck_save(run_dir, &t.s, 0));
  }
  check_ok(io_path(path, "%s/metrics.jsonl", run_dir));
  tmpdir_put(path, "{\"step\": 1}\n{\"step\": 2}\n", 24);
}

static void check_newest(void) {
  char path[IO_PATH_MAX];
  bool found = false;
  tiny_state want, got;

  check_ok(ck_latest(run_dir, path, &found));
  assert_true(found);
  tiny_blank(&got, 1);
  check_ok(ck_load(path, &got.s, NULL));
  assert_true(got.s.step >= 2);
  tiny_init(&want, got.s.step, 1);
  tiny_check_equal(&want, &got);
}

static void each_allocation_fails(void **state) {
  run_dir = tmpdir_at(state, "run");
  config_path = tmpdir_at(state, "c.yaml");
  tmpdir_put(tmpdir_at(state, "base.yaml"), "optim: {lr: 3.0e-5, betas: [0.8, 0.99]}\n", 40);
  const char text[] = "base: base.yaml\nrun: {seed: 7}\ndata:\n- {kind: hypersim, root: /data}\n- {kind: vkitti2, root: /d}\n";
  tmpdir_put(config_path, text, sizeof text - 1);
  for (size_t a = 0; a < sizeof acts / sizeof *acts; a++) {
    int failed = 0;
    prepare();
    for (int i = 1;; i++) {
      fail.at = i;
      fail.seen = 0;
      const int st = acts[a].call();
      const bool all = fail.seen < i;
      fail.at = 0;
      if (all) {
        check_ok(st);
        assert_true(i > acts[a].least);
        break;
      }
      failed += st != OK;
      /* short of memory jansson sees shorter strings in a header than there are, and says nothing */
      const bool header = (st == E_CKPT || st == E_DISK) && strstr(err_text(), ".safetensors: ");
      if (st != OK && st != E_NOMEM && !header) fail_msg("%s, allocation %d: status %d: %s", acts[a].what, i, st, err_text());
      if (st != OK && !err_text()[0]) fail_msg("%s, allocation %d: no message", acts[a].what, i);
      check_newest();
      if (a == 0) prepare();
    }
    print_message("%s: %d errors\n", acts[a].what, failed);
    assert_true(failed > acts[a].least / 2);
  }
}

static int quiet(void **state) {
  log_set_level(LOG_ERROR + 1);
  json_set_alloc_funcs(__wrap_malloc, free);
  return faults_no_sync(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(each_allocation_fails, tmpdir_setup, tmpdir_teardown)};
  return cmocka_run_group_tests(tests, quiet, NULL);
}
