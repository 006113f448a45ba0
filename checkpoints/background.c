#include "checkpoints/background.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct ck_background {
  char run_dir[IO_PATH_MAX];
  int keep;
  int (*before)(void *ctx);
  void *ctx;
  ck_state state;
  pthread_t thread;
  bool running;      /* there is a thread to be joined */
  atomic_bool done;  /* it has nothing left to do */
  int st;            /* how it went, and its message: valid once joined */
  err_saved why;
};

int ck_background_open(const char *run_dir, int keep, int (*before)(void *ctx), void *ctx, ck_background **out) {
  int st = OK;
  ck_background *b = calloc(1, sizeof *b);

  NEED(b, E_NOMEM, "%s: out of memory", run_dir);
  TRY(io_path(b->run_dir, "%s", run_dir));
  b->keep = keep;
  b->before = before;
  b->ctx = ctx;
  *out = b;
  b = NULL;
out:
  free(b);
  return st;
}

void ck_background_close(ck_background **b) {
  if (!*b) return;
  if ((*b)->running) pthread_join((*b)->thread, NULL);
  free(*b);
  *b = NULL;
}

static int save(ck_background *b) {
  int st = OK;

  if (b->before) TRY(b->before(b->ctx));
  TRY(ck_save(b->run_dir, &b->state, b->keep));
out:
  return st;
}

static void *run(void *ctx) {
  ck_background *b = ctx;

  if ((b->st = save(b)) != OK) err_save(&b->why); /* messages are a thread's own */
  atomic_store(&b->done, true);
  return NULL;
}

int ck_background_claim(ck_background *b) {
  if (!b->running) return OK;
  pthread_join(b->thread, NULL);
  b->running = false;
  if (b->st != OK) err_restore(&b->why);
  return b->st;
}

int ck_background_start(ck_background *b, const ck_state *s) {
  int st = OK;
  sigset_t all, old;

  b->state = *s;
  b->st = OK;
  atomic_store(&b->done, false);
  sigfillset(&all); /* signals are for the thread that trains */
  pthread_sigmask(SIG_SETMASK, &all, &old);
  const int why = pthread_create(&b->thread, NULL, run, b);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  NEED(why == 0, E_NOMEM, "%s: no thread to save with: %s", b->run_dir, strerror(why));
  b->running = true;
out:
  return st;
}

int ck_background_check(ck_background *b) {
  return b->running && atomic_load(&b->done) ? ck_background_claim(b) : OK;
}
