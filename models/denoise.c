#include "models/denoise.h"

#include <math.h>

/* ---- where the steps lie ---- */

/* numpy.arange(T, 0, -T/n), rounded half to even: its second value less its first is the step that it multiplies. */
static int trailing(int T, int n, int i) {
  const double step = ((double)T - (double)T / n) - T;
  return (int)rint(T + i * step) - 1;
}

static int linspace(int T, int n, int i) {
  const int up = n - 1 - i;
  if (n == 1) return 0;
  return up == n - 1 ? T - 1 : (int)rint(up * ((double)(T - 1) / (n - 1)));
}

static int lcm(const md_schedule *s, int n, int i) {
  const int original = s->original_inference_steps, k = s->train_steps / original;
  const int at = (int)floor(i * ((double)original / n));
  return (original - at) * k - 1;
}

int md_timesteps(const md_schedule *s, md_sampler sampler, md_spacing spacing, int steps, int *timesteps) {
  int st = OK;
  const int T = s->train_steps;
  const int most = sampler == MD_LCM && s->original_inference_steps < T ? s->original_inference_steps : T;

  NEED(steps >= 1 && steps <= most, E_CONFIG, "steps: wanted 1 to %d%s, found %d", most,
       sampler == MD_LCM ? ", LCM's original_inference_steps" : " of the schedule", steps);
  for (int i = 0; i < steps; i++) {
    int t = 0;
    if (sampler == MD_LCM) t = lcm(s, steps, i);
    else if (spacing == MD_TRAILING) t = trailing(T, steps, i);
    else if (spacing == MD_LINSPACE) t = linspace(T, steps, i);
    else t = (steps - 1 - i) * (T / steps) + s->steps_offset;
    NEED(t >= 0 && t < T, E_CONFIG, "steps: step %d of %d lies at timestep %d, the schedule ends at %d (steps_offset %d)",
         i + 1, steps, t, T - 1, s->steps_offset);
    timesteps[i] = t;
  }
out:
  return st;
}

/* ---- one step ---- */

/* a p + b q in f32; q NULL: a p */
static int weighted(const tchc_tensor *p, double a, const tchc_tensor *q, double b, tchc_tensor **out) {
  int st = OK;
  tchc_scope *scope = NULL;
  tchc_tensor *p32 = NULL, *q32 = NULL, *sum = NULL, *r = NULL;

  TRY(tchc_scope_open(&scope));
  TRY(tchc_to_type(p, TCHC_F32, &p32));
  TRY(tchc_affine(p32, a, 0, &r));
  if (q) {
    TRY(tchc_to_type(q, TCHC_F32, &q32));
    TRY(tchc_add(r, q32, b, &sum));
    r = sum;
  }
  tchc_promote(r);
  *out = r;
out:
  tchc_scope_close(&scope);
  return st;
}

/* The noise that x is made of, by the network's output. */
static int noise_of(const md_schedule *s, int t, const tchc_tensor *x, const tchc_tensor *out, tchc_tensor **noise) {
  const float a = s->alphas_cumprod[t], signal = sqrtf(a), rest = sqrtf(1.0f - a);

  switch (s->prediction) {
  case MD_EPSILON: return tchc_to_type(out, TCHC_F32, noise);
  case MD_V_PREDICTION: return weighted(out, signal, x, rest, noise);
  case MD_SAMPLE: break;
  }
  if (rest == 0) return weighted(x, 0, NULL, 0, noise); /* no noise left at all */
  return weighted(x, 1 / rest, out, -signal / rest, noise);
}

int md_ddim_step(const md_schedule *s, int t, int steps, const tchc_tensor *x, const tchc_tensor *out, tchc_tensor **x0,
                 tchc_tensor **prev) {
  int st = OK;
  const int before = t - s->train_steps / steps;
  const float end = s->set_alpha_to_one ? 1.0f : s->alphas_cumprod[0];
  const float a = before >= 0 ? s->alphas_cumprod[before] : end;
  tchc_scope *scope = NULL;
  tchc_tensor *clean = NULL, *noise = NULL, *x_prev = NULL;

  TRY(tchc_scope_open(&scope));
  TRY(md_schedule_x0(s, t, x, out, &clean));
  if (prev) {
    TRY(noise_of(s, t, x, out, &noise));
    TRY(weighted(clean, sqrtf(a), noise, sqrtf(1.0f - a), &x_prev));
    tchc_promote(x_prev);
    *prev = x_prev;
  }
  if (x0) {
    tchc_promote(clean);
    *x0 = clean;
  }
out:
  tchc_scope_close(&scope);
  return st;
}

int md_lcm_step(const md_schedule *s, int t, int next, const tchc_tensor *x, const tchc_tensor *out,
                const tchc_tensor *noise, tchc_tensor **denoised, tchc_tensor **prev) {
  int st = OK;
  const double sigma = 0.5, scaled = t * s->timestep_scaling, sum = scaled * scaled + sigma * sigma;
  tchc_scope *scope = NULL;
  tchc_tensor *x0 = NULL, *clean = NULL, *x_prev = NULL;

  TRY(tchc_scope_open(&scope));
  TRY(md_schedule_x0(s, t, x, out, &x0));
  TRY(weighted(x0, scaled / sqrt(sum), x, sigma * sigma / sum, &clean));
  if (noise) {
    NEED(next >= 0 && next < t, E_SHAPE, "LCM: timestep %d after %d", next, t);
    TRY(weighted(clean, sqrtf(s->alphas_cumprod[next]), noise, sqrtf(1.0f - s->alphas_cumprod[next]), &x_prev));
  } else {
    TRY(tchc_share(clean, &x_prev));
  }
  if (denoised) {
    tchc_promote(clean);
    *denoised = clean;
  }
  if (prev) {
    tchc_promote(x_prev);
    *prev = x_prev;
  }
out:
  tchc_scope_close(&scope);
  return st;
}

/* ---- all steps ---- */

static int run_unet(const md_denoiser *d, int t, const tchc_tensor *rgb, const tchc_tensor *x, tchc_tensor **out) {
  int st = OK;
  const int64_t one = 1;
  tchc_scope *scope = NULL;
  tchc_tensor *sample = NULL, *timestep = NULL, *y = NULL;

  TRY(tchc_scope_open(&scope));
  TRY(tchc_full(&one, 1, t, TCHC_I64, tchc_where(x), &timestep));
  if (!d->rgb_alone) TRY(tchc_cat((const tchc_tensor *const[]){rgb, x}, 2, 1, &sample));
  TRY(md_unet_forward(d->unet, sample ? sample : rgb, timestep, d->text, NULL, &y));
  tchc_promote(y);
  *out = y;
out:
  tchc_scope_close(&scope);
  return st;
}

/* Step i; *x is replaced. */
static int advance(const md_denoiser *d, int i, const tchc_tensor *rgb, tchc_tensor **x) {
  int st = OK;
  const bool last = i == d->steps - 1, x0_wanted = last && d->clean_end;
  const int t = d->timesteps[i];
  tchc_scope *scope = NULL;
  tchc_tensor *out = NULL, *noise = NULL, *next = NULL;

  TRY(tchc_scope_open(&scope));
  TRY(run_unet(d, t, rgb, *x, &out));
  if (d->sampler == MD_LCM) {
    if (!last) TRY(d->step_noise(d->ctx, i, *x, &noise));
    TRY(md_lcm_step(d->schedule, t, last ? t : d->timesteps[i + 1], *x, out, noise, NULL, &next));
  } else {
    TRY(md_ddim_step(d->schedule, t, d->steps, *x, out, x0_wanted ? &next : NULL, x0_wanted ? NULL : &next));
  }
  tchc_promote(next);
  tchc_free(x);
  *x = next;
out:
  tchc_scope_close(&scope);
  return st;
}

int md_denoise(const md_denoiser *d, const tchc_tensor *rgb, const tchc_tensor *noise, tchc_tensor **latent) {
  int st = OK;
  const bool graph = tchc_grad_mode(false);
  tchc_scope *scope = NULL;
  tchc_tensor *rgb32 = NULL, *x = NULL;

  TRY(tchc_scope_open(&scope));
  NEED(tchc_numel(rgb) == tchc_numel(noise), E_SHAPE, "noise latent is %s, the RGB latent %s", tchc_text(noise), tchc_text(rgb));
  TRY(tchc_to_type(rgb, TCHC_F32, &rgb32));
  TRY(tchc_to_type(noise, TCHC_F32, &x));
  for (int i = 0; i < d->steps; i++) TRY(advance(d, i, rgb32, &x));
  tchc_promote(x);
  *latent = x;
out:
  tchc_scope_close(&scope);
  tchc_grad_mode(graph);
  return st;
}
