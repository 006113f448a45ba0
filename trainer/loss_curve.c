#include "trainer/loss_curve.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

enum { SMOOTHEST = 25, LOSS_FILE_MAX = 1 << 30 };

static int count_lines(const char *text) {
  int n = 0;
  for (; (text = strchr(text, '\n')); text++) n++;
  return n;
}

/* A loss that was not finite is a text in the file. */
static int read_line(const char *path, int number, const char *line, size_t size, double *step, double *loss) {
  int st = OK;
  json_t *o = json_loadb(line, size, 0, NULL);
  const json_t *s = json_object_get(o, "step"), *l = json_object_get(o, "loss");

  NEED(json_is_integer(s) && (json_is_number(l) || json_is_string(l)), E_CKPT, "%s:%d: wanted an object with step and loss, found %.*s",
       path, number, size < 60 ? (int)size : 60, line);
  *step = (double)json_integer_value(s);
  *loss = json_is_number(l) ? json_number_value(l) : (double)NAN;
out:
  json_decref(o);
  return st;
}

static void smooth(tr_loss_curve *c) {
  c->over = c->n / 10 < 1 ? 1 : c->n / 10 > SMOOTHEST ? SMOOTHEST : c->n / 10;
  for (int i = 0; i < c->n; i++) {
    double sum = 0;
    int seen = 0;
    for (int k = i; k >= 0 && k > i - c->over; k--) {
      if (!isfinite(c->loss[k])) continue;
      sum += c->loss[k];
      seen++;
    }
    c->mean[i] = seen ? sum / seen : (double)NAN;
  }
}

int tr_loss_curve_read(const char *path, tr_loss_curve *out) {
  int st = OK;
  char *text = NULL;
  size_t size = 0;
  tr_loss_curve c = {.step = NULL};

  TRY_AS(st == E_NOMEM ? E_NOMEM : E_CKPT, io_read_file(path, LOSS_FILE_MAX, &text, &size), "the losses");
  const size_t lines = (size_t)count_lines(text);
  c.step = malloc((lines + 1) * sizeof *c.step);
  c.loss = malloc((lines + 1) * sizeof *c.loss);
  c.mean = malloc((lines + 1) * sizeof *c.mean);
  NEED(c.step && c.loss && c.mean, E_NOMEM, "%s: %zu lines", path, lines);
  for (const char *line = text, *end; (end = strchr(line, '\n')); line = end + 1, c.n++)
    TRY(read_line(path, c.n + 1, line, (size_t)(end - line), &c.step[c.n], &c.loss[c.n]));
  smooth(&c);
  *out = c;
  c = (tr_loss_curve){0};
out:
  tr_loss_curve_free(&c);
  free(text);
  return st;
}

void tr_loss_curve_free(tr_loss_curve *c) {
  free(c->step);
  free(c->loss);
  free(c->mean);
  *c = (tr_loss_curve){0};
}
