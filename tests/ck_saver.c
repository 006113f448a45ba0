/* A trainer's saving without its training, for tests that kill it and for measuring.
 *   ck_saver DIR BYTES KEEP STEPS [PAUSE_S]      STEPS 0: for ever
 * Opens the run folder DIR, loads the newest checkpoint, and from there on saves a state of BYTES a step through the
 * background writer. Says on standard output "saved N" once step N is on the disk. With a pause it computes that long
 * between saves, and says how long each save held it up and how much slower it computed meanwhile. */
#include <time.h>

#include "base/log.h"
#include "checkpoints/background.h"
#include "checkpoints/rundir.h"
#include "tests/support/big_state.h"

typedef struct work { double seconds; int64_t rounds; } work;

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void say(const char *what, int64_t step) {
  printf("%s %lld\n", what, (long long)step);
  fflush(stdout);
}

static int restore(const char *dir, big_state *b, int64_t *step) {
  int st = OK;
  char path[IO_PATH_MAX];
  bool found = false;

  *step = 0;
  TRY(ck_latest(dir, path, &found));
  if (!found) goto out;
  TRY(ck_load(path, &b->s, NULL));
  NEED(big_is(b, b->s.step), E_CKPT, "%s: wrong values", path);
  *step = b->s.step;
out:
  return st;
}

/* A training step's stand-in: updates the live state from memory, for `seconds`. */
static work compute(big_state *live, double seconds) {
  enum { CHUNK = 1 << 16 };
  work w = {0};
  const double begin = now_s();
  static volatile float sink; /* the sum is used */

  while ((w.seconds = now_s() - begin) < seconds) {
    float sum = 0;
    const int64_t at = w.rounds % (live->s.numel / CHUNK + 1) * CHUNK, left = live->s.numel - at;
    for (int64_t i = 0; i < CHUNK && i < left; i++) sum += live->s.weights[at + i] * live->s.m[at + i];
    sink = sink + sum;
    w.rounds++;
  }
  return w;
}

/* As torch copies: with all threads. */
static void copy(big_state *to, const big_state *from) {
  enum { PARTS = 16 };
  const size_t size = (size_t)from->s.numel * sizeof(float);

#pragma omp parallel for schedule(static)
  for (size_t part = 0; part < 3 * PARTS; part++) {
    const size_t at = size / PARTS * (part % PARTS), n = part % PARTS == PARTS - 1 ? size - at : size / PARTS;
    memcpy((char *)big_buffer(to, (int)(part / PARTS)) + at, (char *)big_buffer(from, (int)(part / PARTS)) + at, n);
  }
  to->s.step = from->s.step;
  to->s.adam_t = from->s.adam_t;
}

/* Each save is waited for at the next, as in training, and acknowledged then. */
static int save_all(ck_background *b, big_state *live, big_state *snapshot, int64_t step, int64_t steps,
                    double pause) {
  int st = OK;
  int64_t under_way = 0;
  double alone = 0;

  if (pause > 0) {
    const work w = compute(live, pause);
    alone = (double)w.rounds / w.seconds;
  }
  while (!steps || step < steps) {
    big_fill(live, ++step);
    const double begin = now_s();
    TRY(ck_background_claim(b));
    if (under_way) say("saved", under_way);
    copy(snapshot, live);
    TRY(ck_background_start(b, &snapshot->s));
    under_way = step;
    if (pause > 0) {
      const double held = now_s() - begin;
      const work w = compute(live, pause);
      printf("step %lld: saving held training up for %.3f s; meanwhile %.0f %% of its speed\n", (long long)step, held,
             100 * ((double)w.rounds / w.seconds) / alone);
    }
  }
  TRY(ck_background_claim(b));
  if (under_way) say("saved", under_way);
out:
  return st;
}

int main(int argc, char **argv) {
  int st = OK;
  int64_t step = 0;
  big_state live = {0}, snapshot = {0};
  ck_rundir *r = NULL;
  ck_background *b = NULL;

  NEED(argc >= 5, E_CONFIG, "usage: ck_saver DIR BYTES KEEP STEPS [PAUSE_S]");
  const double pause = argc > 5 ? atof(argv[5]) : 0;
  const size_t bytes = (size_t)atof(argv[2]);
  if (pause <= 0) log_set_level(LOG_WARN);
  TRY(ck_rundir_open(argv[1], &r));
  NEED(big_init(&live, bytes) && big_init(&snapshot, bytes), E_NOMEM, "two states of %zu bytes", bytes);
  big_fill(&snapshot, 0); /* touched before it is needed */
  TRY(restore(argv[1], &live, &step));
  say("from", step);
  TRY(ck_background_open(argv[1], atoi(argv[3]), NULL, NULL, &b));
  TRY(save_all(b, &live, &snapshot, step, atoll(argv[4]), pause));
out:
  if (st != OK) log_error("%s", err_text());
  ck_background_close(&b);
  ck_rundir_close(&r);
  big_fini(&live);
  big_fini(&snapshot);
  return st == OK ? 0 : err_exit_status(st);
}
