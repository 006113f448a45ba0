/* eval/evaluate.h: every image of a set measured against its truth; what cannot be measured is counted and named. */
#ifndef EVAL_EVALUATE_H
#define EVAL_EVALUATE_H
#include "eval/measure.h"
#include "eval/set.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Where predictions come from: image i of the set into out, [1,H,W] or [3,H,W] of the item's size. E_DATA: this image
 * has none, the others may; any other error ends the evaluation. ev_stored_read is one. */
typedef struct ev_predictor {
  int (*predict)(void *ctx, int64_t i, const ev_item *item, float *out);
  void *ctx;
} ev_predictor;

/* One image: its metrics, or why it has none. */
typedef struct ev_score {
  char *problem; /* NULL: measured */
  size_t valid;
  int H, W;
  ev_fit_result fit; /* depth */
  union {
    ev_depth_metrics depth;
    ev_normals_metrics normals;
    double values[EV_DEPTH_METRICS];
  } m;
} ev_score;

/* A measured image as a report shows it: at most EV_SHOT_WIDTH columns, every k-th pixel, colours averaged. */
enum { EV_SHOT_WIDTH = 320, EV_SHOTS = 6, EV_BINS = 60 };
typedef struct ev_shot {
  int64_t image; /* -1: none */
  int H, W, channels;
  uint8_t *rgb, *mask;  /* [H,W,3], [H,W] */
  float *pred, *truth;  /* [channels,H,W]; aligned metres, or normals */
} ev_shot;

typedef struct ev_result {
  const ev_set *set;
  char how[128];      /* how the predictions were made, for the reader; the caller's to fill */
  int64_t n, failed;
  ev_score *scores; /* [n] */
  /* Depth: mean over the measured images. Normals: all their valid pixels pooled. NaN when there are none. */
  union {
    ev_depth_metrics depth;
    ev_normals_metrics normals;
    double values[EV_DEPTH_METRICS];
  } m;
  ev_shot best[EV_SHOTS], worst[EV_SHOTS]; /* by abs_rel or mean angle, most extreme first */
  /* Pixels by error, in equal steps from 0 to bins_end (relative depth error, or degrees); the last bin has the rest. */
  uint64_t bins[EV_BINS];
  double bins_end, seconds;
} ev_result;

/* The set's metrics: names, as many as values. */
int ev_metric_names(ev_task task, const char *const **names);
/* title: for the progress line. keep_shots: fill best and worst. Errors: E_NOMEM, and those of the predictor that are not
 * E_DATA; an image's own errors are in the result, whether or not any image could be measured. */
int ev_evaluate(ev_set *set, const ev_predictor *p, const char *title, bool keep_shots, ev_result *out);
void ev_result_free(ev_result *r);
#ifdef __cplusplus
}
#endif
#endif
