#include "eval/estimator.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "models/clip.h"

/* ---- what the folder says of itself ---- */

static bool name_task(const char *name, ev_estimator *e) {
  if (!name) return false;
  const bool normals = !strcmp(name, "normals") || !strcmp(name, "MarigoldNormalsPipeline");
  if (!normals && strcmp(name, "depth") && strcmp(name, "disparity") && strcmp(name, "MarigoldDepthPipeline")) return false;
  e->task = normals ? EV_NORMALS : EV_DEPTH;
  return e->says_task = true;
}

static int whole_number(const json_t *root, const char *key, int otherwise) {
  const json_t *v = json_object_get(root, key);
  const json_int_t n = json_integer_value(v);
  return json_is_integer(v) && n >= 0 && n <= 100000 ? (int)n : otherwise;
}

/* model_index.json is a pipeline's own: a folder without it, or with less in it, still predicts. */
static int read_index(const char *dir, ev_estimator *e) {
  int st = OK;
  char path[IO_PATH_MAX];
  json_error_t error;
  json_t *root = NULL;

  e->scale_invariant = e->shift_invariant = true;
  e->default_resolution = -1;
  TRY(io_path(path, "%s/model_index.json", dir));
  if (!io_exists(path)) goto out;
  NEED((root = json_load_file(path, 0, &error)) != NULL, E_CKPT, "%s:%d: %s", path, error.line, error.text);
  if (!name_task(json_string_value(json_object_get(root, "prediction_type")), e))
    name_task(json_string_value(json_object_get(root, "_class_name")), e);
  e->default_steps = whole_number(root, "default_denoising_steps", 0);
  e->default_resolution = whole_number(root, "default_processing_resolution", -1);
  e->half_z = json_is_false(json_object_get(root, "use_full_z_range"));
  e->scale_invariant = !json_is_false(json_object_get(root, "scale_invariant"));
  e->shift_invariant = !json_is_false(json_object_get(root, "shift_invariant"));
out:
  json_decref(root);
  return st;
}

/* Training writes the task and the timestep into the weights' own file; a pipeline's class may be another's. */
static int read_stamp(const char *dir, ev_estimator *e) {
  int st = OK;
  char path[IO_PATH_MAX];
  st_file *f = NULL;

  TRY(io_path(path, "%s/unet/diffusion_pytorch_model.safetensors", dir));
  if (!io_exists(path)) goto out;
  TRY_AS(E_CKPT, st_open(path, &f), "%s", path);
  name_task(st_metadata(f, "e2eft.task"), e);
  const char *timestep = st_metadata(f, "e2eft.timestep");
  if (timestep) e->timestep = atoi(timestep);
out:
  st_close(&f);
  return st;
}

/* ---- loading ---- */

/* The f32 parameters beside p that a fused network reads its norms from: p itself, or a copy. */
static int widen(const md_params *p, tchc_dtype dtype, md_params **copy, md_fusion *f) {
  int st = OK;

  if (dtype != TCHC_F32) TRY(md_params_clone(p, TCHC_F32, copy));
  f->wide = *copy ? *copy : p;
out:
  return st;
}

static int load_unet(const char *dir, tchc_dtype dtype, const kn_cuda *kernels, ev_estimator *e) {
  int st = OK;
  char path[IO_PATH_MAX];
  md_unet_config c;
  md_fusion f = {.kernels = kernels};
  const int latent = e->vae_config.latent_channels;

  TRY(io_path(path, "%s/unet", dir));
  TRY(md_unet_config_read(path, &c, NULL));
  NEED(c.out_channels == latent, E_CKPT, "%s: out_channels is %d, wanted the VAE's %d", path, c.out_channels, latent);
  NEED(c.in_channels == latent || c.in_channels == 2 * latent, E_CKPT, "%s: in_channels is %d, wanted %d or %d", path,
       c.in_channels, 2 * latent, latent);
  e->unet_channels = c.in_channels;
  NEED(tchc_size(e->text, 2) == c.cross_attention_dim, E_CKPT,
       "%s: the text encoder gives %lld numbers a token, the U-Net's cross_attention_dim is %d", dir,
       (long long)tchc_size(e->text, 2), c.cross_attention_dim);
  TRY(md_params_create("unet", &e->unet_params));
  TRY(md_unet_declare(&c, e->unet_params));
  if (kernels) md_params_channels_last(e->unet_params);
  TRY(md_params_allocate(e->unet_params, dtype, e->device));
  TRY(md_unet_load(&c, path, false, e->unet_params));
  if (kernels) TRY(widen(e->unet_params, dtype, &e->unet_wide, &f));
  TRY(kernels ? md_unet_create_fused(&c, e->unet_params, &f, &e->unet) : md_unet_create(&c, e->unet_params, &e->unet));
out:
  return st;
}

static int load_vae(const char *dir, tchc_dtype dtype, const kn_cuda *kernels, ev_estimator *e) {
  int st = OK;
  char path[IO_PATH_MAX];
  md_fusion f = {.kernels = kernels};

  TRY(io_path(path, "%s/vae", dir));
  TRY(md_vae_config_read(path, &e->vae_config));
  NEED(e->vae_config.out_channels == 3, E_CKPT, "%s: out_channels is %d, wanted 3", path, e->vae_config.out_channels);
  TRY(md_params_create("vae", &e->vae_params));
  TRY(md_vae_declare(&e->vae_config, e->vae_params));
  if (kernels) md_params_channels_last(e->vae_params);
  TRY(md_params_allocate(e->vae_params, dtype, e->device));
  TRY(md_vae_load(&e->vae_config, path, e->vae_params));
  if (kernels) TRY(widen(e->vae_params, dtype, &e->vae_wide, &f));
  TRY(kernels ? md_vae_create_fused(&e->vae_config, e->vae_params, &f, &e->vae)
              : md_vae_create(&e->vae_config, e->vae_params, &e->vae));
out:
  return st;
}

static int load_text(const char *dir, tchc_dtype dtype, ev_estimator *e) {
  int st = OK;
  tchc_scope *scope = NULL;
  tchc_tensor *text = NULL, *placed = NULL;

  TRY(tchc_scope_open(&scope));
  TRY(md_clip_empty_prompt(dir, false, &text));
  TRY(tchc_to(text, dtype, e->device, TCHC_CONTIGUOUS, &placed));
  tchc_keep(placed);
  e->text = placed;
out:
  tchc_scope_close(&scope);
  return st;
}

int ev_estimator_load(const char *dir, tchc_device d, tchc_dtype dtype, const kn_cuda *kernels, ev_estimator *e) {
  int st = OK;
  char path[IO_PATH_MAX];

  memset(e, 0, sizeof *e);
  e->device = d;
  e->timestep = -1;
  NEED(io_is_dir(dir), E_CKPT, "model: %s: no such folder", dir);
  TRY(io_path(path, "%s/unet", dir));
  NEED(io_is_dir(path), E_CKPT, "model: %s: no unet/ in it; wanted a folder in diffusers' layout, as a run's model/", dir);
  TRY(read_index(dir, e));
  TRY(read_stamp(dir, e));
  TRY(io_path(path, "%s/scheduler", dir));
  TRY(md_schedule_read(path, &e->schedule));
  TRY(load_vae(dir, dtype, kernels, e));
  TRY(load_text(dir, dtype, e));
  TRY(load_unet(dir, dtype, kernels, e));
out:
  return st;
}

void ev_estimator_fini(ev_estimator *e) {
  if (e->unet_params) md_unet_destroy(&e->unet);
  if (e->vae_params) md_vae_destroy(&e->vae);
  if (e->vae_params) tchc_free(&e->text);
  md_params_destroy(&e->unet_wide);
  md_params_destroy(&e->vae_wide);
  md_params_destroy(&e->unet_params);
  md_params_destroy(&e->vae_params);
}
