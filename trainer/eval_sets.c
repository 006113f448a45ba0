#include "trainer/eval_sets.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "trainer/bind.h"

static bool is_config(const char *spec) {
  const size_t n = strlen(spec);
  return n > 5 && (!strcmp(spec + n - 5, ".yaml") || !strcmp(spec + n - 4, ".yml"));
}

static int room_for_one(tr_eval_sets *s) {
  int st = OK;
  ev_set **grown = realloc(s->at, (size_t)(s->n + 1) * sizeof *grown);

  NEED(grown, E_NOMEM, "sets: out of memory");
  s->at = grown;
  s->at[s->n] = NULL;
out:
  return st;
}

int tr_eval_sets_add_config(const cf_config *c, bool normals, const cli_list *keys, tr_eval_sets *s) {
  int st = OK;
  ds_opts o;
  char name[IO_PATH_MAX];

  for (size_t i = 0; i < c->ndata; i++) {
    TRY(tr_bind_data(c, i, &o));
    TRY(io_path(name, "%s:%s", o.kind, o.root));
    TRY(room_for_one(s));
    TRY_AS(st, ev_set_open_source(&o, name, normals, keys->at, keys->n, &s->at[s->n]), "data.%zu", i);
    s->n++;
  }
out:
  return st;
}

static int open_config(const char *path, bool normals, const cli_list *keys, tr_eval_sets *s) {
  int st = OK;
  cf_config *c = NULL;

  TRY(cf_load(path, NULL, 0, false, &c));
  NEED(c->ndata > 0, E_CONFIG, "%s: no data set is given", path);
  TRY(tr_eval_sets_add_config(c, normals || c->model.task == CF_NORMALS, keys, s));
out:
  cf_free(&c);
  return st;
}

int tr_eval_sets_add(const char *spec, bool normals, const cli_list *keys, tr_eval_sets *s) {
  int st = OK;

  if (is_config(spec)) return open_config(spec, normals, keys, s);
  TRY(room_for_one(s));
  TRY(ev_set_open(spec, normals, keys->at, keys->n, &s->at[s->n]));
  s->n++;
out:
  return st;
}

void tr_eval_sets_close(tr_eval_sets *s) {
  for (int i = 0; i < s->n; i++) ev_set_close(&s->at[i]);
  free(s->at);
  *s = (tr_eval_sets){0};
}
