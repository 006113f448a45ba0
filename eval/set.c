#include "eval/set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/kind.h"
#include "eval/set_kind.h"

static bool is_data_kind(const char *name) {
  for (const ds_kind *const *k = ds_kinds; *k; k++)
    if (!strcmp((*k)->name, name)) return true;
  return false;
}

/* "NAME:PATH" */
static int split_spec(const char *spec, char name[64], const char **path) {
  int st = OK;
  const char *colon = strchr(spec, ':');

  NEED(colon && colon > spec && colon - spec < 64 && colon[1], E_CONFIG,
       "--data %s: wanted SET:PATH or a config file; see 'e2eft eval --help'", spec);
  snprintf(name, 64, "%.*s", (int)(colon - spec), spec);
  *path = colon + 1;
out:
  return st;
}

static int set_create(const char *name, const ev_protocol *p, bool normals, const char *const *sets, size_t n,
                      ev_set **out) {
  int st = OK;
  ev_set *s = calloc(1, sizeof *s);

  NEED(s && (s->name = strdup(name)), E_NOMEM, "%s: out of memory", name);
  s->protocol = p;
  s->task = p ? p->task : normals ? EV_NORMALS : EV_DEPTH;
  ev_settings_default(p, &s->settings);
  for (size_t i = 0; i < n; i++) TRY(ev_settings_set(&s->settings, sets[i]));
  *out = s;
  s = NULL;
out:
  ev_set_close(&s);
  return st;
}

/* settings.limit images of all, evenly spread. */
static int pick(ev_set *s) {
  int st = OK;
  const int64_t limit = s->settings.limit;

  s->count = s->total;
  if (!limit || limit >= s->total) return OK;
  NEED((s->picked = malloc((size_t)limit * sizeof *s->picked)) != NULL, E_NOMEM, "%lld images", (long long)limit);
  for (int64_t i = 0; i < limit; i++) s->picked[i] = i * s->total / limit;
  s->count = limit;
out:
  return st;
}

static int open_published(const char *spec, const ev_protocol *p, const char *path, const char *const *sets, size_t n,
                          ev_set **out) {
  int st = OK;
  ev_set *s = NULL;

  TRY(set_create(spec, p, false, sets, n, &s));
  TRY(ev_store_open(path, &s->store));
  TRY(ev_published_list(s));
  TRY(pick(s));
  *out = s;
  s = NULL;
out:
  ev_set_close(&s);
  return st;
}

int ev_set_open(const char *spec, bool normals, const char *const *sets, size_t n, ev_set **out) {
  int st = OK;
  char name[64];
  const char *path = NULL;
  const ev_protocol *p;
  ds_opts o;

  TRY(split_spec(spec, name, &path));
  if ((p = ev_protocol_find(name, normals))) return open_published(spec, p, path, sets, n, out);
  NEED(is_data_kind(name), E_CONFIG, "--data %s: no set is called '%s'; see 'e2eft eval --help'", spec, name);
  ds_opts_default(&o);
  o.kind = name;
  o.root = path;
  o.size_set = true; /* measured at native size; a config's entry says what it wants */
  TRY(ev_set_open_source(&o, spec, normals, sets, n, out));
out:
  return st;
}

int ev_set_open_source(const ds_opts *given, const char *name, bool normals, const char *const *sets, size_t n,
                       ev_set **out) {
  int st = OK;
  ev_set *s = NULL;
  ds_opts o = *given;

  TRY(set_create(name, NULL, normals, NULL, 0, &s));
  s->settings.near_m = (float)o.near_m;
  if (o.far_m > 0) s->settings.far_m = (float)o.far_m;
  for (size_t i = 0; i < n; i++) TRY(ev_settings_set(&s->settings, sets[i]));
  NEED(!s->settings.list[0] && !s->settings.benchmark_crop, E_CONFIG, "%s: keys list and crop are for published sets", name);
  o.need = normals ? DS_NEED_NORMALS | DS_NEED_METRIC : DS_NEED_METRIC;
  o.whole_depth = true;
  o.group = 0;
  o.flip = 0;
  o.shuffle = false;
  o.skip_bad_files = false;
  o.filter = DS_FILTER_NONE; /* what is too plain to train on can still be measured */
  o.near_m = (double)s->settings.near_m;
  if (isfinite(s->settings.far_m)) o.far_m = (double)s->settings.far_m;
  TRY(ds_source_open(&o, &s->source));
  if (ds_source_opts(s->source)->far_m > 0) s->settings.far_m = (float)ds_source_opts(s->source)->far_m;
  TRY(ev_source_list(s));
  TRY(pick(s));
  TRY(ev_source_start(s));
  *out = s;
  s = NULL;
out:
  ev_set_close(&s);
  return st;
}

void ev_set_close(ev_set **sp) {
  ev_set *s = *sp;

  if (!s) return;
  ev_store_close(&s->store);
  ev_source_stop(s);
  ds_source_close(&s->source);
  for (int64_t i = 0; s->entries && i < s->total; i++) free(s->entries[i].problem);
  free(s->entries);
  free(s->ids);
  free(s->picked);
  free(s->name);
  ds_buf *const all[] = {&s->file, &s->rgb, &s->image, &s->truth, &s->mask, &s->pixels, &s->planes};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) ds_buf_free(all[i]);
  free(s);
  *sp = NULL;
}

const char *ev_set_name(const ev_set *s) { return s->name; }
ev_task ev_set_task(const ev_set *s) { return s->task; }
const ev_protocol *ev_set_protocol(const ev_set *s) { return s->protocol; }
const ev_settings *ev_set_settings(const ev_set *s) { return &s->settings; }
int64_t ev_set_count(const ev_set *s) { return s->count; }

void ev_mark_box(ev_box box, int H, int W, uint8_t *mask) {
  const ev_bounds b = ev_box_bounds(box, H, W);

  for (int y = 0; y < H; y++)
    for (int x = 0; x < W; x++)
      if (y < b.top || y >= b.bottom || x < b.left || x >= b.right) mask[(size_t)y * (size_t)W + (size_t)x] = 0;
}

static int64_t place_of(const ev_set *s, int64_t i) { return s->picked ? s->picked[i] : i; }

const char *ev_set_id(const ev_set *s, int64_t i) {
  const int64_t at = place_of(s, i);
  return s->entries ? s->entries[at].names.rgb : s->ids[at];
}

int ev_set_read(ev_set *s, int64_t i, ev_item *out) {
  int st = OK;
  ev_item item = {.id = ev_set_id(s, i), .channels = s->task == EV_DEPTH ? 1 : 3};

  if (s->entries) TRY(ev_published_read(s, place_of(s, i), &item));
  else TRY(ev_source_read(s, place_of(s, i), &item));
  item.image = item.rgb;
  if (s->settings.dsine_image) {
    const size_t n = (size_t)item.H * (size_t)item.W;
    TRY(ds_buf_need(&s->image, 3 * n));
    ev_dsine_image(item.rgb, n, s->image.p);
    item.image = s->image.p;
  }
  for (size_t p = 0; p < (size_t)item.H * (size_t)item.W; p++) item.valid += item.mask[p];
  NEED(item.valid, E_DATA, "%s: no valid pixel", item.id);
  *out = item;
out:
  return st;
}

void ev_dsine_image(const uint8_t *in, size_t n, uint8_t *out) {
  static const float mean[3] = {0.485f, 0.456f, 0.406f}, deviation[3] = {0.229f, 0.224f, 0.225f};
  float value[3][256], lo = INFINITY, hi = -INFINITY;

  for (int c = 0; c < 3; c++)
    for (int v = 0; v < 256; v++) value[c][v] = ((float)v / 255.f - mean[c]) / deviation[c];
  for (size_t i = 0; i < 3 * n; i++) {
    const float v = value[i % 3][in[i]];
    lo = fminf(lo, v);
    hi = fmaxf(hi, v);
  }
  const float range = (float)((double)hi - (double)lo);
  for (size_t i = 0; i < 3 * n; i++) out[i] = range > 0 ? (uint8_t)((value[i % 3][in[i]] - lo) / range * 255.f) : 0;
}
