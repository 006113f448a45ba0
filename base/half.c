#include "base/half.h"

#include <string.h>

#include "base/clones.h"

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

/* a or b without a branch: both are always computed, so the loops below become vector code. */
static uint32_t pick(int cond, uint32_t a, uint32_t b) {
  const uint32_t mask = -(uint32_t)cond;
  return (a & mask) | (b & ~mask);
}

static float half_wide(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, mag = h & 0x7fff;
  const uint32_t special = mag << 13 | 0x7f800000; /* inf, NaN with its payload */
  const uint32_t normal = (mag << 13) + ((127 - 15) << 23);
  const uint32_t subnormal = bits_of((float)(int32_t)mag * 0x1p-24f); /* exact in float */

  return float_of(sign | pick(mag >= 0x7c00, special, pick(mag >= 0x0400, normal, subnormal)));
}

static uint16_t half_narrow(float f) {
  const uint32_t u = bits_of(f), mag = u & 0x7fffffff, payload = mag >> 13 & 0x3ff;
  /* NaN: as much payload as fits, never none, or it would be inf */
  const uint32_t nan = 0x7c00 | pick(payload != 0, payload, 0x200);
  /* drop 13 bits, ties to even; a carry runs into the exponent, up to inf */
  const uint32_t normal = (mag + 0xfff + (mag >> 13 & 1) - ((127 - 15) << 23)) >> 13;
  /* adding 0.5 leaves the result in the low bits, rounded to even by the hardware */
  const uint32_t subnormal = bits_of(float_of(mag) + 0.5f) - 0x3f000000;
  const uint32_t finite = pick(mag >= 0x38800000, normal, subnormal);

  return (uint16_t)((u >> 16 & 0x8000) | pick(mag > 0x7f800000, nan, pick(mag >= 0x47800000, 0x7c00, finite)));
}

static float bf16_wide(uint16_t b) { return float_of((uint32_t)b << 16); }

static uint16_t bf16_narrow(float f) {
  const uint32_t u = bits_of(f);

  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | (u & 0x7f0000 ? 0 : 0x40));
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* The work is in static functions, which position-independent code can inline into the loops. */
float half_to_f32(uint16_t h) { return half_wide(h); }
uint16_t half_from_f32(float f) { return half_narrow(f); }
float bf16_to_f32(uint16_t b) { return bf16_wide(b); }
uint16_t bf16_from_f32(float f) { return bf16_narrow(f); }

BASE_CLONES void half_to_f32_n(const uint16_t *in, float *out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = half_wide(in[i]);
}

BASE_CLONES void half_from_f32_n(const float *in, uint16_t *out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = half_narrow(in[i]);
}

void bf16_to_f32_n(const uint16_t *in, float *out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = bf16_wide(in[i]);
}

void bf16_from_f32_n(const float *in, uint16_t *out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = bf16_narrow(in[i]);
}
