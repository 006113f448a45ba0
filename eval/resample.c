#include "eval/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One axis: output i is the sum over j < n of weight[i*n + j] * input[at[i*n + j]]. Sums are of fused multiply-adds, as
 * torch's are compiled: an 8-bit image made of them then rounds as there. */
typedef struct taps {
  int n;
  int *at;
  float *weight;
} taps;

static void taps_free(taps *t) {
  free(t->at);
  free(t->weight);
}

static float cubic(float x, float a) {
  x = fabsf(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

static float kernel(ev_filter f, float x, float a) {
  if (f == EV_BICUBIC) return cubic(x, a);
  return fmaxf(0, 1 - fabsf(x));
}

/* The filter centred on each output, as wide as it is on the coarser of both grids; weights sum to 1. */
static void widened(const taps *t, ev_filter f, int in, int out, float support) {
  const float scale = (float)in / (float)out, squeeze = scale >= 1 ? 1 / scale : 1;

  for (int i = 0; i < out; i++) {
    int *at = t->at + (size_t)i * (size_t)t->n;
    float *w = t->weight + (size_t)i * (size_t)t->n, sum = 0;
    const float center = scale * ((float)i + 0.5f);
    const int lo = (int)fmaxf(center - support + 0.5f, 0), hi = (int)fminf(center + support + 0.5f, (float)in);
    for (int j = 0; j < hi - lo && j < t->n; j++) {
      at[j] = lo + j;
      sum += w[j] = kernel(f, ((float)(j + lo) - center + 0.5f) * squeeze, -0.5f);
    }
    for (int j = 0; j < t->n; j++) w[j] /= sum;
  }
}

/* Two or four neighbours, whatever the scale. */
static void interpolated(const taps *t, ev_filter f, int in, int out) {
  const float scale = (float)in / (float)out;

  for (int i = 0; i < out; i++) {
    float x = scale * ((float)i + 0.5f) - 0.5f;
    if (f == EV_BILINEAR) x = fmaxf(x, 0);
    const int lo = (int)floorf(x) - (f == EV_BICUBIC);
    for (int j = 0; j < t->n; j++) {
      const int at = lo + j;
      t->at[i * t->n + j] = at < 0 ? 0 : at >= in ? in - 1 : at;
      t->weight[i * t->n + j] = kernel(f, x - (float)at, -0.75f);
    }
  }
}

static void nearest(const taps *t, int in, int out) {
  const float scale = (float)in / (float)out;

  for (int i = 0; i < out; i++) {
    const int at = (int)(((float)i + 0.5f) * scale);
    t->at[i] = at < in ? at : in - 1;
    t->weight[i] = 1;
  }
}

static int taps_make(taps *t, ev_filter f, bool antialias, int in, int out) {
  int st = OK;
  const float scale = (float)in / (float)out, half = f == EV_BICUBIC ? 2 : 1;
  const float support = antialias && scale >= 1 ? half * scale : half;

  t->n = f == EV_NEAREST ? 1 : antialias ? 2 * (int)ceilf(support) + 1 : 2 * (int)half;
  t->at = calloc((size_t)out * (size_t)t->n, sizeof *t->at);
  t->weight = calloc((size_t)out * (size_t)t->n, sizeof *t->weight);
  NEED(t->at && t->weight, E_NOMEM, "resize: %d to %d pixels", in, out);
  if (f == EV_NEAREST) nearest(t, in, out);
  else if (antialias) widened(t, f, in, out, support);
  else interpolated(t, f, in, out);
out:
  return st;
}

/* A fused multiply-add is a function call on a processor that may lack it: with the instruction where there is one. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WITH_FMA __attribute__((target_clones("arch=haswell", "default")))
#else
#define WITH_FMA
#endif

/* Rows [rows,W] -> [rows,w]. */
WITH_FMA static void along_x(const taps *t, const float *in, size_t rows, int W, float *out, int w) {
  for (size_t y = 0; y < rows; y++, in += W, out += w)
    for (int i = 0; i < w; i++) {
      const int *at = t->at + (size_t)i * (size_t)t->n;
      const float *weight = t->weight + (size_t)i * (size_t)t->n;
      float sum = 0;
      for (int j = 0; j < t->n; j++) sum = fmaf(weight[j], in[at[j]], sum);
      out[i] = sum;
    }
}

/* [H,w] -> [h,w] */
WITH_FMA static void along_y(const taps *t, const float *in, int w, float *out, int h) {
  for (int i = 0; i < h; i++, out += w) {
    memset(out, 0, sizeof *out * (size_t)w);
    for (int j = 0; j < t->n; j++) {
      const float weight = t->weight[(size_t)i * (size_t)t->n + (size_t)j];
      const float *row = in + (size_t)t->at[(size_t)i * (size_t)t->n + (size_t)j] * (size_t)w;
      if (weight != 0)
        for (int x = 0; x < w; x++) out[x] = fmaf(weight, row[x], out[x]);
    }
  }
}

int ev_resample(ev_filter filter, bool antialias, const float *in, int planes, int H, int W, float *out, int h, int w) {
  int st = OK;
  taps x = {0}, y = {0};
  float *between = NULL;

  NEED(planes > 0 && H > 0 && W > 0 && h > 0 && w > 0, E_SHAPE, "resize: %d x %d to %d x %d", H, W, h, w);
  if (H == h && W == w) {
    memcpy(out, in, sizeof *out * (size_t)planes * (size_t)H * (size_t)W);
    goto out;
  }
  TRY(taps_make(&x, filter, antialias, W, w));
  TRY(taps_make(&y, filter, antialias, H, h));
  NEED((between = malloc(sizeof *between * (size_t)H * (size_t)w)) != NULL, E_NOMEM, "resize: %d x %d", H, w);
  for (int p = 0; p < planes; p++) {
    along_x(&x, in + (size_t)p * (size_t)H * (size_t)W, (size_t)H, W, between, w);
    along_y(&y, between, w, out + (size_t)p * (size_t)h * (size_t)w, h);
  }
out:
  taps_free(&x);
  taps_free(&y);
  free(between);
  return st;
}
