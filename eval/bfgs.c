#include "eval/bfgs.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_STEPS = 100 };
static const double difference = 0x1p-26, armijo = 1e-4, curvature = 0.9, narrow = 1e-14, longest = 1e100;

typedef struct bfgs {
  ev_function f;
  void *ctx;
  int n;
  double *x, *p, *g, *g_new, *y, *trial, *hy; /* [n] */
  double *H;                                 /* [n,n], the inverse Hessian */
} bfgs;

/* ---- the function along a line ---- */

/* A step along the line, the function there and its slope. */
typedef struct point { double at, f, slope; } point;

static double dot(const double *a, const double *b, int n) {
  double s = 0;
  for (int i = 0; i < n; i++) s += a[i] * b[i];
  return s;
}

static void gradient(bfgs *b, double *x, double f, double *g) {
  for (int i = 0; i < b->n; i++) {
    const double was = x[i];
    x[i] = was + difference;
    g[i] = (b->f(b->ctx, x) - f) / (x[i] - was);
    x[i] = was;
  }
}

static point look(bfgs *b, double at) {
  point p = {.at = at};
  for (int i = 0; i < b->n; i++) b->trial[i] = b->x[i] + at * b->p[i];
  p.f = b->f(b->ctx, b->trial);
  gradient(b, b->trial, p.f, b->g_new);
  p.slope = dot(b->g_new, b->p, b->n);
  return p;
}

/* ---- Moré and Thuente's line search ---- */

typedef struct bracket {
  point lo, hi;   /* lo: the best so far; the minimum lies between them once `closed` */
  bool closed;
  double least, most;
} bracket;

/* Minimiser of the cubic through a and c with their slopes, as a fraction of the way from a to c. safe: the root's
 * argument may be rounded below 0. */
static double cubic_fraction(point a, point c, bool safe, double *gamma) {
  const double theta = 3 * (a.f - c.f) / (c.at - a.at) + a.slope + c.slope;
  const double s = fmax(fabs(theta), fmax(fabs(a.slope), fabs(c.slope)));
  double under = (theta / s) * (theta / s) - (a.slope / s) * (c.slope / s);
  if (safe) under = fmax(under, 0);
  *gamma = s * sqrt(under) * (c.at < a.at ? -1 : 1);
  return ((*gamma - a.slope) + theta) / (((*gamma - a.slope) + *gamma) + c.slope);
}

static double farther(double from, double a, double c) { return fabs(a - from) > fabs(c - from) ? a : c; }
static double nearer(double from, double a, double c) { return fabs(a - from) < fabs(c - from) ? a : c; }

/* The third case: lower, same sign of slope, flattening. The cubic may have its minimum on the wrong side. */
static double flattening(const bracket *b, point t) {
  double gamma, at;
  const double r = cubic_fraction(t, b->lo, true, &gamma);
  const double secant = t.at + t.slope / (t.slope - b->lo.slope) * (b->lo.at - t.at);

  if (r < 0 && gamma != 0) at = t.at + r * (b->lo.at - t.at);
  else at = t.at > b->lo.at ? b->most : b->least;
  if (!b->closed) return fmin(fmax(farther(t.at, at, secant), b->least), b->most);
  const double limit = t.at + 0.66 * (b->hi.at - t.at);
  at = nearer(t.at, at, secant);
  return t.at > b->lo.at ? fmin(limit, at) : fmax(limit, at);
}

/* The next trial step from the bracket and the last trial t, which then takes its place in the bracket. */
static double next_step(bracket *b, point t) {
  const point lo = b->lo;
  const bool turned = t.slope * copysign(1, lo.slope) < 0;
  double at, gamma;

  if (t.f > lo.f) { /* higher: the minimum lies between */
    const double cubic = lo.at + cubic_fraction(lo, t, false, &gamma) * (t.at - lo.at);
    const double quadratic = lo.at + lo.slope / ((lo.f - t.f) / (t.at - lo.at) + lo.slope) / 2 * (t.at - lo.at);
    at = fabs(cubic - lo.at) <= fabs(quadratic - lo.at) ? cubic : cubic + (quadratic - cubic) / 2;
  } else if (turned) { /* lower, the slope has changed its sign */
    const double cubic = t.at + cubic_fraction(t, lo, false, &gamma) * (lo.at - t.at);
    at = farther(t.at, cubic, t.at + t.slope / (t.slope - lo.slope) * (lo.at - t.at));
  } else if (fabs(t.slope) < fabs(lo.slope)) {
    at = flattening(b, t);
  } else if (b->closed) {
    at = t.at + cubic_fraction(t, b->hi, false, &gamma) * (b->hi.at - t.at);
  } else {
    at = t.at > lo.at ? b->most : b->least;
  }
  if (t.f > lo.f) b->hi = t;
  else {
    if (turned) b->hi = lo;
    b->lo = t;
  }
  b->closed |= t.f > lo.f || turned;
  return at;
}

/* First stage: the function less the slope that is asked for, so that a step that is good enough is found first. */
static point less_slope(point p, double slope) { return (point){p.at, p.f - p.at * slope, p.slope - slope}; }
static point plus_slope(point p, double slope) { return (point){p.at, p.f + p.at * slope, p.slope + slope}; }

/* From `start` (slope < 0) along the line: *found with its gradient in b->g_new, or false. */
static bool search_line(bfgs *b, point start, double first, point *found) {
  const double wanted = armijo * start.slope;
  bracket k = {.lo = start, .hi = start, .least = 0, .most = 5 * first};
  double width = longest, before = 2 * longest, at = first;
  bool second_stage = false;

  for (int i = 0; i < LINE_STEPS && isfinite(at); i++) {
    const point t = look(b, at);
    const double enough = start.f + at * wanted;
    if (!second_stage && t.f <= enough && t.slope >= 0) second_stage = true;
    if (t.f <= enough && fabs(t.slope) <= -curvature * start.slope) {
      *found = t;
      return true;
    }
    if (k.closed && (at <= k.least || at >= k.most || k.most - k.least <= narrow * k.most)) return false;
    if (!second_stage && t.f <= k.lo.f && t.f > enough) {
      k.lo = less_slope(k.lo, wanted);
      k.hi = less_slope(k.hi, wanted);
      at = next_step(&k, less_slope(t, wanted));
      k.lo = plus_slope(k.lo, wanted);
      k.hi = plus_slope(k.hi, wanted);
    } else {
      at = next_step(&k, t);
    }
    if (k.closed) {
      if (fabs(k.hi.at - k.lo.at) >= 0.66 * before) at = k.lo.at + 0.5 * (k.hi.at - k.lo.at);
      before = width;
      width = fabs(k.hi.at - k.lo.at);
      k.least = fmin(k.lo.at, k.hi.at);
      k.most = fmax(k.lo.at, k.hi.at);
    } else {
      k.least = at + 1.1 * (at - k.lo.at);
      k.most = at + 4 * (at - k.lo.at);
    }
    at = fmin(fmax(at, 0), longest);
    if (k.closed && (at <= k.least || at >= k.most || k.most - k.least <= narrow * k.most)) at = k.lo.at;
  }
  return false;
}

/* ---- BFGS ---- */

static double largest(const double *g, int n) {
  double m = 0;
  for (int i = 0; i < n; i++) m = fabs(g[i]) > m || isnan(g[i]) ? fabs(g[i]) : m;
  return m;
}

/* H after a step s with change of gradient y: (I - r s y') H (I - r y s') + r s s', r = 1 / (y's). */
static void update(bfgs *b, const double *s, const double *y) {
  const int n = b->n;
  const double ys = dot(y, s, n), r = ys == 0 ? 1000 : 1 / ys;

  for (int i = 0; i < n; i++) b->hy[i] = dot(b->H + i * n, y, n);
  const double yhy = dot(y, b->hy, n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++)
      b->H[i * n + j] += r * ((1 + r * yhy) * s[i] * s[j] - s[i] * b->hy[j] - b->hy[i] * s[j]);
}

static double minimise(bfgs *b, double tolerance, int max_iterations) {
  const int n = b->n;
  point now = {.f = b->f(b->ctx, b->x)};
  double before;

  gradient(b, b->x, now.f, b->g);
  before = now.f + sqrt(dot(b->g, b->g, n)) / 2; /* a first step of about length 1 */
  for (int k = 0; k < max_iterations && largest(b->g, n) > tolerance; k++) {
    point found;
    for (int i = 0; i < n; i++) b->p[i] = -dot(b->H + i * n, b->g, n);
    now = (point){0, now.f, dot(b->g, b->p, n)};
    if (!(now.slope < 0)) break;
    double first = fmin(1, 1.01 * 2 * (now.f - before) / now.slope);
    if (first < 0) first = 1;
    if (!search_line(b, now, first, &found)) break;
    for (int i = 0; i < n; i++) {
      b->p[i] *= found.at;
      b->x[i] += b->p[i];
      b->y[i] = b->g_new[i] - b->g[i];
    }
    memcpy(b->g, b->g_new, sizeof *b->g * (size_t)n);
    before = now.f;
    now.f = found.f;
    update(b, b->p, b->y);
  }
  return now.f;
}

int ev_bfgs(ev_function f, void *ctx, int n, double tolerance, int max_iterations, double *x, double *value) {
  int st = OK;
  const size_t N = (size_t)n;
  bfgs b = {.f = f, .ctx = ctx, .n = n, .x = x};
  double *room = calloc(6 * N + N * N, sizeof *room), *at = room;

  NEED(room, E_NOMEM, "BFGS: %d variables", n);
  double **const vectors[] = {&b.p, &b.g, &b.g_new, &b.y, &b.trial, &b.hy};
  for (int i = 0; i < 6; i++, at += N) *vectors[i] = at;
  b.H = at;
  for (int i = 0; i < n; i++) b.H[i * n + i] = 1;
  const double least = minimise(&b, tolerance, max_iterations);
  if (value) *value = least;
out:
  free(room);
  return st;
}
