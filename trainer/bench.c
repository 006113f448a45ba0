#include "trainer/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "trainer/bench_groups.h"
#include "trainer/flops.h"
#include "trainer/kernel_times.h"
#include "trainer/optimizer.h"
#include "trainer/plan.h"
#include "trainer/step.h"
#include "trainer/version.h"

/* Rate that a limit is counted with: what matrix products in bf16 reach on an H100. */
static const double LIMIT_RATE = 800e12;

typedef struct bench {
  const cf_config *c;
  const tr_bench_opts *o;
  const ls_kind *loss;
  tr_device device;
  tr_network net;
  tr_plan plan;
  tr_stepper *stepper;
  tr_optimizer *optimizer;
  tr_timer *timer;
  ds_group made[TR_BENCH_SHAPES]; /* one of each shape, used again and again */
  ds_group **groups;              /* [plan.groups] of the step */
  int64_t drawn;                  /* groups given so far */
  bool timed_kernels, counted;    /* counted: tensors in host memory are */
} bench;

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- getting ready ---- */

static int largest_shape(bench *b, int out[2]) {
  int st = OK;
  const int f = md_vae_factor(&b->net.vae_config);

  out[0] = out[1] = 0;
  for (int i = 0; i < b->o->nshapes; i++) {
    const int H = b->o->shape[i][0], W = b->o->shape[i][1];
    NEED(H > 0 && W > 0 && H % f == 0 && W % f == 0, E_CONFIG, "--shape: %d x %d: wanted multiples of %d", H, W, f);
    if ((int64_t)H * W <= (int64_t)out[0] * out[1]) continue;
    out[0] = H;
    out[1] = W;
  }
out:
  return st;
}

static int make_groups(bench *b) {
  int st = OK;
  for (int i = 0; i < b->o->nshapes; i++) {
    const tr_group_size s = {b->plan.group, b->o->shape[i][0], b->o->shape[i][1], b->o->encode};
    TRY(tr_group_make(&s, b->c->model.task, b->c->run.seed + (uint64_t)i, &b->made[i]));
  }
  NEED((b->groups = calloc((size_t)b->plan.groups, sizeof *b->groups)) != NULL, E_NOMEM, "groups");
out:
  return st;
}

/* Shapes in turn by their shares: of 9 and 1, every tenth group is of the second. */
static void next_groups(bench *b) {
  int all = 0;

  for (int i = 0; i < b->o->nshapes; i++) all += b->o->share[i];
  for (int g = 0; g < b->plan.groups; g++, b->drawn++) {
    int at = (int)(b->drawn % all), i = 0;
    while (at >= b->o->share[i]) at -= b->o->share[i++];
    b->groups[g] = &b->made[i];
  }
}

static int open_stepper(bench *b) {
  const tr_step_opts so = {.group = b->plan.group, .groups = b->plan.groups, .unet_batch = b->plan.unet_batch,
                           .decoder_batch = b->plan.decoder_batch, .timestep = (int)b->c->model.timestep,
                           .noise = b->c->model.noise, .seed = b->c->run.seed, .loss = b->loss,
                           .reference_loss = b->c->objective.reference, .made_up_latents = !b->o->encode,
                           .timer = b->timer};
  return tr_stepper_create(&so, &b->net, &b->stepper);
}

/* Device, plan and model. */
static int open_model(bench *b) {
  int st = OK, largest[2];

  TRY(tr_bind_loss(b->c, &b->loss));
  TRY(tr_network_read(b->c, &b->net));
  TRY(largest_shape(b, largest));
  TRY(tr_plan_sizes(b->c, &b->net, largest, &b->plan));
  TRY(tr_device_open(b->c, &b->device));
  if (b->device.at.type == TCHC_CPU) TRY(tchc_memory_count(true));
  b->counted = b->device.at.type == TCHC_CPU;
  tr_plan_fit(b->c, &b->net, b->device.at.type, b->device.fused, tr_device_room(b->c, &b->device), &b->plan);
  if (b->device.kernels) {
    TRY(tr_kernel_times_open(b->device.kernels, b->device.at, &b->device.kernels));
    b->timed_kernels = true;
  }
  TRY(tr_network_load(b->c, &b->device, &b->net));
  tr_network_recompute(&b->net, b->plan.recompute_unet, b->plan.recompute_decoder);
out:
  return st;
}

static void close_bench(bench *b) {
  tr_optimizer_destroy(&b->optimizer);
  tr_stepper_destroy(&b->stepper);
  tr_timer_close(&b->timer);
  tr_network_fini(&b->net);
  for (int i = 0; i < TR_BENCH_SHAPES; i++) tr_group_fini(&b->made[i]);
  free(b->groups);
  if (b->timed_kernels) tr_kernel_times_close();
  if (b->counted && tchc_memory_count(false) != OK) err_clear();
}

/* ---- what is told ---- */

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* n times, sorted here. */
static json_t *spread(double *seconds, int n) {
  qsort(seconds, (size_t)n, sizeof *seconds, compare_doubles);
  return json_pack("{s:f, s:f, s:f, s:i}", "median", seconds[n / 2], "min", seconds[0], "max", seconds[n - 1], "n", n);
}

static json_t *shapes_json(const tr_bench_opts *o) {
  json_t *list = json_array();

  for (int i = 0; list && i < o->nshapes; i++)
    json_array_append_new(list, json_pack("{s:i, s:i, s:i}", "height", o->shape[i][0], "width", o->shape[i][1], "share", o->share[i]));
  return list;
}

static json_t *set_up(const bench *b) {
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:o, s:b}", "version", tr_version(), "commit", tr_commit(),
                   "libtorch", tchc_torch_version(), "device", b->device.name, "precision",
                   b->c->run.precision == CF_BF16 ? "bf16" : "fp32", "kernels", b->device.fused ? "fused" : "plain",
                   "deterministic", (int)b->c->run.deterministic, "task", b->c->model.task == CF_NORMALS ? "normals" : "depth",
                   "shapes", shapes_json(b->o), "encode", (int)b->o->encode);
}

/* The sizes that steps were computed with in the end, and those that were planned where memory did not suffice. */
static json_t *micro_batch_json(const bench *b) {
  const tr_plan *p = &b->plan;
  int unet, decoder;

  tr_stepper_sizes(b->stepper, &unet, &decoder);
  return json_pack("{s:i, s:i, s:i, s:b, s:b, s:b, s:b, s:I, s:I, s:I, s:I}", "batch", p->groups * p->group, "unet", unet,
                   "decoder", decoder, "shrunk", unet != p->unet_batch || decoder != p->decoder_batch, "recompute_unet",
                   (int)p->recompute_unet, "recompute_decoder", (int)p->recompute_decoder, "fits", (int)p->fits, "weights",
                   (json_int_t)p->weights, "optimizer", (json_int_t)p->optimizer, "activations", (json_int_t)p->activations,
                   "room", (json_int_t)p->room);
}

static int memory_json(const bench *b, json_t **out) {
  int st = OK;
  tchc_memory m = {0};

  TRY(tchc_memory_stats(b->device.at, &m));
  *out = json_pack("{s:I, s:I, s:I}", "peak", (json_int_t)m.allocated_peak, "reserved", (json_int_t)m.reserved_peak,
                   "planned", (json_int_t)(b->plan.weights + b->plan.optimizer + b->plan.activations));
out:
  return st;
}

static json_t *phases_json(const double ms[TR_PHASES], int steps) {
  json_t *all = json_object();

  for (int i = 0; all && i < TR_PHASES; i++) json_object_set_new(all, tr_phase_names[i], json_real(ms[i] / steps));
  return all;
}

static int kernels_json(json_t **out) {
  int st = OK, calls[TR_KN_KINDS];
  double ms[TR_KN_KINDS];

  TRY(tr_kernel_times_read(ms, calls));
  *out = json_object();
  for (int i = 0; *out && i < TR_KN_KINDS; i++)
    if (calls[i]) json_object_set_new(*out, tr_kernel_kind_names[i], json_pack("{s:f, s:i}", "ms", ms[i], "calls", calls[i]));
out:
  return st;
}

/* Work of a mean step in operations. */
static double work_of(const bench *b, bool train) {
  double sum = 0, all = 0;
  const int tokens = b->c->model.text == CF_PADDED ? 77 : 2;

  for (int i = 0; i < b->o->nshapes; i++) {
    const tr_flops f = tr_flops_count(&b->net.unet_config, &b->net.vae_config, b->o->shape[i][0], b->o->shape[i][1], tokens);
    const double forward = f.unet + f.decoder + (b->o->encode || !train ? f.encoder : 0);
    sum += b->o->share[i] * (forward + (train ? f.unet_back + f.decoder_back : 0));
    all += b->o->share[i];
  }
  return sum / all;
}

static int finish_json(json_t *root, json_t **out) {
  int st = OK;

  NEED(root, E_NOMEM, "bench: JSON");
  *out = root;
out:
  return st;
}

/* ---- training ---- */

static int one_step(bench *b, double *loss, double *norm) {
  int st = OK;
  const tr_losses *l = NULL;
  const char *bad = NULL;
  bool all_empty;

  next_groups(b);
  TRY(tr_stepper_run(b->stepper, b->groups, &all_empty));
  TRY(tr_timer_mark(b->timer, TR_OPTIMIZER));
  TRY(tr_optimizer_step(b->optimizer, b->c->optim.lr, tr_stepper_sums(b->stepper), !all_empty));
  TRY(tr_stepper_losses(b->stepper, b->groups, &l));
  TRY(tr_optimizer_result(b->optimizer, norm, &bad));
  *loss = l->mean;
out:
  return st;
}

typedef struct measured {
  double *warm, *seconds, ms[TR_PHASES], loss, norm, start;
  json_t *kernels, *memory;
} measured;

static int run_steps(bench *b, measured *m, double begin) {
  int st = OK;
  double unused[TR_PHASES] = {0};

  for (int i = 0; i < b->o->warm + b->o->steps; i++) {
    const bool warm = i < b->o->warm;
    if (i == b->o->warm) TRY(tchc_memory_reset_peak(b->device.at));
    const double from = now_s();
    TRY(one_step(b, &m->loss, &m->norm));
    TRY(tr_timer_read(b->timer, warm ? unused : m->ms));
    (warm ? m->warm : m->seconds)[warm ? i : i - b->o->warm] = now_s() - from;
    if (i == 0) m->start = now_s() - begin;
    log_status(false, "%s %d: %.3f s, loss %.4g", warm ? "warm-up" : "step", i + 1, now_s() - from, m->loss);
  }
  log_status_end();
  TRY(memory_json(b, &m->memory));
  /* once more with an event around every kernel, which makes the step itself slower */
  if (b->timed_kernels) {
    tr_kernel_times_begin();
    TRY(one_step(b, &m->loss, &m->norm));
    TRY(kernels_json(&m->kernels));
  }
out:
  return st;
}

static json_t *train_json(const bench *b, measured *m) {
  const int batch = b->plan.groups * b->plan.group, n = b->o->steps;
  const double work = work_of(b, true) * batch;
  json_t *warm = json_array(), *step = spread(m->seconds, n), *root;
  const double median = m->seconds[n / 2];

  for (int i = 0; warm && i < b->o->warm; i++) json_array_append_new(warm, json_real(m->warm[i]));
  root = json_pack("{s:s, s:o, s:o, s:o, s:f, s:o, s:f, s:o, s:o, s:o*, s:f, s:f, s:f, s:f, s:f}", "bench", "train", "set_up",
                   set_up(b), "micro_batch", micro_batch_json(b), "seconds_per_step", step, "samples_per_second",
                   batch / median, "warm_up_seconds", warm, "start_to_first_step_seconds", m->start, "memory_bytes",
                   m->memory, "phases_ms", phases_json(m->ms, n), "kernels_ms", m->kernels, "tflop_per_step", 1e-12 * work,
                   "limit_seconds", work / LIMIT_RATE, "fraction_of_limit", work / LIMIT_RATE / median, "loss", m->loss,
                   "grad_norm", m->norm);
  return root;
}

int tr_bench_train(const cf_config *c, const tr_bench_opts *o, json_t **out) {
  int st = OK;
  const double begin = now_s();
  bench b = {.c = c, .o = o};
  measured m = {.warm = calloc((size_t)o->warm + 1, sizeof(double)), .seconds = calloc((size_t)o->steps + 1, sizeof(double))};

  NEED(m.warm && m.seconds, E_NOMEM, "bench: %d steps", o->steps);
  TRY(open_model(&b));
  TRY(tr_timer_open(b.device.at, &b.timer));
  TRY(make_groups(&b));
  TRY(open_stepper(&b));
  TRY(tr_optimizer_create(c, &b.net, &b.optimizer));
  TRY(run_steps(&b, &m, begin));
  TRY(finish_json(train_json(&b, &m), out));
out:
  close_bench(&b);
  free(m.warm);
  free(m.seconds);
  return st;
}

/* ---- inference ---- */

/* images [B,3,H,W] -> decoded [B,3,H,W] */
static int predict(const bench *b, const tchc_tensor *images, const tchc_tensor *timestep) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *moments = NULL, *mean = NULL, *latent = NULL, *zeros = NULL, *sample = NULL, *v = NULL, *v32 = NULL, *x0 = NULL,
              *z = NULL, *typed = NULL, *image = NULL;
  const tr_network *net = &b->net;

  TRY(tchc_scope_open(&s));
  TRY(md_vae_encode(net->vae, images, NULL, &moments));
  TRY(tchc_narrow(moments, 1, 0, net->vae_config.latent_channels, &mean));
  TRY(tchc_affine(mean, net->vae_config.scaling_factor, 0, &latent));
  if (b->c->model.noise == CF_NONE) {
    TRY(tchc_share(latent, &sample));
  } else {
    TRY(tchc_zeros_like(latent, &zeros));
    TRY(tchc_cat((const tchc_tensor *[]){latent, zeros}, 2, 1, &sample));
  }
  TRY(md_unet_forward(net->unet, sample, timestep, net->text, NULL, &v));
  TRY(tchc_to_type(v, TCHC_F32, &v32));
  TRY(md_schedule_x0(&net->schedule, (int)b->c->model.timestep, NULL, v32, &x0));
  TRY(tchc_affine(x0, 1 / net->vae_config.scaling_factor, 0, &z));
  TRY(tchc_to_type(z, net->dtype, &typed));
  TRY(md_vae_decode(net->vae, typed, NULL, &image));
out:
  tchc_scope_close(&s);
  return st;
}

static int run_predictions(bench *b, const tchc_tensor *images, const tchc_tensor *timestep, double *seconds) {
  int st = OK;

  for (int i = 0; i < b->o->warm + b->o->steps; i++) {
    if (i == b->o->warm) TRY(tchc_memory_reset_peak(b->device.at));
    TRY(tchc_synchronize(b->device.at));
    const double from = now_s();
    TRY(predict(b, images, timestep));
    TRY(tchc_synchronize(b->device.at));
    if (i >= b->o->warm) seconds[i - b->o->warm] = now_s() - from;
  }
out:
  return st;
}

int tr_bench_predict(const cf_config *c, const tr_bench_opts *o, json_t **out) {
  int st = OK;
  bench b = {.c = c, .o = o};
  tchc_scope *s = NULL;
  tchc_tensor *wide = NULL, *images = NULL, *timestep = NULL;
  json_t *memory = NULL;
  const bool graph = tchc_grad_mode(false);
  const int at_once = c->optim.micro_batch ? (int)c->optim.micro_batch : 1, H = o->shape[0][0], W = o->shape[0][1];
  double *seconds = calloc((size_t)o->steps + 1, sizeof *seconds);

  NEED(seconds, E_NOMEM, "bench: %d predictions", o->steps);
  TRY(open_model(&b));
  TRY(tchc_scope_open(&s));
  TRY(tchc_randn((int64_t[]){at_once, 3, H, W}, 4, TCHC_F32, b.device.at, &wide));
  TRY(tchc_to_type(wide, b.net.dtype, &images));
  TRY(tchc_full((int64_t[]){1}, 1, (double)c->model.timestep, TCHC_I64, b.device.at, &timestep));
  TRY(run_predictions(&b, images, timestep, seconds));
  TRY(memory_json(&b, &memory));
  json_t *times = spread(seconds, o->steps);
  const double each = seconds[o->steps / 2] / at_once, work = work_of(&b, false);
  TRY(finish_json(json_pack("{s:s, s:o, s:i, s:f, s:o, s:o, s:f, s:f}", "bench", "predict", "set_up", set_up(&b), "images_at_once",
                            at_once, "ms_per_image", 1e3 * each, "seconds", times, "memory_bytes", memory, "tflop_per_image",
                            1e-12 * work, "fraction_of_limit", work / LIMIT_RATE / each), out));
out:
  tchc_grad_mode(graph);
  tchc_scope_close(&s);
  close_bench(&b);
  free(seconds);
  return st;
}

/* ---- against fp32 ---- */

typedef struct gradient {
  float *values; /* row-major, parameter by parameter */
  int64_t n;
  double loss;
} gradient;

static int copy_gradient(const tr_network *net, gradient *g) {
  int st = OK;
  tchc_tensor *there = NULL, *here = NULL;

  g->n = md_params_numel(net->masters);
  NEED((g->values = malloc(sizeof *g->values * (size_t)g->n)) != NULL, E_NOMEM, "gradient: %lld numbers", (long long)g->n);
  for (int i = 0; i < md_params_count(net->masters); i++) {
    const md_param *p = md_params_at(net->masters, i);
    TRY(md_params_view(net->masters, i, net->grads, &there));
    TRY(tchc_from_blob(g->values + p->offset, p->shape, p->ndim, TCHC_F32, NULL, NULL, &here));
    TRY(tchc_copy(here, there, false));
    tchc_free(&there);
    tchc_free(&here);
  }
out:
  tchc_free(&there);
  tchc_free(&here);
  return st;
}

static int gradient_of(const cf_config *c, const tr_bench_opts *o, gradient *g, json_t **how) {
  int st = OK;
  bench b = {.c = c, .o = o};
  const tr_losses *l = NULL;
  bool all_empty;

  TRY(open_model(&b));
  TRY(tr_device_tune(c, false)); /* one step: its time does not count */
  TRY(make_groups(&b));
  TRY(open_stepper(&b));
  TRY(tchc_manual_seed(c->run.seed)); /* the same latents each time */
  next_groups(&b);
  TRY(tr_stepper_run(b.stepper, b.groups, &all_empty));
  TRY(tr_stepper_losses(b.stepper, b.groups, &l));
  g->loss = l->mean;
  TRY(copy_gradient(&b.net, g));
  *how = set_up(&b);
out:
  close_bench(&b);
  return st;
}

static json_t *difference(const gradient *a, const gradient *want) {
  double dot = 0, aa = 0, bb = 0, error = 0;

  for (int64_t i = 0; i < want->n; i++) {
    const double x = a->values[i], y = want->values[i];
    dot += x * y;
    aa += x * x;
    bb += y * y;
    error += (x - y) * (x - y);
  }
  return json_pack("{s:f, s:f, s:f, s:f, s:f}", "loss", a->loss, "loss_fp32", want->loss, "loss_relative",
                   fabs(a->loss - want->loss) / fabs(want->loss), "gradient_cosine", dot / sqrt(aa * bb), "gradient_relative",
                   sqrt(error / bb));
}

int tr_bench_check(const cf_config *c, const tr_bench_opts *o, json_t **out) {
  int st = OK;
  cf_config exact = *c, plain = *c;
  gradient want = {0}, got = {0}, beside = {0};
  json_t *how = NULL, *unused = NULL;

  exact.run.precision = CF_FP32;
  exact.run.kernels = plain.run.kernels = CF_KERNELS_PLAIN;
  TRY(gradient_of(&exact, o, &want, &unused));
  TRY(gradient_of(c, o, &got, &how));
  json_decref(unused);
  unused = NULL;
  TRY(gradient_of(&plain, o, &beside, &unused));
  TRY(finish_json(json_pack("{s:s, s:O, s:o, s:o}", "bench", "check", "set_up", how, "this", difference(&got, &want), "plain",
                            difference(&beside, &want)), out));
out:
  json_decref(how);
  json_decref(unused);
  free(want.values);
  free(got.values);
  free(beside.values);
  return st;
}
