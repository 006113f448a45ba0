#include "trainer/saver.h"

#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "checkpoints/background.h"
#include "tchc/stream.h"

enum { NBUFFERS = 4 };

struct tr_saver {
  tr_optimizer *optimizer;
  io_file *metrics;
  const char *run_dir, *config_text;
  uint64_t seed;
  int keep;
  ck_background *background;        /* NULL: training waits */
  tchc_tensor *snapshot[NBUFFERS];  /* on the host, as tr_optimizer_tensors has them */
  bool locked[NBUFFERS];            /* in page-locked memory */
  double stalled;
};

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* In the writer's thread. A checkpoint says that its steps happened: their lines must be on the disk before it is. */
static int prepare(void *ctx) {
  int st = OK;
  tr_saver *s = ctx;

  for (int i = 0; i < NBUFFERS; i++)
    if (s->snapshot[i]) TRY(tr_optimizer_row_major(s->optimizer, s->snapshot[i]));
  TRY(io_sync(s->metrics));
out:
  return st;
}

static size_t bytes_of(const tchc_tensor *t) { return (size_t)tchc_numel(t) * tchc_dtype_size(tchc_type(t)); }

/* Zeros and not empty memory: pages that are first touched while training waits would double the wait. Locked afterwards:
 * torch's own page-locked memory comes in powers of two. */
static int make_buffer(tr_saver *s, const tchc_tensor *like, int i) {
  int st = OK;
  const int64_t n = tchc_numel(like);

  TRY(tchc_full(&n, 1, 0, TCHC_F32, TCHC_CPU_DEVICE, &s->snapshot[i]));
  if (tchc_where(like).type == TCHC_CPU) goto out;
  if (tchc_host_lock(tchc_data(s->snapshot[i]), bytes_of(s->snapshot[i])) == OK) {
    s->locked[i] = true;
    goto out;
  }
  log_warn("a checkpoint's copy in memory is not page-locked, which makes taking it slower: %s", err_text());
  err_clear();
out:
  return st;
}

static int open_background(tr_saver *s) {
  int st = OK;
  const tchc_tensor *from[NBUFFERS];

  tr_optimizer_tensors(s->optimizer, from);
  for (int i = 0; i < NBUFFERS; i++)
    if (from[i]) TRY(make_buffer(s, from[i], i));
  TRY(ck_background_open(s->run_dir, s->keep, prepare, s, &s->background));
out:
  return st;
}

int tr_saver_create(const cf_config *c, const char *run_dir, const char *config_text, tr_optimizer *o, io_file *metrics,
                    tr_saver **out) {
  int st = OK;
  tr_saver *s = calloc(1, sizeof *s);

  NEED(s, E_NOMEM, "checkpoints: out of memory");
  *s = (tr_saver){.optimizer = o, .metrics = metrics, .run_dir = run_dir, .config_text = config_text, .seed = c->run.seed,
                  .keep = (int)c->checkpoint.keep};
  if (c->checkpoint.background) TRY_AS(st, open_background(s), "checkpoint.background: a copy of the state");
  *out = s;
  s = NULL;
out:
  tr_saver_destroy(&s);
  return st;
}

void tr_saver_destroy(tr_saver **sp) {
  tr_saver *s = *sp;

  if (!s) return;
  ck_background_close(&s->background);
  for (int i = 0; i < NBUFFERS; i++) {
    if (s->locked[i] && tchc_host_unlock(tchc_data(s->snapshot[i])) != OK) err_clear();
    tchc_free(&s->snapshot[i]);
  }
  free(s);
  *sp = NULL;
}

/* All copies are under way at once before any is waited for. */
static int take_snapshot(tr_saver *s, ck_state *state) {
  int st = OK;
  const tchc_tensor *from[NBUFFERS];
  float **const to[NBUFFERS] = {&state->weights, &state->m, &state->v, &state->ema};

  tr_optimizer_tensors(s->optimizer, from);
  for (int i = 0; i < NBUFFERS; i++) {
    if (!from[i]) continue;
    TRY(tchc_copy(s->snapshot[i], from[i], true));
    *to[i] = tchc_data(s->snapshot[i]);
  }
  TRY(tchc_synchronize(tchc_where(from[0])));
out:
  return st;
}

static int save_beside(tr_saver *s, ck_state *state) {
  int st = OK;

  TRY(ck_background_claim(s->background));
  tr_optimizer_layout(s->optimizer, state);
  TRY(take_snapshot(s, state));
  TRY(ck_background_start(s->background, state));
out:
  return st;
}

static int save_now(tr_saver *s, ck_state *state) {
  int st = OK;

  TRY(tr_optimizer_state(s->optimizer, state));
  TRY(io_sync(s->metrics));
  TRY(ck_save(s->run_dir, state, s->keep));
out:
  return st;
}

int tr_saver_save(tr_saver *s, int64_t step, int64_t nonfinite_row) {
  int st = OK;
  const double begin = now_s();
  ck_state state = {.step = step, .nonfinite_row = nonfinite_row, .seed = s->seed, .config = s->config_text};

  TRY(s->background ? save_beside(s, &state) : save_now(s, &state));
out:
  s->stalled += now_s() - begin;
  return st;
}

int tr_saver_check(tr_saver *s) { return s->background ? ck_background_check(s->background) : OK; }

int tr_saver_wait(tr_saver *s) {
  const double begin = now_s();
  const int st = s->background ? ck_background_claim(s->background) : OK;

  s->stalled += now_s() - begin;
  return st;
}

double tr_saver_stalled(tr_saver *s) {
  const double seconds = s->stalled;
  s->stalled = 0;
  return seconds;
}
