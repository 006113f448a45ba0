#include "kernels/layer_norm.h"

#include <math.h>
#include <stddef.h>

int kn_layer_norm_ref(int64_t M, int64_t C, double eps, const double *x, const double *h, const double *bias,
                      const double *gamma, const double *beta, double *sum, double *y, double *stats) {
  int st = OK;

  NEED(M >= 0 && C >= 0, E_SHAPE, "layer_norm: [%lld,%lld]", (long long)M, (long long)C);
  for (int64_t r = 0; r < M; r++) {
    double mean = 0, var = 0;
    for (int64_t c = 0; c < C; c++) {
      sum[r * C + c] = x[r * C + c] + (h ? h[r * C + c] : 0) + (bias ? bias[c] : 0);
      mean += sum[r * C + c] / (double)C;
    }
    for (int64_t c = 0; c < C; c++) var += (sum[r * C + c] - mean) * (sum[r * C + c] - mean) / (double)C;
    stats[2 * r] = mean;
    stats[2 * r + 1] = 1 / sqrt(var + eps);
    for (int64_t c = 0; c < C; c++) y[r * C + c] = (sum[r * C + c] - mean) * stats[2 * r + 1] * gamma[c] + beta[c];
  }
out:
  return st;
}

int kn_layer_norm_bwd_ref(int64_t M, int64_t C, const double *x, const double *stats, const double *gamma,
                          const double *dy, const double *dres, double *dx, double *cols) {
  int st = OK;

  NEED(M >= 0 && C >= 0, E_SHAPE, "layer_norm_bwd: [%lld,%lld]", (long long)M, (long long)C);
  for (int64_t c = 0; c < 3 * C; c++) cols[c] = 0;
  for (int64_t r = 0; r < M; r++) {
    const double mean = stats[2 * r], rstd = stats[2 * r + 1];
    double c1 = 0, c2 = 0;
    for (int64_t i = r * C; i < (r + 1) * C; i++) {
      const double w = dy[i] * gamma[i - r * C];
      c1 += w / (double)C;
      c2 += w * (x[i] - mean) * rstd / (double)C;
    }
    for (int64_t i = r * C; i < (r + 1) * C; i++) {
      const int64_t c = i - r * C;
      const double xhat = (x[i] - mean) * rstd;
      cols[c] += dy[i] * xhat;
      cols[C + c] += dy[i];
      dx[i] = (dres ? dres[i] : 0) + rstd * (dy[i] * gamma[c] - c1 - xhat * c2);
      cols[2 * C + c] += dx[i];
    }
  }
out:
  return st;
}
