#include "datasets/synth.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

void ds_synth_opts_default(ds_synth_opts *o) {
  *o = (ds_synth_opts){.rooms = 8, .room_frames = 4, .room_W = 256, .room_H = 192, .streets = 5, .street_frames = 2,
                       .street_W = 256, .street_H = 192, .weathers = 5, .samples = 4, .threads = 2};
}

static int check(const ds_synth_opts *o) {
  int st = OK;
  const struct { const char *name; int value, lo, hi; } range[] = {
      {"rooms", o->rooms, 0, 9990}, {"room frames", o->room_frames, 1, 100}, {"room width", o->room_W, 1, 16384},
      {"room height", o->room_H, 1, 16384}, {"streets", o->streets, 0, 5}, {"street frames", o->street_frames, 1, 10000},
      {"street width", o->street_W, 1, 16384}, {"street height", o->street_H, 1, 16384}, {"weathers", o->weathers, 1, SC_WEATHERS},
      {"samples", o->samples, 1, 9}, {"threads", o->threads, 1, 256}};

  NEED(o->out && *o->out, E_CONFIG, "synth: no output folder given");
  for (size_t i = 0; i < sizeof range / sizeof *range; i++)
    NEED(range[i].value >= range[i].lo && range[i].value <= range[i].hi, E_CONFIG, "synth: %s %d, want %d to %d", range[i].name,
         range[i].value, range[i].lo, range[i].hi);
out:
  return st;
}

/* ---- one thread's buffers ---- */

static void free_frame(ds_synth_frame *f) {
  free(f->image.rgb);
  free(f->image.planar);
  free(f->image.distance);
  free(f->image.normal);
  free(f->image.entity);
  free(f->image.edge);
  free(f->half_floats);
  free(f->bytes);
}

static int alloc_frame(const ds_synth_opts *o, ds_synth_frame *f) {
  int st = OK;
  const size_t room = (size_t)o->room_W * (size_t)o->room_H, street = (size_t)o->street_W * (size_t)o->street_H;
  const size_t n = room > street ? room : street;

  *f = (ds_synth_frame){{0, 0, malloc(12 * n), malloc(4 * n), malloc(4 * n), malloc(12 * n), malloc(2 * n), malloc(n)}, malloc(12 * n), malloc(8 * n)};
  NEED(f->image.rgb && f->image.planar && f->image.distance && f->image.normal && f->image.entity && f->image.edge && f->half_floats && f->bytes,
       E_NOMEM, "synth: buffers for %zu pixels", n);
out:
  return st;
}

/* ---- the frames of both layouts, shared out over threads ---- */

typedef struct job {
  const ds_synth_opts *o;
  ds_synth_progress progress;
  void *ctx;
  int64_t next, done, rooms, total;
  pthread_mutex_t lock;
  int st;
  char text[1024];
} job;

static int64_t take(job *j) {
  pthread_mutex_lock(&j->lock);
  const int64_t i = j->st == OK && j->next < j->total ? j->next++ : -1;
  pthread_mutex_unlock(&j->lock);
  return i;
}

static void report(job *j, int st) {
  pthread_mutex_lock(&j->lock);
  if (st == OK) {
    j->done++;
    if (j->progress) j->progress(j->ctx, j->done, j->total);
  } else if (j->st == OK) { /* the first failure is the one to tell */
    j->st = st;
    strncpy(j->text, err_text(), sizeof j->text - 1);
  }
  pthread_mutex_unlock(&j->lock);
}

static void *run(void *arg) {
  job *j = arg;
  ds_synth_frame f = {0};
  int st = alloc_frame(j->o, &f);

  for (int64_t i; st == OK && (i = take(j)) >= 0;) {
    st = i < j->rooms ? ds_synth_hypersim_frame(j->o, i, &f) : ds_synth_vkitti2_frame(j->o, i - j->rooms, &f);
    report(j, st);
  }
  if (st != OK) report(j, st);
  free_frame(&f);
  return NULL;
}

int ds_synth(const ds_synth_opts *o, ds_synth_progress progress, void *ctx) {
  int st = OK, started = 0;
  pthread_t threads[256];
  job j = {.o = o, .progress = progress, .ctx = ctx};

  TRY(check(o));
  j.rooms = ds_synth_hypersim_count(o);
  j.total = j.rooms + ds_synth_vkitti2_count(o);
  TRY(io_make_dirs(o->out));
  if (j.rooms) TRY(ds_synth_hypersim_begin(o));
  if (j.total > j.rooms) TRY(ds_synth_vkitti2_begin(o));
  pthread_mutex_init(&j.lock, NULL);
  while (started < o->threads && pthread_create(&threads[started], NULL, run, &j) == 0) started++;
  if (!started) run(&j);
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
  pthread_mutex_destroy(&j.lock);
  NEED(j.st == OK, j.st, "%s", j.text);
out:
  return st;
}
