/* trainer/metrics.h: a step as one line of metrics.jsonl. */
#ifndef TRAINER_METRICS_H
#define TRAINER_METRICS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_metrics {
  int64_t step;             /* from 1 */
  double loss;
  const double *group_loss; /* [groups] */
  const bool *group_empty;  /* [groups]: null in the line */
  int groups;
  double grad_norm;         /* before clipping */
  double lr;
  double seconds, samples_per_second, data_wait;
  double peak_bytes;
  double save_stall;        /* seconds that training waited for saving since the line before; 0: not in the line */
  bool skipped;             /* no update was made */
} tr_metrics;

/* The line with its newline, from malloc: numbers as %.9g, lr as %.17g, a non-finite one as "nan", "inf" or "-inf".
 * *n is its length. Errors: E_NOMEM. */
int tr_metrics_line(const tr_metrics *m, char **line, size_t *n);
#ifdef __cplusplus
}
#endif
#endif
