#include "datasets/tonemap.h"

#include <math.h>

#include "base/half.h"
#include "datasets/quantile.h"

enum { HALVES = 1 << 16 };
static const double gamma_out = 1 / 2.2;

double ds_tonemap_scale(const uint16_t *rgb, const int16_t *entity, size_t n, double *scratch) {
  size_t valid = 0, kept = 0;
  double p;

  for (size_t i = 0; i < n; i++) {
    if (entity[i] == -1) continue;
    const double r = half_to_f32(rgb[3 * i]), g = half_to_f32(rgb[3 * i + 1]), b = half_to_f32(rgb[3 * i + 2]);
    const double y = 0.3 * r + 0.59 * g + 0.11 * b;
    valid++;
    if (!isnan(y)) scratch[kept++] = y;
  }
  if (valid == 0) return 1;
  if (kept == 0) return 0;
  p = ds_percentile(scratch, kept, 0.9);
  return p >= 1e-4 && isfinite(p) ? pow(0.8, 1 / gamma_out) / p : 0;
}

void ds_tonemap(const uint16_t *in, size_t n, double scale, uint8_t *out) {
  uint8_t table[HALVES]; /* there are fewer halves than pixels */

  for (int i = 0; i < HALVES; i++) {
    const double x = scale * half_to_f32((uint16_t)i);
    const double v = x > 0 ? pow(x, gamma_out) : 0; /* NaN is not > 0 */
    table[i] = (uint8_t)((v < 1 ? v : 1) * 255);
  }
  for (size_t i = 0; i < n; i++) out[i] = table[in[i]];
}
