#include "trainer/model_export.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "checkpoints/export.h"
#include "trainer/card.h"
#include "trainer/export_check.h"
#include "trainer/fold.h"
#include "trainer/record.h"
#include "trainer/version.h"

bool tr_export_foldable(const cf_config *c, const char **why) {
  *why = c->objective.kind != CF_E2E                                    ? "the diffusion objective has no one answer"
         : c->model.noise == CF_GAUSSIAN || c->model.noise == CF_PYRAMID ? "the answer depends on the noise it was trained with"
         : c->model.init == CF_RANDOM                                    ? "its frozen parts are random draws"
                                                                         : NULL;
  return !*why;
}

static st_tensor *tensors_of(const ck_state *s, const float *flat) {
  st_tensor *t = calloc((size_t)s->nparams + 1, sizeof *t);

  for (int i = 0; t && i < s->nparams; i++) {
    const ck_param *p = &s->params[i];
    t[i] = (st_tensor){.name = p->name, .dtype = ST_F32, .ndim = p->ndim, .data = flat + p->offset,
                       .nbytes = sizeof(float) * (size_t)p->numel};
    memcpy(t[i].shape, p->shape, sizeof p->shape);
  }
  return t;
}

/* ---- what goes into the folder ---- */

enum { STAMPS = 9 };
typedef struct stamp {
  char step[24], timestep[24];
  tr_hash config, base;
  const char *list[2 * STAMPS];
} stamp;

static int make_stamp(const tr_export_from *from, const tr_export_opts *o, stamp *s) {
  int st = OK;
  static const char *const noises[] = {
      [CF_ZEROS] = "zeros", [CF_GAUSSIAN] = "gaussian", [CF_PYRAMID] = "pyramid", [CF_NONE] = "none"};
  const cf_config *c = from->config;

  snprintf(s->step, sizeof s->step, "%lld", (long long)from->state->step);
  snprintf(s->timestep, sizeof s->timestep, "%lld", (long long)c->model.timestep);
  s->config = tr_hash_text(from->config_text);
  TRY(tr_hash_base(c->model.path, &s->base));
  const char *const list[2 * STAMPS] = {
      "e2eft.version", tr_version(), "e2eft.commit", tr_commit(), "e2eft.step", s->step,
      "e2eft.task", c->model.task == CF_DEPTH ? "depth" : "normals", "e2eft.noise", noises[c->model.noise],
      "e2eft.timestep", s->timestep, "e2eft.config", s->config.hex, "e2eft.base", s->base.hex,
      "e2eft.form", o->folded ? "portable" : "model"};
  memcpy(s->list, list, sizeof list);
out:
  return st;
}

/* Settings of the pipeline; a resolution that suits the U-Net, for a base that names none. */
static json_t *pipeline_settings(const tr_export_from *from) {
  const bool depth = from->config->model.task == CF_DEPTH;
  const json_int_t cells = json_integer_value(json_object_get(from->net->unet_json, "sample_size"));
  const json_int_t side = (cells > 0 ? cells : 96) * md_vae_factor(&from->net->vae_config);

  if (depth)
    return json_pack("{s:s, s:s, s:b, s:b, s:i, s:I}", "_class_name", "MarigoldDepthPipeline", "prediction_type", "depth",
                     "scale_invariant", 1, "shift_invariant", 1, "default_denoising_steps", 1,
                     "default_processing_resolution", side);
  return json_pack("{s:s, s:s, s:b, s:i, s:I}", "_class_name", "MarigoldNormalsPipeline", "prediction_type", "normals",
                   "use_full_z_range", 1, "default_denoising_steps", 1, "default_processing_resolution", side);
}

static int write_folder(const tr_export_from *from, const tr_export_opts *o, const stamp *s, const st_tensor *unet, size_t n,
                        tr_exported *e) {
  int st = OK;
  json_t *config = json_copy(from->net->unet_json), *pipeline = pipeline_settings(from);

  NEED(config && pipeline, E_NOMEM, "%s", o->out);
  if (o->folded) json_object_set_new(config, "in_channels", json_integer(2 * from->net->unet_config.out_channels));
  const ck_export folder = {.base = from->config->model.path, .out = o->out, .unet_config = config, .unet = unet, .n_unet = n,
                            .stamp = s->list, .n_stamp = STAMPS, .precisions = o->precisions,
                            .prediction = o->folded ? "sample" : NULL, .pipeline = pipeline, .flip_x = o->flip_x,
                            .shrink = o->folded && from->config->model.task == CF_NORMALS, .unet_only = o->unet_only};
  TRY(io_path(e->out, "%s", o->out));
  TRY(ck_export_begin(&folder, e->tmp));
out:
  json_decref(config);
  json_decref(pipeline);
  return st;
}

/* ---- what is said about it ---- */

/* Half-precision files alone cannot be compared with fp32 answers; random parts have none. */
static bool can_be_checked(const tr_export_from *from, const tr_export_opts *o) {
  return from->config->model.init == CF_WEIGHTS && o->precisions.f32 && !o->unet_only;
}

static int check(const tr_export_from *from, const tr_export_opts *o, const st_tensor *trained, tr_exported *e) {
  int st = OK;
  tr_answers a = {0};

  if (!can_be_checked(from, o)) goto out;
  TRY(tr_answers_make(from->config, trained, (size_t)from->state->nparams, &a));
  TRY(tr_answers_compare(from->config, e->tmp, o->folded, o->flip_x, &a, &e->difference));
  e->text_difference = a.text_difference;
  e->checked = true;
out:
  tr_answers_fini(&a);
  return st;
}

static int describe(const tr_export_from *from, const tr_export_opts *o, const stamp *s, const tr_exported *e) {
  const tr_card card = {.config = from->config, .config_text = from->config_text, .config_hash = s->config.hex,
                        .base_hash = s->base.hex, .run_dir = from->run_dir, .step = from->state->step, .folded = o->folded,
                        .ema = o->folded && from->state->ema, .flip_x = o->flip_x, .f32 = o->precisions.f32,
                        .f16 = o->precisions.f16, .checked = e->checked, .difference = e->difference,
                        .text_difference = e->text_difference};
  return tr_card_write(&card, e->tmp);
}

static int make(const tr_export_from *from, const tr_export_opts *o, const st_tensor *trained, tr_exported *e) {
  int st = OK;
  const size_t n = (size_t)from->state->nparams;
  stamp s;
  tr_folded f = {.n = 0};

  TRY(make_stamp(from, o, &s));
  if (o->folded)
    TRY(tr_fold(&from->net->unet_config, &from->net->schedule, (int)from->config->model.timestep, trained, n, &f));
  TRY(write_folder(from, o, &s, o->folded ? f.tensors : trained, n, e));
  TRY(check(from, o, trained, e));
  TRY(describe(from, o, &s, e));
out:
  tr_folded_fini(&f);
  return st;
}

int tr_export_make(const tr_export_from *from, const tr_export_opts *o, tr_exported *e) {
  int st = OK;
  const char *why;
  const ck_state *s = from->state;
  st_tensor *trained = tensors_of(s, o->folded && s->ema ? s->ema : s->weights);

  memset(e, 0, sizeof *e);
  NEED(trained, E_NOMEM, "export: %d tensors", s->nparams);
  NEED(!o->folded || tr_export_foldable(from->config, &why), E_CONFIG, "%s: no portable form: %s", o->out, why);
  TRY(make(from, o, trained, e));
out:
  if (st != OK) tr_export_abandon(e);
  free(trained);
  return st;
}

static void say(const tr_exported *e) {
  if (!e->checked) log_info("weights: %s", e->out);
  else if (e->text_difference > 0)
    log_info("weights: %s; loaded back: differs by %.2g from the trained model, which gives %.2g for 77 tokens instead of 2",
             e->out, e->difference, e->text_difference);
  else log_info("weights: %s; loaded back: differs by %.2g from the trained model", e->out, e->difference);
}

int tr_export_publish(tr_exported *e) {
  int st = OK;

  TRY(ck_export_finish(e->out, e->tmp));
  e->tmp[0] = 0;
  say(e);
out:
  return st;
}

void tr_export_abandon(tr_exported *e) {
  ck_export_abandon(e->tmp);
  e->tmp[0] = 0;
}

/* ---- at the end of a run ---- */

/* A run must not fail at its end because a weight is beyond half precision. */
static int make_in_run(const tr_export_from *from, const char *name, bool folded, tr_exported *e) {
  int st = OK;
  char out[IO_PATH_MAX];
  tr_export_opts o = {.out = out, .folded = folded, .precisions = {true, true}};

  TRY(io_path(out, "%s/%s", from->run_dir, name));
  st = tr_export_make(from, &o, e);
  if (st == E_NUMERIC) {
    log_warn("%s: only fp32 files: %s", out, err_text());
    o.precisions.f16 = false;
    st = tr_export_make(from, &o, e);
  }
  TRY(st);
out:
  return st;
}

static json_t *measured(const tr_exported *e) {
  return e->checked ? json_pack("{s:f, s:f}", "difference", e->difference, "text_difference", e->text_difference) : json_object();
}

int tr_export_run(const tr_export_from *from) {
  int st = OK;
  const char *why;
  tr_exported model = {.tmp = ""}, portable = {.tmp = ""};
  json_t *said = json_object();

  const bool foldable = tr_export_foldable(from->config, &why);
  if (!foldable) log_info("no portable/: %s", why);
  TRY(make_in_run(from, "model", false, &model));
  if (foldable) TRY(make_in_run(from, "portable", true, &portable));
  json_object_set_new(said, "model", measured(&model));
  if (foldable) json_object_set_new(said, "portable", measured(&portable));
  TRY(tr_record_add(from->run_dir, "exports", json_incref(said)));
  if (foldable) TRY(tr_export_publish(&portable));
  TRY(tr_export_publish(&model));
out:
  tr_export_abandon(&portable);
  tr_export_abandon(&model);
  json_decref(said);
  return st;
}
