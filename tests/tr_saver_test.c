/* trainer/saver: what is saved is the state at the moment of the call, row-major, however the network keeps it and whatever
 * training makes of it while the disk is busy. */
#include "checkpoints/state.h"
#include "tests/support/config_file.h"
#include "tests/support/faults.h"
#include "tests/support/tchc_check.h"
#include "trainer/saver.h"

typedef struct rig {
  cf_config *c;
  tr_network net;
  tr_optimizer *o;
  tr_saver *saver;
  io_file metrics;
} rig;

static void rig_open(void **state, rig *r, bool channels_last, const char *background) {
  *r = (rig){.c = config_load(state, "optim: {ema: 0.9}\n" DATA_LINES, background, NULL, NULL), .net = {.device = TCHC_CPU_DEVICE}};
  check_ok(md_params_create("unet", &r->net.masters));
  check_ok(md_params_declare(r->net.masters, 4, (int64_t[]){5, 3, 2, 7}, "conv_in.weight"));
  check_ok(md_params_declare(r->net.masters, 1, (int64_t[]){5}, "conv_in.bias"));
  check_ok(md_params_declare(r->net.masters, 2, (int64_t[]){6, 4}, "proj.weight"));
  check_ok(md_params_declare(r->net.masters, 4, (int64_t[]){2, 9, 3, 3}, "conv_out.weight"));
  if (channels_last) md_params_channels_last(r->net.masters);
  check_ok(md_params_allocate(r->net.masters, TCHC_F32, TCHC_CPU_DEVICE));
  check_ok(tr_optimizer_create(r->c, &r->net, &r->o));
  check_ok(io_append(tmpdir_at(state, "metrics.jsonl"), &r->metrics));
  check_ok(tr_saver_create(r->c, *state, "run: {seed: 1}\n", r->o, &r->metrics, &r->saver));
}

static void rig_close(rig *r) {
  tr_saver_destroy(&r->saver);
  check_ok(io_close(&r->metrics));
  tr_optimizer_destroy(&r->o);
  md_params_destroy(&r->net.masters);
  cf_free(&r->c);
}

/* A training step: every number of the state becomes another. */
static void change_all(rig *r, int step) {
  const tchc_tensor *all[4];

  tr_optimizer_tensors(r->o, all);
  for (int b = 0; b < 4; b++) {
    float *v = tchc_data(all[b]);
    for (int64_t i = 0; i < tchc_numel(all[b]); i++) v[i] = (float)(step * 100000 + b * 10000 + i);
  }
}

/* Saves step after step while the state goes on changing; each checkpoint is the state that its step had. */
static void saves_what_was(void **state, bool channels_last, const char *background) {
  enum { N = 5 * 3 * 2 * 7 + 5 + 24 + 2 * 9 * 9, STEPS = 4 };
  static float want[STEPS + 1][4][N], got[4][N];
  rig r;
  ck_state now = {0};

  rig_open(state, &r, channels_last, background);
  for (int step = 1; step <= STEPS; step++) {
    change_all(&r, step);
    check_ok(tr_optimizer_state(r.o, &now));
    assert_int_equal(now.numel, N);
    float *const buffers[4] = {now.weights, now.m, now.v, now.ema};
    for (int b = 0; b < 4; b++) memcpy(want[step][b], buffers[b], sizeof want[step][b]);
    check_ok(tr_saver_save(r.saver, step, 0));
    change_all(&r, 77);
    check_ok(tr_saver_check(r.saver));
  }
  check_ok(tr_saver_wait(r.saver));
  assert_true(tr_saver_stalled(r.saver) > 0 && tr_saver_stalled(r.saver) == 0);
  for (int step = STEPS - 1; step <= STEPS; step++) { /* checkpoint.keep is 2 */
    ck_state s = now;
    s.weights = got[0], s.m = got[1], s.v = got[2], s.ema = got[3];
    check_ok(ck_load(tmpdir_at(state, "checkpoints/step-%06d", step), &s, NULL));
    assert_int_equal(s.step, step);
    for (int b = 0; b < 4; b++) assert_memory_equal(got[b], want[step][b], sizeof got[b]);
  }
  rig_close(&r);
}

static void row_major_beside(void **state) { saves_what_was(state, false, "checkpoint.background=true"); }
static void channels_last_beside(void **state) { saves_what_was(state, true, "checkpoint.background=true"); }
static void row_major_waiting(void **state) { saves_what_was(state, false, "checkpoint.background=false"); }
static void channels_last_waiting(void **state) { saves_what_was(state, true, "checkpoint.background=false"); }

/* The lines are on the disk before anything of the checkpoint is made. */
static void lines_come_first(void **state) {
  rig r;

  rig_open(state, &r, false, NULL);
  check_ok(io_write(&r.metrics, "{}\n", 3));
  faults_begin(0, 0, FAULTS_COUNT);
  snprintf(faults.names[r.metrics.fd], sizeof faults.names[0], "metrics.jsonl");
  check_ok(tr_saver_save(r.saver, 1, 0));
  check_ok(tr_saver_wait(r.saver));
  assert_int_equal(strncmp(faults.log, "fsync metrics.jsonl\n", 20), 0);
  faults_begin(1, EIO, FAULTS_ONCE);
  check_ok(tr_saver_save(r.saver, 2, 0));
  check_fails(E_DISK, "metrics.jsonl: cannot sync", tr_saver_wait(r.saver));
  assert_false(io_exists(tmpdir_at(state, "checkpoints/step-000002")));
  faults_end();
  rig_close(&r);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(row_major_beside), TEST(channels_last_beside), TEST(row_major_waiting),
                                     TEST(channels_last_waiting), TEST(lines_come_first)};
  return cmocka_run_group_tests(tests, faults_no_sync, NULL);
}
