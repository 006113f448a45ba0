#include "trainer/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/log.h"
#include "checkpoints/rundir.h"
#include "tchc/stream.h"
#include "trainer/bad_list.h"
#include "trainer/bind.h"
#include "trainer/board.h"
#include "trainer/device.h"
#include "trainer/model_export.h"
#include "trainer/optimizer.h"
#include "trainer/plan.h"
#include "trainer/preflight.h"
#include "trainer/prepared.h"
#include "trainer/progress.h"
#include "trainer/record.h"
#include "trainer/saver.h"
#include "trainer/schedule.h"
#include "trainer/signals.h"
#include "trainer/start.h"
#include "trainer/step.h"
#include "trainer/validate.h"
#include "trainer/version.h"

typedef struct run {
  const cf_config *c;
  const tr_run_opts *o;
  ck_rundir *dir;
  tr_start start;
  char *config_text;
  tr_data data;
  ds_loader *loader;
  void *locked;            /* its memory, when it is page-locked */
  tr_network net;
  tr_plan plan;
  tr_device device;
  tr_stepper *stepper;
  tr_optimizer *optimizer;
  tr_progress progress;
  io_file metrics;
  tr_board *board;         /* NULL without log.tensorboard */
  char **set_names;        /* [data.n] "0-hypersim" */
  tr_bad_list bad;
  ds_group **groups;       /* [plan.groups] of the step, NULL between steps */
  int64_t step;            /* steps done */
  tr_saver *saver;
  tr_validator *validator; /* NULL without validate.every */
  int64_t saved;           /* step of the newest checkpoint, on its way or on the disk; 0 for none */
  int64_t nonfinite_row;   /* skipped steps in a row */
} run;

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- getting ready ---- */

/* All that is read before the decoders are started: no torch call is made here. */
static int open_inputs(run *r) {
  int st = OK;
  int largest[2];
  ds_loader_opts lo;

  TRY(tr_network_read(r->c, &r->net));
  TRY(tr_data_open(r->c, &r->data));
  TRY(tr_prepared_use(r->c, &r->data));
  TRY(tr_data_check_sizes(r->c, &r->data, md_vae_factor(&r->net.vae_config), largest));
  if (r->c->run.preflight) TRY(tr_preflight_data(r->c, &r->data));
  TRY(tr_plan_make(r->c, &r->net, &r->data, largest, &r->plan));
  tr_bind_loader(r->c, &lo);
  TRY(ds_loader_open(&lo, r->data.entries, r->data.n, &r->loader));
  TRY(tr_validator_open(r->c, &r->validator));
  NEED((r->groups = calloc((size_t)r->plan.groups, sizeof *r->groups)) != NULL, E_NOMEM, "groups");
out:
  return st;
}

static void step_options(const run *r, const ls_kind *loss, tr_step_opts *o) {
  *o = (tr_step_opts){.group = r->plan.group,
                      .groups = r->plan.groups,
                      .unet_batch = r->plan.unet_batch,
                      .decoder_batch = r->plan.decoder_batch,
                      .timestep = (int)r->c->model.timestep,
                      .noise = r->c->model.noise,
                      .seed = r->c->run.seed,
                      .loss = loss,
                      .reference_loss = r->c->objective.reference,
                      .drop_nan_groups = r->c->optim.nonfinite == CF_REFERENCE};
}

/* Groups in page-locked memory, so that their copies to a GPU run beside the computation. Where sizes are the images' own
 * far more memory is reserved than is used. */
static void lock_pages(run *r) {
  void *at;
  size_t bytes;
  bool known;

  ds_loader_memory(r->loader, &at, &bytes, &known);
  if (r->net.device.type != TCHC_CUDA || !known) return;
  if (tchc_host_lock(at, bytes) == OK) {
    r->locked = at;
    return;
  }
  log_warn("decoded samples are not page-locked, which makes copies slower: %s", err_text());
  err_clear();
}

static void unlock_pages(run *r) {
  if (r->locked && tchc_host_unlock(r->locked) != OK) err_clear();
  r->locked = NULL;
}

static int load_model(run *r) {
  int st = OK;
  tr_step_opts so;
  const ls_kind *loss;

  TRY(tr_bind_loss(r->c, &loss));
  TRY(tr_device_open(r->c, &r->device));
  tr_plan_fit(r->c, &r->net, r->device.at.type, r->device.fused, tr_device_room(r->c, &r->device), &r->plan);
  if (!r->plan.fits) log_warn("%s: no micro-batch was found that surely fits its memory", r->device.name);
  TRY(tr_network_load(r->c, &r->device, &r->net));
  tr_network_recompute(&r->net, r->plan.recompute_unet, r->plan.recompute_decoder);
  lock_pages(r);
  step_options(r, loss, &so);
  TRY(tr_stepper_create(&so, &r->net, &r->stepper));
  TRY(tr_optimizer_create(r->c, &r->net, &r->optimizer));
out:
  return st;
}

static int restore(run *r) {
  int st = OK;
  ck_state s = {0};

  if (!r->start.checkpoint[0]) goto out;
  TRY(tr_optimizer_state(r->optimizer, &s));
  TRY(ck_load(r->start.checkpoint, &s, NULL));
  NEED(s.seed == r->c->run.seed, E_CKPT, "%s: run.seed %llu, the config has %llu", r->start.checkpoint,
       (unsigned long long)s.seed, (unsigned long long)r->c->run.seed);
  TRY(tr_optimizer_restored(r->optimizer, &s));
  r->step = s.step;
  r->saved = s.step;
  r->nonfinite_row = s.nonfinite_row;
  log_info("going on from %s after step %lld", r->start.checkpoint, (long long)r->step);
out:
  return st;
}

static void introduce(const run *r) {
  const tr_plan *p = &r->plan;

  log_info("e2eft %s (%s), libtorch %s, %s, %s, seed %llu", tr_version(), tr_commit(), tchc_torch_version(),
           r->device.name, r->c->run.precision == CF_BF16 ? "bf16" : "fp32", (unsigned long long)r->c->run.seed);
  log_info("%lld samples; steps %lld to %lld of %d samples in groups of %d; %d at once, %d through the decoder",
           (long long)p->samples, (long long)r->step + 1, (long long)r->c->optim.steps, p->groups * p->group, p->group,
           p->unet_batch, p->decoder_batch);
}

static int open_board(run *r) {
  int st = OK;
  const size_t n = (size_t)r->data.n, room = 64;

  if (!r->c->log.tensorboard) goto out;
  NEED((r->set_names = calloc(n, sizeof *r->set_names)) != NULL, E_NOMEM, "tensorboard");
  for (size_t i = 0; i < n; i++) {
    NEED((r->set_names[i] = malloc(room)) != NULL, E_NOMEM, "tensorboard");
    snprintf(r->set_names[i], room, "%zu-%s", i, cf_kind_name(r->c->data[i].kind));
  }
  TRY(tr_board_open(ck_rundir_path(r->dir), r->step, &r->board));
out:
  return st;
}

static void close_board(run *r) {
  tr_board_close(&r->board);
  for (int i = 0; r->set_names && i < r->data.n; i++) free(r->set_names[i]);
  free(r->set_names);
}

/* The first thing that touches what the run folder holds. */
static int open_records(run *r) {
  int st = OK;
  char path[IO_PATH_MAX];
  tr_hashes hashes;
  const tr_record record = {ck_rundir_path(r->dir), r->config_text, &hashes, r->device.name, r->o->argc,
                            r->o->argv, r->start.checkpoint[0] ? r->start.checkpoint : NULL};

  TRY(tr_record_hash(r->c, &r->data, &hashes));
  if (r->start.checkpoint[0]) TRY(tr_record_compare(&hashes, r->start.checkpoint, r->o->force));
  TRY(tr_start_prepare(&r->start, r->dir));
  TRY(io_path(path, "%s/log.txt", ck_rundir_path(r->dir)));
  TRY(log_open_file(path));
  introduce(r);
  TRY(tr_record_write(&record));
  TRY(tr_bad_list_open(ck_rundir_path(r->dir), &r->bad));
  TRY(ck_metrics_open(r->dir, r->step, &r->metrics));
  TRY(open_board(r));
  TRY(tr_saver_create(r->c, ck_rundir_path(r->dir), r->config_text, r->optimizer, &r->metrics, &r->saver));
  if (r->validator) TRY(tr_validator_attach(r->validator, &r->net, r->optimizer, r->dir, r->step));
out:
  return st;
}

/* ---- a step ---- */

static int next_groups(run *r) {
  int st = OK;
  const int factor = md_vae_factor(&r->net.vae_config);

  for (int g = 0; g < r->plan.groups; g++) {
    if (r->groups[g]) continue; /* from the look before step 1 */
    TRY(ds_loader_next(r->loader, &r->groups[g]));
    TRY(tr_data_check_size(r->c, (size_t)r->groups[g]->dataset, r->groups[g]->H, r->groups[g]->W, factor));
  }
out:
  return st;
}

static void release_groups(run *r) {
  for (int g = 0; r->groups && g < r->plan.groups; g++) {
    if (r->groups[g]) ds_loader_release(r->loader, r->groups[g]);
    r->groups[g] = NULL;
  }
}

/* The first step's groups, which stay for it, and whether they teach the network anything. */
static int look_ahead(run *r) {
  int st = OK;
  tr_step_opts so;
  const ls_kind *loss;

  TRY(ds_loader_seek(r->loader, r->step + 1));
  if (!r->c->run.preflight || r->step >= r->c->optim.steps) goto out;
  TRY(tr_bind_loss(r->c, &loss));
  step_options(r, loss, &so);
  TRY(next_groups(r));
  TRY(tr_preflight_gradient(&so, &r->net, r->groups, r->net.device.type == TCHC_CUDA));
  (void)ds_loader_waited(r->loader); /* is no step's */
out:
  return st;
}

/* Why a step makes no update; why[0] = 0: it does. */
static void judge(const run *r, const tr_losses *l, const char *bad_gradient, char why[512]) {
  why[0] = 0;
  if (l->all_empty) snprintf(why, 512, "no group has a valid pixel");
  for (int g = r->plan.groups - 1; g >= 0; g--)
    if (!isfinite(l->group[g]))
      snprintf(why, 512, "the loss of group %d (%s) is %g", g, r->groups[g]->id[0], l->group[g]);
  if (!why[0] && bad_gradient) snprintf(why, 512, "the gradient of %s is not finite", bad_gradient);
}

/* Keeps the groups of a skipped step for looking at them. */
static int dump_groups(const run *r, int64_t step) {
  int st = OK;
  char dir[IO_PATH_MAX], path[IO_PATH_MAX];

  TRY(io_path(dir, "%s/nonfinite/step-%06lld", ck_rundir_path(r->dir), (long long)step));
  TRY(io_make_dirs(dir));
  for (int g = 0; g < r->plan.groups; g++) {
    TRY(io_path(path, "%s/%06d.safetensors", dir, g));
    /* prepared data have no images */
    if (ds_loader_decode(r->loader, r->groups[g]) == OK) TRY(ds_group_save(r->groups[g], path));
    else log_warn("%s: not written: %s", path, err_text());
  }
out:
  return st;
}

static double learning_rate(const cf_config *c, int64_t step) {
  const int64_t decay = c->optim.decay_steps ? c->optim.decay_steps : c->optim.steps;
  const tr_schedule kind = c->optim.schedule == CF_CONSTANT ? TR_CONSTANT : TR_EXPONENTIAL;
  return c->optim.lr * tr_lr_factor(kind, step - 1, c->optim.warmup, decay, c->optim.final_ratio);
}

static int peak_bytes(const run *r, double *out) {
  int st = OK;
  struct rusage usage;
  tchc_memory m;

  if (r->net.device.type == TCHC_CPU) {
    getrusage(RUSAGE_SELF, &usage);
    *out = 1024.0 * (double)usage.ru_maxrss;
    return OK;
  }
  TRY(tchc_memory_stats(r->net.device, &m));
  *out = (double)m.allocated_peak;
out:
  return st;
}

static int write_metrics(run *r, const tr_metrics *m) {
  int st = OK;
  char *line = NULL;
  size_t n;

  TRY(tr_metrics_line(m, &line, &n));
  TRY(io_write(&r->metrics, line, n));
out:
  free(line);
  return st;
}

/* Gradient and update, or no update; fills all of m but the times. why: see judge. */
static int compute(run *r, tr_metrics *m, char why[512]) {
  int st = OK;
  const tr_losses *l = NULL;
  const char *bad = NULL;
  bool all_empty;

  TRY(tr_stepper_run(r->stepper, r->groups, &all_empty));
  TRY(tr_optimizer_step(r->optimizer, m->lr, tr_stepper_sums(r->stepper), !all_empty));
  /* all work of the step is queued: only now does the host wait for numbers */
  TRY(tr_stepper_losses(r->stepper, r->groups, &l));
  TRY(tr_optimizer_result(r->optimizer, &m->grad_norm, &bad));
  judge(r, l, bad, why);
  m->skipped = why[0] != 0;
  m->loss = l->mean;
  m->group_loss = l->group;
  m->group_empty = l->empty;
  for (int g = 0; g < r->plan.groups; g++)
    if (l->dropped[g])
      log_warn("step %lld: the loss of group %d (%s) is nan: it counts as 0", (long long)m->step, g,
               r->groups[g]->id[0]);
out:
  return st;
}

static int note_skipped(run *r, int64_t step, const char *why) {
  int st = OK;

  r->nonfinite_row++;
  log_warn("step %lld: %s: no update; its groups are in %s/nonfinite/step-%06lld", (long long)step, why,
           ck_rundir_path(r->dir), (long long)step);
  TRY(dump_groups(r, step));
  NEED(r->nonfinite_row < r->c->optim.max_nonfinite, E_NUMERIC,
       "step %lld: %s; %lld steps in a row made no update (optim.max_nonfinite)", (long long)step, why,
       (long long)r->nonfinite_row);
out:
  return st;
}

static int one_step(run *r) {
  int st = OK;
  char why[512];
  const double begin = now_s();
  const int64_t step = r->step + 1;
  tr_metrics m = {.step = step, .groups = r->plan.groups, .lr = learning_rate(r->c, step)};

  TRY(next_groups(r));
  m.data_wait = ds_loader_waited(r->loader);
  TRY(compute(r, &m, why));
  m.seconds = now_s() - begin;
  m.samples_per_second = r->plan.groups * r->plan.group / m.seconds;
  TRY(peak_bytes(r, &m.peak_bytes));
  m.save_stall = tr_saver_stalled(r->saver);
  TRY(write_metrics(r, &m));
  if (r->board && step % r->c->log.every == 0)
    TRY(tr_board_step(r->board, &m, r->groups, (const char *const *)r->set_names, r->data.n));
  r->step = step;
  tr_progress_step(&r->progress, &m, step == r->c->optim.steps);
  if (why[0]) TRY(note_skipped(r, step, why));
  else r->nonfinite_row = 0;
out:
  release_groups(r);
  return st;
}

/* ---- saving ---- */

static int save(run *r) {
  int st = OK;

  if (r->step == r->saved) goto out;
  TRY(tr_saver_save(r->saver, r->step, r->nonfinite_row));
  r->saved = r->step;
out:
  return st;
}

/* The newest checkpoint is that of the last step, and on the disk. */
static int save_and_wait(run *r) {
  int st = OK;

  TRY(save(r));
  TRY(tr_saver_wait(r->saver));
out:
  return st;
}

/* Before the step's checkpoint: one that is there has been measured. */
static int validate(run *r) {
  int st = OK;
  bool best;

  if (!tr_validator_due(r->validator, r->step)) goto out;
  TRY(tr_validator_run(r->validator, r->step, r->board, &best));
  if (!best) goto out;
  TRY(save_and_wait(r));
  TRY(tr_validator_mark(r->validator));
out:
  return st;
}

static int stop(run *r, int sig) {
  int st = OK;

  TRY(save_and_wait(r));
  FAIL(E_STOPPED, "stopped by signal %d after step %lld of %lld; --resume goes on", sig, (long long)r->step,
       (long long)r->c->optim.steps);
out:
  return st;
}

static int train(run *r) {
  int st = OK, sig;
  const int64_t every = r->c->checkpoint.every;

  tr_progress_init(&r->progress, r->c->optim.steps);
  while (r->step < r->c->optim.steps) {
    if ((sig = tr_signal_seen())) TRY(stop(r, sig));
    TRY(one_step(r));
    TRY(tr_bad_list_update(&r->bad, r->loader));
    TRY(tr_saver_check(r->saver));
    TRY(validate(r));
    if (every && r->step % every == 0) TRY(save(r));
  }
  TRY(save_and_wait(r));
  log_status_end();
  tr_bad_list_tell(&r->bad);
  for (size_t i = 0; i < r->c->ndata; i++)
    if (ds_loader_left_out(r->loader, (int)i))
      log_info("data.%zu: the filter left out %lld frames", i, (long long)ds_loader_left_out(r->loader, (int)i));
out:
  return st;
}

static int export_model(run *r) {
  int st = OK;
  ck_state s = {0};

  TRY(tr_optimizer_state(r->optimizer, &s));
  s.step = r->step;
  const tr_export_from from = {r->c, &r->net, &s, r->config_text, ck_rundir_path(r->dir)};
  TRY(tr_export_run(&from));
out:
  return st;
}

/* ---- the whole ---- */

static void close_run(run *r) {
  release_groups(r);
  tr_saver_destroy(&r->saver);
  tr_validator_close(&r->validator);
  if (r->metrics.fd >= 0) (void)io_close(&r->metrics);
  close_board(r);
  tr_optimizer_destroy(&r->optimizer);
  tr_stepper_destroy(&r->stepper);
  tr_network_fini(&r->net);
  unlock_pages(r);
  ds_loader_close(&r->loader);
  tr_data_close(&r->data);
  tr_bad_list_close(&r->bad);
  free(r->groups);
  free(r->config_text);
  ck_rundir_close(&r->dir);
}

int tr_run(const cf_config *c, const tr_run_opts *o) {
  int st = OK;
  run r = {.c = c, .o = o, .metrics = {.fd = -1}};

  TRY(tr_bind_supported(c));
  TRY(cf_to_yaml(c, &r.config_text));
  TRY(ck_rundir_open(c->run.dir, &r.dir));
  TRY(tr_start_decide(c, r.dir, o->resume, o->force, &r.start));
  if (r.start.finished) {
    log_info("%s: finished already, its weights are in %s/model", c->run.dir, c->run.dir);
    goto out;
  }
  TRY(open_inputs(&r));
  TRY(tr_signals_install());
  TRY(load_model(&r));
  TRY(restore(&r));
  TRY(look_ahead(&r));
  TRY(open_records(&r));
  TRY(train(&r));
  TRY(export_model(&r));
out:
  close_run(&r);
  return st;
}

/* Parameters below which a forward and a backward pass cost nothing worth saving in a dry run. */
static const int64_t SMALL_MODEL = 20000000;

int tr_run_dry(const cf_config *c, FILE *f) {
  int st = OK;
  const ls_kind *loss;
  run r = {.c = c, .metrics = {.fd = -1}};

  TRY(tr_bind_supported(c));
  TRY(tr_bind_loss(c, &loss));
  TRY(open_inputs(&r));
  if (r.plan.unet_numel <= SMALL_MODEL) {
    TRY(load_model(&r));
    TRY(look_ahead(&r));
  } else {
    TRY(tr_device_open(c, &r.device));
    tr_plan_fit(c, &r.net, r.device.at.type, r.device.fused, tr_device_room(c, &r.device), &r.plan);
  }
  TRY(cf_print(c, f));
  tr_plan_print(&r.plan, c, &r.net, &r.data, f);
out:
  close_run(&r);
  return st;
}
