/* base/half: every code of both types against the value computed from its fields. */
#include "base/half.h"

#include <math.h>

#include "tests/support/check.h"

static uint32_t bits(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

static float from_bits(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

/* The value of a code with `e` exponent and `m` fraction bits, by the definition. */
static double value_of(unsigned code, int e, int m) {
  const int exponent = (int)(code >> m) & ((1 << e) - 1), bias = (1 << (e - 1)) - 1;
  const double fraction = (double)(code & ((1u << m) - 1)), sign = code >> (e + m) ? -1 : 1;

  if (exponent == (1 << e) - 1) return fraction != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * ldexp(fraction, 1 - bias - m);
  return sign * ldexp(1 + ldexp(fraction, -m), exponent - bias);
}

static void same(double want, float got, unsigned code) {
  if (isnan(want) ? isnan(got) : want == (double)got && !signbit(want) == !signbit(got)) return;
  fail_msg("code %04x: %.9g, %.9g wanted", code, (double)got, want);
}

static void all_codes(void **state) {
  (void)state;
  for (unsigned c = 0; c < 65536; c++) {
    same(value_of(c, 5, 10), half_to_f32((uint16_t)c), c);
    same(value_of(c, 8, 7), bf16_to_f32((uint16_t)c), c);
    assert_int_equal(half_from_f32(half_to_f32((uint16_t)c)), c); /* NaN payloads too */
    assert_int_equal(bf16_from_f32(bf16_to_f32((uint16_t)c)), c);
  }
}

/* Between two neighbouring codes: below the middle, the middle (to even), above it. */
static void rounding(void **state, uint16_t (*from)(float), float (*to)(uint16_t), unsigned inf) {
  (void)state;
  for (unsigned c = 0; c < inf; c++) {
    const double low = to((uint16_t)c);
    const double high = c + 1 < inf ? to((uint16_t)(c + 1)) : 2 * low - to((uint16_t)(c - 1));
    const float middle = (float)((low + high) / 2);
    assert_true((double)middle == (low + high) / 2);
    for (unsigned sign = 0; sign <= 0x8000; sign += 0x8000) {
      const float s = sign ? -1.0f : 1.0f;
      assert_int_equal(from(s * middle), sign | (c & 1 ? c + 1 : c));
      assert_int_equal(from(s * nextafterf(middle, 0)), sign | c);
      assert_int_equal(from(s * nextafterf(middle, INFINITY)), sign | (c + 1));
    }
  }
}

static void rounding_half(void **state) { rounding(state, half_from_f32, half_to_f32, 0x7c00); }

static void rounding_bf16(void **state) {
  (void)state;
  for (unsigned c = 0; c < 0x7f80; c++) { /* the middle is the code with a 1 behind it */
    const uint32_t low = c << 16;
    assert_int_equal(bf16_from_f32(from_bits(low | 0x7fff)), c);
    assert_int_equal(bf16_from_f32(from_bits(low | 0x8000)), c & 1 ? c + 1 : c);
    assert_int_equal(bf16_from_f32(from_bits(low | 0x8001)), c + 1);
    assert_int_equal(bf16_from_f32(from_bits(0x80000000u | low | 0x8001)), 0x8000 | (c + 1));
  }
}

static void extremes(void **state) {
  (void)state;
  assert_int_equal(half_from_f32(65504.0f), 0x7bff);
  assert_int_equal(half_from_f32(65519.996f), 0x7bff);
  assert_int_equal(half_from_f32(65520.0f), 0x7c00);
  assert_int_equal(half_from_f32(65536.0f), 0x7c00);
  assert_int_equal(half_from_f32(100000.0f), 0x7c00);
  assert_int_equal(half_from_f32(3e38f), 0x7c00);
  assert_int_equal(half_from_f32(-INFINITY), 0xfc00);
  assert_int_equal(half_from_f32(0x1p-25f), 0);       /* half the smallest: to even */
  assert_int_equal(half_from_f32(0x1.000002p-25f), 1);
  assert_int_equal(half_from_f32(-0x1p-149f), 0x8000);
  assert_int_equal(bf16_from_f32(3.4e38f), 0x7f80);
  assert_int_equal(bf16_from_f32(-0.0f), 0x8000);
}

static void nan_stays_nan(void **state) {
  static const uint32_t nans[] = {0x7f800001, 0xff800001, 0x7fc00000, 0xffffffff, 0x7fbfffff, 0x7f801fff, 0x7f80ffff};

  (void)state;
  for (size_t i = 0; i < sizeof nans / sizeof *nans; i++) {
    const uint32_t h = bits(half_to_f32(half_from_f32(from_bits(nans[i])))), b = bits(bf16_to_f32(bf16_from_f32(from_bits(nans[i]))));
    assert_true((h & 0x7fffffff) > 0x7f800000 && (h ^ nans[i]) >> 31 == 0);
    assert_true((b & 0x7fffffff) > 0x7f800000 && (b ^ nans[i]) >> 31 == 0);
  }
}

/* The loops over arrays are other machine code than the functions on one value. */
static void arrays(void **state) {
  enum { N = 65536 + 3 };
  static uint16_t codes[N], back[N];
  static float wide[N];

  (void)state;
  for (unsigned i = 0; i < N; i++) codes[i] = (uint16_t)i;
  for (size_t n = 0; n < 40; n++) { /* every remainder of a vector */
    wide[n] = -7;
    half_to_f32_n(codes + 1000, wide, n);
    assert_true(wide[n] == -7 && (n == 0 || wide[n - 1] == half_to_f32((uint16_t)(999 + n))));
  }
  half_to_f32_n(codes, wide, N);
  for (unsigned i = 0; i < N; i++) assert_int_equal(bits(wide[i]), bits(half_to_f32((uint16_t)i)));
  half_from_f32_n(wide, back, N);
  assert_memory_equal(back, codes, sizeof codes);
  bf16_to_f32_n(codes, wide, N);
  for (unsigned i = 0; i < N; i++) assert_int_equal(bits(wide[i]), bits(bf16_to_f32((uint16_t)i)));
  bf16_from_f32_n(wide, back, N);
  assert_memory_equal(back, codes, sizeof codes);
  half_from_f32_n(wide, back, N); /* values that do not fit */
  for (unsigned i = 0; i < N; i++) assert_int_equal(back[i], half_from_f32(wide[i]));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(all_codes),     cmocka_unit_test(rounding_half),
                                     cmocka_unit_test(rounding_bf16), cmocka_unit_test(extremes),
                                     cmocka_unit_test(nan_stays_nan), cmocka_unit_test(arrays)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
