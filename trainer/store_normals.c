#include "trainer/store_normals.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "trainer/bind.h"
#include "trainer/signals.h"

/* One data set's frames, taken one by one by several threads. */
typedef struct job {
  const ds_opts *o;
  const char *root;
  pthread_mutex_t lock; /* of what follows */
  int64_t next, count, made, failed;
  int status;           /* what ended the job early, or OK */
  char why[1024];
} job;

/* The next frame, or -1: none is left, or there is no use in going on. */
static int64_t take(job *j) {
  int64_t i = -1;

  pthread_mutex_lock(&j->lock);
  if (j->status == OK && j->next < j->count && !tr_signal_seen()) i = j->next++;
  pthread_mutex_unlock(&j->lock);
  return i;
}

/* A frame's own trouble is counted; any other ends the job. */
static void put(job *j, int status) {
  pthread_mutex_lock(&j->lock);
  if (status == OK) {
    j->made++;
  } else if (status == E_DATA) {
    log_warn("%s", err_text());
    j->failed++;
  } else if (j->status == OK) {
    j->status = status;
    snprintf(j->why, sizeof j->why, "%.1000s", err_text());
  }
  log_status(j->made + j->failed == j->count, "normals of %lld of %lld frames", (long long)(j->made + j->failed), (long long)j->count);
  pthread_mutex_unlock(&j->lock);
}

static void *work(void *ctx) {
  job *j = ctx;
  ds_source *s = NULL; /* one a thread: it has scratch */
  int64_t i;
  const int st = ds_source_open(j->o, &s);

  if (st != OK) put(j, st);
  while (st == OK && (i = take(j)) >= 0) put(j, ds_source_store_normals(s, i, j->root));
  ds_source_close(&s);
  return NULL;
}

static int run_job(job *j) {
  enum { MOST = 64 };
  int st = OK;
  pthread_t threads[MOST];
  int n = 0;
  const long cores = sysconf(_SC_NPROCESSORS_ONLN);

  while (n < MOST && n < cores && pthread_create(&threads[n], NULL, work, j) == 0) n++;
  if (!n) work(j);
  for (int k = 0; k < n; k++) pthread_join(threads[k], NULL);
  log_status_end();
  NEED(j->status == OK, j->status, "%s", j->why);
out:
  return st;
}

static int store_entry(const cf_config *c, size_t i, const char *root, FILE *f, int64_t *failed) {
  int st = OK;
  ds_opts o;
  ds_source *s = NULL;
  job j = {.o = &o, .root = root, .lock = PTHREAD_MUTEX_INITIALIZER};

  TRY(tr_bind_data(c, i, &o));
  o.need = DS_NEED_METRIC; /* the normals themselves need not be there */
  TRY_AS(st, ds_source_open(&o, &s), "data.%zu", i);
  j.count = ds_source_count(s);
  TRY(run_job(&j));
  fprintf(f, "data.%zu: normals of %lld frames are in %s/vkitti_DAG_normals, %lld failed\n", i, (long long)j.made, root,
          (long long)j.failed);
  *failed += j.failed;
out:
  ds_source_close(&s);
  return st;
}

int tr_store_normals(const cf_config *c, const char *root, FILE *f) {
  int st = OK;
  int64_t failed = 0;
  bool any = false;

  TRY(tr_signals_install());
  for (size_t i = 0; i < c->ndata; i++) {
    if (c->data[i].kind != CF_KIND_VKITTI2) continue;
    any = true;
    TRY(store_entry(c, i, root, f, &failed));
    NEED(!tr_signal_seen(), E_STOPPED, "stopped by signal %d; the same command goes on", tr_signal_seen());
  }
  NEED(any, E_CONFIG, "data: no entry is of kind vkitti2, whose normals --normals makes");
  NEED(!failed, E_DATA, "%lld frames have no normals: their depth cannot be read", (long long)failed);
out:
  return st;
}
