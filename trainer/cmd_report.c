/* trainer/cmd_report.c: e2eft report: what a run changed: its base model and its weights on data that it did not see. */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "eval/comparison.h"
#include "eval/model_predictor.h"
#include "trainer/commands.h"
#include "trainer/eval_sets.h"
#include "trainer/infer.h"
#include "trainer/loss_curve.h"
#include "trainer/version.h"

enum { NAME_MAX_BYTES = 64 };

typedef struct report_args {
  const char *run, *out, *base, *title, *about, *next, *device, *precision;
  cli_list data, sets;
} report_args;

/* What is compared, opened. */
typedef struct report {
  cf_config *config;
  tr_eval_sets held_out, training; /* training: the run's own data, in the config's order, whose mean is a baseline */
  char (*names)[NAME_MAX_BYTES];
  ev_comparison *compared;         /* [ncompared] */
  int ncompared;
  tr_loss_curve losses;
  char folder[IO_PATH_MAX], model[IO_PATH_MAX];
} report;

static ev_task task_of(const cf_config *c) { return c->model.task == CF_NORMALS ? EV_NORMALS : EV_DEPTH; }

/* ---- opening ---- */

static int check_args(const report_args *a) {
  int st = OK;

  NEED(a->out, E_CONFIG, "report: -o DIR is missing");
  NEED(a->data.n, E_CONFIG, "report: --data NAME=KIND:PATH is missing; see 'e2eft report --help'");
out:
  return st;
}

static int load_run(const report_args *a, report *r) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(io_path(path, "%s/config.yaml", a->run));
  NEED(io_exists(path), E_CKPT, "%s: no config.yaml: not a run folder", a->run);
  TRY_AS(E_CKPT, cf_load(path, NULL, 0, true, &r->config), "%s: its config", a->run);
  TRY(io_path(r->model, "%s/model", a->run));
  NEED(io_is_dir(r->model), E_CKPT, "%s: no such folder: the run has not come to its end", r->model);
  TRY(io_path(path, "%s/metrics.jsonl", a->run));
  TRY(tr_loss_curve_read(path, &r->losses));
out:
  return st;
}

/* Names become parts of file names. */
static int split_name(const char *given, char name[NAME_MAX_BYTES], const char **spec) {
  int st = OK;
  const size_t n = strspn(given, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

  NEED(n > 0 && n < NAME_MAX_BYTES && given[n] == '=' && given[n + 1], E_CONFIG,
       "--data %s: wanted NAME=KIND:PATH, NAME=SET:PATH or NAME=CONFIG, NAME of letters, digits, _ and -", given);
  snprintf(name, NAME_MAX_BYTES, "%.*s", (int)n, given);
  *spec = given + n + 1;
out:
  return st;
}

static int open_set(const report_args *a, size_t i, report *r) {
  int st = OK;
  const char *spec = NULL;

  TRY(split_name(a->data.at[i], r->names[i], &spec));
  for (size_t k = 0; k < i; k++)
    NEED(strcmp(r->names[k], r->names[i]), E_CONFIG, "--data: two sets are called %s", r->names[i]);
  TRY(tr_eval_sets_add(spec, task_of(r->config) == EV_NORMALS, &a->sets, &r->held_out));
  NEED(r->held_out.n == (int)i + 1, E_CONFIG, "--data %s: wanted one data set, found %d", a->data.at[i], r->held_out.n - (int)i);
  r->compared[r->ncompared++] = (ev_comparison){.name = r->names[i], .set = r->held_out.at[i], .folder = r->folder};
  NEED(ev_set_task(r->held_out.at[i]) == task_of(r->config), E_CONFIG,
       "--data %s: the run learnt %s, wanted a set of that, found one of %s", a->data.at[i],
       ev_task_name(task_of(r->config)), ev_task_name(ev_set_task(r->held_out.at[i])));
  NEED(!ev_set_settings(r->held_out.at[i])->x_right, E_CONFIG,
       "--set frame=right is not for report: a run's normals have x to the left");
out:
  return st;
}

static int open_all(const report_args *a, report *r) {
  static const char *some[] = {"limit=2000"}; /* of each of the run's data sets: enough for a mean */
  int st = OK;

  TRY(load_run(a, r));
  TRY(io_path(r->folder, "%s/heldout", a->out));
  TRY_AS(E_CONFIG, io_need_free(r->folder), "-o");
  r->names = calloc(a->data.n, sizeof *r->names);
  r->compared = calloc(a->data.n, sizeof *r->compared);
  NEED(r->names && r->compared, E_NOMEM, "%zu sets", a->data.n);
  for (size_t i = 0; i < a->data.n; i++) TRY(open_set(a, i, r));
  TRY_AS(st, tr_eval_sets_add_config(r->config, task_of(r->config) == EV_NORMALS, &(cli_list){some, 1}, &r->training), "the run");
  TRY(io_make_dirs(r->folder));
out:
  return st;
}

static void close_all(report *r) {
  for (int i = 0; i < r->ncompared; i++) ev_comparison_free(&r->compared[i]);
  tr_loss_curve_free(&r->losses);
  tr_eval_sets_close(&r->held_out);
  tr_eval_sets_close(&r->training);
  free(r->compared);
  free(r->names);
  cf_free(&r->config);
}

/* ---- measuring ---- */

/* As E2E-FT evaluates, with the noise that the run trained with. */
static int measure_model(const report_args *a, report *r, const char *folder, ev_contender who) {
  static const char *const noises[] = {[CF_ZEROS] = "zeros", [CF_GAUSSIAN] = "gaussian", [CF_PYRAMID] = "pyramid", [CF_NONE] = "zeros"};
  int st = OK;
  const tr_infer_args infer = {.model = folder, .task = ev_task_name(task_of(r->config)), .steps = 1,
                               .noise = noises[r->config->model.noise], .pipeline = "reference", .resolution = "0",
                               .device = a->device, .precision = a->precision};
  ev_estimator estimator = {0};
  ev_predict_opts opts;
  ev_latents *latents = NULL;

  TRY(tr_infer_open(&infer, &estimator));
  TRY(tr_infer_opts(&infer, &estimator, &opts, &latents));
  opts.timestep = (int)r->config->model.timestep;
  ev_model model = {&estimator, &opts, NULL};
  for (int i = 0; i < r->ncompared; i++)
    TRY(ev_comparison_measure(&r->compared[i], who, &(ev_predictor){ev_model_predict, &model}));
out:
  ev_latents_free(&latents);
  ev_estimator_fini(&estimator);
  return st;
}

static int measure_baselines(report *r) {
  int st = OK;
  ev_mean_map mean = {0};
  ev_training_set *training = calloc((size_t)r->training.n + 1, sizeof *training);

  NEED(training, E_NOMEM, "%d data sets", r->training.n);
  for (int i = 0; i < r->training.n; i++) training[i] = (ev_training_set){r->training.at[i], r->config->data[i].weight};
  TRY(ev_mean_map_make(training, r->training.n, &mean));
  for (int i = 0; i < r->ncompared; i++) {
    TRY(ev_comparison_measure(&r->compared[i], EV_CONSTANT, &(ev_predictor){ev_constant_predict, NULL}));
    TRY(ev_comparison_measure(&r->compared[i], EV_MEAN_MAP, &(ev_predictor){ev_mean_map_predict, &mean}));
  }
out:
  ev_mean_map_free(&mean);
  free(training);
  return st;
}

/* ---- telling ---- */

static int write_all(const report_args *a, const report *r) {
  int st = OK;
  const int n = r->ncompared;
  char path[IO_PATH_MAX], mean[64];

  snprintf(mean, sizeof mean, "mean of %d updates", r->losses.over);
  const ev_line lines[] = {{"each update", r->losses.step, r->losses.loss, r->losses.n},
                           {mean, r->losses.step, r->losses.mean, r->losses.n}};
  const ev_chart loss = {.title = "loss", .x_label = "update", .lines = lines, .n = r->losses.n ? 2 : 0};
  const ev_story story = {.title = a->title, .about = a->about, .version = tr_version(), .loss = loss, .next = a->next};
  ev_comparison_table(r->compared, n, stdout);
  TRY(io_path(path, "%s/report.json", a->out));
  TRY(ev_comparison_json(r->compared, n, path));
  TRY(io_path(path, "%s/report.html", a->out));
  TRY(ev_comparison_html(r->compared, n, &story, path));
out:
  return st;
}

/* Images that are missing from a set's numbers, of the prediction that has most of them. */
static int64_t failures(const report *r) {
  int64_t failed = 0;

  for (int i = 0; i < r->ncompared; i++) {
    int64_t most = 0;
    for (int who = 0; who < EV_CONTENDERS; who++)
      if (r->compared[i].results[who].failed > most) most = r->compared[i].results[who].failed;
    failed += most;
  }
  return failed;
}

static int run_report(const void *arguments, int argc, char **argv) {
  int st = OK;
  const report_args *a = arguments;
  report r = {.config = NULL};

  (void)argc, (void)argv;
  TRY(check_args(a));
  TRY(open_all(a, &r));
  TRY(measure_model(a, &r, a->base ? a->base : r.config->model.path, EV_BEFORE));
  TRY(measure_model(a, &r, r.model, EV_AFTER));
  TRY(measure_baselines(&r));
  TRY(write_all(a, &r));
  const int64_t failed = failures(&r);
  NEED(!failed, E_DATA, "%lld image%s could not be measured; the others are in the report", (long long)failed, failed == 1 ? "" : "s");
out:
  close_all(&r);
  return st;
}

#define AT(field) offsetof(report_args, field)
static const cli_option options[] = {
    {"data", 'd', CLI_LIST, AT(data), "NAME=SPEC", NULL, "data that the run did not see, and what to call it; may be given several times"},
    {"out", 'o', CLI_TEXT, AT(out), "DIR", NULL, "where report.html, report.json and heldout/ go"},
    {"base", 0, CLI_TEXT, AT(base), "DIR", NULL, "the base model, where it is not at the config's model.path any more"},
    {"set", 's', CLI_LIST, AT(sets), "key=value", NULL, "vary the protocol, see 'e2eft eval --help': limit=100, far=80"},
    {"title", 0, CLI_TEXT, AT(title), "TEXT", NULL, "the page's title"},
    {"about", 0, CLI_TEXT, AT(about), "TEXT", NULL, "a line below it"},
    {"next", 0, CLI_TEXT, AT(next), "TEXT", NULL, "a command to show as what to do next"},
    {"device", 0, CLI_TEXT, AT(device), "NAME", NULL, "auto, cpu or cuda (auto)"},
    {"precision", 0, CLI_TEXT, AT(precision), "TYPE", NULL, "fp32, bf16 or fp16 (fp32)"},
    {0}};

const cli_command tr_report_command = {
    .name = "report",
    .operand = "RUN",
    .operand_offset = AT(run),
    .options = options,
    .summary = "show what a run changed: base model and result on held-out data, in pictures and numbers",
    .details = "SPEC is what e2eft eval takes: KIND:PATH, SET:PATH, or a config file with one data entry. Base model and result are\n"
               "run as E2E-FT evaluates: one step. Beside them stand two predictions that do not look at the image: one value\n"
               "everywhere, and the mean of the run's training data at each pixel, its data sets by their weights (of at most 2,000\n"
               "images of each). A base of 4 channels is run on the image alone, and model.init: random is not reproduced.\n\n"
               "report.json is {before, after, constant, mean_map}: {NAME: {abs_rel, delta1}}, for normals {mean, below_11_25}.\n"
               "heldout/NAME-NNN has the files rgb.png, truth.npy, mask.npy, before.npy and after.npy of each image.",
    .args_size = sizeof(report_args),
    .run = run_report};
