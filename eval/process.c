#include "eval/process.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int ev_size_of(const ev_predict_opts *o, int factor, int H, int W, ev_size *out) {
  int st = OK;
  const bool reference = o->convention == EV_AS_REFERENCE;
  ev_size s = {.h = H, .w = W};

  if (o->resolution > 0 && reference) {
    const double shrink = fmin((double)o->resolution / W, (double)o->resolution / H);
    s.h = (int)(H * shrink);
    s.w = (int)(W * shrink);
  } else if (o->resolution > 0) {
    const int64_t longer = H > W ? H : W;
    s.h = (int)(H * (int64_t)o->resolution / longer);
    s.w = (int)(W * (int64_t)o->resolution / longer);
  }
  s.lh = reference ? s.h / factor : (s.h + factor - 1) / factor;
  s.lw = reference ? s.w / factor : (s.w + factor - 1) / factor;
  NEED(s.lh > 0 && s.lw > 0, E_DATA, "%d x %d pixels become %d x %d in processing, less than one latent cell", W, H, s.w, s.h);
  s.H = reference ? s.h : s.lh * factor;
  s.W = reference ? s.w : s.lw * factor;
  s.dh = reference ? s.lh * factor : s.h;
  s.dw = reference ? s.lw * factor : s.w;
  *out = s;
out:
  return st;
}

/* ---- in ---- */

/* in [3,h,w] -> out [3,H,W], the last row and column repeated. */
static void pad(const float *in, int h, int w, float *out, int H, int W) {
  for (int c = 0; c < 3; c++)
    for (int y = 0; y < H; y++) {
      const float *from = in + ((size_t)c * (size_t)h + (size_t)(y < h ? y : h - 1)) * (size_t)w;
      float *to = out + ((size_t)c * (size_t)H + (size_t)y) * (size_t)W;
      memcpy(to, from, sizeof *to * (size_t)w);
      for (int x = w; x < W; x++) to[x] = from[w - 1];
    }
}

/* rgb [n,3] u8 -> out [3,n]: as it is, or in [-1,1]. */
static void to_planes(const uint8_t *rgb, size_t n, bool scaled, float *out) {
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < 3; c++) out[c * n + i] = scaled ? (float)rgb[3 * i + c] / 255.0f * 2.0f - 1.0f : rgb[3 * i + c];
}

/* The reference rounds back to 8 bits before it scales. */
static int resize_image(const ev_predict_opts *o, const ev_image *image, const ev_size *s, float *out) {
  int st = OK;
  const bool reference = o->convention == EV_AS_REFERENCE;
  const size_t n = (size_t)image->H * (size_t)image->W, m = (size_t)s->h * (size_t)s->w;
  float *planes = malloc(sizeof *planes * 3 * n);

  NEED(planes, E_NOMEM, "image of %d x %d", image->W, image->H);
  to_planes(image->rgb.p, n, !reference, planes);
  TRY(ev_resample(o->filter, true, planes, 3, image->H, image->W, out, s->h, s->w));
  for (size_t i = 0; reference && i < 3 * m; i++) out[i] = rintf(fminf(fmaxf(out[i], 0), 255)) / 255.0f * 2.0f - 1.0f;
out:
  free(planes);
  return st;
}

int ev_preprocess(const ev_predict_opts *o, const ev_image *image, const ev_size *s, float *out) {
  int st = OK;
  float *resized = malloc(sizeof *resized * 3 * (size_t)s->h * (size_t)s->w);

  NEED(resized, E_NOMEM, "image of %d x %d", s->w, s->h);
  TRY(resize_image(o, image, s, resized));
  pad(resized, s->h, s->w, out, s->H, s->W);
out:
  free(resized);
  return st;
}

/* ---- out ---- */

void ev_processed_free(ev_processed *r) {
  free(r->values);
  free(r->uncertainty);
  *r = (ev_processed){0};
}

/* The upper left h x w of planes of rows x cols, in place. */
static float *crop(float *x, size_t planes, int rows, int cols, int h, int w) {
  float *to = x;
  if (rows == h && cols == w) return x;
  for (size_t p = 0; p < planes; p++)
    for (int y = 0; y < h; y++, to += w)
      memmove(to, x + (p * (size_t)rows + (size_t)y) * (size_t)cols, sizeof *to * (size_t)w);
  return x;
}

static void normalise(float *v, size_t pixels, float least, float add) {
  for (size_t p = 0; p < pixels; p++) {
    float *x = v + p, *y = x + pixels, *z = y + pixels;
    const float length = fmaxf(sqrtf(*x * *x + *y * *y + *z * *z), least) + add;
    *x /= length, *y /= length, *z /= length;
  }
}

/* To [0,1]; a constant becomes 0. */
static void stretch(float *v, size_t n) {
  float lo = v[0], hi = v[0];
  for (size_t i = 1; i < n; i++) lo = fminf(lo, v[i]), hi = fmaxf(hi, v[i]);
  for (size_t i = 0; i < n; i++) v[i] = hi > lo ? (v[i] - lo) / (hi - lo) : 0;
}

/* members [n,C,dh,dw] -> whole [C,dh,dw] and uncertainty (NULL: not wanted). */
static int combine(const ev_predict_opts *o, bool scale, bool shift, float *members, int n, const ev_size *s, float *whole,
                   float *uncertainty) {
  const bool reference = o->convention == EV_AS_REFERENCE;
  const size_t bytes = sizeof *whole * (o->task == EV_DEPTH ? 1 : 3) * (size_t)s->dh * (size_t)s->dw;

  if (n > 1 && o->task == EV_NORMALS)
    return ev_ensemble_normals(&o->align, reference, members, n, s->dh, s->dw, whole, uncertainty);
  if (n > 1) return ev_ensemble_depth(&o->align, reference, scale, shift, members, n, s->dh, s->dw, whole, uncertainty);
  memcpy(whole, members, bytes);
  return OK;
}

/* The reference normalises once more before resizing, diffusers after it. */
static void finish(const ev_predict_opts *o, bool resized, float *v, size_t pixels) {
  const float least = o->task == EV_DEPTH ? 0 : -1;

  if (o->convention == EV_AS_REFERENCE)
    for (size_t i = 0; i < pixels * (o->task == EV_DEPTH ? 1 : 3); i++) v[i] = fminf(fmaxf(v[i], least), 1);
  else if (o->task == EV_NORMALS && resized) normalise(v, pixels, 1e-6f, 0);
}

/* *v [planes,h,w], from malloc, is replaced by its resized self. */
static int resize(const ev_predict_opts *o, float **v, int planes, int h, int w, int H, int W) {
  int st = OK;
  float *out = malloc(sizeof *out * (size_t)planes * (size_t)H * (size_t)W);

  NEED(out, E_NOMEM, "prediction of %d x %d", W, H);
  TRY(ev_resample(o->filter, o->convention == EV_AS_REFERENCE, *v, planes, h, w, out, H, W));
  free(*v);
  *v = out;
  out = NULL;
out:
  free(out);
  return st;
}

int ev_postprocess(const ev_predict_opts *o, bool scale, bool shift, const ev_image *image, const ev_size *s,
                   const float *members, int n, int rows, int cols, ev_processed *r) {
  int st = OK;
  const bool reference = o->convention == EV_AS_REFERENCE, match = !o->keep_processed_size;
  const int C = o->task == EV_DEPTH ? 1 : 3;
  const size_t decoded = (size_t)rows * (size_t)cols, pixels = (size_t)s->dh * (size_t)s->dw;
  const int H = match ? (image->out_H ? image->out_H : image->H) : s->dh;
  const int W = match ? (image->out_W ? image->out_W : image->W) : s->dw;
  const bool unsure = n > 1 && !(reference && o->task == EV_NORMALS);
  float *copy = malloc(sizeof *copy * (size_t)n * (size_t)C * decoded);

  memset(r, 0, sizeof *r);
  r->values = malloc(sizeof *r->values * (size_t)C * pixels);
  if (unsure) r->uncertainty = malloc(sizeof *r->uncertainty * pixels);
  NEED(copy && r->values && (r->uncertainty || !unsure), E_NOMEM, "prediction of %d x %d", s->dw, s->dh);
  memcpy(copy, members, sizeof *copy * (size_t)n * (size_t)C * decoded);
  crop(copy, (size_t)n * (size_t)C, rows, cols, s->dh, s->dw);
  TRY(combine(o, scale, shift, copy, n, s, r->values, r->uncertainty));
  if (reference && o->task == EV_DEPTH) stretch(r->values, pixels);
  if (reference && o->task == EV_NORMALS) normalise(r->values, pixels, 0, 1e-5f);
  if (match) TRY(resize(o, &r->values, C, s->dh, s->dw, H, W));
  if (match && unsure && !reference) TRY(resize(o, &r->uncertainty, 1, s->dh, s->dw, H, W));
  finish(o, match, r->values, (size_t)H * (size_t)W);
  r->p = (ev_prediction){.C = C, .H = H, .W = W, .values = r->values, .uncertainty = r->uncertainty,
                         .uH = reference ? s->dh : H, .uW = reference ? s->dw : W};
out:
  free(copy);
  if (st != OK) ev_processed_free(r);
  return st;
}
