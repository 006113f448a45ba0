#include "trainer/preflight.h"

#include <stdlib.h>

#include "base/log.h"
#include "datasets/sample_check.h"
#include "trainer/pack.h"

enum { GROUPS_TRIED = 4 };

/* ---- data ---- */

typedef struct seen { int64_t samples, valid, pixels; } seen;

static void count(const ds_group *g, seen *s) {
  s->samples += g->B;
  s->pixels += (int64_t)g->B * g->H * g->W;
  for (int b = 0; b < g->B; b++) s->valid += g->valid[b];
}

/* Groups of one source in its training order, until one has something to learn from. */
static int look(const cf_config *c, ds_source *source, seen *s) {
  int st = OK;
  const ds_opts *o = ds_source_opts(source);
  const ds_data data = {.source = source, .weight = 1};
  ds_loader_opts lo;
  ds_loader *loader = NULL;
  ds_group *g = NULL;

  *s = (seen){0};
  tr_bind_loader(c, &lo);
  lo.groups_per_step = lo.workers = 1;
  TRY(ds_loader_open(&lo, &data, 1, &loader));
  for (int i = 0; i < GROUPS_TRIED && s->valid == 0; i++) {
    TRY(ds_loader_next(loader, &g));
    count(g, s);
    TRY(ds_group_check(g, o->near_m, o->far_m));
    ds_loader_release(loader, g);
    g = NULL;
  }
  NEED(s->valid > 0, E_DATA, "no valid pixel in the first %lld samples: is the depth within near %g and far %g metres?",
       (long long)s->samples, o->near_m, o->far_m);
out:
  ds_loader_close(&loader);
  return st;
}

/* With depth beside the normals, if the data have it: only both together tell a wrong frame. */
static int look_at_both(const cf_config *c, size_t i, seen *s, bool *looked) {
  int st = OK;
  ds_opts o;
  ds_source *source = NULL;

  *looked = false;
  TRY(tr_bind_data(c, i, &o));
  o.need |= DS_NEED_METRIC;
  if (ds_source_open(&o, &source) != OK) {
    err_clear();
    goto out;
  }
  *looked = true;
  TRY(look(c, source, s));
out:
  ds_source_close(&source);
  return st;
}

static int look_at_entry(const cf_config *c, const tr_data *d, size_t i, seen *s) {
  int st = OK;
  bool looked = false;

  if (c->model.task == CF_NORMALS && !ds_source_is_stored(d->sources[i]) && !c->data[i].cache)
    TRY(look_at_both(c, i, s, &looked));
  if (!looked) TRY(look(c, d->sources[i], s));
out:
  return st;
}

int tr_preflight_data(const cf_config *c, const tr_data *d) {
  int st = OK;
  seen s;

  for (int i = 0; i < d->n; i++) {
    /* a bad file is reported when training meets it, once */
    log_set_level(LOG_ERROR);
    st = look_at_entry(c, d, (size_t)i, &s);
    log_set_level(LOG_INFO);
    if (st == E_DATA && ds_source_is_stored(d->sources[i])) {
      log_warn("data.%d: %s", i, err_text());
      err_clear();
      st = OK;
      continue;
    }
    TRY_AS(st, st, "data.%d (%s, %s)", i, cf_kind_name(c->data[i].kind), c->data[i].root);
    log_info("data.%d: %.1f %% of the pixels are valid in the first %lld samples", i, 100 * (double)s.valid / (double)s.pixels,
             (long long)s.samples);
  }
out:
  return st;
}

/* ---- gradient ---- */

static int gradient_norm(const tr_network *net, double *norm) {
  int st = OK;
  tchc_scope *scope = NULL;
  tchc_tensor *l2 = NULL;
  float host = 0;

  TRY(tchc_scope_open(&scope));
  TRY(tchc_norm_dim(net->grads, 0, false, &l2));
  TRY(tchc_to_host(l2, &host, sizeof host));
  *norm = (double)host;
out:
  tchc_scope_close(&scope);
  return st;
}

int tr_preflight_gradient(const tr_step_opts *o, tr_network *net, ds_group *const *groups, bool whole) {
  int st = OK;
  tr_step_opts one = *o;
  tr_stepper *stepper = NULL;
  const tr_losses *losses = NULL;
  double norm = 0;
  bool empty;
  int last = -1;

  if (!whole) {
    one.groups = 1;
    one.unet_batch = o->group;
    one.decoder_batch = o->decoder_batch < o->group ? o->decoder_batch : o->group;
  }
  TRY(tr_stepper_create(&one, net, &stepper));
  for (int g = 0; g < o->groups && norm == 0; g += one.groups) {
    TRY(tr_stepper_run(stepper, &groups[g], &empty));
    if (empty) continue;
    TRY(gradient_norm(net, &norm));
    last = g;
  }
  if (norm != 0 || last < 0) goto out; /* that there is no valid pixel the step says */
  TRY(tr_stepper_losses(stepper, &groups[last], &losses));
  FAIL(E_NUMERIC,
       "the U-Net's gradient is zero everywhere (loss %g on %s): the decoded prediction is the same everywhere or lies "
       "outside of [-1, 1], so nothing would be learnt",
       losses->mean, groups[last]->id[0]);
out:
  tr_stepper_destroy(&stepper);
  return st;
}
