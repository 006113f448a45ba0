/* base/rng.h: random numbers as a function of (seed, stream name, two indices, counter), never of call order.
 * Generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). */
#ifndef BASE_RNG_H
#define BASE_RNG_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef struct rng_key {
  uint32_t key[2];
  uint32_t hi[2]; /* upper half of the 128-bit counter */
} rng_key;

/* The generator itself: ten rounds on a 128-bit counter. */
void rng_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);
/* stream: what the numbers are for ("mix", "order", "flip", "noise"); a, b: step or epoch, sample or group.
 * The 128 bits of key and hi are two chained Philox blocks of (a, b), keyed by the seed and by the FNV-1a hash of the
 * name. Each is a bijection, so two (a, b) of one seed and name never meet; others do with probability 2^-128. */
rng_key rng_stream(uint64_t seed, const char *stream, uint64_t a, uint64_t b);
/* The i-th 64 random bits of a stream. */
uint64_t rng_u64(const rng_key *k, uint64_t i);
/* Uniform in [0,1), 53 bits. */
double rng_uniform(const rng_key *k, uint64_t i);
/* Uniform in 0..n-1, n >= 1, without modulo bias worth naming (64-bit multiply-high). */
uint64_t rng_below(const rng_key *k, uint64_t i, uint64_t n);
/* out [n] standard normal, Box-Muller in double, element j from counter j alone. The bits are the same on every machine; log
 * and cos may differ in the last bit of the double, which rounding to float hides but for about one in 10^8. */
void rng_normal_f32(const rng_key *k, float *out, size_t n);
/* out [n] a permutation of 0..n-1 (Fisher-Yates). */
void rng_permutation(const rng_key *k, uint32_t *out, uint32_t n);
#ifdef __cplusplus
}
#endif
#endif
