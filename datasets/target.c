#include "datasets/target.h"

#include <math.h>
#include <string.h>

#include "datasets/quantile.h"

static int64_t mark_valid(const float *depth, size_t n, float near_m, float far_m, float *kept, uint8_t *mask) {
  int64_t valid = 0;

  for (size_t i = 0; i < n; i++) {
    mask[i] = depth[i] > near_m && depth[i] < far_m; /* NaN is neither */
    if (mask[i]) kept[valid++] = depth[i];
  }
  return valid;
}

static void zero(float *v, size_t n) {
  if (v) memset(v, 0, n * sizeof *v);
}

static float clamp(float v, float lo, float hi) { return v < lo ? lo : v > hi ? hi : v; }

int64_t ds_target_depth(const float *depth, size_t n, float near_m, float far_m, float *scratch, uint8_t *mask,
                        float *metric, float *normalised) {
  float q02 = 0, q98 = 0;
  const int64_t valid = mark_valid(depth, n, near_m, far_m, scratch, mask);

  if (valid > 0) ds_quantiles_02_98(scratch, (size_t)valid, &q02, &q98);
  if (q02 == q98) {
    memset(mask, 0, n);
    zero(metric, n);
    zero(normalised, n);
    return 0;
  }
  for (size_t i = 0; i < n; i++) {
    const float d = mask[i] ? clamp(depth[i], q02, q98) : q98;
    if (metric) metric[i] = d;
    if (normalised) normalised[i] = clamp((d - q02) / (q98 - q02) * 2 - 1, -1, 1);
  }
  return valid;
}

int64_t ds_target_whole(const float *depth, size_t n, float near_m, float far_m, uint8_t *mask, float *metric) {
  int64_t valid = 0;

  for (size_t i = 0; i < n; i++) {
    mask[i] = depth[i] > near_m && depth[i] < far_m;
    if (metric) metric[i] = mask[i] ? depth[i] : 0;
    valid += mask[i];
  }
  return valid;
}

static float length(const float *v, size_t n, size_t i) {
  const float x = v[i], y = v[n + i], z = v[2 * n + i];

  return sqrtf(x * x + y * y + z * z);
}

int64_t ds_target_drop_unknown(const float *normals, size_t n, uint8_t *mask) {
  int64_t valid = 0;

  for (size_t i = 0; i < n; i++) {
    const float l = length(normals, n, i);
    mask[i] = mask[i] && l >= DS_NORMAL_MIN && isfinite(l);
    valid += mask[i];
  }
  return valid;
}

void ds_target_normals(float *normals, size_t n, const uint8_t *mask) {
  for (size_t i = 0; i < n; i++) {
    const float l = fmaxf(length(normals, n, i), 1e-12f);
    for (int c = 0; c < 3; c++) normals[(size_t)c * n + i] = mask[i] ? normals[(size_t)c * n + i] / l : 0;
  }
}
