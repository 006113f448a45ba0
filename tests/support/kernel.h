/* tests/support/kernel.h: buffers on the device with guard words on both sides, and comparisons with references. */
#ifndef TESTS_SUPPORT_KERNEL_H
#define TESTS_SUPPORT_KERNEL_H
#include <math.h>
#include <stdio.h>

#include "base/half.h"
#include "tests/support/device.h"
#include "tests/support/pixels.h"

enum { GUARD = 64 }; /* elements on each side */
static const double GUARD_VALUE = -7;

typedef struct buffer {
  kn_type type;
  size_t n, size; /* elements, bytes of one */
  char *memory, *data;
} buffer;

static inline void encode(kn_type type, const double *from, void *to, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (type == KN_F32) ((float *)to)[i] = (float)from[i];
    else ((uint16_t *)to)[i] = bf16_from_f32((float)from[i]);
  }
}

static inline void decode(kn_type type, const void *from, double *to, size_t n) {
  for (size_t i = 0; i < n; i++) to[i] = type == KN_F32 ? (double)((const float *)from)[i] : (double)bf16_to_f32(((const uint16_t *)from)[i]);
}

/* n elements; values [n] is rounded in place to what the type keeps, or NULL: NaN. shift: elements by which the buffer
 * is off its alignment. */
static inline buffer buffer_make(kn_type type, double *values, size_t n, size_t shift) {
  const size_t size = type == KN_F32 ? 4 : 2, all = n + 2 * GUARD + shift;
  buffer b = {.type = type, .n = n, .size = size, .memory = device_alloc(all * size)};
  double *wide = malloc(all * sizeof *wide);
  char *raw = malloc(all * size);

  assert_true(wide && raw);
  for (size_t i = 0; i < all; i++) wide[i] = GUARD_VALUE;
  for (size_t i = 0; i < n; i++) wide[GUARD + shift + i] = values ? values[i] : NAN;
  encode(type, wide, raw, all);
  device_put(b.memory, raw, all * size);
  b.data = b.memory + (GUARD + shift) * size;
  if (values) decode(type, raw + (GUARD + shift) * size, values, n);
  free(wide);
  free(raw);
  return b;
}

/* Checks the guards and gives the elements, from malloc. */
static inline double *buffer_read(const char *what, const buffer *b) {
  const size_t before = (size_t)(b->data - b->memory) / b->size, all = before + b->n + GUARD;
  double *wide = malloc(all * sizeof *wide), *out = malloc(b->n * sizeof *out + 1);
  char *raw = malloc(all * b->size);

  assert_true(wide && raw && out);
  device_get(raw, b->memory, all * b->size);
  decode(b->type, raw, wide, all);
  for (size_t i = 0; i < all; i++)
    if ((i < before || i >= before + b->n) && wide[i] != GUARD_VALUE)
      fail_msg("%s: wrote at %lld of [0,%zu)", what, (long long)i - (long long)before, b->n);
  for (size_t i = 0; i < b->n; i++) out[i] = wide[before + i];
  free(wide);
  free(raw);
  return out;
}

static inline void buffer_free(buffer *b) {
  device_free(b->memory);
  b->memory = b->data = NULL;
}

/* Elements within rel of their own size and floor of the largest, all together within norm_rel in norm. */
static inline void expect_within(const char *what, const double *got, const double *want, size_t n, double rel,
                                 double floor, double norm_rel) {
  double top = 0, error = 0, norm = 0;

  for (size_t i = 0; i < n; i++) top = fmax(top, fabs(want[i]));
  for (size_t i = 0; i < n; i++) {
    if (!(fabs(got[i] - want[i]) <= rel * fabs(want[i]) + floor * top))
      fail_msg("%s: element %zu of %zu is %.9g, reference %.9g (largest %.3g)", what, i, n, got[i], want[i], top);
    error += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  if (!(sqrt(error) <= norm_rel * sqrt(norm) + 1e-30)) fail_msg("%s: off by %.3g in norm", what, sqrt(error / norm));
}

/* A buffer against its reference: f32 to 1e-5 of the largest, bf16 to the rounding of the result. */
static inline void expect_buffer(const char *what, const buffer *b, const double *want) {
  double *got = buffer_read(what, b);

  if (b->type == KN_F32) expect_within(what, got, want, b->n, 0, 1e-5, 1e-5);
  else expect_within(what, got, want, b->n, 6e-3, 1e-4, 3e-3);
  free(got);
}

/* Prints time and rate; nothing where time means nothing. */
static inline void print_rate(const char *what, double bytes, void (*run)(void *), void *ctx) {
  const double seconds = device_seconds(run, ctx);

  if (seconds > 0) printf("%-40s %8.3f ms %8.0f GB/s (%.0f MB)\n", what, seconds * 1e3, bytes / seconds / 1e9, bytes / 1e6);
}
#endif
