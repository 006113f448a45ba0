/* trainer/cmd_eval.c: e2eft eval: predictions measured on published sets, a config's data or a user's own. */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "eval/model_predictor.h"
#include "eval/presets.h"
#include "eval/report.h"
#include "eval/stored.h"
#include "trainer/commands.h"
#include "trainer/eval_sets.h"
#include "trainer/infer.h"
#include "trainer/version.h"

typedef struct eval_args {
  tr_infer_args infer;
  const char *predictions, *store, *preset, *json, *csv, *html;
  cli_list data, sets;
} eval_args;

static int parse_task(const char *task, bool *normals) {
  int st = OK;

  *normals = task && !strcmp(task, "normals");
  NEED(!task || *normals || !strcmp(task, "depth"), E_CONFIG, "--task: wanted depth or normals, found '%s'", task);
out:
  return st;
}

static int evaluate_stored(const eval_args *a, ev_set *set, ev_result *out) {
  int st = OK;
  ev_stored *stored = NULL;

  TRY(ev_stored_open(a->predictions, set, &stored));
  const ev_predictor p = {ev_stored_read, stored};
  TRY(ev_evaluate(set, &p, ev_set_name(set), a->html != NULL, out));
out:
  ev_stored_close(&stored);
  return st;
}

/* The model and how it is run: as E2E-FT evaluates, unless something else was asked for. */
typedef struct eval_model {
  ev_estimator estimator;
  ev_predict_opts opts;
  ev_latents *latents;
} eval_model;

static int model_open(const eval_args *a, eval_model *m) {
  int st = OK;
  tr_infer_args infer = a->infer;

  if (!infer.pipeline) infer.pipeline = "reference";
  if (!infer.resolution) infer.resolution = "0";
  if (!infer.steps) infer.steps = 1;
  TRY(tr_infer_open(&infer, &m->estimator));
  TRY(tr_infer_opts(&infer, &m->estimator, &m->opts, &m->latents));
out:
  return st;
}

static void say_how(const ev_predict_opts *o, char out[128]) {
  static const char *const samplers[] = {"ddim", "lcm"}, *const spacings[] = {"trailing", "leading", "linspace"},
                    *const noises[] = {"zeros", "gaussian", "pyramid"};

  snprintf(out, 128, "%d step%s, %s, %s, noise %s, ensemble %d, resolution %d", o->steps, o->steps == 1 ? "" : "s",
           samplers[o->sampler], spacings[o->spacing], o->latents ? "from a file" : noises[o->noise], o->ensemble, o->resolution);
}

static void model_close(eval_model *m) {
  ev_latents_free(&m->latents);
  ev_estimator_fini(&m->estimator);
}

static int evaluate_model(const eval_args *a, const eval_model *m, ev_set *set, ev_result *out) {
  int st = OK;
  ev_model model = {&m->estimator, &m->opts, a->store};
  const ev_predictor p = {ev_model_predict, &model};

  NEED(m->opts.task == ev_set_task(set), E_CONFIG, "%s predicts %s, but %s was taken for a set of %s; see --task", a->infer.model,
       ev_task_name(m->opts.task), ev_set_name(set), ev_task_name(ev_set_task(set)));
  TRY(ev_evaluate(set, &p, ev_set_name(set), a->html != NULL, out));
  say_how(&m->opts, out->how);
out:
  return st;
}

static int write_reports(const eval_args *a, const ev_report *r) {
  int st = OK;

  if (a->json) TRY(ev_report_json(r, a->json));
  if (a->csv) TRY(ev_report_csv(r, a->csv));
  if (a->html) TRY(ev_report_html(r, a->html));
out:
  return st;
}

static int check_args(const eval_args *a) {
  int st = OK;

  NEED(a->predictions || a->infer.model, E_CONFIG, "eval: --model DIR or --predictions DIR is missing; see 'e2eft eval --help'");
  NEED(!a->predictions || !a->infer.model, E_CONFIG, "eval: --model or --predictions, not both");
  NEED((!a->store && !a->preset) || a->infer.model, E_CONFIG, "eval: --store and --preset go with --model");
  NEED(!a->store || !a->preset, E_CONFIG, "eval: --store keeps the predictions of one way to run the model, not those of --preset");
  NEED(a->data.n, E_CONFIG, "eval: --data SET:PATH is missing; see 'e2eft eval --help'");
out:
  return st;
}

/* What is to be done: every set with each preset, or once. */
typedef struct eval_plan {
  tr_eval_sets sets;
  eval_model model;
  const ev_preset *presets[EV_PRESETS_MAX];
  int npresets; /* 0: the options as given */
  ev_result *results;
  int done;
} eval_plan;

static int one_task(const tr_eval_sets *s) {
  int st = OK;

  for (int i = 1; i < s->n; i++)
    NEED(ev_set_task(s->at[i]) == ev_set_task(s->at[0]), E_CONFIG, "--preset: sets of depth and of normals in one table");
out:
  return st;
}

/* Sets are opened before the model: their decoders are started before libtorch is touched. */
static int plan_open(const eval_args *a, eval_plan *p) {
  int st = OK;
  bool normals;

  TRY(parse_task(a->infer.task, &normals));
  if (a->preset) TRY(ev_presets_choose(a->preset, p->presets, &p->npresets));
  for (size_t i = 0; i < a->data.n; i++) TRY(tr_eval_sets_add(a->data.at[i], normals, &a->sets, &p->sets));
  if (a->preset) TRY(one_task(&p->sets));
  const int n = p->sets.n * (p->npresets ? p->npresets : 1);
  NEED((p->results = calloc((size_t)n, sizeof *p->results)) != NULL, E_NOMEM, "%d evaluations", n);
  if (a->infer.model) TRY(model_open(a, &p->model));
out:
  return st;
}

static void plan_close(eval_plan *p) {
  for (int i = 0; i < p->done; i++) ev_result_free(&p->results[i]);
  free(p->results);
  model_close(&p->model);
  tr_eval_sets_close(&p->sets);
}

static int evaluate_all(const eval_args *a, eval_plan *p) {
  int st = OK;

  for (int k = 0; k < (p->npresets ? p->npresets : 1); k++) {
    if (p->npresets) ev_presets_apply(p->presets[k], &p->model.opts);
    for (int i = 0; i < p->sets.n; i++, p->done++) {
      if (p->npresets) log_info("%s: %s", p->presets[k]->name, p->presets[k]->label);
      if (a->infer.model) TRY(evaluate_model(a, &p->model, p->sets.at[i], &p->results[p->done]));
      else TRY(evaluate_stored(a, p->sets.at[i], &p->results[p->done]));
    }
  }
out:
  return st;
}

static int run_eval(const void *arguments, int argc, char **argv) {
  int st = OK;
  const eval_args *a = arguments;
  eval_plan p = {.done = 0};

  (void)argc, (void)argv;
  TRY(check_args(a));
  TRY(plan_open(a, &p));
  TRY(evaluate_all(a, &p));
  const ev_report report = {.results = p.results,
                            .n = p.done,
                            .source = a->predictions ? a->predictions : a->infer.model,
                            .version = tr_version()};
  if (p.npresets) ev_presets_print(p.presets, p.npresets, p.results, p.sets.n, stdout);
  else ev_report_table(&report, stdout);
  TRY(write_reports(a, &report));
  const int64_t failed = ev_report_failed(&report);
  NEED(!failed, E_DATA, "%lld image%s could not be measured; the others are in the report", (long long)failed,
       failed == 1 ? "" : "s");
out:
  plan_close(&p);
  return st;
}

#define AT(field) offsetof(eval_args, field)
#define INFER(field) offsetof(eval_args, infer.field)
static const cli_option options[] = {
    {"data", 'd', CLI_LIST, AT(data), "SPEC", NULL, "what to evaluate on, see below; may be given several times"},
    {"predictions", 0, CLI_TEXT, AT(predictions), "DIR", NULL, "stored predictions (.npy, 16-bit .png) of any program, not --model"},
    {"store", 0, CLI_TEXT, AT(store), "DIR", NULL, "keep the model's predictions, for --predictions"},
    {"preset", 0, CLI_TEXT, AT(preset), "NAMES", NULL, "run the model in the ways that the paper compares, see below"},
    TR_INFER_OPTIONS(INFER),
    {"set", 's', CLI_LIST, AT(sets), "key=value", NULL, "vary the protocol, see below"},
    {"json", 0, CLI_TEXT, AT(json), "FILE", NULL, "metrics, counts and failures"},
    {"csv", 0, CLI_TEXT, AT(csv), "FILE", NULL, "metrics of each image"},
    {"html", 0, CLI_TEXT, AT(html), "FILE", NULL, "one page: best and worst images, error maps, histograms"},
    {0}};

const cli_command tr_eval_command = {
    .name = "eval",
    .options = options,
    .summary = "measure depth or normals on published sets and on your own data",
    .details =
        "SPEC is SET:PATH, PATH the set's tar archive or its folder. Depth: nyuv2 kitti eth3d scannet diode; normals:\n"
        "nyuv2_normals scannet_normals ibims sintel oasis. Or KIND:PATH with a kind of a config's data (hypersim,\n"
        "vkitti2, manifest, batches) at native size, or a config file: all its data entries. --task says which is meant where\n"
        "a set has both.\n\n"
        "A model is run as E2E-FT evaluates unless options say otherwise: --pipeline reference --resolution 0 --steps 1.\n\n"
        "A prediction for a/rgb_1.png is DIR/a/rgb_1.npy, DIR/a/pred_1.npy (as Marigold stores it), or DIR/rgb_1.npy where no\n"
        "two images share a name; .png likewise. Images that cannot be measured are named and counted, exit status 3.\n\n"
        EV_SETTINGS_HELP "\n\n" EV_PRESETS_HELP,
    .args_size = sizeof(eval_args),
    .run = run_eval};
