#include "eval/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "datasets/buffer.h"
#include "datasets/quantile.h"
#include "eval/shot.h"

/* What one evaluation needs besides its result. */
typedef struct work {
  ev_set *set;
  const ev_predictor *predictor;
  bool keep_shots;
  ev_result *r;
  ev_angles all, one;
  double best[EV_SHOTS], worst[EV_SHOTS], sums[EV_DEPTH_METRICS];
  ds_buf pred, aligned, error;
} work;

int ev_metric_names(ev_task task, const char *const **names) {
  *names = task == EV_DEPTH ? ev_depth_names : ev_normals_names;
  return task == EV_DEPTH ? EV_DEPTH_METRICS : EV_NORMALS_METRICS;
}

/* error [n] where mask is 1, into the histogram. */
static void count_errors(ev_result *r, const float *error, const uint8_t *mask, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (!mask[i]) continue;
    const double bin = (double)error[i] / r->bins_end * EV_BINS;
    r->bins[bin < EV_BINS ? (size_t)bin : EV_BINS - 1]++;
  }
}

static int measure_depth(work *w, const ev_item *item, ev_score *score) {
  int st = OK;
  const size_t n = (size_t)item->H * (size_t)item->W;
  const ev_align_opts align = ev_settings_align(ev_set_settings(w->set));
  float *aligned, *error;

  TRY(ds_buf_need(&w->aligned, n * sizeof *aligned));
  TRY(ds_buf_need(&w->error, n * sizeof *error));
  aligned = w->aligned.p;
  error = w->error.p;
  TRY(ev_align(&align, w->pred.p, item->truth, item->mask, item->H, item->W, aligned, &score->fit));
  TRY(ev_depth_measure(aligned, item->truth, item->mask, n, &score->m.depth));
  for (size_t i = 0; i < n; i++) error[i] = item->mask[i] ? fabsf(aligned[i] - item->truth[i]) / item->truth[i] : 0;
  count_errors(w->r, error, item->mask, n);
  for (int k = 0; k < EV_DEPTH_METRICS; k++) w->sums[k] += score->m.values[k];
out:
  return st;
}

static int check_finite(const float *pred, const uint8_t *mask, size_t n) {
  int st = OK;
  size_t bad = 0;

  for (size_t i = 0; i < n; i++) bad += mask[i] && !(isfinite(pred[i]) && isfinite(pred[n + i]) && isfinite(pred[2 * n + i]));
  NEED(!bad, E_DATA, "the prediction is not finite at %zu valid pixels", bad);
out:
  return st;
}

/* The middle of the angles of one image, exactly. */
static double exact_median(float *degrees, const uint8_t *mask, size_t n) {
  size_t kept = 0;

  for (size_t i = 0; i < n; i++)
    if (mask[i]) degrees[kept++] = degrees[i];
  ds_select_f32(degrees, kept, kept / 2);
  const double upper = degrees[kept / 2];
  if (kept % 2) return upper;
  ds_select_f32(degrees, kept, kept / 2 - 1);
  return (upper + (double)degrees[kept / 2 - 1]) / 2;
}

static int measure_normals(work *w, const ev_item *item, ev_score *score) {
  int st = OK;
  const size_t n = (size_t)item->H * (size_t)item->W;
  float *degrees;

  TRY(ds_buf_need(&w->error, n * sizeof *degrees));
  degrees = w->error.p;
  if (ev_set_settings(w->set)->x_right)
    for (size_t i = 0; i < n; i++) ((float *)w->pred.p)[i] *= -1;
  TRY(check_finite(w->pred.p, item->mask, n));
  ev_normals_angles(w->pred.p, item->truth, n, degrees);
  ev_angles_add(&w->all, degrees, item->mask, n);
  ev_angles_sums(&w->one, degrees, item->mask, n);
  count_errors(w->r, degrees, item->mask, n);
  TRY(ev_angles_measure(&w->one, &score->m.normals));
  score->m.normals.median = exact_median(degrees, item->mask, n);
out:
  return st;
}

static int measure(work *w, int64_t i, ev_score *score) {
  int st = OK;
  ev_item item;
  const bool depth = ev_set_task(w->set) == EV_DEPTH;

  TRY(ev_set_read(w->set, i, &item));
  score->H = item.H;
  score->W = item.W;
  score->valid = item.valid;
  TRY(ds_buf_need(&w->pred, item.channels * (size_t)item.H * (size_t)item.W * sizeof(float)));
  TRY(w->predictor->predict(w->predictor->ctx, i, &item, w->pred.p));
  TRY(depth ? measure_depth(w, &item, score) : measure_normals(w, &item, score));
  if (!w->keep_shots) goto out;
  const float *shown = depth ? w->aligned.p : w->pred.p;
  TRY(ev_shots_offer(w->r->best, w->best, true, score->m.values[0], i, &item, shown));
  TRY(ev_shots_offer(w->r->worst, w->worst, false, score->m.values[0], i, &item, shown));
out:
  return st;
}

/* Goes on after an image's own error, which is named at once and kept for the report. */
static int measure_or_note(work *w, int64_t i) {
  int st = OK;
  ev_score *score = &w->r->scores[i];
  const int got = measure(w, i, score);

  if (got == OK) return OK;
  if (got != E_DATA) return got;
  NEED((score->problem = strdup(err_text())) != NULL, E_NOMEM, "%s: out of memory", ev_set_id(w->set, i));
  log_warn("%s: not measured: %s", ev_set_id(w->set, i), score->problem);
  err_clear();
  w->r->failed++;
out:
  return st;
}

static double now(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void show_progress(const char *title, int64_t done, int64_t n, double seconds) {
  const int left = (int)(seconds / (double)done * (double)(n - done) + 0.5);
  log_status(done == n, "%s: %lld of %lld images, %.3g a second, %d:%02d left", title, (long long)done, (long long)n,
             (double)done / fmax(seconds, 1e-9), left / 60, left % 60);
}

static void summarise(work *w) {
  ev_result *r = w->r;
  const double measured = (double)(r->n - r->failed);

  for (int k = 0; k < EV_DEPTH_METRICS; k++) r->m.values[k] = measured > 0 ? w->sums[k] / measured : (double)NAN;
  if (ev_set_task(w->set) == EV_NORMALS && measured > 0) (void)ev_angles_measure(&w->all, &r->m.normals);
}

static int work_open(work *w, ev_set *set, const ev_predictor *p, bool keep_shots, ev_result *r) {
  int st = OK;

  *r = (ev_result){.set = set, .n = ev_set_count(set), .bins_end = ev_set_task(set) == EV_DEPTH ? 0.6 : 90};
  *w = (work){.set = set, .predictor = p, .keep_shots = keep_shots, .r = r};
  for (int i = 0; i < EV_SHOTS; i++) r->best[i].image = r->worst[i].image = -1;
  NEED((r->scores = calloc((size_t)r->n + 1, sizeof *r->scores)) != NULL, E_NOMEM, "%lld images", (long long)r->n);
  if (ev_set_task(set) == EV_NORMALS) TRY(ev_angles_init(&w->all));
out:
  return st;
}

static void work_close(work *w) {
  ev_angles_fini(&w->all);
  ds_buf_free(&w->pred);
  ds_buf_free(&w->aligned);
  ds_buf_free(&w->error);
}

int ev_evaluate(ev_set *set, const ev_predictor *p, const char *title, bool keep_shots, ev_result *out) {
  int st = OK;
  work w;
  ev_result r;
  const double start = now();

  TRY(work_open(&w, set, p, keep_shots, &r));
  for (int64_t i = 0; i < r.n; i++) {
    TRY(measure_or_note(&w, i));
    show_progress(title, i + 1, r.n, now() - start);
  }
  summarise(&w);
  r.seconds = now() - start;
  *out = r;
out:
  log_status_end();
  work_close(&w);
  if (st != OK) ev_result_free(&r);
  return st;
}

void ev_result_free(ev_result *r) {
  if (!r->set) return;
  for (int64_t i = 0; r->scores && i < r->n; i++) free(r->scores[i].problem);
  free(r->scores);
  ev_shots_free(r->best);
  ev_shots_free(r->worst);
  *r = (ev_result){0};
}
