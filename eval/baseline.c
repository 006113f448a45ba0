#include "eval/baseline.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"

int ev_constant_predict(void *ctx, int64_t i, const ev_item *item, float *out) {
  const size_t n = (size_t)item->H * (size_t)item->W;

  (void)ctx, (void)i;
  for (size_t c = 0; c < item->channels; c++)
    for (size_t p = 0; p < n; p++) out[c * n + p] = c + 1 == item->channels;
  return OK;
}

/* Sums over images by their weight, and the weight of those valid at each place. */
typedef struct sums {
  ev_mean_map map;
  double *sum;     /* [C,H,W] */
  double *weight;  /* [H,W] */
} sums;

static size_t place(int at, int size, int of) { return (size_t)((2 * (int64_t)at + 1) * of / (2 * (int64_t)size)); }

/* The pixel of a plane [to_H,to_W] that lies nearest to (y, x) of a plane [H,W]. */
static size_t nearest(int y, int x, int H, int W, int to_H, int to_W) {
  return place(y, H, to_H) * (size_t)to_W + place(x, W, to_W);
}

static int sums_open(const ev_item *first, sums *s) {
  int st = OK;
  const size_t n = (size_t)first->H * (size_t)first->W;

  s->map = (ev_mean_map){.C = (int)first->channels, .H = first->H, .W = first->W};
  s->sum = calloc(first->channels * n, sizeof *s->sum);
  s->weight = calloc(n, sizeof *s->weight);
  s->map.values = malloc(first->channels * n * sizeof *s->map.values);
  NEED(s->sum && s->weight && s->map.values, E_NOMEM, "a mean of %dx%d", first->W, first->H);
out:
  return st;
}

static void add(sums *s, const ev_item *item, double weight) {
  const size_t n = (size_t)s->map.H * (size_t)s->map.W, N = (size_t)item->H * (size_t)item->W;

  for (int y = 0; y < s->map.H; y++) {
    for (int x = 0; x < s->map.W; x++) {
      const size_t to = (size_t)y * (size_t)s->map.W + (size_t)x, from = nearest(y, x, s->map.H, s->map.W, item->H, item->W);
      if (!item->mask[from]) continue;
      s->weight[to] += weight;
      for (size_t c = 0; c < item->channels; c++) s->sum[c * n + to] += weight * (double)item->truth[c * N + from];
    }
  }
}

static void divide(sums *s) {
  const size_t n = (size_t)s->map.H * (size_t)s->map.W;

  for (size_t c = 0; c < (size_t)s->map.C; c++) {
    double total = 0, seen = 0;
    for (size_t p = 0; p < n; p++) {
      total += s->sum[c * n + p];
      seen += s->weight[p];
    }
    for (size_t p = 0; p < n; p++)
      s->map.values[c * n + p] = (float)(s->weight[p] > 0 ? s->sum[c * n + p] / s->weight[p] : total / seen);
  }
}

/* An image that cannot be read is named and left out. */
static int add_image(sums *s, ev_set *set, int64_t i, double weight) {
  int st = OK;
  ev_item item;

  if ((st = ev_set_read(set, i, &item)) == E_DATA) {
    log_warn("%s: left out of the mean: %s", ev_set_id(set, i), err_text());
    err_clear();
    return OK;
  }
  TRY(st);
  if (!s->map.values) TRY(sums_open(&item, s));
  add(s, &item, weight);
out:
  return st;
}

int ev_mean_map_make(const ev_training_set *training, int n, ev_mean_map *out) {
  int st = OK;
  sums s = {.sum = NULL};

  for (int k = 0; k < n; k++) {
    const int64_t images = ev_set_count(training[k].set);
    for (int64_t i = 0; i < images; i++) {
      TRY(add_image(&s, training[k].set, i, training[k].share / (double)images));
      log_status(i + 1 == images, "%s: mean of %lld of %lld images", ev_set_name(training[k].set), (long long)(i + 1), (long long)images);
    }
  }
  NEED(s.map.values, E_DATA, "no image of the training data can be read, the first set being %s", ev_set_name(training[0].set));
  divide(&s);
  *out = s.map;
  s.map.values = NULL;
out:
  log_status_end();
  free(s.sum);
  free(s.weight);
  free(s.map.values);
  return st;
}

void ev_mean_map_free(ev_mean_map *m) {
  free(m->values);
  *m = (ev_mean_map){0};
}

int ev_mean_map_predict(void *ctx, int64_t i, const ev_item *item, float *out) {
  const ev_mean_map *m = ctx;
  const size_t n = (size_t)m->H * (size_t)m->W, N = (size_t)item->H * (size_t)item->W;

  (void)i;
  assert((size_t)m->C == item->channels);
  for (int y = 0; y < item->H; y++) {
    for (int x = 0; x < item->W; x++) {
      const size_t from = nearest(y, x, item->H, item->W, m->H, m->W);
      for (size_t c = 0; c < (size_t)m->C; c++) out[c * N + (size_t)y * (size_t)item->W + (size_t)x] = m->values[c * n + from];
    }
  }
  return OK;
}
