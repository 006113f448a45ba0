/* tests/support/tiny_state.h: a training state of a few parameters, for tests of what saves and resumes. */
#ifndef TESTS_SUPPORT_TINY_STATE_H
#define TESTS_SUPPORT_TINY_STATE_H
#include "checkpoints/state.h"
#include "tests/support/check.h"

enum { TINY_PARAMS = 4, TINY_NUMEL = 24 + 3 + 0 + 7 };

/* Model order, not name order; one empty parameter, one with an axis more than the others. */
static const ck_param tiny_params[TINY_PARAMS] = {{"unet.conv_in.weight", 4, {2, 3, 2, 2}, 0, 24},
                                                  {"unet.conv_in.bias", 1, {3}, 24, 3},
                                                  {"empty", 2, {0, 5}, 27, 0},
                                                  {"down.0", 1, {7}, 27, 7}};

typedef struct tiny_state {
  ck_state s;
  float buffers[4][TINY_NUMEL];
} tiny_state;

/* Every value a function of (step, buffer, place). */
static inline void tiny_init(tiny_state *t, int64_t step, int with_ema) {
  memset(t, 0, sizeof *t);
  for (int b = 0; b < 4; b++)
    for (int i = 0; i < TINY_NUMEL; i++) t->buffers[b][i] = (float)(step * 1000 + b * 100 + i) / 7;
  t->s = (ck_state){.step = step, .adam_t = step - 1, .nonfinite_row = 2, .seed = 0xfedcba9876543210u,
                    .nparams = TINY_PARAMS, .params = tiny_params, .numel = TINY_NUMEL, .weights = t->buffers[0],
                    .m = t->buffers[1], .v = t->buffers[2], .ema = with_ema ? t->buffers[3] : NULL,
                    .config = "run:\n  seed: 7\n"};
}

/* Room to load into, filled with rubbish. */
static inline void tiny_blank(tiny_state *t, int with_ema) {
  tiny_init(t, -77, with_ema);
  t->s.config = NULL;
}

static inline void tiny_check_equal(const tiny_state *a, const tiny_state *b) {
  assert_true(a->s.step == b->s.step && a->s.adam_t == b->s.adam_t && a->s.nonfinite_row == b->s.nonfinite_row);
  assert_true(a->s.seed == b->s.seed);
  for (int i = 0; i < (a->s.ema && b->s.ema ? 4 : 3); i++)
    assert_memory_equal(a->buffers[i], b->buffers[i], sizeof a->buffers[i]);
}
#endif
