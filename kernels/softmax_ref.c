#include "kernels/softmax.h"

#include <math.h>

int kn_softmax_ref(int64_t rows, int64_t n, double scale, double *s) {
  int st = OK;

  NEED(rows >= 0 && n >= 0, E_SHAPE, "softmax: [%lld,%lld]", (long long)rows, (long long)n);
  for (int64_t r = 0; r < rows; r++) {
    double *row = s + r * n, most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, scale * row[i]);
    for (int64_t i = 0; i < n; i++) sum += row[i] = exp(scale * row[i] - most);
    for (int64_t i = 0; i < n; i++) row[i] /= sum;
  }
out:
  return st;
}

int kn_softmax_bwd_ref(int64_t rows, int64_t n, double scale, const double *p, double *dp) {
  int st = OK;

  NEED(rows >= 0 && n >= 0, E_SHAPE, "softmax_bwd: [%lld,%lld]", (long long)rows, (long long)n);
  for (int64_t r = 0; r < rows; r++) {
    double dot = 0;
    for (int64_t i = r * n; i < (r + 1) * n; i++) dot += p[i] * dp[i];
    for (int64_t i = r * n; i < (r + 1) * n; i++) dp[i] = scale * p[i] * (dp[i] - dot);
  }
out:
  return st;
}
