#include "eval/measure.h"

#include <math.h>
#include <stdlib.h>

const char *const ev_depth_names[EV_DEPTH_METRICS] = {"abs_rel", "sq_rel", "rmse",   "rmse_log", "log10",
                                                      "silog",   "delta1", "delta2", "delta3"};
const char *const ev_normals_names[EV_NORMALS_METRICS] = {"mean",    "median",      "rmse",       "below_5",
                                                          "below_7_5", "below_11_25", "below_22_5", "below_30"};

/* Sums over the valid pixels of one image. */
typedef struct sums {
  double rel, sq_rel, sq, log, log_sq, log10;
  size_t n, within[3];
} sums;

static void add_pixel(sums *s, float p, float t) {
  const float diff = p - t, absolute = fabsf(diff), log_diff = logf(p) - logf(t);
  const float ratio = fmaxf(p / t, t / p);

  s->rel += absolute / t;
  s->sq_rel += absolute * absolute / t;
  s->sq += diff * diff;
  s->log += log_diff;
  s->log_sq += log_diff * log_diff;
  s->log10 += fabsf(log10f(p) - log10f(t));
  s->within[0] += ratio < 1.25f;
  s->within[1] += ratio < 1.25f * 1.25f;
  s->within[2] += ratio < 1.25f * 1.25f * 1.25f;
  s->n++;
}

int ev_depth_measure(const float *pred, const float *truth, const uint8_t *mask, size_t n, ev_depth_metrics *out) {
  int st = OK;
  sums s = {0};
  size_t bad = 0;

  for (size_t i = 0; i < n; i++) {
    if (!mask[i]) continue;
    if (isfinite(pred[i])) add_pixel(&s, pred[i], truth[i]);
    else bad++;
  }
  NEED(!bad, E_DATA, "the prediction is not finite at %zu of %zu valid pixels", bad, bad + s.n);
  NEED(s.n, E_DATA, "no valid pixel");
  const double m = (double)s.n, log_mean = s.log / m, log_variance = s.log_sq / m - log_mean * log_mean;
  *out = (ev_depth_metrics){.abs_rel = s.rel / m,
                            .sq_rel = s.sq_rel / m,
                            .rmse = sqrt(s.sq / m),
                            .rmse_log = sqrt(s.log_sq / m),
                            .log10 = s.log10 / m,
                            .silog = 100 * sqrt(log_variance > 0 ? log_variance : 0),
                            .delta1 = (double)s.within[0] / m,
                            .delta2 = (double)s.within[1] / m,
                            .delta3 = (double)s.within[2] / m};
out:
  return st;
}

/* ---- normals ---- */

enum { BINS = 1 << 22 };
static const double limits[EV_ANGLES_LIMITS] = {5, 7.5, 11.25, 22.5, 30};

static float length_of(const float *v, size_t n, size_t i) {
  const float x = v[i], y = v[n + i], z = v[2 * n + i];
  return fmaxf(sqrtf(x * x + y * y + z * z), 1e-8f);
}

void ev_normals_angles(const float *pred, const float *truth, size_t n, float *degrees) {
  for (size_t i = 0; i < n; i++) {
    const float p = length_of(pred, n, i), t = length_of(truth, n, i);
    float cosine = 0;
    for (size_t c = 0; c < 3; c++) cosine += pred[c * n + i] / p * (truth[c * n + i] / t);
    degrees[i] = acosf(fminf(fmaxf(cosine, -1), 1)) * 180.f / 3.14159265358979323846f;
  }
}

int ev_angles_init(ev_angles *a) {
  int st = OK;

  *a = (ev_angles){0};
  NEED((a->bins = calloc(BINS, sizeof *a->bins)) != NULL, E_NOMEM, "%d bins of angles", BINS);
out:
  return st;
}

void ev_angles_fini(ev_angles *a) {
  free(a->bins);
  *a = (ev_angles){0};
}

static void add_sums(ev_angles *a, const float *degrees, const uint8_t *mask, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (!mask[i]) continue;
    const double angle = degrees[i];
    a->n++;
    a->sum += angle;
    a->sum_of_squares += angle * angle;
    for (int k = 0; k < EV_ANGLES_LIMITS; k++) a->below[k] += angle < limits[k];
  }
}

void ev_angles_sums(ev_angles *a, const float *degrees, const uint8_t *mask, size_t n) {
  *a = (ev_angles){0};
  add_sums(a, degrees, mask, n);
}

void ev_angles_add(ev_angles *a, const float *degrees, const uint8_t *mask, size_t n) {
  add_sums(a, degrees, mask, n);
  for (size_t i = 0; i < n; i++) {
    if (!mask[i]) continue;
    const size_t bin = (size_t)((double)degrees[i] * (BINS / 180.0));
    a->bins[bin < BINS ? bin : BINS - 1]++;
  }
}

/* The k-th smallest angle, from 0: the middle of its bin. */
static double order_statistic(const ev_angles *a, uint64_t k) {
  uint64_t seen = 0;
  size_t bin = 0;

  if (!a->bins) return 0;
  while (bin < BINS - 1 && seen + a->bins[bin] <= k) seen += a->bins[bin++];
  return ((double)bin + 0.5) * (180.0 / BINS);
}

int ev_angles_measure(const ev_angles *a, ev_normals_metrics *out) {
  int st = OK;

  NEED(a->n, E_DATA, "no valid pixel");
  const double n = (double)a->n;
  *out = (ev_normals_metrics){.mean = a->sum / n,
                              .median = (order_statistic(a, (a->n - 1) / 2) + order_statistic(a, a->n / 2)) / 2,
                              .rmse = sqrt(a->sum_of_squares / n),
                              .below_5 = 100 * (double)a->below[0] / n,
                              .below_7_5 = 100 * (double)a->below[1] / n,
                              .below_11_25 = 100 * (double)a->below[2] / n,
                              .below_22_5 = 100 * (double)a->below[3] / n,
                              .below_30 = 100 * (double)a->below[4] / n};
out:
  return st;
}
