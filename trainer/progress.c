#include "trainer/progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void tr_progress_init(tr_progress *p, int64_t steps) { *p = (tr_progress){.steps = steps}; }

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double tr_progress_eta(const tr_progress *p, int64_t step) {
  double sorted[TR_PROGRESS_STEPS];
  const size_t n = (size_t)(p->seen < TR_PROGRESS_STEPS ? p->seen : TR_PROGRESS_STEPS);

  if (!n) return -1;
  memcpy(sorted, p->seconds, n * sizeof *sorted);
  qsort(sorted, n, sizeof *sorted, ascending);
  return (n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2) * (double)(p->steps - step);
}

const char *tr_duration_text(double seconds, char out[24]) {
  const long long s = llround(seconds);

  if (s >= 86400) snprintf(out, 24, "%lldd%02lldh", s / 86400, s / 3600 % 24);
  else if (s >= 3600) snprintf(out, 24, "%lldh%02lldm", s / 3600, s / 60 % 60);
  else if (s >= 60) snprintf(out, 24, "%lldm%02llds", s / 60, s % 60);
  else snprintf(out, 24, "%llds", s);
  return out;
}

void tr_progress_step(tr_progress *p, const tr_metrics *m, bool last) {
  char eta[24];

  p->seconds[p->seen++ % TR_PROGRESS_STEPS] = m->seconds;
  log_status(last, "step %lld/%lld (%.1f%%)  loss %.4g  lr %.3g  %.3g samples/s  data wait %.0f%%  ETA %s%s",
             (long long)m->step, (long long)p->steps, 100.0 * (double)m->step / (double)p->steps, m->loss, m->lr,
             m->samples_per_second, 100 * m->data_wait / m->seconds, tr_duration_text(tr_progress_eta(p, m->step), eta),
             m->skipped ? "  (skipped)" : "");
}
