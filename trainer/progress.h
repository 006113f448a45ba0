/* trainer/progress.h: the status line: where the run is, how fast, and when it will be done. */
#ifndef TRAINER_PROGRESS_H
#define TRAINER_PROGRESS_H
#include <stdbool.h>
#include <stdint.h>

#include "trainer/metrics.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { TR_PROGRESS_STEPS = 100 };
typedef struct tr_progress {
  int64_t steps;                       /* of the whole run */
  double seconds[TR_PROGRESS_STEPS];   /* ring of the last steps' times */
  int64_t seen;
} tr_progress;

/* "1d02h", "3h05m", "2m10s", "9s". */
const char *tr_duration_text(double seconds, char out[24]);
void tr_progress_init(tr_progress *p, int64_t steps);
/* Seconds to the end after step `step`, from the median of the last steps; -1 before the first. */
double tr_progress_eta(const tr_progress *p, int64_t step);
/* Takes in a step and shows the line; `last` shows it even where lines are rare. */
void tr_progress_step(tr_progress *p, const tr_metrics *m, bool last);
#ifdef __cplusplus
}
#endif
#endif
