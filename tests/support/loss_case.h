/* tests/support/loss_case.h: one case of golden/losses: two images, their loss in the source and its gradient. */
#ifndef TESTS_SUPPORT_LOSS_CASE_H
#define TESTS_SUPPORT_LOSS_CASE_H
#include <stdio.h>

#include "base/io.h"
#include "tests/support/golden.h"

typedef struct loss_case {
  int64_t B, n;                  /* 2 images of n pixels */
  size_t numbers;                /* of x and its gradient */
  float *x, *gt, *want, *grad;   /* want: the source's gradient; grad: room for ours */
  uint8_t *mask;
  double want_loss, count;       /* count: valid pixels of both */
  float weight[2], sums[2];      /* weight 1 / count, 0 when nothing is valid; sums: room for ours */
} loss_case;

static inline float *loss_case_f32(const st_file *f, const char *name, const char *what, size_t *n) {
  char key[160];

  snprintf(key, sizeof key, "%s.%s", name, what);
  return golden_f32(f, key, n);
}

/* input: "pred" or "decoded". */
static inline void loss_case_load(const st_file *f, const char *name, const char *input, loss_case *c) {
  char key[96];
  size_t pixels;

  *c = (loss_case){.B = 2};
  c->x = loss_case_f32(f, name, input, &c->numbers);
  snprintf(key, sizeof key, "grad_%s", input);
  c->want = loss_case_f32(f, name, key, NULL);
  c->gt = loss_case_f32(f, name, "target", NULL);
  float *mask = loss_case_f32(f, name, "mask", &pixels), *loss = loss_case_f32(f, name, "loss", NULL);
  c->n = (int64_t)pixels / c->B;
  c->want_loss = *loss;
  c->mask = malloc(pixels);
  c->grad = malloc(c->numbers * sizeof *c->grad);
  assert_true(c->mask && c->grad);
  for (size_t i = 0; i < pixels; i++) c->count += c->mask[i] = mask[i] != 0;
  c->weight[0] = c->weight[1] = c->count > 0 ? (float)(1 / c->count) : 0;
  free(mask);
  free(loss);
}

static inline void loss_case_free(loss_case *c) {
  free(c->x);
  free(c->gt);
  free(c->want);
  free(c->grad);
  free(c->mask);
}

/* The mean over the valid pixels of both images, as the source has it: NaN when there are none. */
static inline double loss_case_value(const loss_case *c) { return ((double)c->sums[0] + c->sums[1]) / c->count; }
#endif
