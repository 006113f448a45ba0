#include "eval/comparison.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/npy.h"
#include "datasets/image_write.h"

const char *const ev_contender_names[EV_CONTENDERS] = {"before", "after", "constant", "mean_map"};

void ev_comparison_free(ev_comparison *c) {
  for (int who = 0; who < EV_CONTENDERS; who++) ev_result_free(&c->results[who]);
}

void ev_comparison_metrics(const ev_comparison *c, int out[2]) {
  static const char *const told[2][2] = {[EV_DEPTH] = {"abs_rel", "delta1"}, [EV_NORMALS] = {"mean", "below_11_25"}};
  const ev_task task = ev_set_task(c->set);
  const char *const *names;
  const int n = ev_metric_names(task, &names);

  for (int k = 0; k < 2; k++)
    for (int i = 0; i < n; i++)
      if (!strcmp(names[i], told[task][k])) out[k] = i;
}

/* ---- files ---- */

/* A contender whose predictions are kept. */
typedef struct keeper {
  const ev_comparison *c;
  const ev_predictor *inner;
  ev_contender who;
} keeper;

static int keep_plane(const ev_comparison *c, int64_t i, const char *what, const ev_item *item, const float *v) {
  int st = OK;
  char path[IO_PATH_MAX];
  const int64_t shape[3] = {3, item->H, item->W};
  const bool depth = item->channels == 1;

  TRY(io_path(path, "%s/%s-%03lld.%s.npy", c->folder, c->name, (long long)i, what));
  TRY(npy_save_f32(path, depth ? 2 : 3, depth ? shape + 1 : shape, v));
out:
  return st;
}

static int keep_item(const ev_comparison *c, int64_t i, const ev_item *item) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(io_path(path, "%s/%s-%03lld.rgb.png", c->folder, c->name, (long long)i));
  TRY(ds_png_write8(path, item->W, item->H, 3, item->rgb));
  TRY(io_path(path, "%s/%s-%03lld.mask.npy", c->folder, c->name, (long long)i));
  TRY(npy_save_bool(path, 2, (int64_t[]){item->H, item->W}, item->mask));
  TRY(keep_plane(c, i, "truth", item, item->truth));
out:
  return st;
}

static int predict_and_keep(void *ctx, int64_t i, const ev_item *item, float *out) {
  int st = OK;
  const keeper *k = ctx;

  if (k->who == EV_BEFORE) TRY(keep_item(k->c, i, item));
  TRY(k->inner->predict(k->inner->ctx, i, item, out));
  TRY(keep_plane(k->c, i, ev_contender_names[k->who], item, out));
out:
  return st;
}

/* ---- numbers ---- */

int ev_comparison_measure(ev_comparison *c, ev_contender who, const ev_predictor *p) {
  int st = OK;
  char title[IO_PATH_MAX];
  keeper k = {c, p, who};
  const ev_predictor keeping = {predict_and_keep, &k};
  const bool kept = who == EV_BEFORE || who == EV_AFTER;

  TRY(io_path(title, "%s, %s", c->name, ev_contender_names[who]));
  ev_result_free(&c->results[who]);
  TRY(ev_evaluate(c->set, kept ? &keeping : p, title, false, &c->results[who]));
out:
  return st;
}

int64_t ev_comparison_inverted(const ev_comparison *c, ev_contender who) {
  const ev_result *r = &c->results[who];
  int64_t n = 0;

  if (ev_set_task(c->set) != EV_DEPTH) return 0;
  for (int64_t i = 0; i < r->n; i++) n += !r->scores[i].problem && r->scores[i].fit.scale < 0;
  return n;
}

static json_t *numbers_of(const ev_comparison *c, ev_contender who) {
  const char *const *names;
  json_t *o = json_object();
  int at[2];

  ev_metric_names(ev_set_task(c->set), &names);
  ev_comparison_metrics(c, at);
  for (int k = 0; k < 2; k++) {
    const double v = c->results[who].m.values[at[k]];
    json_object_set_new(o, names[at[k]], isfinite(v) ? json_real(v) : json_null());
  }
  return o;
}

int ev_comparison_json(const ev_comparison *sets, int n, const char *path) {
  int st = OK;
  char *text = NULL;
  json_t *all = json_object();

  for (int who = 0; who < EV_CONTENDERS; who++) {
    json_t *one = json_object();
    for (int i = 0; i < n; i++) json_object_set_new(one, sets[i].name, numbers_of(&sets[i], (ev_contender)who));
    json_object_set_new(all, ev_contender_names[who], one);
  }
  NEED((text = json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(9))) != NULL, E_NOMEM, "%s: out of memory", path);
  TRY(io_write_file(path, text, strlen(text)));
out:
  json_decref(all);
  free(text);
  return st;
}

void ev_comparison_table(const ev_comparison *sets, int n, FILE *f) {
  const char *const *names;
  int at[2];

  fprintf(f, "%-12s %-10s %7s %7s", "set", "prediction", "images", "failed");
  ev_metric_names(ev_set_task(sets[0].set), &names);
  ev_comparison_metrics(&sets[0], at);
  fprintf(f, " %11s %11s %9s\n", names[at[0]], names[at[1]], "inverted");
  for (int i = 0; i < n; i++) {
    for (int who = 0; who < EV_CONTENDERS; who++) {
      const ev_result *r = &sets[i].results[who];
      fprintf(f, "%-12s %-10s %7lld %7lld %11.4f %11.4f %9lld\n", sets[i].name, ev_contender_names[who], (long long)(r->n - r->failed),
              (long long)r->failed, r->m.values[at[0]], r->m.values[at[1]],
              (long long)ev_comparison_inverted(&sets[i], (ev_contender)who));
    }
  }
}
