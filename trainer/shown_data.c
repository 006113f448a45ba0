#include "trainer/shown_data.h"

#include <stdlib.h>

/* Does the first sample come with all that o.need asks for? */
static int try_one(const cf_config *c, const ds_opts *o) {
  int st = OK;
  ds_loader_opts lo;
  ds_loader *l = NULL;
  ds_group *g;
  ds_opts strict = *o;
  ds_data data = {NULL, 1};

  strict.skip_bad_files = false;
  tr_bind_loader(c, &lo);
  lo.singly = true;
  lo.workers = lo.ahead = 1;
  TRY(ds_source_open(&strict, &data.source));
  TRY(ds_loader_open(&lo, &data, 1, &l));
  TRY(ds_loader_next(l, &g));
  ds_loader_release(l, g);
out:
  ds_loader_close(&l);
  ds_source_close(&data.source);
  return st;
}

static int open_entry(const cf_config *c, size_t i, ds_source **out) {
  int st = OK;
  ds_opts o;

  TRY(tr_bind_data(c, i, &o));
  const int task = o.need, more[] = {DS_NEED_METRIC | DS_NEED_NORMALS, DS_NEED_METRIC, DS_NEED_NORMALS};
  for (size_t k = 0; k < sizeof more / sizeof *more; k++) {
    o.need = task | more[k];
    if (o.need == task || try_one(c, &o) == OK) break;
    err_clear();
    o.need = task;
  }
  TRY_AS(st, ds_source_open(&o, out), "data.%zu", i);
out:
  return st;
}

int tr_shown_data_open(const cf_config *c, tr_data *d) {
  int st = OK;

  *d = (tr_data){0};
  NEED(c->ndata > 0, E_CONFIG, "data: no data set is given");
  d->sources = calloc(c->ndata, sizeof *d->sources);
  d->entries = calloc(c->ndata, sizeof *d->entries);
  NEED(d->sources && d->entries, E_NOMEM, "data: %zu entries", c->ndata);
  for (size_t i = 0; i < c->ndata; i++) {
    TRY(open_entry(c, i, &d->sources[i]));
    d->entries[i] = (ds_data){.source = d->sources[i], .weight = c->data[i].weight};
    d->n++;
  }
out:
  return st;
}
