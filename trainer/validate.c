#include "trainer/validate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "datasets/colour_map.h"
#include "datasets/image_write.h"
#include "eval/evaluate.h"
#include "eval/model_predictor.h"

struct tr_validator {
  const cf_config *c;
  ev_set **sets;
  int nsets;
  int best_set, best_metric; /* of validate.best; best_set -1: it is unset */
  ck_best best;              /* step 0: none yet */
  ev_estimator lent;         /* the training's networks */
  ev_predict_opts how;
  tr_optimizer *optimizer;
  const char *run_dir;
  io_file lines;
};

/* One set under way. */
typedef struct pass {
  tr_validator *v;
  tr_board *board;
  int64_t step;
  int set;
} pass;

/* ---- what to measure ---- */

/* "METRIC" of the first set, or "N.METRIC" of set N. */
static int parse_best(tr_validator *v) {
  int st = OK, used = 0;
  const char *text = v->c->validate.best, *const *names = NULL;

  v->best_set = -1;
  if (!text) goto out;
  if (sscanf(text, "%d.%n", &v->best_set, &used) != 1 || !used) v->best_set = used = 0;
  NEED(v->best_set >= 0 && v->best_set < v->nsets, E_CONFIG, "validate.best: '%s': validate.sets has no set %d", text,
       v->best_set);
  v->best_metric = ev_metric_names(ev_set_task(v->sets[v->best_set]), &names) - 1;
  while (v->best_metric >= 0 && strcmp(names[v->best_metric], text + used)) v->best_metric--;
  NEED(v->best_metric >= 0, E_CONFIG, "validate.best: '%s' is no metric of %s; wanted %s, ... %s", text + used,
       ev_set_name(v->sets[v->best_set]), names[0], names[ev_metric_names(ev_set_task(v->sets[v->best_set]), &names) - 1]);
out:
  return st;
}

static int open_sets(tr_validator *v) {
  int st = OK;
  const cf_config *c = v->c;
  const bool normals = c->model.task == CF_NORMALS;
  char limit[64];
  const char *const keys[] = {limit};

  NEED(c->validate.nsets, E_CONFIG, "validate.every: validate.sets names nothing to measure on");
  NEED((v->sets = calloc(c->validate.nsets, sizeof *v->sets)) != NULL, E_NOMEM, "validation sets");
  snprintf(limit, sizeof limit, "limit=%lld", (long long)c->validate.limit);
  for (size_t i = 0; i < c->validate.nsets; i++) {
    TRY_AS(st, ev_set_open(c->validate.sets[i], normals, keys, 1, &v->sets[i]), "validate.sets.%zu", i);
    v->nsets++;
    NEED((ev_set_task(v->sets[i]) == EV_NORMALS) == normals, E_CONFIG, "validate.sets.%zu: %s is a set for %s", i,
         c->validate.sets[i], normals ? "depth" : "normals");
  }
out:
  return st;
}

int tr_validator_open(const cf_config *c, tr_validator **out) {
  int st = OK;
  tr_validator *v = NULL;

  *out = NULL;
  if (!c->validate.every) goto out;
  NEED((v = calloc(1, sizeof *v)) != NULL, E_NOMEM, "validation");
  v->c = c;
  v->lines.fd = -1;
  TRY(open_sets(v));
  TRY(parse_best(v));
  NEED(c->validate.weights != CF_EMA || c->optim.ema > 0, E_CONFIG, "validate.weights: ema, but optim.ema is 0");
  *out = v;
  v = NULL;
out:
  tr_validator_close(&v);
  return st;
}

void tr_validator_close(tr_validator **vp) {
  tr_validator *v = *vp;

  if (!v) return;
  if (v->lines.fd >= 0) (void)io_close(&v->lines);
  for (int i = 0; i < v->nsets; i++) ev_set_close(&v->sets[i]);
  free(v->sets);
  free(v);
  *vp = NULL;
}

static void lend(tr_validator *v, const tr_network *net) {
  static const md_noise noises[] = {[CF_ZEROS] = MD_ZEROS, [CF_GAUSSIAN] = MD_GAUSSIAN, [CF_PYRAMID] = MD_PYRAMID,
                                    [CF_NONE] = MD_ZEROS};

  v->lent = (ev_estimator){.vae_config = net->vae_config, .schedule = net->schedule, .unet = net->unet, .vae = net->vae,
                           .text = net->text, .device = net->device, .unet_channels = net->unet_config.in_channels};
  ev_predict_opts_default(&v->how);
  v->how.task = v->c->model.task == CF_NORMALS ? EV_NORMALS : EV_DEPTH;
  v->how.timestep = (int)v->c->model.timestep;
  v->how.noise = noises[v->c->model.noise];
  v->how.seed = v->c->run.seed;
}

int tr_validator_attach(tr_validator *v, const tr_network *net, tr_optimizer *o, ck_rundir *dir, int64_t step) {
  int st = OK;
  bool found;
  char path[IO_PATH_MAX];

  lend(v, net);
  v->optimizer = o;
  v->run_dir = ck_rundir_path(dir);
  TRY(io_path(path, "%s/validation", v->run_dir));
  TRY(io_make_dirs(path));
  TRY(ck_lines_open(dir, "validation/metrics.jsonl", step, &v->lines));
  if (v->best_set < 0) goto out;
  TRY(ck_best_read(v->run_dir, &v->best, &found));
  if (!found || strcmp(v->best.metric, v->c->validate.best)) v->best = (ck_best){0};
out:
  return st;
}

/* ---- predictions ---- */

/* Truth or prediction [C,H,W] as colours. */
static void colour(const pass *w, const float *values, const uint8_t *mask, size_t n, uint8_t *rgb) {
  float lo = INFINITY, hi = -INFINITY;

  if (w->v->how.task == EV_NORMALS) {
    ds_colour_signed(values, mask, n, rgb);
    return;
  }
  for (size_t p = 0; p < n; p++) {
    if (mask && !mask[p]) continue;
    lo = fminf(lo, values[p]);
    hi = fmaxf(hi, values[p]);
  }
  ds_colour_depth(values, mask, n, lo, hi, rgb);
}

/* Image, prediction and truth side by side. */
static int show(const pass *w, int64_t i, const ev_item *item, const float *prediction) {
  int st = OK;
  const size_t H = (size_t)item->H, W = (size_t)item->W, n = H * W;
  char path[IO_PATH_MAX], tag[64], *png = NULL;
  size_t size;
  uint8_t *parts = malloc(2 * 3 * n), *sheet = malloc(3 * 3 * n);

  NEED(parts && sheet, E_NOMEM, "validation: a picture of %zu x %zu", H, W);
  colour(w, prediction, NULL, n, parts);
  colour(w, item->truth, item->mask, n, parts + 3 * n);
  for (size_t y = 0; y < H; y++) {
    memcpy(sheet + 9 * y * W, item->rgb + 3 * y * W, 3 * W);
    memcpy(sheet + 9 * y * W + 3 * W, parts + 3 * y * W, 3 * W);
    memcpy(sheet + 9 * y * W + 6 * W, parts + 3 * n + 3 * y * W, 3 * W);
  }
  TRY(io_path(path, "%s/validation/step-%06lld", w->v->run_dir, (long long)w->step));
  TRY(io_make_dirs(path));
  TRY(io_path(path, "%s/validation/step-%06lld/%d-%03lld.png", w->v->run_dir, (long long)w->step, w->set, (long long)i));
  TRY(ds_png_write8(path, (int)(3 * W), (int)H, 3, sheet));
  if (!w->board) goto out;
  TRY(io_read_file(path, (size_t)1 << 30, &png, &size));
  snprintf(tag, sizeof tag, "validation/%d/%03lld", w->set, (long long)i);
  TRY(tr_board_image(w->board, tag, w->step, png, size, (int)H, (int)(3 * W)));
out:
  free(parts);
  free(sheet);
  free(png);
  return st;
}

static int predict(void *ctx, int64_t i, const ev_item *item, float *out) {
  int st = OK;
  pass *w = ctx;
  ev_model model = {.estimator = &w->v->lent, .opts = &w->v->how};

  TRY(ev_model_predict(&model, i, item, out));
  if (i < w->v->c->validate.pictures) TRY(show(w, i, item, out));
out:
  return st;
}

/* ---- results ---- */

static json_t *result_json(const ev_result *r, const char *name) {
  const char *const *names = NULL;
  const int n = ev_metric_names(ev_set_task(r->set), &names);
  json_t *o = json_pack("{s:s,s:I,s:I}", "set", name, "images", (json_int_t)(r->n - r->failed), "failed", (json_int_t)r->failed);

  for (int k = 0; o && k < n; k++)
    json_object_set_new(o, names[k], isfinite(r->m.values[k]) ? json_real(r->m.values[k]) : json_null());
  return o;
}

static int report(const pass *w, const ev_result *r, json_t *results) {
  int st = OK;
  const char *const *names = NULL;
  const int n = ev_metric_names(ev_set_task(r->set), &names);
  const char *name = ev_set_name(r->set);
  char tag[128];

  NEED(!json_array_append_new(results, result_json(r, name)), E_NOMEM, "validation: results");
  log_info("step %lld: %s: %s %.4g, %s %.4g on %lld images%s", (long long)w->step, name, names[0], r->m.values[0],
           names[ev_set_task(r->set) == EV_DEPTH ? 6 : 5], r->m.values[ev_set_task(r->set) == EV_DEPTH ? 6 : 5],
           (long long)(r->n - r->failed), r->failed ? ", others failed" : "");
  for (int k = 0; w->board && k < n; k++) {
    snprintf(tag, sizeof tag, "validation/%d/%s", w->set, names[k]);
    TRY(tr_board_scalar(w->board, tag, w->step, r->m.values[k]));
  }
out:
  return st;
}

static bool more_is_better(const char *metric) { return !strncmp(metric, "delta", 5) || !strncmp(metric, "below", 5); }

static bool is_best(tr_validator *v, int64_t step, const ev_result *r) {
  const char *const *names = NULL;
  const double now = r->m.values[v->best_metric], then = v->best.value;

  (void)ev_metric_names(ev_set_task(r->set), &names);
  if (!isfinite(now) || (v->best.step && !(more_is_better(names[v->best_metric]) ? now > then : now < then))) return false;
  v->best = (ck_best){.step = step, .value = now};
  snprintf(v->best.metric, sizeof v->best.metric, "%s", v->c->validate.best);
  return true;
}

static int run_set(tr_validator *v, int set, int64_t step, tr_board *board, json_t *results, bool *best) {
  int st = OK;
  char title[64];
  ev_result r = {0};
  pass w = {.v = v, .board = board, .step = step, .set = set};
  const ev_predictor p = {predict, &w};

  snprintf(title, sizeof title, "validation after step %lld", (long long)step);
  TRY(ev_evaluate(v->sets[set], &p, title, false, &r));
  TRY(report(&w, &r, results));
  if (set == v->best_set) *best = is_best(v, step, &r);
out:
  ev_result_free(&r);
  return st;
}

static int write_line(tr_validator *v, int64_t step, json_t *results) {
  int st = OK;
  char *text = NULL;
  json_t *line = json_pack("{s:I,s:s,s:O}", "step", (json_int_t)step, "weights",
                           v->c->validate.weights == CF_EMA ? "ema" : "trained", "results", results);

  NEED(line && (text = json_dumps(line, JSON_REAL_PRECISION(9))) != NULL, E_NOMEM, "validation: results");
  TRY(io_write(&v->lines, text, strlen(text)));
  TRY(io_write(&v->lines, "\n", 1));
  TRY(io_sync(&v->lines));
out:
  free(text);
  json_decref(line);
  return st;
}

bool tr_validator_due(const tr_validator *v, int64_t step) { return v && step % v->c->validate.every == 0; }

int tr_validator_run(tr_validator *v, int64_t step, tr_board *board, bool *best) {
  int st = OK;
  const bool ema = v->c->validate.weights == CF_EMA;
  json_t *results = json_array();

  *best = false;
  NEED(results, E_NOMEM, "validation: results");
  if (ema) TRY(tr_optimizer_swap_average(v->optimizer));
  for (int i = 0; i < v->nsets; i++) {
    const int got = run_set(v, i, step, board, results, best);
    if (got != OK && ema) (void)tr_optimizer_swap_average(v->optimizer);
    TRY(got);
  }
  if (ema) TRY(tr_optimizer_swap_average(v->optimizer));
  TRY(write_line(v, step, results));
out:
  json_decref(results);
  return st;
}

int tr_validator_mark(tr_validator *v) { return ck_best_mark(v->run_dir, &v->best); }
