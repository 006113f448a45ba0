#include "trainer/bind.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One thing a key can ask for that comes with a later version. */
typedef struct later { bool asked; const char *key, *what; } later;

int tr_bind_supported(const cf_config *c) {
  int st = OK;
  const later all[] = {
      {c->model.task == CF_JOINT, "model.task", "joint"},
      {c->model.family == CF_GEOWIZARD, "model.family", "geowizard"},
      {c->objective.kind == CF_DIFFUSION, "objective.kind", "diffusion"},
      {c->objective.zero_snr, "objective.zero_snr", "true (it belongs to objective.kind: diffusion)"},
  };

  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    NEED(!all[i].asked, E_CONFIG, "%s: %s is not available yet", all[i].key, all[i].what);
out:
  return st;
}

int tr_bind_loss(const cf_config *c, const ls_kind **out) {
  int st = OK;
  const bool depth = c->model.task == CF_DEPTH;
  const char *name = c->objective.loss ? c->objective.loss : depth ? "affine_l1" : "angular";
  const ls_kind *kind = ls_find(name);

  NEED(kind, E_CONFIG, "objective.loss: '%s' is unknown", name);
  NEED((kind->task == LS_DEPTH) == depth, E_CONFIG, "objective.loss: '%s' is a loss for %s, but model.task is %s", name,
       depth ? "normals" : "depth", depth ? "depth" : "normals");
  *out = kind;
out:
  return st;
}

static int needed_planes(const cf_config *c) {
  const int diffusion = c->objective.kind == CF_DIFFUSION;

  switch (c->model.task) {
  case CF_DEPTH: return DS_NEED_METRIC | (diffusion ? DS_NEED_DEPTH : 0);
  case CF_NORMALS: return DS_NEED_NORMALS;
  case CF_JOINT: break;
  }
  return DS_NEED_METRIC | DS_NEED_NORMALS | (diffusion ? DS_NEED_DEPTH : 0);
}

static int domain_of(cf_domain d) {
  switch (d) {
  case CF_INDOOR: return DS_INDOOR;
  case CF_OUTDOOR: return DS_OUTDOOR;
  case CF_OBJECT: return DS_OBJECT;
  case CF_DOMAIN_UNSET: break;
  }
  return -1;
}

static ds_layout layout_of(cf_layout l) {
  return l == CF_LAYOUT_RAW ? DS_LAYOUT_RAW : l == CF_LAYOUT_MARIGOLD ? DS_LAYOUT_MARIGOLD : DS_LAYOUT_AUTO;
}

static ds_normals normals_of(cf_normals n) {
  return n == CF_NORMALS_FILES ? DS_NORMALS_FILES : n == CF_NORMALS_DEPTH ? DS_NORMALS_DEPTH : DS_NORMALS_AUTO;
}

int tr_bind_data(const cf_config *c, size_t i, ds_opts *o) {
  const cf_data *d = &c->data[i];

  ds_opts_default(o);
  o->kind = cf_kind_name(d->kind);
  o->root = d->root;
  o->layout = layout_of(d->layout);
  o->split = d->split;
  o->size_set = d->size_set;
  o->H = (int)d->size[0];
  o->W = (int)d->size[1];
  o->crop_H = (int)d->crop[0];
  o->crop_W = (int)d->crop[1];
  o->near_m = d->near_m;
  o->far_m = d->far_m;
  o->flip = d->flip;
  o->shuffle = d->shuffle;
  o->intrinsics = d->intrinsics == CF_FIXED ? DS_FIXED : DS_PER_SCENE;
  o->skip_bad_files = d->bad_file == CF_BAD_SKIP;
  o->mm_wrap = d->mm_wrap;
  o->as_reference = d->as_reference;
  o->normals = normals_of(d->normals);
  o->depth_unit = d->depth_unit;
  o->euclidean = d->depth_kind == CF_EUCLIDEAN;
  o->normals_frame = d->normals_frame == CF_FRAME_MARIGOLD ? DS_FRAME_MARIGOLD : d->normals_frame == CF_FRAME_OPENCV ? DS_FRAME_OPENCV : DS_FRAME_LUB;
  o->domain = domain_of(d->domain);
  o->split_csv = d->split_csv;
  o->camera_csv = d->camera_csv;
  o->filter = d->filter == CF_FILTER_MARIGOLD ? DS_FILTER_MARIGOLD : DS_FILTER_NONE;
  o->frame_list = d->frame_list;
  o->keep_broken = d->keep_broken;
  o->need = needed_planes(c);
  o->group = (int)c->optim.group;
  return OK;
}

/* Decoders beside the trainer, which is busy with one core at least; more than 16 have never been of use. */
static int auto_workers(void) {
  const long cores = sysconf(_SC_NPROCESSORS_ONLN);
  return cores <= 3 ? 2 : cores <= 17 ? (int)cores - 1 : 16;
}

void tr_bind_loader(const cf_config *c, ds_loader_opts *o) {
  *o = (ds_loader_opts){.seed = c->run.seed,
                        .group = (int)c->optim.group,
                        .groups_per_step = (int)(c->optim.batch / c->optim.group),
                        .workers = c->loader.workers ? (int)c->loader.workers : auto_workers(),
                        .timeout_s = c->loader.timeout};
}

int tr_data_open(const cf_config *c, tr_data *d) {
  int st = OK;

  *d = (tr_data){0};
  NEED(c->ndata > 0, E_CONFIG, "data: no data set is given");
  d->sources = calloc(c->ndata, sizeof *d->sources);
  d->entries = calloc(c->ndata, sizeof *d->entries);
  d->shape = calloc(c->ndata, sizeof *d->shape);
  NEED(d->sources && d->entries && d->shape, E_NOMEM, "data: %zu entries", c->ndata);
  for (size_t i = 0; i < c->ndata; i++) {
    ds_opts o;
    TRY(tr_bind_data(c, i, &o));
    TRY_AS(st, ds_source_open(&o, &d->sources[i]), "data.%zu", i);
    d->entries[i] = (ds_data){d->sources[i], c->data[i].weight};
    d->n++;
  }
out:
  return st;
}

void tr_data_close(tr_data *d) {
  for (int i = 0; i < d->n; i++) ds_source_close(&d->sources[i]);
  free(d->sources);
  free(d->entries);
  free(d->shape);
  *d = (tr_data){0};
}

int tr_data_check_size(const cf_config *c, size_t i, int H, int W, int factor) {
  int st = OK;
  const cf_data *d = &c->data[i];

  if (H % factor == 0 && W % factor == 0) goto out;
  FAIL(d->kind == CF_KIND_BATCHES ? E_DATA : E_CONFIG, "data.%zu (%s, %s): %d x %d: training needs multiples of %d", i,
       cf_kind_name(d->kind), d->root, H, W, factor);
out:
  return st;
}

enum { LOOKED_AT = 8 };

/* Size of the first of entry i's items that can be read. libhdf5 may crash on a damaged file: not in this process. */
static int first_size(const cf_config *c, const tr_data *d, int i, int *H, int *W) {
  int st = OK;
  ds_todo todo[LOOKED_AT];
  ds_loader_opts o;
  ds_loader *l = NULL;
  ds_group *g = NULL;

  tr_bind_loader(c, &o);
  o.todo = todo;
  o.workers = o.ahead = 1;
  while (o.ntodo < LOOKED_AT && o.ntodo < ds_source_count(d->sources[i])) todo[o.ntodo] = (ds_todo){i, o.ntodo}, o.ntodo++;
  TRY(ds_loader_open(&o, d->entries, d->n, &l));
  for (int64_t n = 0; n < o.ntodo; n++) {
    TRY(ds_loader_next(l, &g));
    if (!g->bad) break;
    NEED(n + 1 < o.ntodo && ds_source_opts(d->sources[i])->skip_bad_files, E_DATA, "data.%d: %s", i, g->bad);
    ds_loader_release(l, g);
  }
  *H = g->H;
  *W = g->W;
out:
  ds_loader_close(&l);
  return st;
}

static int item_size(const cf_config *c, const tr_data *d, int i, int64_t item, int *H, int *W) {
  ds_source *s = d->sources[i];
  const bool known = ds_source_opts(s)->H > 0 || ds_source_is_stored(s) || ds_source_latent(s);

  return known ? ds_source_shape(s, item, H, W) : first_size(c, d, i, H, W);
}

int tr_data_check_sizes(const cf_config *c, tr_data *d, int factor, int largest[2]) {
  int st = OK;

  largest[0] = largest[1] = 0;
  for (int i = 0; i < d->n; i++) {
    ds_source *s = d->sources[i];
    const int64_t n = ds_source_is_stored(s) ? ds_source_count(s) : 1;
    for (int64_t j = 0; j < n; j++) {
      int H, W;
      TRY(item_size(c, d, i, j, &H, &W));
      TRY(tr_data_check_size(c, (size_t)i, H, W, factor));
      if (j == 0) memcpy(d->shape[i], (const int[]){H, W}, sizeof d->shape[i]);
      if ((int64_t)H * W <= (int64_t)largest[0] * largest[1]) continue;
      largest[0] = H;
      largest[1] = W;
    }
  }
out:
  return st;
}
