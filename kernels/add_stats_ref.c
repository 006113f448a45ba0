#include "kernels/add_stats.h"

#include <stddef.h>

int kn_add_ref(int64_t N, int64_t HW, int64_t C, const double *h, const double *x, const double *bias, double *out) {
  int st = OK;

  NEED(N >= 0 && HW >= 0 && C >= 0, E_SHAPE, "add: [%lld,%lld,%lld]", (long long)N, (long long)HW, (long long)C);
  for (int64_t i = 0; i < N * HW * C; i++) out[i] = h[i] + (x ? x[i] : 0) + (bias ? bias[i % C] : 0);
out:
  return st;
}

/* One channel of one chunk: `rows` numbers that lie C apart. */
static void chunk_stats(int64_t rows, int64_t C, const double *x, double *sum, double *squares) {
  double all = 0, m2 = 0;

  for (int64_t r = 0; r < rows; r++) all += x[r * C];
  for (int64_t r = 0; r < rows; r++) m2 += (x[r * C] - all / (double)rows) * (x[r * C] - all / (double)rows);
  *sum = all;
  *squares = m2;
}

int kn_channel_stats_ref(int64_t N, int64_t HW, int64_t C, const double *x, double *part) {
  int st = OK;
  const int64_t rows = kn_chunk_rows(HW), chunks = kn_chunks(HW);

  NEED(N >= 0 && HW >= 0 && C >= 0, E_SHAPE, "channel_stats: [%lld,%lld,%lld]", (long long)N, (long long)HW, (long long)C);
  for (int64_t n = 0; n < N; n++) {
    for (int64_t s = 0; s < chunks; s++) {
      const int64_t left = HW - s * rows;
      for (int64_t c = 0; c < C; c++) {
        double *out = part + (n * chunks + s) * 2 * C + c;
        chunk_stats(left < rows ? left : rows, C, x + (n * HW + s * rows) * C + c, out, out + C);
      }
    }
  }
out:
  return st;
}
