#include "datasets/worker.h"

#include <stdio.h>

/* All items of a group have one shape; s->at is the pick at work. */
static int group_shape(ds_source *src, ds_slot *s, int *H, int *W) {
  int st = OK, h, w;
  char first[DS_ID_MAX] = "", other[DS_ID_MAX] = "";

  for (int j = 0; j < s->npicks; j++) {
    ds_ring_beat(s, s->at = j);
    TRY(ds_source_shape(src, s->picks[j].item, &h, &w));
    if (j == 0) *H = h, *W = w;
    if (h == *H && w == *W) continue;
    TRY(ds_source_describe(src, s->picks[0].item, first));
    TRY(ds_source_describe(src, s->picks[j].item, other));
    s->at = -1;
    FAIL(E_DATA, "%s is %dx%d but %s is %dx%d and a group has one shape: set data.%d.size", first, *H, *W,
         other, h, w, s->group.dataset);
  }
out:
  return st;
}

/* Samples b .. b+n-1 of the group, as ds_source_read wants them. */
static void samples_place(const ds_slot *s, int b, int n) {
  const ds_group *g = &s->group;
  const size_t px = (size_t)g->H * (size_t)g->W;

  for (int i = 0; i < n; i++) {
    const size_t at = (size_t)(b + i) * px;
    s->samples[i] = (ds_sample){.H = g->H, .W = g->W, .mask = g->mask + at};
    if (g->latent) s->samples[i].latent = (char *)g->latent + (size_t)(b + i) * ds_latent_bytes(&g->latent_form);
    else s->samples[i].rgb = g->rgb + 3 * at;
    if (g->metric) s->samples[i].metric = g->metric + at;
    if (g->depth) s->samples[i].depth = g->depth + at;
    if (g->normals) s->samples[i].normals = g->normals + 3 * at;
  }
}

static int extra_read(ds_source *src, ds_slot *s) {
  int st = OK;
  ds_group *g = &s->group;
  ds_extra e = {.noise = g->noise, .timesteps = g->timesteps};

  TRY(ds_source_read_extra(src, s->picks[0].item, &e));
  if (!e.has_noise) g->noise = NULL;
  if (!e.has_timesteps) g->timesteps = NULL;
out:
  return st;
}

static int pick_read(ds_source *src, ds_slot *s, int j) {
  const ds_pick *p = &s->picks[j];

  if (s->both) return ds_source_read_both(src, p->item, s->samples, &s->group.frame);
  return s->files ? ds_source_read_files(src, p->item, p->flip, s->samples) : ds_source_read(src, p->item, p->flip, s->samples);
}

static int group_decode(const ds_ring *r, ds_source *src, ds_slot *s) {
  int st = OK, H = 0, W = 0;
  const int per = s->both ? 2 : ds_source_samples_per_item(src);
  const bool stored = ds_source_is_stored(src);
  ds_group *g = &s->group;

  TRY(group_shape(src, s, &H, &W));
  const ds_planes planes = {s->npicks * per, H, W, ds_source_opts(src)->need, stored, s->files ? NULL : ds_source_latent(src)};
  if (!ds_ring_place(r, s, &planes)) {
    char id[DS_ID_MAX] = "";
    TRY(ds_source_describe(src, s->picks[0].item, id));
    s->at = -1;
    FAIL(E_DATA, "%s: %dx%d is too large for the buffers: set data.%d.size", id, H, W, s->group.dataset);
  }
  for (int j = 0; j < s->npicks; j++) {
    ds_ring_beat(s, s->at = j);
    samples_place(s, j * per, per);
    TRY(pick_read(src, s, j));
    const char *why = ds_source_left_out(src);
    s->left_out = why != NULL;
    NEED(!why, E_DATA, "%s%s", s->both ? "" : "left out: ", why);
    for (int i = 0, b = j * per; i < per; i++, b++) {
      g->valid[b] = s->samples[i].valid;
      g->domain[b] = s->samples[i].domain;
      snprintf(g->id[b], DS_ID_MAX, "%s", s->samples[i].id);
    }
  }
  if (stored) TRY(extra_read(src, s));
out:
  return st;
}

void ds_worker_decode(const ds_data *data, const ds_ring *r, ds_slot *s) {
  ds_source *src = data[s->group.dataset].source;

  s->left_out = false;
  ds_source_watch(src, s->path, sizeof s->path);
  s->status = group_decode(r, src, s);
  ds_source_watch(src, NULL, 0);
  if (s->status == OK) return;
  if (s->status != E_DATA && s->status != E_FORMAT && s->status != E_IO) s->at = -1;
  snprintf(s->text, sizeof s->text, "%s", err_text());
}

void ds_worker_main(const ds_data *data, ds_ring *r, int w) {
  for (;;) {
    ds_ring_sleep(r);
    ds_slot *s = ds_ring_claim(r, w);
    if (!s) continue;
    ds_worker_decode(data, r, s);
    ds_ring_finish(r, s);
  }
}
