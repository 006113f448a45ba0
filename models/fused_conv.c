/* Frozen convolutions as nodes that keep nothing, and upsampling as a transposed convolution. */
#include <stdlib.h>

#include "models/fused_call.h"

typedef struct conv_call {
  const tchc_tensor *w;
  int stride, pad;
  bool transposed;
} conv_call;

static int run(const conv_call *c, bool transposed, const tchc_tensor *x, tchc_tensor **out) {
  return transposed ? tchc_conv_transpose2d(x, c->w, NULL, c->stride, c->pad, out)
                    : tchc_conv2d(x, c->w, NULL, c->stride, c->pad, out);
}

static int forward(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  const conv_call *c = ctx;

  (void)call, (void)nin, (void)nout;
  return run(c, c->transposed, in[0], out);
}

/* The gradient by the input is the other one of the two convolutions. */
static int backward(void *ctx, tchc_call *call, tchc_tensor *const *gout, int nout, tchc_tensor **gin, int nin) {
  int st = OK;
  const conv_call *c = ctx;
  tchc_tensor *g = NULL;

  (void)call, (void)nout, (void)nin;
  if (!gout[0]) goto out;
  TRY(md_laid_out(gout[0], &g));
  TRY(run(c, !c->transposed, g, gin));
out:
  tchc_free(&g);
  return st;
}

int md_fused_frozen_conv(const tchc_tensor *w, int stride, int pad, bool transposed, const tchc_tensor *x,
                         tchc_tensor **out) {
  static const tchc_op op = {"frozen convolution", forward, backward, free};
  int st = OK;
  conv_call *c = malloc(sizeof *c);

  NEED(c, E_NOMEM, "frozen convolution");
  *c = (conv_call){w, stride, pad, transposed};
  if (tchc_requires_grad(x)) return tchc_apply(&op, c, (tchc_tensor *const[]){(tchc_tensor *)x}, 1, out, 1);
  st = run(c, transposed, x, out);
  free(c);
out:
  return st;
}

/* Upsampling by 2 and a 3x3 convolution are one 4x4 kernel: its number (a, b) is the sum of those (y, x) of the turned 3x3 one
 * for which a - y and b - x are 0 or 1. Here as a matrix. */
static void fill_spread(float spread[16][9]) {
  for (int a = 0; a < 4; a++)
    for (int b = 0; b < 4; b++)
      for (int y = 0; y < 3; y++)
        for (int x = 0; x < 3; x++) {
          const int dy = a - (2 - y), dx = b - (2 - x);
          spread[4 * a + b][3 * y + x] = dy >= 0 && dy <= 1 && dx >= 0 && dx <= 1;
        }
}

int md_fused_upsample_spread(const tchc_tensor *w, tchc_tensor **out) {
  int st = OK;
  float values[16][9];
  tchc_tensor *plain = NULL;

  fill_spread(values);
  TRY(tchc_from_host(values, (int64_t[]){1, 16, 9}, 3, TCHC_F32, tchc_where(w), &plain));
  TRY(tchc_to_type(plain, tchc_type(w), out));
out:
  tchc_free(&plain);
  return st;
}

int md_fused_upsample_kernel(const tchc_tensor *w, const tchc_tensor *spread, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  const int64_t O = tchc_size(w, 0), I = tchc_size(w, 1);
  tchc_tensor *last = NULL, *nine = NULL, *each = NULL, *sixteen = NULL, *square = NULL, *k = NULL;

  TRY(tchc_scope_open(&s));
  TRY(tchc_permute(w, (int64_t[]){1, 2, 3, 0}, 4, &last));
  TRY(tchc_reshape(last, (int64_t[]){I, 9, O}, 3, &nine));
  TRY(tchc_expand(spread, (int64_t[]){I, 16, 9}, 3, &each));
  TRY(tchc_matmul(each, nine, &sixteen)); /* [I,16,O]: memory of [I,O,4,4], channels last */
  TRY(tchc_reshape(sixteen, (int64_t[]){I, 4, 4, O}, 4, &square));
  TRY(tchc_permute(square, (int64_t[]){0, 3, 1, 2}, 4, &k));
  tchc_promote(k);
  *out = k;
out:
  tchc_scope_close(&s);
  return st;
}
