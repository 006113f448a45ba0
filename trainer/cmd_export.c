/* trainer/cmd_export.c: e2eft export: a diffusers folder from a checkpoint. */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "trainer/commands.h"
#include "trainer/device.h"
#include "trainer/model_export.h"

typedef struct export_args {
  const char *checkpoint, *out, *base, *dtype, *frame;
  bool folded, unet_only;
} export_args;

/* A checkpoint with the little of a run that an export needs. */
typedef struct source {
  char checkpoint[IO_PATH_MAX], run_dir[IO_PATH_MAX]; /* run_dir "": none */
  cf_config *config;
  char *config_text;
  tr_network net;     /* read, not loaded */
  md_params *layout;
  ck_param *params;
  ck_state state;
} source;

static void source_close(source *s) {
  free(s->state.weights);
  free(s->state.ema);
  free(s->params);
  free(s->config_text);
  md_params_destroy(&s->layout);
  tr_network_fini(&s->net);
  cf_free(&s->config);
}

/* path: a checkpoint, or a run folder whose newest is meant. */
static int find_checkpoint(const char *path, source *s) {
  int st = OK;
  bool found = true;
  char file[IO_PATH_MAX];

  NEED(io_is_dir(path), E_CKPT, "%s: no such folder", path);
  TRY(io_path(file, "%s/manifest.json", path));
  if (io_exists(file)) TRY(io_path(s->checkpoint, "%s", path));
  else TRY(ck_latest(path, s->checkpoint, &found));
  NEED(found, E_CKPT, "%s: neither a checkpoint (manifest.json) nor a run folder with one", path);
  TRY(io_path(file, "%s/../../run.json", s->checkpoint));
  if (io_exists(file)) TRY(io_path(s->run_dir, "%s/../..", s->checkpoint));
out:
  return st;
}

static int load_config(const export_args *a, source *s) {
  int st = OK;
  char path[IO_PATH_MAX], override[IO_PATH_MAX];
  const char *const sets[] = {override};

  TRY(io_path(path, "%s/config.yaml", s->checkpoint));
  TRY(io_path(override, "model.path=%s", a->base ? a->base : ""));
  TRY_AS(E_CKPT, cf_load(path, sets, a->base ? 1 : 0, true, &s->config), "%s: its config", s->checkpoint);
out:
  return st;
}

static int make_layout(source *s) {
  int st = OK;

  TRY(md_params_create("unet", &s->layout));
  TRY(md_unet_declare(&s->net.unet_config, s->layout));
  const int n = md_params_count(s->layout);
  NEED((s->params = calloc((size_t)n + 1, sizeof *s->params)) != NULL, E_NOMEM, "%d parameters", n);
  for (int i = 0; i < n; i++) {
    const md_param *p = md_params_at(s->layout, i);
    s->params[i] = (ck_param){.name = p->name, .ndim = p->ndim, .offset = p->offset, .numel = p->numel};
    memcpy(s->params[i].shape, p->shape, sizeof p->shape);
  }
  s->state.nparams = n;
  s->state.params = s->params;
  s->state.numel = md_params_numel(s->layout);
out:
  return st;
}

static int load_weights(source *s) {
  int st = OK;
  char ema[IO_PATH_MAX];
  const size_t bytes = sizeof(float) * (size_t)s->state.numel + 1;

  TRY(io_path(ema, "%s/ema.safetensors", s->checkpoint));
  NEED((s->state.weights = malloc(bytes)) != NULL, E_NOMEM, "%zu bytes of weights", bytes);
  if (io_exists(ema)) NEED((s->state.ema = malloc(bytes)) != NULL, E_NOMEM, "%zu bytes of weights", bytes);
  TRY(ck_load(s->checkpoint, &s->state, &s->config_text));
out:
  return st;
}

static int read_dtype(const char *text, ck_precisions *p) {
  int st = OK;

  *p = (ck_precisions){!text || strcmp(text, "f16"), !text || strcmp(text, "f32")};
  NEED(!text || !strcmp(text, "f32") || !strcmp(text, "f16") || !strcmp(text, "both"), E_CONFIG,
       "--dtype %s: wanted f32, f16 or both", text);
out:
  return st;
}

static int read_options(const export_args *a, tr_export_opts *o) {
  int st = OK;
  const char *frame = a->frame ? a->frame : "lub";

  NEED(a->checkpoint, E_CONFIG, "--checkpoint DIR is missing");
  NEED(a->out, E_CONFIG, "-o DIR is missing");
  NEED(!strcmp(frame, "lub") || !strcmp(frame, "marigold"), E_CONFIG, "--normals-frame %s: wanted lub or marigold", frame);
  *o = (tr_export_opts){.out = a->out, .folded = a->folded, .unet_only = a->unet_only, .flip_x = !strcmp(frame, "marigold")};
  NEED(!o->flip_x || !o->unet_only, E_CONFIG, "--normals-frame marigold changes the VAE's decoder: not with --unet-only");
  TRY(read_dtype(a->dtype, &o->precisions));
out:
  return st;
}

static int open_source(const export_args *a, source *s) {
  int st = OK;
  tr_device device;

  TRY(find_checkpoint(a->checkpoint, s));
  TRY(load_config(a, s));
  s->config->run.device = CF_CPU;
  TRY(tr_network_read(s->config, &s->net));
  TRY(make_layout(s));
  TRY(load_weights(s));
  TRY(tr_device_open(s->config, &device));
out:
  return st;
}

static int run_export(const void *arguments, int argc, char **argv) {
  int st = OK;
  const export_args *a = arguments;
  tr_export_opts o;
  tr_exported e = {.tmp = ""};
  source s = {.config = NULL};

  (void)argc, (void)argv;
  TRY(read_options(a, &o));
  TRY_AS(E_CONFIG, io_need_free(a->out), "-o");
  TRY(open_source(a, &s));
  NEED(!o.flip_x || s.config->model.task == CF_NORMALS, E_CONFIG, "--normals-frame: %s predicts depth", s.checkpoint);
  const tr_export_from from = {s.config, &s.net, &s.state, s.config_text, s.run_dir[0] ? s.run_dir : NULL};
  TRY(tr_export_make(&from, &o, &e));
  TRY(tr_export_publish(&e));
out:
  tr_export_abandon(&e);
  source_close(&s);
  return st;
}

#define AT(field) offsetof(export_args, field)
static const cli_option options[] = {
    {"checkpoint", 0, CLI_TEXT, AT(checkpoint), "DIR", NULL, "a checkpoint, or a run folder: its newest"},
    {"out", 'o', CLI_TEXT, AT(out), "DIR", NULL, "the folder to make"},
    {"folded", 0, CLI_FLAG, AT(folded), NULL, NULL, "the portable form: right at any steps, scheduler and noise"},
    {"unet-only", 0, CLI_FLAG, AT(unet_only), NULL, NULL, "unet/ alone, for a tool that has the rest"},
    {"dtype", 0, CLI_TEXT, AT(dtype), "f32|f16|both", NULL, "which weights files (both); f16 is diffusers' variant fp16"},
    {"normals-frame", 0, CLI_TEXT, AT(frame), "lub|marigold", NULL, "x left, y up, z back (lub), or x right as Marigold's"},
    {"base", 0, CLI_TEXT, AT(base), "DIR", NULL, "the base model, where it is not at the config's model.path any more"},
    {0}};

const cli_command tr_export_command = {
    .name = "export",
    .options = options,
    .summary = "make a diffusers folder from a checkpoint",
    .details = "DIR becomes a pipeline folder for MarigoldDepthPipeline or MarigoldNormalsPipeline and for E2E-FT's own\n"
               "scripts, with a model card and SHA256SUMS. It is loaded back and its predictions are compared before it gets\n"
               "its name. The portable form is of the running mean (optim.ema) where there is one.",
    .args_size = sizeof(export_args),
    .run = run_export};
