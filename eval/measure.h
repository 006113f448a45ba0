/* eval/measure.h: how far a prediction is from the truth, as Marigold's and DSINE's evaluation code count it.
 * Pixels are compared in float32, as there; sums are double. */
#ifndef EVAL_MEASURE_H
#define EVAL_MEASURE_H
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Of one image; sets report the mean over images. silog is times 100, delta1..3 are shares of 1. */
typedef struct ev_depth_metrics {
  double abs_rel, sq_rel, rmse, rmse_log, log10, silog, delta1, delta2, delta3;
} ev_depth_metrics;
enum { EV_DEPTH_METRICS = sizeof(ev_depth_metrics) / sizeof(double) };

/* pred, truth [n] metres, > 0 where mask [n] is 1. Errors: E_DATA: no valid pixel, or a prediction that is not finite at
 * one. Source: prs-eth/Marigold src/util/metric.py. */
int ev_depth_measure(const float *pred, const float *truth, const uint8_t *mask, size_t n, ev_depth_metrics *out);

/* Angle in degrees between the vectors of pred and truth [3,n], which need not be unit; 90 where one is zero. In float32
 * as there: angles below 0.03 degrees are not told apart.
 * Source: baegwangbin/DSINE utils/utils.py, compute_normal_error. */
void ev_normals_angles(const float *pred, const float *truth, size_t n, float *degrees);

/* Of all valid pixels of a set, pooled. below_* are per cent. */
typedef struct ev_normals_metrics {
  double mean, median, rmse, below_5, below_7_5, below_11_25, below_22_5, below_30;
} ev_normals_metrics;
enum { EV_NORMALS_METRICS = sizeof(ev_normals_metrics) / sizeof(double), EV_ANGLES_LIMITS = 5 };

/* Angles seen so far, in bins of 180/2^22 degrees: 32 MB whatever the size of the set, and a median that is off by half
 * a bin at most. */
typedef struct ev_angles {
  uint64_t *bins;
  uint64_t n, below[EV_ANGLES_LIMITS];
  double sum, sum_of_squares;
} ev_angles;
/* Errors: E_NOMEM. */
int ev_angles_init(ev_angles *a);
void ev_angles_fini(ev_angles *a);
/* degrees [n] where mask [n] is 1. */
void ev_angles_add(ev_angles *a, const float *degrees, const uint8_t *mask, size_t n);
/* Of one image: starts anew and keeps no bins (it may be {0}), so that ev_angles_measure gives no median. */
void ev_angles_sums(ev_angles *a, const float *degrees, const uint8_t *mask, size_t n);
/* Errors: E_DATA: no angle was added. */
int ev_angles_measure(const ev_angles *a, ev_normals_metrics *out);

/* Names of the metrics, in the order of the structs' fields; also the keys of JSON and CSV. */
extern const char *const ev_depth_names[EV_DEPTH_METRICS];
extern const char *const ev_normals_names[EV_NORMALS_METRICS];
#ifdef __cplusplus
}
#endif
#endif
