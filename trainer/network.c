#include "trainer/network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/rng.h"
#include "models/clip.h"

/* Channels of the U-Net's input: the RGB latent, and the noise latent beside it unless there is none. */
static int fit_channels(const cf_config *c, tr_network *net) {
  int st = OK;
  const int latent = net->vae_config.latent_channels, found = net->unet_config.in_channels;
  const int wanted = c->model.noise == CF_NONE ? latent : 2 * latent;

  NEED(net->unet_config.out_channels == latent, E_CKPT, "%s/unet: out_channels is %d, wanted the VAE's %d",
       c->model.path, net->unet_config.out_channels, latent);
  if (found == latent && wanted == 2 * latent) net->widened = true;
  else
    NEED(found == wanted, E_CONFIG, "model.noise: %s needs %d input channels (or %d), %s/unet has %d",
         c->model.noise == CF_NONE ? "none" : "this kind", wanted, latent, c->model.path, found);
  net->unet_config.in_channels = wanted;
  NEED(!json_object_set_new(net->unet_json, "in_channels", json_integer(wanted)), E_NOMEM, "unet/config.json");
out:
  return st;
}

int tr_network_read(const cf_config *c, tr_network *net) {
  int st = OK;
  char dir[IO_PATH_MAX];

  memset(net, 0, sizeof *net);
  NEED(io_is_dir(c->model.path), E_CKPT, "model.path: %s: no such folder", c->model.path);
  TRY(io_path(dir, "%s/unet", c->model.path));
  TRY(md_unet_config_read(dir, &net->unet_config, &net->unet_json));
  TRY(io_path(dir, "%s/vae", c->model.path));
  TRY(md_vae_config_read(dir, &net->vae_config));
  TRY(io_path(dir, "%s/scheduler", c->model.path));
  TRY(md_schedule_read(dir, &net->schedule));
  NEED(c->model.timestep < net->schedule.train_steps, E_CONFIG, "model.timestep: %lld, but %s has %d steps",
       (long long)c->model.timestep, dir, net->schedule.train_steps);
  TRY(fit_channels(c, net));
out:
  return st;
}

/* With random weights there may be no text encoder to ask: any fixed embedding of the right shape does. */
static int random_text(const cf_config *c, const tr_network *net, tchc_tensor **out) {
  int st = OK;
  const int64_t shape[] = {1, c->model.text == CF_PADDED ? 77 : 2, net->unet_config.cross_attention_dim};
  const size_t n = (size_t)(shape[1] * shape[2]);
  const rng_key k = rng_stream(c->run.seed, "text", 0, 0);
  float *values = malloc(sizeof *values * n);

  NEED(values, E_NOMEM, "text embedding: %zu floats", n);
  rng_normal_f32(&k, values, n);
  TRY(tchc_from_host(values, shape, 3, TCHC_F32, TCHC_CPU_DEVICE, out));
out:
  free(values);
  return st;
}

static int load_text(const cf_config *c, tr_network *net) {
  int st = OK;
  tchc_scope *scope = NULL;
  tchc_tensor *text = NULL, *placed = NULL;

  TRY(tchc_scope_open(&scope));
  if (c->model.init == CF_RANDOM) TRY(random_text(c, net, &text));
  else TRY(md_clip_empty_prompt(c->model.path, c->model.text == CF_PADDED, &text));
  NEED(tchc_size(text, 2) == net->unet_config.cross_attention_dim, E_CKPT,
       "%s: the text encoder gives %lld numbers a token, the U-Net's cross_attention_dim is %d", c->model.path,
       (long long)tchc_size(text, 2), net->unet_config.cross_attention_dim);
  TRY(tchc_to(text, net->dtype, net->device, TCHC_CONTIGUOUS, &placed));
  tchc_keep(placed);
  net->text = placed;
out:
  tchc_scope_close(&scope);
  return st;
}

/* Its biases and norms in f32, whatever the rest is in. */
static int fuse_vae(tr_network *net) {
  int st = OK;

  if (net->dtype != TCHC_F32) TRY(md_params_clone(net->vae_params, TCHC_F32, &net->vae_wide));
  const md_fusion f = {net->kernels, net->vae_wide ? net->vae_wide : net->vae_params, NULL};
  TRY(md_vae_create_fused(&net->vae_config, net->vae_params, &f, &net->vae));
out:
  return st;
}

static void place(const cf_config *c, const tr_device *d, tr_network *net) {
  net->device = d->at;
  net->kernels = d->kernels;
  net->fused = d->fused;
  net->dtype = c->run.precision == CF_BF16 ? TCHC_BF16 : TCHC_F32;
}

int tr_network_load_vae(const cf_config *c, const tr_device *d, tr_network *net) {
  int st = OK;
  char dir[IO_PATH_MAX];

  place(c, d, net);
  TRY(io_path(dir, "%s/vae", c->model.path));
  TRY(md_params_create("vae", &net->vae_params));
  TRY(md_vae_declare(&net->vae_config, net->vae_params));
  if (net->fused || net->device.type != TCHC_CPU) md_params_channels_last(net->vae_params);
  TRY(md_params_allocate(net->vae_params, net->dtype, net->device));
  if (c->model.init == CF_RANDOM) TRY(md_params_randomise(net->vae_params, c->run.seed));
  else TRY(md_vae_load(&net->vae_config, dir, net->vae_params));
  if (net->fused) TRY(fuse_vae(net));
  else TRY(md_vae_create(&net->vae_config, net->vae_params, &net->vae));
out:
  return st;
}

static int make_grads(tr_network *net, tchc_dtype dtype, tchc_tensor **out) {
  const int64_t n = md_params_numel(net->masters);
  return tchc_full(&n, 1, 0, dtype, net->device, out);
}

static int load_unet(const cf_config *c, tr_network *net) {
  int st = OK;
  char dir[IO_PATH_MAX];

  TRY(io_path(dir, "%s/unet", c->model.path));
  TRY(md_params_create("unet", &net->masters));
  TRY(md_unet_declare(&net->unet_config, net->masters));
  if (net->fused || net->device.type != TCHC_CPU) md_params_channels_last(net->masters);
  TRY(md_params_allocate(net->masters, TCHC_F32, net->device));
  if (c->model.init == CF_RANDOM) TRY(md_params_randomise(net->masters, c->run.seed));
  else TRY(md_unet_load(&net->unet_config, dir, c->model.conv_in_bias == CF_KEEP, net->masters));
  TRY(make_grads(net, TCHC_F32, &net->grads));
  if (net->dtype != TCHC_F32) TRY(md_params_clone(net->masters, net->dtype, &net->working));
  if (net->working && !net->fused) TRY(make_grads(net, net->dtype, &net->working_grads));
  TRY(md_params_train(tr_network_active(net), net->working_grads ? net->working_grads : net->grads));
  if (net->fused)
    TRY(md_unet_create_fused(&net->unet_config, tr_network_active(net),
                             &(md_fusion){net->kernels, net->masters, net->grads}, &net->unet));
  else TRY(md_unet_create(&net->unet_config, tr_network_active(net), &net->unet));
out:
  return st;
}

int tr_network_load(const cf_config *c, const tr_device *d, tr_network *net) {
  int st = OK;

  place(c, d, net);
  TRY(load_unet(c, net));
  TRY(tr_network_load_vae(c, d, net));
  TRY(load_text(c, net));
out:
  return st;
}

int tr_network_check(const cf_config *c, const tr_network *net, int64_t *unet_numel, int64_t *vae_numel) {
  int st = OK;
  char dir[IO_PATH_MAX];
  md_params *unet = NULL, *vae = NULL;

  TRY(md_params_create("unet", &unet));
  TRY(md_unet_declare(&net->unet_config, unet));
  TRY(md_params_create("vae", &vae));
  TRY(md_vae_declare(&net->vae_config, vae));
  if (c->model.init == CF_WEIGHTS) {
    TRY(io_path(dir, "%s/unet", c->model.path));
    TRY(md_unet_load(&net->unet_config, dir, c->model.conv_in_bias == CF_KEEP, unet));
    TRY(io_path(dir, "%s/vae", c->model.path));
    TRY(md_vae_load(&net->vae_config, dir, vae));
  }
  *unet_numel = md_params_numel(unet);
  *vae_numel = md_params_numel(vae);
out:
  md_params_destroy(&unet);
  md_params_destroy(&vae);
  return st;
}

void tr_network_recompute(tr_network *net, bool unet, bool decoder) {
  md_unet_set_recompute(net->unet, unet);
  md_vae_set_recompute(net->vae, decoder);
}

void tr_network_fini(tr_network *net) {
  md_unet_destroy(&net->unet);
  md_vae_destroy(&net->vae);
  tchc_free(&net->text);
  tchc_free(&net->grads);
  tchc_free(&net->working_grads);
  md_params_destroy(&net->working);
  md_params_destroy(&net->masters);
  md_params_destroy(&net->vae_params);
  md_params_destroy(&net->vae_wide);
  json_decref(net->unet_json);
  net->unet_json = NULL;
}

md_params *tr_network_active(const tr_network *net) { return net->working ? net->working : net->masters; }

int tr_network_collect_grads(tr_network *net) {
  int st = OK;

  if (!net->working_grads) return OK;
  TRY(tchc_add_(net->grads, net->working_grads, 1));
  TRY(tchc_zero_(net->working_grads));
out:
  return st;
}

int tr_network_zero_grads(tr_network *net) {
  int st = OK;

  TRY(tchc_zero_(net->grads));
  if (net->working_grads) TRY(tchc_zero_(net->working_grads));
out:
  return st;
}
