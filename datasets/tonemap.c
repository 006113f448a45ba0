#include "datasets/tonemap.h"

#include <math.h>
#include <stdbool.h>

#include "base/clones.h"
#include "base/half.h"
#include "datasets/quantile.h"

enum { HALVES = 1 << 16, BLOCK = 512 };
static const double gamma_out = 1 / 2.2;

/* Of n <= BLOCK pixels, in double as numpy computes it. */
BASE_CLONES static void brightness(const uint16_t *rgb, size_t n, double *y) {
  float f[3 * BLOCK];

  half_to_f32_n(rgb, f, 3 * n);
  for (size_t i = 0; i < n; i++)
    y[i] = 0.3 * (double)f[3 * i] + 0.59 * (double)f[3 * i + 1] + 0.11 * (double)f[3 * i + 2];
}

double ds_tonemap_scale(const uint16_t *rgb, const int16_t *entity, size_t n, double *scratch) {
  size_t valid = 0, kept = 0;
  double y[BLOCK], p;

  for (size_t at = 0; at < n; at += BLOCK) {
    const size_t m = n - at < BLOCK ? n - at : BLOCK;
    brightness(rgb + 3 * at, m, y);
    for (size_t i = 0; i < m; i++) {
      const bool there = entity[at + i] != -1;
      scratch[kept] = y[i]; /* kept <= at + i */
      valid += there;
      kept += there && !isnan(y[i]);
    }
  }
  if (valid == 0) return 1;
  if (kept == 0) return 0;
  p = ds_percentile(scratch, kept, 0.9);
  return p >= 1e-4 && isfinite(p) ? pow(0.8, 1 / gamma_out) / p : 0;
}

void ds_tonemap(const uint16_t *in, size_t n, double scale, uint8_t *out) {
  uint8_t table[HALVES]; /* there are fewer halves than pixels */

  for (int i = 0; i < HALVES; i++) {
    const double x = scale * (double)half_to_f32((uint16_t)i);
    const double v = x > 0 ? pow(x, gamma_out) : 0; /* NaN is not > 0 */
    table[i] = (uint8_t)((v < 1 ? v : 1) * 255);
  }
  for (size_t i = 0; i < n; i++) out[i] = table[in[i]];
}
