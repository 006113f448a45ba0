#include "trainer/forward.h"

#include <math.h>
#include <stdlib.h>

static int make_sample(const tr_network *net, const tr_forward *o, const tchc_tensor *latent, tchc_tensor **sample) {
  int st = OK;
  const int64_t shape[] = {1, tchc_size(latent, 1), tchc_size(latent, 2), tchc_size(latent, 3)};
  tchc_tensor *x = NULL;

  if (net->unet_config.in_channels == tchc_size(latent, 1)) return tchc_share(latent, sample);
  if (o->noise) TRY(tchc_to(o->noise, tchc_type(latent), net->device, TCHC_CONTIGUOUS, &x));
  else TRY(tchc_full(shape, 4, 0, tchc_type(latent), net->device, &x));
  TRY(tchc_cat((const tchc_tensor *[]){latent, x}, 2, 1, sample));
out:
  return st;
}

/* The decoder's image [1,3,H,W] f32. */
static int decode(const tr_network *net, const tr_forward *o, const float *rgb, int H, int W, tchc_tensor **image) {
  int st = OK;
  tchc_tensor *pixels = NULL, *input = NULL, *latent = NULL, *sample = NULL, *t = NULL, *out = NULL, *x0 = NULL, *z = NULL;
  tchc_tensor *typed = NULL, *decoded = NULL, *noise = NULL;

  TRY(tchc_from_host(rgb, (int64_t[]){1, 3, H, W}, 4, TCHC_F32, net->device, &pixels));
  TRY(tchc_to_type(pixels, net->dtype, &input));
  TRY(md_vae_latent(net->vae, input, &latent));
  TRY(make_sample(net, o, latent, &sample));
  TRY(tchc_full((int64_t[]){1}, 1, o->timestep, TCHC_I64, net->device, &t));
  TRY(md_unet_forward(net->unet, sample, t, o->text, NULL, &out));
  if (o->noise) TRY(tchc_to(o->noise, TCHC_F32, net->device, TCHC_CONTIGUOUS, &noise));
  TRY(md_schedule_x0(&net->schedule, o->timestep, noise, out, &x0));
  TRY(tchc_affine(x0, 1 / net->vae_config.scaling_factor, 0, &z));
  TRY(tchc_to_type(z, net->dtype, &typed));
  TRY(md_vae_decode(net->vae, typed, NULL, &decoded));
  TRY(tchc_to_type(decoded, TCHC_F32, image));
out:
  return st;
}

static float clamped(float v) { return fminf(fmaxf(v, -1), 1); }

static void post_process(cf_task task, const float *image, size_t n, float *out) {
  for (size_t i = 0; i < n; i++) {
    const float x = image[i], y = image[n + i], z = image[2 * n + i];
    if (task == CF_DEPTH) {
      out[i] = clamped((x + y + z) / 3);
    } else {
      const float length = sqrtf(x * x + y * y + z * z) + 1e-5f;
      out[i] = clamped(x / length);
      out[n + i] = clamped(y / length);
      out[2 * n + i] = clamped(z / length);
    }
  }
}

int tr_forward_run(const tr_network *net, const tr_forward *o, const float *rgb, int H, int W, float *out) {
  int st = OK;
  const size_t n = (size_t)H * (size_t)W;
  const bool grads = tchc_grad_mode(false);
  float *image = malloc(3 * n * sizeof *image);
  tchc_scope *scope = NULL;
  tchc_tensor *decoded = NULL;

  NEED(image, E_NOMEM, "an image of %dx%d", H, W);
  TRY(tchc_scope_open(&scope));
  TRY(decode(net, o, rgb, H, W, &decoded));
  TRY(tchc_to_host(decoded, image, 3 * n * sizeof *image));
  post_process(o->task, image, n, out);
out:
  tchc_scope_close(&scope);
  tchc_grad_mode(grads);
  free(image);
  return st;
}
