/* base/rng: the generator's published vectors, streams that part, moments of what is drawn. */
#include "base/rng.h"

#include <math.h>

#include "tests/support/check.h"

/* Random123 kat_vectors, philox4x32 with 10 rounds. */
static void known_answers(void **state) {
  static const struct { uint32_t counter[4], key[2], want[4]; } v[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};

  (void)state;
  for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
    uint32_t out[4];
    rng_philox(v[i].key, v[i].counter, out);
    assert_memory_equal(out, v[i].want, sizeof out);
  }
}

/* A run resumed by a later program must draw the same; the numbers come from a restatement in Python. */
static void pinned(void **state) {
  const rng_key k = rng_stream(2024, "noise", 7, 3);
  float z[3];
  uint32_t p[5];
  static const uint32_t order[5] = {2, 3, 4, 0, 1};

  (void)state;
  rng_normal_f32(&k, z, 3);
  rng_permutation(&k, p, 5);
  assert_true(rng_u64(&k, 0) == 0x1d2a0653ef675ad5 && rng_u64(&k, 5) == 0x55683c8fe7d2533d);
  assert_float_equal(z[0], 1.78070056f, 1e-6f);
  assert_float_equal(z[2], -0.91714263f, 1e-6f);
  assert_memory_equal(p, order, sizeof order);
}

static int by_value(const void *a, const void *b) {
  const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* Keys of near seeds, names and indices: all first draws differ. */
static void streams_part(void **state) {
  enum { N = 8 };
  static const char *const names[N] = {"", "a", "b", "ab", "ba", "mix", "order", "noise"};
  static uint64_t first[N * N * N * N];
  size_t n = 0;

  (void)state;
  for (uint64_t seed = 0; seed < N; seed++)
    for (int s = 0; s < N; s++)
      for (uint64_t a = 0; a < N; a++)
        for (uint64_t b = 0; b < N; b++) {
          const rng_key k = rng_stream(seed, names[s], a, b);
          first[n++] = rng_u64(&k, 0);
        }
  qsort(first, n, sizeof *first, by_value);
  for (size_t i = 1; i < n; i++) assert_true(first[i] != first[i - 1]);
}

static void upper_halves_count(void **state) {
  const uint64_t big = (uint64_t)1 << 32;
  const rng_key k = rng_stream(1, "s", 1, 1);
  const rng_key other[] = {rng_stream(1 + big, "s", 1, 1), rng_stream(1, "s", 1 + big, 1), rng_stream(1, "s", 1, 1 + big)};

  (void)state;
  for (int i = 0; i < 3; i++) assert_true(rng_u64(&k, 0) != rng_u64(&other[i], 0));
  assert_true(rng_u64(&k, 0) != rng_u64(&k, 2 * big));
}

static void uniform_moments(void **state) {
  enum { N = 200000 };
  const rng_key k = rng_stream(5, "flip", 0, 0);
  double sum = 0, square = 0, low = 1, high = 0;

  (void)state;
  for (uint64_t i = 0; i < N; i++) {
    const double u = rng_uniform(&k, i);
    assert_true(u >= 0 && u < 1);
    sum += u;
    square += u * u;
    low = fmin(low, u);
    high = fmax(high, u);
  }
  assert_true(fabs(sum / N - 0.5) < 4 * 0.2887 / sqrt(N));
  assert_true(fabs(square / N - 1.0 / 3) < 4 * 0.2981 / sqrt(N));
  assert_true(low < 1e-4 && high > 1 - 1e-4);
}

static void below_is_even(void **state) {
  enum { N = 120000, FACES = 6 };
  const rng_key k = rng_stream(6, "mix", 1, 2);
  int count[FACES] = {0};
  double chi2 = 0;

  (void)state;
  for (uint64_t i = 0; i < N; i++) {
    const uint64_t r = rng_below(&k, i, FACES);
    assert_true(r < FACES);
    count[r]++;
    assert_true(rng_below(&k, i, 1) == 0);
  }
  for (int i = 0; i < FACES; i++) chi2 += pow(count[i] - N / FACES, 2) / (N / FACES);
  assert_true(chi2 < 20.5); /* 5 degrees of freedom, p = 0.001 */
}

static void normal_moments(void **state) {
  enum { N = 200000 };
  static float z[N], part[1000];
  const rng_key k = rng_stream(7, "noise", 0, 0);
  double m[4] = {0};

  (void)state;
  rng_normal_f32(&k, z, N);
  for (int i = 0; i < N; i++) {
    assert_true(isfinite(z[i]));
    for (int p = 0; p < 4; p++) m[p] += pow(z[i], p + 1) / N;
  }
  assert_true(fabs(m[0]) < 4 / sqrt(N) && fabs(m[1] - 1) < 4 * sqrt(2.0 / N));
  assert_true(fabs(m[2]) < 4 * sqrt(15.0 / N) && fabs(m[3] - 3) < 4 * sqrt(96.0 / N));
  rng_normal_f32(&k, part, 1000); /* how many are drawn changes none */
  assert_memory_equal(part, z, sizeof part);
}

static void permutations(void **state) {
  enum { N = 257 };
  uint32_t p[N], q[N], one[1];
  int moved = 0, seen[N] = {0};
  const rng_key k = rng_stream(8, "order", 0, 0), next = rng_stream(8, "order", 1, 0);

  (void)state;
  rng_permutation(&k, p, N);
  rng_permutation(&next, q, N);
  for (int i = 0; i < N; i++) {
    assert_true(p[i] < N && !seen[p[i]]++);
    moved += p[i] != q[i];
  }
  assert_true(moved > N - 20);
  rng_permutation(&k, one, 1);
  assert_int_equal(one[0], 0);
  rng_permutation(&k, NULL, 0);
}

/* All six orders of three, evenly. */
static void permutations_are_even(void **state) {
  enum { N = 60000 };
  int count[27] = {0};
  double chi2 = 0;

  (void)state;
  for (uint64_t e = 0; e < N; e++) {
    const rng_key k = rng_stream(9, "order", e, 0);
    uint32_t p[3];
    rng_permutation(&k, p, 3);
    count[p[0] * 9 + p[1] * 3 + p[2]]++;
  }
  for (int i = 0; i < 27; i++)
    if (count[i]) chi2 += pow(count[i] - N / 6, 2) / (N / 6);
  assert_true(chi2 < 20.5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_answers),   cmocka_unit_test(pinned),         cmocka_unit_test(streams_part),
      cmocka_unit_test(upper_halves_count), cmocka_unit_test(uniform_moments), cmocka_unit_test(below_is_even),
      cmocka_unit_test(normal_moments),  cmocka_unit_test(permutations),   cmocka_unit_test(permutations_are_even)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
