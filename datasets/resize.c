#include "datasets/resize.h"

#include <math.h>
#include <string.h>

#include "base/clones.h"

enum { FIXED_BITS = 22 }; /* 32 - 8 bits of a pixel - 2 of head room */

/* ---- triangle filter ---- */

/* One output's weights around `center`, normalised; the formulas and their rounding are Pillow's. */
static void taps_of(ds_taps *t, int i, double center, double support, double squeeze) {
  double *w = (double *)t->weight.p + (size_t)i * (size_t)t->taps, sum = 0;
  int32_t *fixed = (int32_t *)t->fixed.p + (size_t)i * (size_t)t->taps;
  int lo = (int)(center - support + 0.5), hi = (int)(center + support + 0.5);

  if (lo < 0) lo = 0;
  if (hi > t->in) hi = t->in;
  for (int j = 0; j < hi - lo; j++) {
    const double x = fabs((j + lo - center + 0.5) * squeeze);
    sum += w[j] = x < 1 ? 1 - x : 0;
  }
  for (int j = 0; j < hi - lo; j++) {
    if (sum != 0) w[j] /= sum;
    fixed[j] = (int32_t)(0.5 + w[j] * (1 << FIXED_BITS));
  }
  ((int *)t->first.p)[i] = lo;
  ((int *)t->count.p)[i] = hi - lo;
}

static int taps_make(ds_taps *t, int in, int out) {
  int st = OK;
  const double scale = (double)in / out, widen = scale > 1 ? scale : 1;
  const size_t n = (size_t)out, taps = 2 * (size_t)ceil(widen) + 1;

  if (t->in == in && t->out == out) return OK;
  t->in = t->out = 0;
  TRY(ds_buf_need(&t->first, n * sizeof(int)));
  TRY(ds_buf_need(&t->count, n * sizeof(int)));
  TRY(ds_buf_need(&t->weight, n * taps * sizeof(double)));
  TRY(ds_buf_need(&t->fixed, n * taps * sizeof(int32_t)));
  t->in = in;
  t->out = out;
  t->taps = (int)taps;
  for (int i = 0; i < out; i++) taps_of(t, i, (i + 0.5) * scale, widen, 1 / widen);
out:
  return st;
}

static uint8_t clip8(int32_t sum) {
  sum >>= FIXED_BITS;
  return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Along x: in [rows,t->in,3] -> out [rows,t->out,3]. */
BASE_CLONES static void pass_x_u8(const ds_taps *t, const uint8_t *in, int rows, uint8_t *out) {
  const int *first = t->first.p, *count = t->count.p;

  for (int y = 0; y < rows; y++, in += 3 * (size_t)t->in, out += 3 * (size_t)t->out)
    for (int i = 0; i < t->out; i++) {
      const int32_t *w = (const int32_t *)t->fixed.p + (size_t)i * (size_t)t->taps;
      const uint8_t *p = in + 3 * (size_t)first[i];
      int32_t sum[3] = {1 << (FIXED_BITS - 1), 1 << (FIXED_BITS - 1), 1 << (FIXED_BITS - 1)};
      for (int j = 0; j < count[i]; j++, p += 3)
        for (int c = 0; c < 3; c++) sum[c] += p[c] * w[j];
      for (int c = 0; c < 3; c++) out[3 * i + c] = clip8(sum[c]);
    }
}

/* Along y: in [t->in,n] -> out [t->out,n]; sums [n] is scratch. */
BASE_CLONES static void pass_y_u8(const ds_taps *t, const uint8_t *in, size_t n, uint8_t *out, int32_t *sums) {
  const int *first = t->first.p, *count = t->count.p;

  for (int i = 0; i < t->out; i++, out += n) {
    const int32_t *w = (const int32_t *)t->fixed.p + (size_t)i * (size_t)t->taps;
    for (size_t x = 0; x < n; x++) sums[x] = 1 << (FIXED_BITS - 1);
    for (int j = 0; j < count[i]; j++) {
      const uint8_t *row = in + n * (size_t)(first[i] + j);
      for (size_t x = 0; x < n; x++) sums[x] += row[x] * w[j];
    }
    for (size_t x = 0; x < n; x++) out[x] = clip8(sums[x]);
  }
}

int ds_resize_rgb8(ds_resizer *r, const uint8_t *in, int H, int W, uint8_t *out, int h, int w) {
  int st = OK;
  const size_t n = 3 * (size_t)w;

  TRY(taps_make(&r->x, W, w));
  TRY(taps_make(&r->y, H, h));
  TRY(ds_buf_need(&r->between, (size_t)H * n));
  TRY(ds_buf_need(&r->index, n * sizeof(int32_t)));
  pass_x_u8(&r->x, in, H, r->between.p);
  pass_y_u8(&r->y, r->between.p, n, out, r->index.p);
out:
  return st;
}

BASE_CLONES static void pass_x_f32(const ds_taps *t, const float *in, int rows, float *out) {
  const int *first = t->first.p, *count = t->count.p;

  for (int y = 0; y < rows; y++, in += 3 * (size_t)t->in, out += 3 * (size_t)t->out)
    for (int i = 0; i < t->out; i++) {
      const double *w = (const double *)t->weight.p + (size_t)i * (size_t)t->taps;
      const float *p = in + 3 * (size_t)first[i];
      float sum[3] = {0, 0, 0};
      for (int j = 0; j < count[i]; j++, p += 3)
        for (int c = 0; c < 3; c++) sum[c] += p[c] * (float)w[j];
      for (int c = 0; c < 3; c++) out[3 * i + c] = sum[c];
    }
}

BASE_CLONES static void pass_y_f32(const ds_taps *t, const float *in, size_t n, float *out) {
  const int *first = t->first.p, *count = t->count.p;

  for (int i = 0; i < t->out; i++, out += n) {
    const double *w = (const double *)t->weight.p + (size_t)i * (size_t)t->taps;
    memset(out, 0, n * sizeof *out);
    for (int j = 0; j < count[i]; j++) {
      const float *row = in + n * (size_t)(first[i] + j), weight = (float)w[j];
      for (size_t x = 0; x < n; x++) out[x] += row[x] * weight;
    }
  }
}

int ds_resize_rgbf(ds_resizer *r, const float *in, int H, int W, float *out, int h, int w) {
  int st = OK;
  const size_t n = 3 * (size_t)w;

  TRY(taps_make(&r->x, W, w));
  TRY(taps_make(&r->y, H, h));
  TRY(ds_buf_need(&r->between, (size_t)H * n * sizeof(float)));
  pass_x_f32(&r->x, in, H, r->between.p);
  pass_y_f32(&r->y, r->between.p, n, out);
out:
  return st;
}

/* ---- nearest ---- */

static void nearest_index(int in, int out, bool as_pillow, int *index) {
  const double scale = (double)in / out;
  double sum = scale * 0.5;

  for (int i = 0; i < out; i++, sum += scale) {
    const int at = (int)(as_pillow ? sum : (i + 0.5) * scale);
    index[i] = at < in ? at : in - 1;
  }
}

int ds_resize_nearest(ds_resizer *r, const float *in, int H, int W, float *out, int h, int w, bool as_pillow) {
  int st = OK;
  int *xs, *ys;

  TRY(ds_buf_need(&r->index, (size_t)(w + h) * sizeof(int)));
  xs = r->index.p;
  ys = xs + w;
  nearest_index(W, w, as_pillow, xs);
  nearest_index(H, h, as_pillow, ys);
  for (int y = 0; y < h; y++)
    for (int x = 0; x < w; x++)
      out[(size_t)y * (size_t)w + (size_t)x] = in[(size_t)ys[y] * (size_t)W + (size_t)xs[x]];
out:
  return st;
}

static void taps_free(ds_taps *t) {
  ds_buf_free(&t->first);
  ds_buf_free(&t->count);
  ds_buf_free(&t->weight);
  ds_buf_free(&t->fixed);
}

void ds_resizer_free(ds_resizer *r) {
  taps_free(&r->x);
  taps_free(&r->y);
  ds_buf_free(&r->between);
  ds_buf_free(&r->index);
}
