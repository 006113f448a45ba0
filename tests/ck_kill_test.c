/* kill -9 at random moments while checkpoints are saved: the newest one that was acknowledged loads, with the values it was
 * saved with, and no more folders are left than are to be kept and the one that is being written.
 * ARGS: program, kills, seconds at most. E2EFT_KILLS=N in the environment: N kills without a limit of time. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "checkpoints/rundir.h"
#include "tests/support/big_state.h"
#include "tests/support/tmpdir.h"

enum { KEEP = 2, MB = 1000000 };
static const char *saver;
static int kills = 40;
static double limit_s = 60;

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t seed = 1;
static double uniform(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (double)(seed >> 11) * 0x1p-53;
}

typedef struct child { pid_t pid; FILE *says; } child;

static child start(const char *dir, size_t bytes) {
  int ends[2];
  char size[32];

  snprintf(size, sizeof size, "%zu", bytes);
  assert_int_equal(pipe(ends), 0);
  const pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execl(saver, saver, dir, size, "2", "0", (char *)NULL);
    _exit(127);
  }
  close(ends[1]);
  return (child){pid, fdopen(ends[0], "r")};
}

/* Lets it save for a while, kills it, and returns the newest step that it acknowledged, or the one it began from. */
static int64_t run_and_kill(const char *dir, size_t bytes, double seconds) {
  child c = start(dir, bytes);
  char word[16];
  long long n, newest = -1;
  int ws;

  assert_int_equal(fscanf(c.says, "%15s %lld", word, &n), 2); /* it has begun */
  assert_string_equal(word, "from");
  newest = n;
  nanosleep(&(struct timespec){(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))}, NULL);
  kill(c.pid, SIGKILL);
  while (fscanf(c.says, "%15s %lld", word, &n) == 2) newest = n;
  assert_int_equal(waitpid(c.pid, &ws, 0), c.pid);
  assert_true(WIFSIGNALED(ws) && WTERMSIG(ws) == SIGKILL);
  fclose(c.says);
  return newest;
}

static size_t folders(const char *dir) {
  char path[IO_PATH_MAX], **names = NULL;
  size_t n = 0;

  check_ok(io_path(path, "%s/checkpoints", dir));
  if (io_is_dir(path)) check_ok(io_list_dir(path, &names, &n));
  io_free_names(&names, n);
  return n;
}

/* The next trainer finds `acknowledged` or a newer one, with the right values. Returns its step. */
static int64_t find(const char *dir, big_state *b, int64_t acknowledged) {
  char path[IO_PATH_MAX];
  bool found = false;
  ck_rundir *r = NULL;

  check_ok(ck_rundir_open(dir, &r));
  check_ok(ck_latest(dir, path, &found));
  ck_rundir_close(&r);
  if (!found) {
    if (acknowledged > 0) fail_msg("step %lld is lost", (long long)acknowledged);
    return 0;
  }
  check_ok(ck_load(path, &b->s, NULL));
  if (b->s.step < acknowledged) fail_msg("step %lld is lost: %s is the newest", (long long)acknowledged, path);
  if (!big_is(b, b->s.step)) fail_msg("%s: wrong values", path);
  return b->s.step;
}

static void newest_acknowledged_loads(void **state) {
  const size_t most_mb = kills < 100 ? 12 : 60, sizes[] = {6 * MB, 6 * MB, 6 * MB, 12 * MB, most_mb * MB};
  const double end = now_s() + limit_s;
  int64_t saves = 0, done = 0;
  size_t most = 0;
  big_state b;

  for (int s = 0; s < 5 && now_s() < end; s++) { /* a run folder each */
    const char *dir = tmpdir_at(state, "run%d", s);
    int64_t step = 0;
    assert_true(big_init(&b, sizes[s]));
    for (int i = 0; i < kills / 5 && now_s() < end; i++, done++) {
      const int64_t from = step, acknowledged = run_and_kill(dir, sizes[s], uniform() * 0.04 * (double)(sizes[s] / MB));
      const size_t n = folders(dir);
      most = n > most ? n : most;
      if (n > KEEP + 1) fail_msg("%zu folders, %d are kept", n, KEEP);
      assert_true(acknowledged >= from);
      step = find(dir, &b, acknowledged);
      assert_true(folders(dir) <= KEEP + 1);
      saves += step - from;
    }
    big_fini(&b);
    check_ok(io_remove_tree(dir));
  }
  print_message("%lld kills, %lld saves, %zu folders at most\n", (long long)done, (long long)saves, most);
  assert_true(done >= 5 && saves > 0);
}

int main(int argc, char **argv) {
  const char *more = getenv("E2EFT_KILLS");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(newest_acknowledged_loads, tmpdir_setup, tmpdir_teardown)};

  if (argc < 4) return 2;
  saver = argv[1];
  kills = more ? atoi(more) : atoi(argv[2]);
  limit_s = more ? 1e9 : atof(argv[3]);
  log_set_level(LOG_ERROR);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
