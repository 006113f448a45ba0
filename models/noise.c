#include "models/noise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { LEVELS = 10, MAX_GROUP = 1 << 20 };
static const double DISCOUNT = 0.9;

/* Samples of a step have streams of their own, so that noise does not depend on what is computed together. */
static rng_key sample_stream(md_noise_at at, const char *name, int b) {
  return rng_stream(at.seed, name, (uint64_t)at.step, (uint64_t)at.g * MAX_GROUP + (uint64_t)b);
}

static void gaussian(md_noise_at at, const char *name, int B, size_t n, float *out) {
  for (int b = 0; b < B; b++) {
    const rng_key k = sample_stream(at, name, b);
    rng_normal_f32(&k, out + (size_t)b * n, n);
  }
}

/* Where output pixel i of n lies among m inputs, as torch's bilinear with align_corners=False. */
static void bilinear_tap(int i, int n, int m, int *lo, int *hi, float *w) {
  const float at = fmaxf(((float)i + 0.5f) * ((float)m / (float)n) - 0.5f, 0.0f);

  *lo = (int)at;
  *hi = *lo + (*lo < m - 1);
  *w = at - (float)*lo;
}

/* out [planes,H,W] += weight * in [planes,h,w] enlarged. */
static void add_enlarged(const float *in, int planes, int h, int w, double weight, int H, int W, float *out) {
  for (int p = 0; p < planes; p++, in += (size_t)h * w, out += (size_t)H * W) {
    for (int y = 0; y < H; y++) {
      int y0, y1, x0, x1;
      float wy, wx;
      bilinear_tap(y, H, h, &y0, &y1, &wy);
      for (int x = 0; x < W; x++) {
        bilinear_tap(x, W, w, &x0, &x1, &wx);
        const float top = in[y0 * w + x0] * (1 - wx) + in[y0 * w + x1] * wx;
        const float bottom = in[y1 * w + x0] * (1 - wx) + in[y1 * w + x1] * wx;
        out[(size_t)y * W + x] += (float)(weight * (top * (1 - wy) + bottom * wy));
      }
    }
  }
}

static void divide_by_deviation(float *x, size_t n) {
  double sum = 0, squares = 0;

  for (size_t i = 0; i < n; i++) sum += x[i];
  const double mean = sum / (double)n;
  for (size_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
  if (n < 2 || squares <= 0) return; /* a single number has no deviation */
  const double scale = 1 / sqrt(squares / (double)(n - 1));
  for (size_t i = 0; i < n; i++) x[i] = (float)(x[i] * scale);
}

static int pyramid(md_noise_at at, int B, int C, int H, int W, float *out) {
  int st = OK, h = H, w = W;
  const size_t n = (size_t)C * (size_t)H * (size_t)W;
  const rng_key shrink = rng_stream(at.seed, "pyramid", (uint64_t)at.step, (uint64_t)at.g);
  float *level = NULL;

  NEED((level = malloc(sizeof *level * n * (size_t)B)) != NULL, E_NOMEM, "noise: %d x %zu floats", B, n);
  gaussian(at, "noise", B, n, out);
  for (int i = 0; i < LEVELS; i++) {
    char name[32];
    /* sizes shrink from the level before, so the source's pyramid ends after three or four levels */
    const double r = pow(rng_uniform(&shrink, (uint64_t)i) * 2 + 2, i);
    h = (int)fmax(1, h / r);
    w = (int)fmax(1, w / r);
    snprintf(name, sizeof name, "noise.%d", i);
    gaussian(at, name, B, (size_t)C * (size_t)h * (size_t)w, level);
    add_enlarged(level, B * C, h, w, pow(DISCOUNT, i), H, W, out);
    if (h == 1 || w == 1) break;
  }
  divide_by_deviation(out, n * (size_t)B);
out:
  free(level);
  return st;
}

int md_noise_group(md_noise kind, md_noise_at at, int B, int C, int H, int W, float *out) {
  const size_t n = (size_t)C * (size_t)H * (size_t)W;

  switch (kind) {
  case MD_ZEROS: memset(out, 0, sizeof *out * n * (size_t)B); return OK;
  case MD_GAUSSIAN: gaussian(at, "noise", B, n, out); return OK;
  case MD_PYRAMID: return pyramid(at, B, C, H, W, out);
  }
  return err_set(E_FAIL, __FILE__, __LINE__, "noise: no kind %d", (int)kind);
}
