#include "trainer/export_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "models/clip.h"
#include "trainer/forward.h"

enum { CELLS_HIGH = 12, CELLS_WIDE = 16 };
/* Far above rounding (1e-6 for depth, 1e-4 where decoded normals are short), far below any mistake. */
static const double depth_limit = 2e-3, normals_limit = 2e-2;

static const tr_device cpu = {.at = {TCHC_CPU, 0}, .name = "cpu"};

/* Slopes, waves and a bright box: edges and flat parts. */
static void draw(int H, int W, float *rgb) {
  for (int c = 0; c < 3; c++)
    for (int y = 0; y < H; y++)
      for (int x = 0; x < W; x++) {
        const double u = (double)x / W, v = (double)y / H;
        const bool box = u > 0.3 && u < 0.6 && v > 0.4 && v < 0.8;
        const double value = box ? 0.8 - 0.5 * c * u : 0.6 * (c ? u : v) - 0.4 + 0.25 * sin(9 * u + 5 * v + 2 * c);
        rgb[(c * H + y) * W + x] = (float)value;
      }
}

static size_t answer_size(cf_task task, int H, int W) { return (size_t)H * (size_t)W * (task == CF_DEPTH ? 1 : 3); }

/* In the units that clients see. */
static double largest_difference(cf_task task, const float *a, const float *b, size_t n) {
  double most = 0;
  for (size_t i = 0; i < n; i++) {
    const double d = fabs((double)a[i] - (double)b[i]);
    if (!(d <= most)) most = d;
  }
  return task == CF_DEPTH ? most / 2 : most;
}

/* The 1e-5 in the length of normals weighs differently where the decoder's image is of another size: clients divide by
 * the length alone. */
static void to_client_units(cf_task task, float *a, size_t n) {
  const size_t m = n / 3;

  for (size_t i = 0; task == CF_NORMALS && i < m; i++) {
    const float length = sqrtf(a[i] * a[i] + a[m + i] * a[m + i] + a[2 * m + i] * a[2 * m + i]);
    for (size_t c = 0; length > 0 && c < 3; c++) a[c * m + i] /= length;
  }
}

/* One answer of a network, in [-1,1]. */
static int answer(const tr_network *net, const tr_forward *o, const tr_answers *a, float *out) {
  int st = OK;

  TRY(tr_forward_run(net, o, a->rgb, a->H, a->W, out));
  to_client_units(o->task, out, a->n);
out:
  return st;
}

static int put_weights(md_params *p, const st_tensor *t, size_t n) {
  int st = OK;

  for (size_t i = 0; i < n; i++) {
    const int at = md_params_find(p, t[i].name);
    NEED(at >= 0 && md_params_at(p, at)->numel == st_numel(&t[i]), E_CKPT, "%s is no weight of this U-Net", t[i].name);
    TRY(md_params_put(p, at, t[i].data));
  }
out:
  return st;
}

static cf_config in_fp32(const cf_config *c, cf_noise noise) {
  cf_config copy = *c;
  copy.run.precision = CF_FP32;
  copy.model.noise = c->model.noise == CF_NONE ? CF_NONE : noise;
  copy.model.text = CF_SHORT;
  return copy;
}

static int measure_text(const cf_config *c, const tr_network *net, tr_answers *a) {
  int st = OK;
  float *padded = malloc(sizeof *padded * a->n);
  tchc_tensor *text = NULL;

  NEED(padded, E_NOMEM, "an answer of %zu numbers", a->n);
  TRY(md_clip_empty_prompt(c->model.path, true, &text));
  const tr_forward o = {.task = c->model.task, .timestep = (int)c->model.timestep, .text = text};
  TRY(answer(net, &o, a, padded));
  a->text_difference = largest_difference(c->model.task, padded, a->tokens_2, a->n);
out:
  tchc_free(&text);
  free(padded);
  return st;
}

static int answer_both(const cf_config *c, const tr_network *net, tr_answers *a) {
  int st = OK;
  const int factor = md_vae_factor(&net->vae_config);
  const tr_forward o = {.task = c->model.task, .timestep = (int)c->model.timestep, .text = net->text};

  a->H = CELLS_HIGH * factor;
  a->W = CELLS_WIDE * factor;
  a->n = answer_size(c->model.task, a->H, a->W);
  a->rgb = malloc(sizeof *a->rgb * 3 * (size_t)a->H * (size_t)a->W);
  a->tokens_2 = malloc(sizeof *a->tokens_2 * a->n);
  NEED(a->rgb && a->tokens_2, E_NOMEM, "answers");
  draw(a->H, a->W, a->rgb);
  TRY(answer(net, &o, a, a->tokens_2));
  if (c->model.text == CF_PADDED) TRY(measure_text(c, net, a));
out:
  return st;
}

int tr_answers_make(const cf_config *c, const st_tensor *unet, size_t n, tr_answers *out) {
  int st = OK;
  tr_network net = {.unet = NULL};
  tr_answers a = {0};
  const cf_config plain = in_fp32(c, CF_ZEROS);

  TRY(tr_network_read(&plain, &net));
  TRY(tr_network_load(&plain, &cpu, &net));
  TRY(put_weights(net.masters, unet, n));
  TRY(answer_both(c, &net, &a));
  *out = a;
  memset(&a, 0, sizeof a);
out:
  tr_network_fini(&net);
  tr_answers_fini(&a);
  return st;
}

void tr_answers_fini(tr_answers *a) {
  free(a->rgb);
  free(a->tokens_2);
  memset(a, 0, sizeof *a);
}

static int ask(const cf_config *c, const tr_network *net, const tr_forward *o, bool flip_x, const tr_answers *a,
               double *difference) {
  int st = OK;
  float *got = malloc(sizeof *got * a->n);

  NEED(got, E_NOMEM, "an answer of %zu numbers", a->n);
  TRY(answer(net, o, a, got));
  for (size_t i = 0; flip_x && i < a->n / 3; i++) got[i] = -got[i];
  *difference = fmax(*difference, largest_difference(c->model.task, got, a->tokens_2, a->n));
out:
  free(got);
  return st;
}

/* Noise that a client may put in, and a timestep that it may choose. */
static int ask_folded(const cf_config *c, const tr_network *net, bool flip_x, const tr_answers *a, double *difference) {
  int st = OK;
  const int factor = md_vae_factor(&net->vae_config);
  const int64_t shape[] = {1, net->vae_config.latent_channels, a->H / factor, a->W / factor};
  const size_t n = (size_t)(shape[1] * shape[2] * shape[3]);
  const rng_key k = rng_stream(0, "export", 0, 0);
  float *values = malloc(sizeof *values * n);
  tchc_tensor *noise = NULL;
  tr_forward o = {.task = c->model.task, .text = net->text};

  NEED(values, E_NOMEM, "noise of %zu numbers", n);
  rng_normal_f32(&k, values, n);
  TRY(tchc_from_host(values, shape, 4, TCHC_F32, TCHC_CPU_DEVICE, &noise));
  o.noise = noise;
  o.timestep = net->schedule.train_steps - 1;
  TRY(ask(c, net, &o, flip_x, a, difference));
  o.timestep = net->schedule.train_steps / 4;
  TRY(ask(c, net, &o, flip_x, a, difference));
out:
  tchc_free(&noise);
  free(values);
  return st;
}

int tr_answers_compare(const cf_config *c, const char *dir, bool folded, bool flip_x, const tr_answers *a,
                       double *difference) {
  int st = OK;
  tr_network net = {.unet = NULL};
  cf_config exported = in_fp32(c, CF_ZEROS);
  const double limit = c->model.task == CF_DEPTH ? depth_limit : normals_limit;
  double most = 0;

  exported.model.path = (char *)dir;
  if (folded) exported.model.noise = CF_ZEROS;
  TRY(tr_network_read(&exported, &net));
  TRY(tr_network_load(&exported, &cpu, &net));
  const tr_forward o = {.task = c->model.task, .timestep = (int)c->model.timestep, .text = net.text};
  if (folded) TRY(ask_folded(c, &net, flip_x, a, &most));
  else TRY(ask(c, &net, &o, flip_x, a, &most));
  NEED(most <= limit, E_FAIL, "%s: loaded back it differs by %g from the trained model (at most %g is rounding)", dir, most,
       limit);
  *difference = most;
out:
  tr_network_fini(&net);
  return st;
}
