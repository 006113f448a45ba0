#include "base/half.h"

#include <string.h>

static uint32_t bits_of(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

static float float_of(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

float half_to_f32(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, mag = h & 0x7fff;

  if (mag >= 0x7c00) return float_of(sign | 0x7f800000 | (mag & 0x3ff) << 13); /* inf, NaN with its payload */
  if (mag >= 0x0400) return float_of(sign | ((mag << 13) + ((127 - 15) << 23)));
  return float_of(sign | bits_of((float)mag * 0x1p-24f)); /* subnormal: exact in float */
}

uint16_t half_from_f32(float f) {
  const uint32_t u = bits_of(f), mag = u & 0x7fffffff;
  const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
  uint32_t r;

  if (mag > 0x7f800000) { /* NaN: as much payload as fits, never none, or it would be inf */
    r = mag >> 13 & 0x3ff;
    r = 0x7c00 | (r ? r : 0x200);
  } else if (mag >= 0x47800000) { /* 65536 and above */
    r = 0x7c00;
  } else if (mag >= 0x38800000) { /* normal: drop 13 bits, ties to even; a carry runs into the exponent, up to inf */
    r = (mag + 0xfff + (mag >> 13 & 1) - ((127 - 15) << 23)) >> 13;
  } else { /* subnormal: adding 0.5 leaves the result in the low bits, rounded by the hardware to even */
    r = bits_of(float_of(mag) + 0.5f) - 0x3f000000;
  }
  return (uint16_t)(sign | r);
}

float bf16_to_f32(uint16_t b) { return float_of((uint32_t)b << 16); }

uint16_t bf16_from_f32(float f) {
  const uint32_t u = bits_of(f);

  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | (u & 0x7f0000 ? 0 : 0x40));
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

void half_to_f32_n(const uint16_t *in, float *out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = half_to_f32(in[i]);
}

void half_from_f32_n(const float *in, uint16_t *out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = half_from_f32(in[i]);
}

void bf16_to_f32_n(const uint16_t *in, float *out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = bf16_to_f32(in[i]);
}

void bf16_from_f32_n(const float *in, uint16_t *out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = bf16_from_f32(in[i]);
}
