/* tests/support/big_state.h: a training state of many megabytes whose every number is a function of (seed, step, buffer,
 * place), so that any process can tell whether what it loads is what was saved. */
#ifndef TESTS_SUPPORT_BIG_STATE_H
#define TESTS_SUPPORT_BIG_STATE_H
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/state.h"

enum { BIG_PARAMS = 16 };

typedef struct big_state {
  ck_state s;
  ck_param params[BIG_PARAMS];
  char names[BIG_PARAMS][32];
} big_state;

/* `bytes` in all: weights and both moments. False when there is no memory. */
static inline bool big_init(big_state *b, size_t bytes) {
  const int64_t each = (int64_t)(bytes / 12 / BIG_PARAMS);

  memset(b, 0, sizeof *b);
  for (int i = 0; i < BIG_PARAMS; i++) {
    snprintf(b->names[i], sizeof b->names[i], "blocks.%d.weight", i);
    b->params[i] = (ck_param){b->names[i], 1, {each}, i * each, each};
  }
  b->s = (ck_state){.nparams = BIG_PARAMS, .params = b->params, .numel = BIG_PARAMS * each, .config = "run:\n  seed: 1\n"};
  const size_t size = (size_t)b->s.numel * sizeof(float);
  b->s.weights = malloc(size);
  b->s.m = malloc(size);
  b->s.v = malloc(size);
  return b->s.weights && b->s.m && b->s.v;
}

static inline void big_fini(big_state *b) {
  free(b->s.weights);
  free(b->s.m);
  free(b->s.v);
}

static inline float big_value(int64_t step, int buffer, int64_t i) {
  const uint32_t x = (uint32_t)(i * 2654435761u + step * 40503u + buffer * 97u);
  return (float)(x ^ x >> 15) * 0x1p-24f;
}

static inline float *big_buffer(const big_state *b, int i) { return i == 0 ? b->s.weights : i == 1 ? b->s.m : b->s.v; }

static inline void big_fill(big_state *b, int64_t step) {
  b->s.step = b->s.adam_t = step;
  for (int k = 0; k < 3; k++) {
    float *v = big_buffer(b, k);
    for (int64_t i = 0; i < b->s.numel; i++) v[i] = big_value(step, k, i);
  }
}

static inline bool big_is(const big_state *b, int64_t step) {
  for (int k = 0; k < 3; k++) {
    const float *v = big_buffer(b, k);
    for (int64_t i = 0; i < b->s.numel; i++)
      if (v[i] != big_value(step, k, i)) return false;
  }
  return b->s.step == step && b->s.adam_t == step;
}
#endif
