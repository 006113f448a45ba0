#include "base/rng.h"

#include <math.h>

static void mul_hilo(uint32_t a, uint32_t b, uint32_t *hi, uint32_t *lo) {
  const uint64_t p = (uint64_t)a * b;
  *hi = (uint32_t)(p >> 32);
  *lo = (uint32_t)p;
}

void rng_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]) {
  uint32_t k0 = key[0], k1 = key[1];
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];

  for (int round = 0; round < 10; round++) {
    uint32_t hi0, lo0, hi1, lo1;
    mul_hilo(0xD2511F53u, c0, &hi0, &lo0);
    mul_hilo(0xCD9E8D57u, c2, &hi1, &lo1);
    c0 = hi1 ^ c1 ^ k0;
    c1 = lo1;
    c2 = hi0 ^ c3 ^ k1;
    c3 = lo0;
    k0 += 0x9E3779B9u; /* golden ratio */
    k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

static uint64_t fnv1a(const char *text) {
  uint64_t h = 0xcbf29ce484222325u;
  for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001b3u;
  return h;
}

static void split64(uint64_t v, uint32_t out[2]) {
  out[0] = (uint32_t)v;
  out[1] = (uint32_t)(v >> 32);
}

rng_key rng_stream(uint64_t seed, const char *stream, uint64_t a, uint64_t b) {
  uint32_t seed_key[2], name_key[2], block[4];

  split64(seed, seed_key);
  split64(fnv1a(stream), name_key);
  split64(a, block);
  split64(b, block + 2);
  rng_philox(seed_key, block, block);
  rng_philox(name_key, block, block);
  return (rng_key){{block[0], block[1]}, {block[2], block[3]}};
}

/* 128 bits of block i as two words. */
static void block_at(const rng_key *k, uint64_t i, uint64_t out[2]) {
  uint32_t c[4] = {(uint32_t)i, (uint32_t)(i >> 32), k->hi[0], k->hi[1]};

  rng_philox(k->key, c, c);
  out[0] = (uint64_t)c[1] << 32 | c[0];
  out[1] = (uint64_t)c[3] << 32 | c[2];
}

uint64_t rng_u64(const rng_key *k, uint64_t i) {
  uint64_t two[2];
  block_at(k, i / 2, two);
  return two[i % 2];
}

double rng_uniform(const rng_key *k, uint64_t i) { return (double)(rng_u64(k, i) >> 11) * 0x1p-53; }

uint64_t rng_below(const rng_key *k, uint64_t i, uint64_t n) {
  __extension__ typedef unsigned __int128 u128;
  return (uint64_t)((u128)rng_u64(k, i) * n >> 64);
}

void rng_normal_f32(const rng_key *k, float *out, size_t n) {
  const double two_pi = 6.283185307179586476925;

  for (size_t j = 0; j < n; j++) {
    uint64_t two[2];
    block_at(k, j, two);
    const double u = (double)((two[0] >> 11) + 1) * 0x1p-53; /* (0,1]: its logarithm is finite */
    const double v = (double)(two[1] >> 11) * 0x1p-53;
    out[j] = (float)(sqrt(-2.0 * log(u)) * cos(two_pi * v));
  }
}

void rng_permutation(const rng_key *k, uint32_t *out, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) out[i] = i;
  for (uint32_t i = n; i > 1; i--) {
    const uint32_t j = (uint32_t)rng_below(k, i, i), last = out[i - 1];
    out[i - 1] = out[j];
    out[j] = last;
  }
}
