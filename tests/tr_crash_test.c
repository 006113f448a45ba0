/* Runs that are interrupted again and again, at random moments: killed, stopped by one signal or by two, ended early. Each
 * goes on from what it finds, and in the end is the run that was never interrupted, bit for bit, each step exactly once in
 * metrics.jsonl. E2EFT_INTERRUPTIONS=N: so many a run instead of 34. */
#include "checkpoints/history.h"
#include "tests/support/runs.h"

enum { STEPS = 90, KEEP = 2 };
typedef enum { KILL, SIGNAL, KILL_LATER, SIGNAL_TWICE, END, WAYS } way;

static uint64_t seed = 11;
static double uniform(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (double)(seed >> 11) * 0x1p-53;
}

static int interruptions(void) {
  const char *more = getenv("E2EFT_INTERRUPTIONS");
  return more ? atoi(more) : 34;
}

static void nap(double seconds) {
  nanosleep(&(struct timespec){(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))}, NULL);
}

typedef struct plan { const char *config, *dir; const char *const *set; } plan;

static program start(const plan *p, int64_t steps, int workers) {
  char dir[IO_PATH_MAX], count[64], decoders[64];
  const char *args[PROGRAM_ARGS] = {"train", p->config, "--resume=auto", "-s", dir, "-s", count, "-s", decoders,
                                    "-s", "checkpoint.every=1"};
  int n = 11;

  snprintf(dir, sizeof dir, "run.dir=%.4000s", p->dir);
  snprintf(count, sizeof count, "optim.steps=%lld", (long long)steps);
  snprintf(decoders, sizeof decoders, "loader.workers=%d", workers);
  for (int i = 0; p->set[i]; i++) args[n++] = p->set[i];
  args[n] = NULL;
  return program_start_v(args);
}

/* Bytes of metrics.jsonl: more of them than before mean that a step was made. */
static off_t metrics_size(const char *dir) {
  char path[IO_PATH_MAX];
  struct stat s;
  check_ok(io_path(path, "%s/metrics.jsonl", dir));
  return stat(path, &s) == 0 ? s.st_size : 0;
}

static void wait_for_a_step(const plan *p, const program *run) {
  const double end = program_now() + 60;
  siginfo_t info = {0};
  off_t before = metrics_size(p->dir), now;

  while ((now = metrics_size(p->dir)) <= before && program_now() < end) {
    if (now < before) before = now; /* cut back by the run that goes on */
    if (waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) return;
    program_nap();
  }
}

static void check_folders(const char *dir) {
  char path[IO_PATH_MAX], **names = NULL;
  size_t n = 0;

  check_ok(io_path(path, "%s/checkpoints", dir));
  if (io_is_dir(path)) check_ok(io_list_dir(path, &names, &n));
  io_free_names(&names, n);
  if (n > KEEP + 1) fail_msg("%zu folders in %s", n, path);
}

/* The newest checkpoint's step, 0 for none. */
static int64_t newest(const char *dir) {
  int64_t *steps = NULL, last = 0;
  size_t n = 0;

  check_ok(ck_history_steps(dir, &steps, &n));
  if (n) last = steps[n - 1];
  free(steps);
  return last;
}

static void interrupt(const plan *p, way w, int i) {
  static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};
  const int sig = signals[i % 3];
  const int64_t before = newest(p->dir);
  program run = start(p, w == END ? before + 1 + i % 3 : STEPS, 1 + i % 3);

  if (w == KILL || w == KILL_LATER || w == SIGNAL || w == SIGNAL_TWICE) {
    if (w == KILL && i % 2) nap(uniform() * 2); /* anywhere, its beginning included */
    else wait_for_a_step(p, &run), nap(uniform() * 0.2);
  }
  if (w == KILL || w == KILL_LATER) kill(run.pid, SIGKILL);
  if (w == SIGNAL || w == SIGNAL_TWICE) kill(run.pid, sig);
  if (w == SIGNAL_TWICE) nap(uniform() * 0.02), kill(run.pid, sig);
  program_wait(&run, 120);
  const bool ended = run.status == 0, killed = run.status == 128 + SIGKILL, stopped = run.status == 75;
  const bool left = run.status == 128 + sig;
  if (!ended && !(w == SIGNAL ? stopped : w == SIGNAL_TWICE ? stopped || left : w == END ? false : killed))
    fail_msg("interruption %d (%d): status %d: %s", i, (int)w, run.status, run.err);
  if (newest(p->dir) < before) fail_msg("step %lld is lost", (long long)before);
  program_free(&run);
  check_folders(p->dir);
}

static void check_same(const char *straight, const char *broken) {
  static const char *const files[] = {"weights", "adam_m", "adam_v", "ema"};
  char a[IO_PATH_MAX], b[IO_PATH_MAX];

  runs_same_metrics(straight, broken, 0);
  for (int i = 0; i < 4; i++) {
    check_ok(io_path(a, "%s/checkpoints/step-%06d/%s.safetensors", straight, STEPS, files[i]));
    check_ok(io_path(b, "%s/checkpoints/step-%06d/%s.safetensors", broken, STEPS, files[i]));
    runs_same_weights(a, b);
  }
  check_ok(io_path(a, "%s/checkpoints/step-%06d/weights.safetensors", straight, STEPS));
  check_ok(io_path(b, "%s/" RUNS_UNET, broken)); /* as trained: not the mean */
  runs_same_weights(a, b);
}

static void interrupted_all_the_time(void **state, const char *config, const char *const *set) {
  const plan straight = {config, tmpdir_at(state, "straight"), set}, broken = {config, tmpdir_at(state, "broken"), set};
  int done = 0;

  program p = start(&straight, STEPS, 2);
  program_wait(&p, 300);
  program_expect(&p, 0);
  program_free(&p);
  for (; done < interruptions() && newest(broken.dir) < STEPS; done++) interrupt(&broken, (way)(done % WAYS), done);
  p = start(&broken, STEPS, 1);
  program_wait(&p, 300);
  program_expect(&p, 0);
  program_free(&p);
  check_same(straight.dir, broken.dir);
  print_message("%d interruptions in %d steps\n", done, STEPS);
  assert_true(done >= 15);
}

/* Two micro-batches a step: most interruptions fall between them. 1.5 steps an epoch. */
static void fp32(void **state) {
  interrupted_all_the_time(state, runs_config(state, "depth"),
                           (const char *[]){"-s", "optim.ema=0.9", "-s", "optim.micro_batch=2", "-s", "optim.decay_steps=100", NULL});
}

static void bf16(void **state) {
  interrupted_all_the_time(state, runs_config(state, "normals"),
                           (const char *[]){"-s", "optim.ema=0.9", "-s", "run.precision=bf16", "-s", "optim.micro_batch=2",
                                            "-s", "optim.decay_steps=100", NULL});
}

/* Two data sets, drawn in turns, shuffled and mirrored; epochs of a few steps. */
static void mixed_data(void **state) {
  const char *config = tmpdir_at(state, "mixed.yaml");
  FILE *f = fopen(config, "w");

  assert_non_null(f);
  fprintf(f,
          "run: {device: cpu}\nmodel: {path: %s/golden/models/tiny-marigold, noise: gaussian}\n"
          "data:\n  - {kind: hypersim, root: %s/synth/hypersim, size: [48, 64], weight: 2}\n"
          "  - {kind: vkitti2, root: %s/synth/virtual_kitti_2, size: [40, 72]}\n"
          "optim: {steps: 8, batch: 4, group: 2, lr: 3e-4, warmup: 3, decay_steps: 100, ema: 0.9}\n",
          TEST_DATA, TEST_DATA, TEST_DATA);
  fclose(f);
  interrupted_all_the_time(state, config, (const char *[]){NULL});
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {IN_FOLDER(fp32), IN_FOLDER(bf16), IN_FOLDER(mixed_data)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
