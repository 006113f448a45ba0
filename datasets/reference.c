#include "datasets/reference.h"

#include <math.h>

uint16_t ds_reference_mm(double metres) {
  const double mm = metres * 1000;

  return fabs(mm) < 2147483648.0 ? (uint16_t)(int32_t)mm : 0; /* numpy's cast on x86 goes through 32 bits */
}

float ds_reference_metres(uint16_t mm) { return (float)(mm / 1000.0); }

double ds_reference_planar(double focal, int H, int W, int row, int col, double distance) {
  const float x = (float)(col - 0.5 * W + 0.5), y = (float)(row - 0.5 * H + 0.5), f = (float)focal;
  const float ray = sqrtf(x * x + y * y + f * f);

  return distance / ray * focal;
}

static double decode(uint8_t v) { return v / 255.0 * 2 - 1; }
static uint8_t encode(double v) { return (uint8_t)((v + 1) / 2 * 255); }

void ds_reference_align(uint8_t *rgb, const float *depth, int H, int W) {
  const double f = DS_REFERENCE_FOCAL;
  uint8_t same[256], negated[256];

  for (int v = 0; v < 256; v++) {
    same[v] = encode(decode((uint8_t)v));
    negated[v] = encode(-decode((uint8_t)v));
  }
  for (int row = 0; row < H; row++)
    for (int col = 0; col < W; col++, rgb += 3, depth++) {
      const double px = (col - W / 2.0) / f * *depth, py = (row - H / 2.0) / f * *depth;
      /* x right, y down, z forward */
      const double away = decode(rgb[0]) * px - decode(rgb[1]) * py - decode(rgb[2]) * *depth;
      rgb[0] = away > 0 ? same[rgb[0]] : negated[rgb[0]];
      rgb[1] = away > 0 ? negated[rgb[1]] : same[rgb[1]];
      rgb[2] = away > 0 ? negated[rgb[2]] : same[rgb[2]];
    }
}
