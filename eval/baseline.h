/* eval/baseline.h: predictions made without looking at the image: what a model has to beat. */
#ifndef EVAL_BASELINE_H
#define EVAL_BASELINE_H
#include "eval/evaluate.h"
#ifdef __cplusplus
extern "C" {
#endif
/* For ev_predictor; ctx is unused. One depth everywhere, or one normal that faces the viewer. */
int ev_constant_predict(void *ctx, int64_t i, const ev_item *item, float *out);

/* The mean of the training data's truth at each place of the image. */
typedef struct ev_mean_map {
  int C, H, W;
  float *values; /* [C,H,W] */
} ev_mean_map;
/* One of the sets that make up the training data, and its share of the samples, relative to the others'. */
typedef struct ev_training_set { ev_set *set; double share; } ev_training_set;
/* Reads every image of the n sets; those that cannot be read are named in the log, and their set counts for less. They may
 * differ in size: the map has the first one's. A place that is never valid has the mean of the others. Errors: E_DATA: no
 * image can be read; E_NOMEM. */
int ev_mean_map_make(const ev_training_set *training, int n, ev_mean_map *out);
void ev_mean_map_free(ev_mean_map *m);
/* For ev_predictor; ctx is an ev_mean_map, from which each pixel takes the nearest place. */
int ev_mean_map_predict(void *ctx, int64_t i, const ev_item *item, float *out);
#ifdef __cplusplus
}
#endif
#endif
