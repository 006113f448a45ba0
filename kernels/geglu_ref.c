#include "kernels/geglu.h"

#include <math.h>
#include <stddef.h>

static double cdf(double v) { return 0.5 * (1 + erf(v * 0.70710678118654752)); }
static double density(double v) { return 0.39894228040143268 * exp(-0.5 * v * v); }

int kn_geglu_ref(int64_t M, int64_t F, const double *p, double *y) {
  int st = OK;

  NEED(M >= 0 && F >= 0, E_SHAPE, "geglu: [%lld,2x%lld]", (long long)M, (long long)F);
  for (int64_t r = 0; r < M; r++)
    for (int64_t c = 0; c < F; c++) y[r * F + c] = p[r * 2 * F + c] * p[r * 2 * F + F + c] * cdf(p[r * 2 * F + F + c]);
out:
  return st;
}

int kn_geglu_bwd_ref(int64_t M, int64_t F, const double *p, const double *dy, double *dp, double *dbias) {
  int st = OK;

  NEED(M >= 0 && F >= 0, E_SHAPE, "geglu_bwd: [%lld,2x%lld]", (long long)M, (long long)F);
  for (int64_t c = 0; dbias && c < 2 * F; c++) dbias[c] = 0;
  for (int64_t r = 0; r < M; r++) {
    for (int64_t c = 0; c < F; c++) {
      const int64_t at = r * 2 * F + c;
      const double u = p[at], v = p[at + F], d = dy[r * F + c];
      dp[at] = d * v * cdf(v);
      dp[at + F] = d * u * (cdf(v) + v * density(v));
      if (dbias) dbias[c] += dp[at], dbias[F + c] += dp[at + F];
    }
  }
out:
  return st;
}
