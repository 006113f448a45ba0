/* eval/comparison.h: what training changed: a set predicted by a model before and after it, beside two predictions that do
 * not look at the image; as numbers, as files, and as a page. */
#ifndef EVAL_COMPARISON_H
#define EVAL_COMPARISON_H
#include <stdio.h>

#include "eval/baseline.h"
#include "eval/page.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { EV_BEFORE, EV_AFTER, EV_CONSTANT, EV_MEAN_MAP, EV_CONTENDERS } ev_contender;

/* One set. results[who].set is NULL until it is measured. */
typedef struct ev_comparison {
  const char *name;   /* "rooms"; borrowed, as are set and folder */
  ev_set *set;
  const char *folder; /* where images and predictions are kept; exists */
  ev_result results[EV_CONTENDERS];
} ev_comparison;
void ev_comparison_free(ev_comparison *c);

/* Measures p's predictions on the set; an image's own errors are in the result. Kept, NNN the image's number in the set: of
 * EV_BEFORE and EV_AFTER the prediction, folder/NAME-NNN.before.npy and .after.npy (f32, [H,W] or [3,H,W]); with EV_BEFORE
 * also NAME-NNN.rgb.png, .truth.npy (f32) and .mask.npy (bool). Errors: E_DISK, E_IO, E_FAIL (libpng), and those of
 * ev_evaluate. */
int ev_comparison_measure(ev_comparison *c, ev_contender who, const ev_predictor *p);
/* Measured images whose prediction runs the wrong way: the scale that aligns it is negative. */
int64_t ev_comparison_inverted(const ev_comparison *c, ev_contender who);

/* {before, after, constant, mean_map}: {NAME: {abs_rel, delta1}}, of normals {mean, below_11_25}; null where no image could
 * be measured. Errors: E_DISK, E_IO, E_NOMEM. */
int ev_comparison_json(const ev_comparison *sets, int n, const char *path);
/* The same as a table. */
void ev_comparison_table(const ev_comparison *sets, int n, FILE *f);

/* What a page tells besides; strings may be NULL. */
typedef struct ev_story {
  const char *title, *about, *version;
  ev_chart loss;       /* no line: not shown */
  const char *next;    /* a command to go on with */
} ev_story;
/* One page that needs nothing else: the numbers, the curve, and of each set images from the best to the worst. Errors: E_DISK,
 * E_IO, E_NOMEM, E_FAIL (libpng), E_FORMAT (a kept prediction was changed), E_DATA (an image was). */
int ev_comparison_html(const ev_comparison *sets, int n, const ev_story *story, const char *path);

/* The two metrics that are told of a set, as indices into ev_metric_names, and what a contender is called. */
void ev_comparison_metrics(const ev_comparison *c, int out[2]);
extern const char *const ev_contender_names[EV_CONTENDERS];
#ifdef __cplusplus
}
#endif
#endif
