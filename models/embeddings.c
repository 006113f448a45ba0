#include "models/embeddings.h"

#include <math.h>

static int make_frequencies(int half, double shift, tchc_device d, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *i = NULL, *log = NULL, *exponent = NULL, *span = NULL, *f = NULL, *row = NULL, *there = NULL;

  TRY(tchc_scope_open(&s));
  TRY(tchc_arange(half, TCHC_F32, TCHC_CPU_DEVICE, &i));
  TRY(tchc_affine(i, -1 * 9.210340371976184, 0, &log)); /* log(10000) */
  TRY(tchc_full((int64_t[]){1}, 1, half - shift, TCHC_F32, TCHC_CPU_DEVICE, &span));
  TRY(tchc_div(log, span, &exponent));
  TRY(tchc_exp(exponent, &f));
  TRY(tchc_unsqueeze(f, 0, &row));
  TRY(tchc_to(row, TCHC_F32, d, TCHC_CONTIGUOUS, &there));
  tchc_keep(there);
  *out = there;
out:
  tchc_scope_close(&s);
  return st;
}

int md_time_embedding_build(const md_build *b, int width, bool flip_sin_to_cos, double shift, md_time_embedding *e) {
  int st = OK;
  e->width = width;
  e->flip_sin_to_cos = flip_sin_to_cos;
  TRY(md_linear_build(b, width, 4 * width, true, &e->linear_1, "time_embedding.linear_1"));
  TRY(md_linear_build(b, 4 * width, 4 * width, true, &e->linear_2, "time_embedding.linear_2"));
  if (b->bind) TRY(make_frequencies(width / 2, shift, tchc_where(e->linear_1.w), &e->frequencies));
out:
  return st;
}

void md_time_embedding_fini(md_time_embedding *e) { tchc_free(&e->frequencies); }

/* timesteps [n] -> sinusoids [n,width] f32, an odd width filled up with 0. */
static int sinusoids(const md_time_embedding *e, const tchc_tensor *timesteps, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *t = NULL, *column = NULL, *angle = NULL, *sin = NULL, *cos = NULL, *both = NULL, *padded = NULL;

  TRY(tchc_scope_open(&s));
  TRY(tchc_to(timesteps, TCHC_F32, tchc_where(e->frequencies), TCHC_PRESERVE, &t));
  TRY(tchc_unsqueeze(t, 1, &column));
  TRY(tchc_mul(column, e->frequencies, &angle));
  TRY(tchc_sin(angle, &sin));
  TRY(tchc_cos(angle, &cos));
  const tchc_tensor *const order[2] = {e->flip_sin_to_cos ? cos : sin, e->flip_sin_to_cos ? sin : cos};
  TRY(tchc_cat(order, 2, 1, &both));
  if (e->width % 2) {
    TRY(tchc_pad(both, 0, 1, 0, 0, &padded));
    both = padded;
  }
  tchc_promote(both);
  *out = both;
out:
  tchc_scope_close(&s);
  return st;
}

int md_time_embedding_forward(const md_time_embedding *e, const md_probe *probe, const tchc_tensor *timesteps,
                              int64_t batch, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *wide = NULL, *proj = NULL, *h = NULL;

  TRY(tchc_scope_open(&s));
  TRY(tchc_expand(timesteps, &batch, 1, &wide));
  TRY(sinusoids(e, wide, &proj));
  TRY(md_probe_see(probe, "time_proj", NULL, proj));
  TRY(tchc_to_type(proj, tchc_type(e->linear_1.w), &h));
  TRY(md_linear_forward(&e->linear_1, h, &h));
  TRY(md_silu_forward(h, &h));
  TRY(md_linear_forward(&e->linear_2, h, &h));
  TRY(md_probe_see(probe, "time_embedding", NULL, h));
  tchc_promote(h);
  *out = h;
out:
  tchc_scope_close(&s);
  return st;
}

int md_time_embedding_at(int width, bool flip_sin_to_cos, double shift, double timestep, const float *weight,
                         const float *bias, float *out) {
  int st = OK;
  const int64_t one = 1, n = 4 * (int64_t)width;
  md_time_embedding e = {.width = width, .flip_sin_to_cos = flip_sin_to_cos};
  tchc_scope *s = NULL;
  tchc_tensor *t = NULL, *x = NULL, *w = NULL, *b = NULL, *y = NULL;

  TRY(tchc_scope_open(&s));
  TRY(make_frequencies(width / 2, shift, TCHC_CPU_DEVICE, &e.frequencies));
  TRY(tchc_full(&one, 1, timestep, TCHC_F32, TCHC_CPU_DEVICE, &t));
  TRY(sinusoids(&e, t, &x));
  TRY(tchc_from_host(weight, (int64_t[]){n, width}, 2, TCHC_F32, TCHC_CPU_DEVICE, &w));
  TRY(tchc_from_host(bias, &n, 1, TCHC_F32, TCHC_CPU_DEVICE, &b));
  TRY(tchc_linear(x, w, b, &y));
  TRY(tchc_to_host(y, out, sizeof *out * (size_t)n));
out:
  tchc_scope_close(&s);
  md_time_embedding_fini(&e);
  return st;
}
