#include "kernels/group_norm.h"

#include <math.h>
#include <stddef.h>

static int check(int64_t N, int64_t HW, int64_t C, int groups) {
  int st = OK;

  NEED(N >= 0 && HW >= 0 && C >= 0 && groups > 0 && C % groups == 0, E_SHAPE, "group_norm: [%lld,%lld,%lld] in %d groups",
       (long long)N, (long long)HW, (long long)C, groups);
out:
  return st;
}

static double rows_in(int64_t chunk, int64_t HW) {
  const int64_t rows = kn_chunk_rows(HW), left = HW - chunk * rows;

  return (double)(left < rows ? left : rows);
}

static double offset_at(const double *offset, int64_t i) { return offset ? offset[i] : 0; }

/* Mean and 1/sqrt(var + eps) of channels c0 .. c0+size of image n, from their chunks. */
static void group_stats(int64_t n, int64_t HW, int64_t C, int64_t c0, int64_t size, double eps, const double *part,
                        const double *offset, double *stats) {
  const int64_t chunks = kn_chunks(HW);
  const double count = (double)(HW * size);
  double sum = 0, squares = 0;

  for (int64_t s = 0; s < chunks; s++)
    for (int64_t c = c0; c < c0 + size; c++)
      sum += part[(n * chunks + s) * 2 * C + c] + rows_in(s, HW) * offset_at(offset, n * C + c);
  for (int64_t s = 0; s < chunks; s++) {
    for (int64_t c = c0; c < c0 + size; c++) {
      const double *p = part + (n * chunks + s) * 2 * C + c;
      const double d = p[0] / rows_in(s, HW) + offset_at(offset, n * C + c) - sum / count;
      squares += p[C] + rows_in(s, HW) * d * d;
    }
  }
  stats[0] = sum / count;
  stats[1] = 1 / sqrt(squares / count + eps);
}

static double over_chunks(int64_t n, int64_t chunks, int64_t C, int64_t c, int which, const double *part) {
  double sum = 0;

  for (int64_t s = 0; s < chunks; s++) sum += part[((n * chunks + s) * 2 + which) * C + c];
  return sum;
}

int kn_group_norm_coef_ref(int64_t N, int64_t HW, int64_t C, int groups, double eps, const double *part,
                           const double *gamma, const double *beta, const double *offset, double *coef, double *stats,
                           double *sum) {
  int st = OK;

  TRY(check(N, HW, C, groups));
  const int64_t size = C / groups;
  for (int64_t n = 0; n < N; n++) {
    for (int64_t g = 0; g < groups; g++)
      group_stats(n, HW, C, g * size, size, eps, part, offset, stats + 2 * (n * groups + g));
    for (int64_t c = 0; c < C; c++) {
      const double *s = stats + 2 * (n * groups + c / size);
      coef[2 * n * C + c] = s[1] * gamma[c];
      coef[(2 * n + 1) * C + c] = beta[c] - (s[0] - offset_at(offset, n * C + c)) * s[1] * gamma[c];
      if (sum) sum[n * C + c] = over_chunks(n, kn_chunks(HW), C, c, 0, part);
    }
  }
out:
  return st;
}

/* a x + b of element i. */
static double affine_at(int64_t i, int64_t HW, int64_t C, const double *x, const double *coef) {
  const int64_t n = i / (HW * C), c = i % C;

  return coef[2 * n * C + c] * x[i] + coef[(2 * n + 1) * C + c];
}

int kn_group_norm_apply_ref(int64_t N, int64_t HW, int64_t C, bool silu, const double *x, const double *coef, double *y) {
  int st = OK;

  TRY(check(N, HW, C, 1));
  for (int64_t i = 0; i < N * HW * C; i++) {
    const double z = affine_at(i, HW, C, x, coef);
    y[i] = silu ? z / (1 + exp(-z)) : z;
  }
out:
  return st;
}

/* Gradient by z = a x + b at element i. */
static double dz_at(int64_t i, int64_t HW, int64_t C, bool silu, const double *x, const double *dy, const double *coef) {
  const double z = affine_at(i, HW, C, x, coef), sigmoid = 1 / (1 + exp(-z));

  return silu ? dy[i] * sigmoid * (1 + z * (1 - sigmoid)) : dy[i];
}

int kn_group_norm_reduce_ref(int64_t N, int64_t HW, int64_t C, int groups, bool silu, const double *x, const double *dy,
                             const double *coef, const double *stats, const double *offset, double *part) {
  int st = OK;
  const int64_t rows = kn_chunk_rows(HW), chunks = kn_chunks(HW);

  TRY(check(N, HW, C, groups));
  for (int64_t i = 0; i < N * chunks * 2 * C; i++) part[i] = 0;
  for (int64_t i = 0; i < N * HW * C; i++) {
    const int64_t n = i / (HW * C), c = i % C, chunk = i / C % HW / rows;
    const double *s = stats + 2 * (n * groups + c / (C / groups)), dz = dz_at(i, HW, C, silu, x, dy, coef);
    double *out = part + (n * chunks + chunk) * 2 * C + c;
    out[0] += dz;
    out[C] += dz * (x[i] + offset_at(offset, n * C + c) - s[0]) * s[1];
  }
out:
  return st;
}

int kn_group_norm_back_ref(int64_t N, int64_t HW, int64_t C, int groups, const double *part, const double *gamma,
                           const double *stats, const double *offset, const double *sum, double *back, double *red) {
  int st = OK;
  const int64_t chunks = kn_chunks(HW);

  TRY(check(N, HW, C, groups));
  const int64_t size = C / groups;
  for (int64_t n = 0; n < N; n++) {
    for (int64_t c = 0; c < C; c++) {
      const int64_t g = c / size;
      const double mean = stats[2 * (n * groups + g)], rstd = stats[2 * (n * groups + g) + 1];
      double c1 = 0, c2 = 0;
      for (int64_t k = g * size; k < (g + 1) * size; k++) {
        c1 += gamma[k] * over_chunks(n, chunks, C, k, 0, part) / (double)(HW * size);
        c2 += gamma[k] * over_chunks(n, chunks, C, k, 1, part) / (double)(HW * size);
      }
      const double D = -rstd * rstd * c2, B = -rstd * c1 - D * (mean - offset_at(offset, n * C + c));
      back[2 * n * C + c] = B;
      back[(2 * n + 1) * C + c] = D;
      if (!red) continue;
      red[3 * n * C + c] = over_chunks(n, chunks, C, c, 1, part);
      red[(3 * n + 1) * C + c] = over_chunks(n, chunks, C, c, 0, part);
      if (sum) red[(3 * n + 2) * C + c] = rstd * gamma[c] * red[(3 * n + 1) * C + c] + (double)HW * B + D * sum[n * C + c];
    }
  }
out:
  return st;
}

int kn_group_norm_dx_ref(int64_t N, int64_t HW, int64_t C, bool silu, const double *x, const double *dy,
                         const double *coef, const double *back, double *dx) {
  int st = OK;

  TRY(check(N, HW, C, 1));
  for (int64_t i = 0; i < N * HW * C; i++) {
    const int64_t n = i / (HW * C), c = i % C;
    dx[i] = coef[2 * n * C + c] * dz_at(i, HW, C, silu, x, dy, coef) + back[2 * n * C + c] + back[(2 * n + 1) * C + c] * x[i];
  }
out:
  return st;
}
