#include "datasets/colour_map.h"

#include <math.h>
#include <string.h>

/* ColorBrewer's 11 colours, between which matplotlib interpolates in double. */
static const uint8_t anchors[11][3] = {{158, 1, 66},    {213, 62, 79},   {244, 109, 67},  {253, 174, 97},
                                       {254, 224, 139}, {255, 255, 191}, {230, 245, 152}, {171, 221, 164},
                                       {102, 194, 165}, {50, 136, 189},  {94, 79, 162}};
enum { LEVELS = 256, STEPS = 10 };

/* Where anchor i lies among the levels. */
static double edge(int i) { return i * 0.1 * (LEVELS - 1); }

void ds_colour_spectral(float v, uint8_t rgb[3]) {
  memset(rgb, 0, 3);
  if (isnan(v)) return;
  const double clamped = v < 0 ? 0 : v > 1 ? 1 : (double)v;
  const int level = clamped >= 1 ? LEVELS - 1 : (int)(clamped * LEVELS);
  /* matplotlib's way of computing it, step by step: a rounded bit decides where a colour is cut to 8 bits */
  const double place = (LEVELS - 1) * (level * (1. / (LEVELS - 1)));
  int above = 1;
  while (above < STEPS && place > edge(above)) above++;
  const double part = (place - edge(above - 1)) / (edge(above) - edge(above - 1));

  for (int c = 0; c < 3; c++) {
    const double lo = anchors[above - 1][c] / 255., hi = anchors[above][c] / 255.;
    rgb[c] = (uint8_t)((part * (hi - lo) + lo) * 255);
  }
}

void ds_colour_depth(const float *values, const uint8_t *mask, size_t n, float lo, float hi, uint8_t *rgb) {
  const float scale = hi > lo ? 1 / (hi - lo) : 0;

  for (size_t i = 0; i < n; i++) {
    if (mask && !mask[i]) memset(rgb + 3 * i, 0, 3);
    else ds_colour_spectral((values[i] - lo) * scale, rgb + 3 * i);
  }
}

void ds_colour_signed(const float *planes, const uint8_t *mask, size_t n, uint8_t *rgb) {
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < 3; c++) {
      const float v = planes[c * n + i], clamped = v > -1 ? v < 1 ? v : 1 : -1; /* NaN: -1 */
      rgb[3 * i + c] = mask && !mask[i] ? 0 : (uint8_t)((clamped + 1) * 127.5f + 0.5f);
    }
}
