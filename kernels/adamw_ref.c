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

/* What gradients are multiplied with: torch's clip_grad_norm_, in f32. */
static float clip_of(float clip, float norm) {
  const float coef = 1 / (norm + 1e-6f) * clip;

  return clip > 0 && !(coef > 1) ? coef : 1;
}

static float lerp(float a, float b, float w) { return w < 0.5f ? a + w * (b - a) : b - (b - a) * (1 - w); }

/* One parameter, operation by operation as torch.optim's single-tensor loop; returns its new value. */
static float update(const kn_adamw_factors *f, float clip, float p, float g, float *m, float *v) {
  g = g * clip + f->l2 * p;
  p = p * f->decay;
  *m = lerp(*m, g, f->lerp);
  *v = *v * f->beta2 + f->square * g * g;
  return p - f->step * *m / (sqrtf(*v) / f->root + f->eps);
}

int kn_adamw_f32_ref(const kn_adamw_step *s, int64_t n, float *p, const float *g, double norm, float *m, float *v,
                     float *ema, uint16_t *bf16) {
  int st = OK;

  NEED(n >= 0 && s->t >= 1, E_SHAPE, "adamw: n = %lld, update %lld", (long long)n, (long long)s->t);
  const kn_adamw_factors f = kn_adamw_factors_of(s);
  const float clip = clip_of(f.clip, (float)norm);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i++) {
    p[i] = update(&f, clip, p[i], g[i], &m[i], &v[i]);
    if (ema) ema[i] -= f.ema * (ema[i] - p[i]);
    if (bf16) bf16[i] = bf16_from_f32(p[i]);
  }
out:
  return st;
}
