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

int ev_source_read(ev_set *s, int64_t i, ev_item *out) {
  int st = OK, H, W;
  const int each = ds_source_samples_per_item(s->source);
  ds_sample *samples = calloc((size_t)each, sizeof *samples);

  NEED(samples, E_NOMEM, "%d samples", each);
  TRY(ds_source_shape(s->source, i / each, &H, &W));
  const size_t n = (size_t)H * (size_t)W, floats = ds_sample_floats(H, W);
  TRY(ds_buf_need(&s->planes, (size_t)each * floats * sizeof(float)));
  TRY(ds_buf_need(&s->mask, (size_t)each * n));
  TRY(ds_buf_need(&s->rgb, 3 * n));
  for (int b = 0; b < each; b++)
    ds_sample_place(&samples[b], H, W, (float *)s->planes.p + (size_t)b * floats, (uint8_t *)s->mask.p + (size_t)b * n);
  TRY(ds_source_read(s->source, i / each, false, samples));
  const ds_sample *a = &samples[i % each];
  ev_mark_box(s->settings.box, H, W, a->mask);
  bytes_of(a->rgb, n, s->rgb.p);
  out->H = H;
  out->W = W;
  out->rgb = s->rgb.p;
  out->truth = s->task == EV_NORMALS ? a->normals : a->metric;
  out->mask = a->mask;
out:
  free(samples);
  return st;
}
