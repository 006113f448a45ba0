#include "trainer/timer.h"

#include <stdlib.h>

#include "tchc/stream.h"

const char *const tr_phase_names[TR_PHASES] = {"input", "unet", "unet_back", "decoder", "loss", "decoder_back", "optimizer"};

typedef struct mark {
  tchc_event *event;
  tr_phase phase;
} mark;

struct tr_timer {
  tchc_device device;
  mark *marks;       /* [capacity], the first `open` with an event */
  int n, open, capacity;
};

int tr_timer_open(tchc_device d, tr_timer **out) {
  int st = OK;
  tr_timer *t = calloc(1, sizeof *t);

  NEED(t, E_NOMEM, "timer");
  t->device = d;
  *out = t;
out:
  return st;
}

void tr_timer_close(tr_timer **tp) {
  tr_timer *t = *tp;

  if (!t) return;
  for (int i = 0; i < t->open; i++) tchc_event_close(&t->marks[i].event);
  free(t->marks);
  free(t);
  *tp = NULL;
}

static int more_room(tr_timer *t) {
  int st = OK;

  if (t->n == t->capacity) {
    const int capacity = t->capacity ? 2 * t->capacity : 64;
    mark *marks = realloc(t->marks, sizeof *marks * (size_t)capacity);
    NEED(marks, E_NOMEM, "timer: %d marks", capacity);
    t->marks = marks;
    t->capacity = capacity;
  }
  if (t->n == t->open) {
    TRY(tchc_event_open(t->device, true, &t->marks[t->n].event));
    t->open++;
  }
out:
  return st;
}

int tr_timer_mark(tr_timer *t, tr_phase phase) {
  int st = OK;

  if (!t) return OK;
  TRY(more_room(t));
  TRY(tchc_event_record(t->marks[t->n].event));
  t->marks[t->n++].phase = phase;
out:
  return st;
}

int tr_timer_read(tr_timer *t, double ms[TR_PHASES]) {
  int st = OK;

  TRY(tr_timer_mark(t, TR_PHASES));
  TRY(tchc_event_synchronize(t->marks[t->n - 1].event));
  for (int i = 0; i + 1 < t->n; i++) {
    double between;
    TRY(tchc_event_elapsed(t->marks[i].event, t->marks[i + 1].event, &between));
    ms[t->marks[i].phase] += between;
  }
  t->n = 0;
out:
  return st;
}
