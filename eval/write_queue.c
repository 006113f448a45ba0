#include "eval/write_queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 16, EACH = 2 }; /* jobs a thread */

typedef enum { FREE, WAITING, UNDER_WAY, WRITTEN } state;
typedef struct job {
  state state;
  char *name;
  ev_image image; /* rgb only where a sheet is wanted */
  ev_prediction p;
  float *values, *uncertainty;
} job;

struct ev_write_queue {
  ev_write_opts o;
  void (*done)(void *ctx, const char *name);
  void *ctx;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  pthread_t threads[THREADS_MAX];
  int n_threads, room;
  job jobs[THREADS_MAX * EACH]; /* a ring: put at `put`, reported from `reported` on */
  size_t put, taken, reported;
  bool ending;
  int failed;                   /* OK or the first error */
  err_saved why;
};

static void job_clear(job *j) {
  free(j->name);
  free(j->values);
  free(j->uncertainty);
  ds_buf_free(&j->image.rgb);
  *j = (job){.state = FREE};
}

/* Says what is written, in order. Under the lock. */
static void report(ev_write_queue *q) {
  for (; q->reported < q->put; q->reported++) {
    job *j = &q->jobs[q->reported % (size_t)q->room];
    if (j->state != WRITTEN) return;
    if (q->failed == OK && q->done) q->done(q->ctx, j->name);
    job_clear(j);
  }
}

static void *work(void *arg) {
  ev_write_queue *q = arg;

  pthread_mutex_lock(&q->lock);
  for (;;) {
    while (q->taken == q->put && !q->ending) pthread_cond_wait(&q->changed, &q->lock);
    if (q->taken == q->put) break;
    job *j = &q->jobs[q->taken++ % (size_t)q->room];
    int st = q->failed;
    j->state = UNDER_WAY;
    pthread_mutex_unlock(&q->lock);
    if (st == OK) st = ev_prediction_write(&q->o, j->name, &j->image, &j->p);
    pthread_mutex_lock(&q->lock);
    if (st != OK && q->failed == OK) {
      q->failed = st;
      err_save(&q->why);
    }
    j->state = WRITTEN;
    report(q);
    pthread_cond_broadcast(&q->changed);
  }
  pthread_mutex_unlock(&q->lock);
  return NULL;
}

int ev_write_queue_open(const ev_write_opts *o, int threads, void (*done)(void *ctx, const char *name), void *ctx,
                        ev_write_queue **out) {
  int st = OK;
  ev_write_queue *q = calloc(1, sizeof *q);

  NEED(q, E_NOMEM, "queue of results");
  q->o = *o;
  q->done = done;
  q->ctx = ctx;
  threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
  q->room = threads * EACH;
  pthread_mutex_init(&q->lock, NULL);
  pthread_cond_init(&q->changed, NULL);
  while (q->n_threads < threads && pthread_create(&q->threads[q->n_threads], NULL, work, q) == 0) q->n_threads++;
  NEED(q->n_threads > 0, E_FAIL, "queue of results: no thread");
  *out = q;
  q = NULL;
out:
  ev_write_queue_close(&q);
  return st;
}

static int copy(const float *from, size_t n, float **to) {
  int st = OK;

  if (!from) return OK;
  NEED((*to = malloc(sizeof *from * n)) != NULL, E_NOMEM, "result of %zu numbers", n);
  memcpy(*to, from, sizeof *from * n);
out:
  return st;
}

static int fill(const ev_write_queue *q, const char *name, const ev_image *image, const ev_prediction *p, job *j) {
  int st = OK;
  const size_t bytes = 3 * (size_t)image->H * (size_t)image->W;

  NEED((j->name = strdup(name)) != NULL, E_NOMEM, "%s", name);
  TRY(copy(p->values, (size_t)p->C * (size_t)p->H * (size_t)p->W, &j->values));
  TRY(copy(p->uncertainty, (size_t)p->uH * (size_t)p->uW, &j->uncertainty));
  j->p = *p;
  j->p.values = j->values;
  j->p.uncertainty = j->uncertainty;
  j->image = (ev_image){.H = image->H, .W = image->W};
  if (!q->o.sheet) goto out;
  TRY(ds_buf_need(&j->image.rgb, bytes));
  memcpy(j->image.rgb.p, image->rgb.p, bytes);
out:
  return st;
}

/* The first error, once; later calls still refuse. Under the lock. */
static int failure(ev_write_queue *q) {
  if (q->failed != OK) err_restore(&q->why);
  return q->failed;
}

int ev_write_queue_put(ev_write_queue *q, const char *name, const ev_image *image, const ev_prediction *p) {
  int st = OK;
  job j = {.state = WAITING};

  TRY(fill(q, name, image, p, &j));
  pthread_mutex_lock(&q->lock);
  while (q->failed == OK && q->put - q->reported == (size_t)q->room) pthread_cond_wait(&q->changed, &q->lock);
  st = failure(q);
  if (st == OK) {
    q->jobs[q->put++ % (size_t)q->room] = j;
    j = (job){0};
    pthread_cond_broadcast(&q->changed);
  }
  pthread_mutex_unlock(&q->lock);
out:
  job_clear(&j);
  return st;
}

int ev_write_queue_finish(ev_write_queue *q) {
  pthread_mutex_lock(&q->lock);
  while (q->reported < q->put) pthread_cond_wait(&q->changed, &q->lock);
  const int st = failure(q);
  pthread_mutex_unlock(&q->lock);
  return st;
}

void ev_write_queue_close(ev_write_queue **pointer) {
  ev_write_queue *q = *pointer;

  if (!q) return;
  pthread_mutex_lock(&q->lock);
  q->ending = true;
  if (q->failed == OK) q->failed = E_STOPPED; /* what waits is passed over */
  pthread_cond_broadcast(&q->changed);
  pthread_mutex_unlock(&q->lock);
  for (int i = 0; i < q->n_threads; i++) pthread_join(q->threads[i], NULL);
  for (int i = 0; i < q->room; i++) job_clear(&q->jobs[i]);
  pthread_cond_destroy(&q->changed);
  pthread_mutex_destroy(&q->lock);
  free(q);
  *pointer = NULL;
}
