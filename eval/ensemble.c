#include "eval/ensemble.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/bfgs.h"
#include "eval/resample.h"
#include "tchc/tchc.h"

enum { MEMBERS_MAX = 1000 };

void ev_ensemble_opts_default(ev_ensemble_opts *o) {
  *o = (ev_ensemble_opts){.depth = EV_MEDIAN, .normals = EV_CLOSEST, .regularizer = 0.02, .max_iterations = 2,
                          .tolerance = 1e-3, .max_resolution = 1024};
}

static float least(const float *x, size_t n) {
  float m = x[0];
  for (size_t i = 1; i < n; i++) m = x[i] < m ? x[i] : m;
  return m;
}

static float most(const float *x, size_t n) {
  float m = x[0];
  for (size_t i = 1; i < n; i++) m = x[i] > m ? x[i] : m;
  return m;
}

/* ---- one value of several ---- */

/* The lower of the two in the middle, as torch.median; v is reordered. */
static float median(float *v, int n) {
  for (int i = 1; i < n; i++) {
    const float x = v[i];
    int j = i;
    for (; j > 0 && v[j - 1] > x; j--) v[j] = v[j - 1];
    v[j] = x;
  }
  return v[(n - 1) / 2];
}

static float mean(const float *v, int n) {
  double s = 0;
  for (int i = 0; i < n; i++) s += v[i];
  return (float)(s / n);
}

static float deviation(const float *v, int n) {
  const double m = mean(v, n);
  double s = 0;
  for (int i = 0; i < n; i++) s += (v[i] - m) * (v[i] - m);
  return n > 1 ? (float)sqrt(s / (n - 1)) : 0;
}

/* x [n,pixels] -> out [pixels] and what is left (may be NULL); v [n] is scratch. */
static void reduce(ev_reduction how, const float *x, int n, size_t pixels, float *v, float *out, float *left) {
  for (size_t p = 0; p < pixels; p++) {
    for (int i = 0; i < n; i++) v[i] = x[(size_t)i * pixels + p];
    if (how == EV_MEAN) {
      if (left) left[p] = deviation(v, n);
      out[p] = mean(v, n);
      continue;
    }
    const float m = out[p] = median(v, n);
    if (!left) continue;
    for (int i = 0; i < n; i++) v[i] = fabsf(x[(size_t)i * pixels + p] - m);
    left[p] = median(v, n);
  }
}

/* ---- depth ---- */

typedef struct alignment {
  const ev_ensemble_opts *o;
  bool reference, shift;
  int n;
  size_t pixels;
  const float *depth;   /* [n,pixels] */
  float *moved, *whole; /* [n,pixels], [pixels] */
  float *v;             /* [n] */
  float *seen;          /* [2 n]: scales and shifts of the cost below */
  double cost;
  int failed;
} alignment;

static void move(const float *depth, int n, size_t pixels, const double *x, bool shift, float *out) {
  for (int i = 0; i < n; i++) {
    const float s = (float)x[i], t = shift ? (float)x[n + i] : 0;
    for (size_t p = 0; p < pixels; p++) out[(size_t)i * pixels + p] = depth[(size_t)i * pixels + p] * s + t;
  }
}

/* torch's square root, which may be one bit off the exact one. */
static int root(float x, double *out) {
  int st = OK;
  const int64_t one = 1;
  tchc_scope *scope = NULL;
  tchc_tensor *t = NULL, *r = NULL;

  TRY(tchc_scope_open(&scope));
  TRY(tchc_from_host(&x, &one, 1, TCHC_F32, TCHC_CPU_DEVICE, &t));
  TRY(tchc_sqrt(t, &r));
  TRY(tchc_item(r, out));
out:
  tchc_scope_close(&scope);
  return st;
}

/* The square root of the mean of squares, all of it torch's own arithmetic: the minimiser's differences are so small that
 * the rounding of this number decides its way. */
static int root_mean(const tchc_tensor *difference, double *out) {
  int st = OK;
  const int64_t n = tchc_numel(difference);
  tchc_tensor *squares = NULL, *flat = NULL, *average = NULL, *r = NULL;

  TRY(tchc_mul(difference, difference, &squares));
  TRY(tchc_reshape(squares, &n, 1, &flat));
  TRY(tchc_mean_dim(flat, 0, false, &average));
  TRY(tchc_sqrt(average, &r));
  TRY(tchc_item(r, out));
out:
  return st;
}

/* Over all pairs of members: the sum of each one's rms, or the reference's one rms of all. */
static int distances(const alignment *a, double *out) {
  int st = OK, n = 0;
  const int pairs = a->n * (a->n - 1) / 2;
  const bool graph = tchc_grad_mode(false);
  double each;
  tchc_scope *scope = NULL;
  tchc_tensor *all = NULL, *x = NULL, *y = NULL, **d = calloc((size_t)pairs + 1, sizeof(tchc_tensor *));

  *out = 0;
  TRY(tchc_scope_open(&scope));
  NEED(d, E_NOMEM, "ensemble: %d pairs", pairs);
  TRY(tchc_from_blob(a->moved, (int64_t[]){a->n, (int64_t)a->pixels}, 2, TCHC_F32, NULL, NULL, &all));
  for (int i = 0; i < a->n; i++)
    for (int j = i + 1; j < a->n; j++) {
      TRY(tchc_narrow(all, 0, i, 1, &x));
      TRY(tchc_narrow(all, 0, j, 1, &y));
      TRY(tchc_add(x, y, -1, &d[n]));
      if (a->reference) n++;
      else {
        TRY(root_mean(d[n], &each));
        *out += each;
        tchc_free(&d[n]);
      }
    }
  if (a->reference) {
    TRY(tchc_cat((const tchc_tensor *const *)d, n, 0, &x));
    TRY(root_mean(x, out));
  }
out:
  tchc_scope_close(&scope);
  tchc_grad_mode(graph);
  free(d);
  return st;
}

/* How far the reduced image is from spanning [0,1], added to the cost; the reference does it in f32. */
static int add_range(alignment *a) {
  int st = OK;
  double near, far;

  reduce(a->o->depth, a->moved, a->n, a->pixels, a->v, a->whole, NULL);
  near = fabsf(least(a->whole, a->pixels));
  far = fabsf(1 - most(a->whole, a->pixels));
  if (a->reference) {
    TRY(root((float)(near * near), &near));
    TRY(root((float)(far * far), &far));
    a->cost = (float)a->cost + ((float)near + (float)far) * (float)a->o->regularizer;
  } else {
    a->cost += (near + far) * a->o->regularizer;
  }
out:
  return st;
}

static double cost(void *ctx, const double *x) {
  alignment *a = ctx;
  bool same = true;

  for (int i = 0; i < a->n * (a->shift ? 2 : 1); i++) {
    const float f = (float)x[i];
    same &= f == a->seen[i];
    a->seen[i] = f;
  }
  if (same || a->failed != OK) return a->cost;
  move(a->depth, a->n, a->pixels, x, a->shift, a->moved);
  a->failed = distances(a, &a->cost);
  if (a->failed == OK && a->o->regularizer > 0) a->failed = add_range(a);
  return a->cost;
}

/* Scales and shifts that stretch each member to [0,1]. */
static void start_of(const alignment *a, double *x) {
  for (int i = 0; i < a->n; i++) {
    const float *d = a->depth + (size_t)i * a->pixels;
    const float lo = a->shift ? least(d, a->pixels) : 0, range = fmaxf(most(d, a->pixels) - lo, 1e-6f), s = 1 / range;
    x[i] = s;
    if (a->shift) x[a->n + i] = -s * lo;
  }
}

/* x [2 n]: scales, then shifts. depth [n,pixels]. */
static int align(const ev_ensemble_opts *o, bool reference, bool shift, const float *depth, int n, size_t pixels, double *x) {
  int st = OK;
  alignment a = {.o = o, .reference = reference, .shift = shift, .n = n, .pixels = pixels, .depth = depth};

  a.moved = malloc(sizeof *a.moved * (size_t)n * pixels);
  a.whole = malloc(sizeof *a.whole * pixels);
  a.v = malloc(sizeof *a.v * (size_t)n);
  a.seen = malloc(sizeof *a.seen * 2 * (size_t)n);
  NEED(a.moved && a.whole && a.v && a.seen, E_NOMEM, "ensemble: %d members of %zu pixels", n, pixels);
  for (int i = 0; i < 2 * n; i++) a.seen[i] = NAN;
  start_of(&a, x);
  TRY(ev_bfgs(cost, &a, n * (shift ? 2 : 1), o->tolerance, o->max_iterations, x, NULL));
  TRY(a.failed);
out:
  free(a.moved);
  free(a.whole);
  free(a.v);
  free(a.seen);
  return st;
}

/* The same on a copy whose longer side is max_resolution. */
static int align_small(const ev_ensemble_opts *o, bool reference, bool shift, const float *depth, int n, int H, int W,
                       double *x) {
  int st = OK;
  const int64_t longer = H > W ? H : W;
  const int h = (int)(H * (int64_t)o->max_resolution / longer), w = (int)(W * (int64_t)o->max_resolution / longer);
  float *small = malloc(sizeof *small * (size_t)n * (size_t)h * (size_t)w + 1);

  NEED(small, E_NOMEM, "ensemble: %d members of %d x %d", n, h, w);
  TRY(ev_resample(EV_NEAREST, false, depth, n, H, W, small, h, w));
  TRY(align(o, reference, shift, small, n, (size_t)h * (size_t)w, x));
out:
  free(small);
  return st;
}

/* out to [0,1], from its least value or from 0; left by the same factor. */
static void stretch(bool shift, size_t pixels, float *out, float *left) {
  const float lo = shift ? least(out, pixels) : 0, range = fmaxf(most(out, pixels) - lo, 1e-6f);
  for (size_t p = 0; p < pixels; p++) {
    out[p] = (out[p] - lo) / range;
    if (left) left[p] /= range;
  }
}

int ev_ensemble_depth(const ev_ensemble_opts *o, bool as_reference, bool scale, bool shift, float *depth, int n, int H,
                      int W, float *out, float *uncertainty) {
  int st = OK;
  const size_t pixels = (size_t)H * (size_t)W;
  const bool large = !as_reference && o->max_resolution > 0 && (H > o->max_resolution || W > o->max_resolution);
  double *x = calloc(2 * (size_t)n, sizeof *x);
  float *v = malloc(sizeof *v * (size_t)n);

  NEED(n > 0 && n <= MEMBERS_MAX, E_CONFIG, "ensemble: wanted 1 to %d members, found %d", MEMBERS_MAX, n);
  NEED(x && v, E_NOMEM, "ensemble: %d members", n);
  if (scale && large) TRY(align_small(o, as_reference, shift, depth, n, H, W, x));
  else if (scale) TRY(align(o, as_reference, shift, depth, n, pixels, x));
  if (scale) move(depth, n, pixels, x, shift, depth);
  reduce(o->depth, depth, n, pixels, v, out, uncertainty);
  if (scale) stretch(shift, pixels, out, uncertainty);
out:
  free(x);
  free(v);
  return st;
}

/* ---- normals ---- */

/* The member whose angles (about z, and from it) are closest to the mean ones, all of it. */
static int whole_member(const float *normals, int n, size_t pixels) {
  double best = INFINITY;
  int closest = 0;
  double *errors = calloc((size_t)n, sizeof *errors);

  if (!errors) return -1;
  for (size_t p = 0; p < pixels; p++) {
    double phi = 0, theta = 0;
    for (int i = 0; i < n; i++) {
      const float *v = normals + (size_t)i * 3 * pixels + p;
      phi += atan2f(v[pixels], v[0]);
      theta += atan2f(hypotf(v[0], v[pixels]), v[2 * pixels]);
    }
    phi /= n, theta /= n;
    const double mean[3] = {sin(theta) * cos(phi), sin(theta) * sin(phi), cos(theta)};
    for (int i = 0; i < n; i++) {
      const float *v = normals + (size_t)i * 3 * pixels + p;
      const double x = v[0], y = v[pixels], z = v[2 * pixels], length = sqrt(x * x + y * y + z * z);
      const double c = (x * mean[0] + y * mean[1] + z * mean[2]) / fmax(length, 1e-8);
      errors[i] += acos(fmin(fmax(c, -0.999), 0.999));
    }
  }
  for (int i = 0; i < n; i++)
    if (errors[i] < best) best = errors[i], closest = i;
  free(errors);
  return closest;
}

static void unit(float v[3], float floor_, float add) {
  const float length = fmaxf(sqrtf(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]), floor_) + add;
  for (int c = 0; c < 3; c++) v[c] /= length;
}

static void closest_or_mean(bool closest, const float *normals, int n, size_t pixels, size_t p, float *out, float *angle) {
  float m[3], best = -2;
  double sum = 0;
  int which = 0;

  for (int c = 0; c < 3; c++) {
    double s = 0;
    for (int i = 0; i < n; i++) s += normals[((size_t)i * 3 + (size_t)c) * pixels + p];
    m[c] = (float)(s / n);
  }
  unit(m, 1e-6f, 0);
  for (int i = 0; i < n; i++) {
    const float *v = normals + (size_t)i * 3 * pixels + p;
    const float cosine = fminf(fmaxf(m[0] * v[0] + m[1] * v[pixels] + m[2] * v[2 * pixels], -1), 1);
    if (cosine > best) best = cosine, which = i;
    sum += acosf(cosine);
  }
  for (int c = 0; c < 3; c++)
    out[(size_t)c * pixels + p] = closest ? normals[((size_t)which * 3 + (size_t)c) * pixels + p] : m[c];
  if (angle) angle[p] = (float)(sum / n / 3.14159265358979323846);
}

int ev_ensemble_normals(const ev_ensemble_opts *o, bool as_reference, const float *normals, int n, int H, int W,
                        float *out, float *uncertainty) {
  int st = OK;
  const size_t pixels = (size_t)H * (size_t)W;

  NEED(n > 0 && n <= MEMBERS_MAX, E_CONFIG, "ensemble: wanted 1 to %d members, found %d", MEMBERS_MAX, n);
  if (!as_reference) {
    for (size_t p = 0; p < pixels; p++) closest_or_mean(o->normals == EV_CLOSEST, normals, n, pixels, p, out, uncertainty);
    goto out;
  }
  const int i = whole_member(normals, n, pixels);
  NEED(i >= 0, E_NOMEM, "ensemble: %d members", n);
  for (size_t p = 0; p < pixels; p++) {
    const float *from = normals + (size_t)i * 3 * pixels + p;
    float v[3] = {from[0], from[pixels], from[2 * pixels]};
    unit(v, 0, 1e-5f);
    for (int c = 0; c < 3; c++) out[(size_t)c * pixels + p] = v[c];
  }
out:
  return st;
}
