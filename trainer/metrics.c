#include "trainer/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* JSON has no NaN or infinity: these are strings. A NaN's sign means nothing. */
static void put_number(FILE *f, const char *format, double x) {
  if (isfinite(x)) fprintf(f, format, x);
  else fputs(isnan(x) ? "\"nan\"" : x > 0 ? "\"inf\"" : "\"-inf\"", f);
}

static void put_field(FILE *f, const char *name, double x) {
  fprintf(f, ", \"%s\": ", name);
  put_number(f, "%.9g", x);
}

static void put_groups(FILE *f, const tr_metrics *m) {
  fputs(", \"micro_losses\": [", f);
  for (int g = 0; g < m->groups; g++) {
    if (g) fputs(", ", f);
    if (m->group_empty[g]) fputs("null", f);
    else put_number(f, "%.9g", m->group_loss[g]);
  }
  fputc(']', f);
}

int tr_metrics_line(const tr_metrics *m, char **line, size_t *n) {
  int st = OK;
  char *text = NULL;
  FILE *f = open_memstream(&text, n);

  NEED(f, E_NOMEM, "metrics line");
  fprintf(f, "{\"step\": %lld", (long long)m->step);
  put_field(f, "loss", m->loss);
  put_groups(f, m);
  put_field(f, "grad_norm", m->grad_norm);
  fputs(", \"lr\": ", f);
  put_number(f, "%.17g", m->lr);
  put_field(f, "seconds", m->seconds);
  put_field(f, "samples_per_second", m->samples_per_second);
  put_field(f, "data_wait", m->data_wait);
  put_field(f, "peak_bytes", m->peak_bytes);
  if (m->save_stall > 0) put_field(f, "save_stall", m->save_stall);
  if (m->skipped) fputs(", \"skipped\": true", f);
  fputs("}\n", f);
  if (fclose(f)) {
    free(text);
    FAIL(E_NOMEM, "metrics line");
  }
  *line = text;
out:
  return st;
}
