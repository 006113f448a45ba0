#include "kernels/adamw.h"

#include <math.h>
#include <stddef.h>

#include "base/half.h"

/* The sum runs over BLOCKS stretches of a length that n alone decides, each in LANES running sums. */
enum { BLOCKS = 1024, LANES = 8 };

static double sumsq_block(const float *g, int64_t n) {
  double lane[LANES] = {0}, sum = 0;
  int64_t i = 0;

  for (; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; j++) lane[j] += (double)g[i + j] * g[i + j];
  for (; i < n; i++) lane[0] += (double)g[i] * g[i];
  for (int j = 0; j < LANES; j++) sum += lane[j];
  return sum;
}

int kn_sumsq_f32_ref(const float *g, int64_t n, double *sum, int *finite) {
  int st = OK;
  double part[BLOCKS] = {0}, all = 0;

  NEED(n >= 0, E_SHAPE, "sumsq: n = %lld", (long long)n);
  const int64_t length = (n + BLOCKS - 1) / BLOCKS;
#pragma omp parallel for schedule(static)
  for (int b = 0; b < BLOCKS; b++) {
    const int64_t first = b * length, left = n - first;
    if (left > 0) part[b] = sumsq_block(g + first, left < length ? left : length);
  }
  for (int b = 0; b < BLOCKS; b++) all += part[b];
  *finite = isfinite(all) != 0; /* squares of finite floats cannot overflow f64 */
  *sum = all;
out:
  return st;
}

/* The step's factors, rounded to f32 as torch rounds them. */
typedef struct factors {
  float clip, decay, l2, lerp, beta2, square, root, eps, step, ema;
} factors;

static factors factors_of(const kn_adamw_step *s, double norm) {
  const double bias1 = 1 - pow(s->beta1, (double)s->t), bias2 = 1 - pow(s->beta2, (double)s->t);
  const float coef = 1 / ((float)norm + 1e-6f) * (float)s->clip;
  factors f = {.decay = 1, .lerp = (float)(1 - s->beta1), .beta2 = (float)s->beta2, .square = (float)(1 - s->beta2)};

  f.clip = s->clip > 0 ? (coef > 1 ? 1 : coef) : 1;
  if (s->decoupled) f.decay = (float)(1 - s->lr * s->weight_decay);
  else f.l2 = (float)s->weight_decay;
  f.root = (float)sqrt(bias2);
  f.eps = (float)s->eps;
  f.step = (float)(s->lr / bias1);
  f.ema = (float)(1 - s->ema_decay);
  return f;
}

static float lerp(float a, float b, float w) { return w < 0.5f ? a + w * (b - a) : b - (b - a) * (1 - w); }

/* One parameter, operation by operation as torch.optim's single-tensor loop; returns its new value. */
static float update(const factors *f, float p, float g, float *m, float *v) {
  g = g * f->clip + f->l2 * p;
  p = p * f->decay;
  *m = lerp(*m, g, f->lerp);
  *v = *v * f->beta2 + f->square * g * g;
  return p - f->step * *m / (sqrtf(*v) / f->root + f->eps);
}

int kn_adamw_f32_ref(const kn_adamw_step *s, int64_t n, float *p, const float *g, double norm, float *m, float *v,
                     float *ema, uint16_t *bf16) {
  int st = OK;

  NEED(n >= 0 && s->t >= 1, E_SHAPE, "adamw: n = %lld, update %lld", (long long)n, (long long)s->t);
  const factors f = factors_of(s, norm);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i++) {
    p[i] = update(&f, p[i], g[i], &m[i], &v[i]);
    if (ema) ema[i] -= f.ema * (ema[i] - p[i]);
    if (bf16) bf16[i] = bf16_from_f32(p[i]);
  }
out:
  return st;
}
