#include "trainer/infer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "kernels/cuda.h"

enum { GPU_BATCH = 4 };

static const char *const tasks[] = {"depth", "normals", NULL};
static const char *const schedulers[] = {"ddim", "lcm", NULL};
static const char *const spacings[] = {"trailing", "leading", "linspace", NULL};
static const char *const noises[] = {"zeros", "gaussian", "pyramid", NULL};
static const char *const pipelines[] = {"diffusers", "reference", NULL};
static const char *const filters[] = {"bilinear", "bicubic", "nearest", NULL};
static const char *const reductions[] = {"median", "mean", "closest", NULL};
static const char *const devices[] = {"auto", "cpu", "cuda", NULL};
static const char *const precisions[] = {"fp32", "bf16", "fp16", NULL};

int tr_choice(const char *option, const char *text, const char *const *names, int *out) {
  int st = OK;
  char list[256] = "";
  const char *near;

  *out = 0;
  if (!text) return OK;
  for (int i = 0; names[i]; i++) {
    if (!strcmp(text, names[i])) {
      *out = i;
      return OK;
    }
    snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", !i ? "" : names[i + 1] ? ", " : " or ", names[i]);
  }
  near = cli_nearest(text, names);
  if (near) FAIL(E_CONFIG, "--%s: wanted %s, found '%s'; did you mean '%s'?", option, list, text, near);
  FAIL(E_CONFIG, "--%s: wanted %s, found '%s'", option, list, text);
out:
  return st;
}

/* ---- model and device ---- */

/* Loading libtorch_cuda takes a second, which machines without a driver need not spend. */
static bool driver_is_there(void) { return !access("/dev/nvidiactl", F_OK) || !access("/dev/dxg", F_OK); }

static int open_cuda(tchc_device *d) {
  int st = OK;

  TRY(tchc_cuda_open());
  NEED(tchc_cuda_count() > 0, E_DEVICE, "no CUDA device is visible");
  *d = (tchc_device){TCHC_CUDA, 0};
out:
  return st;
}

/* This program's kernels for d, NULL where there are none: a GPU without them, the CPU, half precision. */
static const kn_cuda *kernels_for(tchc_device d, tchc_dtype dtype) {
  const kn_cuda *kernels = NULL;

  if (d.type != TCHC_CUDA || dtype == TCHC_F16 || kn_cuda_open(NULL, &kernels) == OK) return kernels;
  log_warn("%s; predicting through libtorch's operators alone", err_text());
  err_clear();
  return NULL;
}

/* Sizes change from image to image: measuring convolutions for each would cost more than it gains. */
static int open_device(int kind, tchc_device *d) {
  int st = OK;
  const tchc_backend_opts backend = {.cudnn_benchmark = false};

  *d = TCHC_CPU_DEVICE;
  if (kind == 2) TRY_AS(E_DEVICE, open_cuda(d), "--device cuda");
  if (kind == 0 && driver_is_there() && open_cuda(d) != OK) {
    log_warn("--device auto: %s; computing on the CPU", err_text());
    err_clear();
  }
  TRY(tchc_set_backend(&backend));
out:
  return st;
}

static int check_choices(const tr_infer_args *a) {
  int st = OK, i;

  TRY(tr_choice("task", a->task, tasks, &i));
  TRY(tr_choice("scheduler", a->scheduler, schedulers, &i));
  TRY(tr_choice("spacing", a->spacing, spacings, &i));
  TRY(tr_choice("noise", a->noise, noises, &i));
  TRY(tr_choice("pipeline", a->pipeline, pipelines, &i));
  TRY(tr_choice("resample", a->resample, filters, &i));
  TRY(tr_choice("ensemble-reduction", a->reduction, reductions, &i));
out:
  return st;
}

int tr_infer_open(const tr_infer_args *a, ev_estimator *e) {
  static const tchc_dtype types[] = {TCHC_F32, TCHC_BF16, TCHC_F16};
  int st = OK, device, precision;
  tchc_device d;

  memset(e, 0, sizeof *e);
  NEED(a->model, E_CONFIG, "--model DIR is missing");
  TRY(check_choices(a));
  TRY(tr_choice("device", a->device, devices, &device));
  TRY(tr_choice("precision", a->precision, precisions, &precision));
  TRY(open_device(device, &d));
  TRY(ev_estimator_load(a->model, d, types[precision], kernels_for(d, types[precision]), e));
  NEED(a->task || e->says_task, E_CONFIG, "%s does not say whether it predicts depth or normals: add --task", a->model);
out:
  return st;
}

/* ---- options ---- */

static int take_count(const char *option, int64_t given, int64_t most, int *field) {
  int st = OK;

  if (!given) return OK;
  NEED(given <= most, E_CONFIG, "--%s: wanted at most %lld, found %lld", option, (long long)most, (long long)given);
  *field = (int)given;
out:
  return st;
}

static int take_resolution(const char *text, int *resolution) {
  int st = OK, end = 0, n = 0;

  if (!text) return OK;
  NEED(sscanf(text, "%6d%n", &n, &end) == 1 && !text[end] && n >= 0, E_CONFIG,
       "--resolution: wanted a number of pixels, 0 for the image's own, found '%s'", text);
  *resolution = n;
out:
  return st;
}

static int take_ensemble(const tr_infer_args *a, ev_predict_opts *o) {
  int st = OK, how;

  TRY(take_count("ensemble", a->ensemble, 1000, &o->ensemble));
  TRY(take_count("ensemble-iterations", a->iterations, 1000000, &o->align.max_iterations));
  if (a->tolerance > 0) o->align.tolerance = a->tolerance;
  if (!a->reduction) goto out;
  TRY(tr_choice("ensemble-reduction", a->reduction, reductions, &how));
  NEED((ev_reduction)how != (o->task == EV_DEPTH ? EV_CLOSEST : EV_MEDIAN), E_CONFIG, "--ensemble-reduction: %s is not for %s",
       a->reduction, tasks[o->task]);
  o->align.depth = o->align.normals = (ev_reduction)how;
out:
  return st;
}

int tr_infer_opts(const tr_infer_args *a, const ev_estimator *e, ev_predict_opts *o, ev_latents **latents) {
  int st = OK, task, scheduler, spacing, noise, pipeline, filter;

  *latents = NULL;
  ev_predict_opts_default(o);
  ev_predict_opts_from(e, o);
  TRY(tr_choice("task", a->task, tasks, &task));
  TRY(tr_choice("scheduler", a->scheduler, schedulers, &scheduler));
  TRY(tr_choice("spacing", a->spacing, spacings, &spacing));
  TRY(tr_choice("noise", a->noise, noises, &noise));
  TRY(tr_choice("pipeline", a->pipeline, pipelines, &pipeline));
  TRY(tr_choice("resample", a->resample, filters, &filter));
  if (a->task) o->task = (ev_task)task;
  o->sampler = (md_sampler)scheduler;
  o->spacing = (md_spacing)spacing;
  o->noise = (md_noise)noise;
  o->convention = (ev_convention)pipeline;
  o->filter = (ev_filter)filter;
  o->seed = (uint64_t)a->seed;
  o->batch = e->device.type == TCHC_CUDA ? GPU_BATCH : 1;
  TRY(take_count("batch", a->batch, 4096, &o->batch));
  TRY(take_count("steps", a->steps, MD_MAX_TRAIN_STEPS, &o->steps));
  TRY(take_resolution(a->resolution, &o->resolution));
  TRY(take_ensemble(a, o));
  if (a->latents) TRY(ev_latents_read(a->latents, latents));
  o->latents = *latents;
  TRY(ev_predict_check(e, o));
out:
  if (st != OK) ev_latents_free(latents);
  return st;
}
