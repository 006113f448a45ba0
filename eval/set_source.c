/* eval/set_source.c: sets that are data sets of the config's kinds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/set_kind.h"

int ev_source_list(ev_set *s) {
  int st = OK;
  const int64_t items = ds_source_count(s->source), each = ds_source_samples_per_item(s->source);
  char id[DS_ID_MAX];

  s->total = items * each;
  NEED((s->ids = calloc((size_t)s->total + 1, sizeof *s->ids)) != NULL, E_NOMEM, "%lld images", (long long)s->total);
  for (int64_t i = 0; i < s->total; i++) {
    TRY(ds_source_describe(s->source, i / each, id));
    if (each == 1) strcpy(s->ids[i], id);
    else snprintf(s->ids[i], DS_ID_MAX, "%.*s/%lld", DS_ID_MAX - 24, id, (long long)(i % each));
  }
out:
  return st;
}

/* Planes in [-1,1] to bytes. */
static void bytes_of(const float *planes, size_t n, uint8_t *out) {
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < 3; c++) out[3 * i + c] = (uint8_t)lrintf(fminf(fmaxf(planes[c * n + i] * 127.5f + 127.5f, 0), 255));
}

/* HDF5 may crash on a damaged file: files are decoded in a process of their own, as in training. */
int ev_source_start(ev_set *s) {
  const ds_data data = {s->source, 1};
  const ds_loader_opts o = {.group = ds_source_samples_per_item(s->source),
                            .groups_per_step = 1,
                            .workers = 1,
                            .ahead = s->picked ? 1 : 2, /* what comes next is not known to be wanted */
                            .singly = true};

  s->next_item = 0;
  return ds_loader_open(&o, &data, 1, &s->loader);
}

/* Item `item` of the list: it is the loader's step item + 1. */
static int take_item(ev_set *s, int64_t item) {
  int st = OK;

  if (s->group && s->group_item == item) goto out;
  if (s->group) ds_loader_release(s->loader, s->group);
  s->group = NULL;
  if (s->next_item != item) TRY(ds_loader_seek(s->loader, item + 1));
  s->next_item = -1; /* after an error, too, the loader has to be told where to go on */
  TRY(ds_loader_next(s->loader, &s->group));
  s->next_item = item + 1;
  s->group_item = item;
out:
  return st;
}

int ev_source_read(ev_set *s, int64_t i, ev_item *out) {
  int st = OK;
  const int64_t each = ds_source_samples_per_item(s->source);

  TRY(take_item(s, i / each));
  const ds_group *g = s->group;
  const size_t n = (size_t)g->H * (size_t)g->W, b = (size_t)(i % each);
  TRY(ds_buf_need(&s->rgb, 3 * n));
  ev_mark_box(s->settings.box, g->H, g->W, g->mask + b * n);
  bytes_of(g->rgb + 3 * b * n, n, s->rgb.p);
  out->H = g->H;
  out->W = g->W;
  out->rgb = s->rgb.p;
  out->truth = s->task == EV_NORMALS ? g->normals + 3 * b * n : g->metric + b * n;
  out->mask = g->mask + b * n;
out:
  return st;
}

void ev_source_stop(ev_set *s) {
  if (s->group) ds_loader_release(s->loader, s->group);
  ds_loader_close(&s->loader);
}
