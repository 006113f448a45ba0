#include "eval/align.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const char *const ev_alignment_names[EV_ALIGNMENTS] = {"depth", "disparity", "sqrt_disparity", "none"};

#define DISPARITY_MIN 1e-3f
#define DEPTH_MIN 1e-6f

/* Sums over the pixels that a fit sees; spread and joint are about the means. */
typedef struct moments {
  double n, pred, target, spread, joint;
} moments;

/* Columns seen: out [*count] their positions. */
static void columns_seen(int H, int W, int max_res, int *out, int *count) {
  const double share = fmin((double)max_res / H, (double)max_res / W);
  const float step = (float)(1 / share);

  *count = max_res > 0 && share < 1 ? (int)floor(W * share) : W;
  for (int x = 0; x < *count; x++) {
    const int from = *count == W ? x : (int)floorf((float)x * step);
    out[x] = from < W ? from : W - 1;
  }
}

static void moments_of(const float *pred, const float *target, const uint8_t *mask, int H, int W, const int *columns,
                       int count, moments *m) {
  *m = (moments){0};
  for (int pass = 0; pass < 2; pass++) {
    const double pred_mean = m->n ? m->pred / m->n : 0, target_mean = m->n ? m->target / m->n : 0;
    for (int y = 0; y < H; y++) {
      for (int x = 0; x < count; x++) {
        const size_t i = (size_t)y * (size_t)W + (size_t)columns[x];
        if (!mask[i]) continue;
        const double p = pred[i], t = target[i];
        if (!pass) m->n++, m->pred += p, m->target += t;
        else m->spread += (p - pred_mean) * (p - pred_mean), m->joint += (p - pred_mean) * (t - target_mean);
      }
    }
  }
}

/* The least-norm solution when the matrix [pred 1] has rank 1 to working precision, by its one singular vector. */
static bool solve_rank_1(const moments *m, ev_fit_result *out) {
  const double pp = m->spread + m->pred * m->pred / m->n, trace = pp + m->n, det = m->n * m->spread;
  const double largest = (trace + sqrt(fmax(trace * trace - 4 * det, 0))) / 2, smallest = det / largest;
  const double cut = DBL_EPSILON * fmax(m->n, 2);

  if (m->n > 1 && sqrt(fmax(smallest, 0) / largest) > cut) return false;
  const double p = m->pred / m->n, t = m->target / m->n;
  out->scale = (float)(p * t / (p * p + 1));
  out->shift = (float)(t / (p * p + 1));
  return true;
}

int ev_fit(const float *pred, const float *target, const uint8_t *mask, int H, int W, int max_res, ev_fit_result *out) {
  int st = OK, count;
  moments m;
  ev_fit_result fit;
  int *columns = malloc((size_t)W * sizeof *columns);

  NEED(columns, E_NOMEM, "%d columns", W);
  columns_seen(H, W, max_res, columns, &count);
  moments_of(pred, target, mask, H, W, columns, count, &m);
  NEED(m.n > 0, E_DATA, "no valid pixel");
  NEED(isfinite(m.pred), E_DATA, "the prediction is not finite at a valid pixel");
  if (!solve_rank_1(&m, &fit)) {
    const double scale = m.joint / m.spread;
    fit = (ev_fit_result){(float)scale, (float)(m.target / m.n - scale * m.pred / m.n)};
  }
  *out = fit;
out:
  free(columns);
  return st;
}

static float clamp(float v, float lo, float hi) { return v < lo ? lo : v > hi ? hi : v; }

static float to_disparity(float depth, bool root) {
  const float disparity = depth > 0 ? 1.f / depth : 0;
  return root ? sqrtf(disparity) : disparity;
}

/* In disparity or its square root: truth goes there, the aligned prediction comes back. */
static int align_disparity(const ev_align_opts *o, const float *pred, const float *truth, const uint8_t *mask, int H,
                           int W, float *out, ev_fit_result *fit) {
  int st = OK;
  const size_t n = (size_t)H * (size_t)W;
  const bool root = o->space == EV_ALIGN_SQRT_DISPARITY;
  float *target = calloc(n, sizeof *target);
  uint8_t *both = calloc(n, 1);

  NEED(target && both, E_NOMEM, "%dx%d disparities", W, H);
  for (size_t i = 0; i < n; i++) {
    target[i] = to_disparity(truth[i], root);
    both[i] = mask[i] && truth[i] > 0 && !(pred[i] <= 0);
  }
  TRY(ev_fit(pred, target, both, H, W, o->max_res, fit));
  for (size_t i = 0; i < n; i++) {
    float v = pred[i] * fit->scale + fit->shift;
    if (root) v *= v;
    out[i] = 1.f / (v < DISPARITY_MIN ? DISPARITY_MIN : v);
  }
out:
  free(target);
  free(both);
  return st;
}

int ev_align(const ev_align_opts *o, const float *pred, const float *truth, const uint8_t *mask, int H, int W, float *out,
             ev_fit_result *fit) {
  int st = OK;
  const size_t n = (size_t)H * (size_t)W;
  ev_fit_result f = {1, 0};

  switch (o->space) {
  case EV_ALIGN_DEPTH: TRY(ev_fit(pred, truth, mask, H, W, o->max_res, &f)); break;
  case EV_ALIGN_DISPARITY:
  case EV_ALIGN_SQRT_DISPARITY: TRY(align_disparity(o, pred, truth, mask, H, W, out, &f)); break;
  case EV_ALIGN_NONE:
  case EV_ALIGNMENTS: break;
  }
  if (o->space == EV_ALIGN_DEPTH)
    for (size_t i = 0; i < n; i++) out[i] = pred[i] * f.scale + f.shift;
  else if (o->space == EV_ALIGN_NONE) memcpy(out, pred, n * sizeof *out);
  for (size_t i = 0; i < n; i++) {
    const float v = clamp(out[i], o->near_m, o->far_m);
    out[i] = v < DEPTH_MIN ? DEPTH_MIN : v;
  }
  if (fit) *fit = f;
out:
  return st;
}
