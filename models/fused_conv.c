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

int md_fused_upsample_kernel(const tchc_tensor *w, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *wide = NULL, *turned = NULL, *part[4] = {NULL}, *sum = NULL, *swapped = NULL, *k = NULL;

  TRY(tchc_scope_open(&s));
  TRY(tchc_to_type(w, tchc_type(w) == TCHC_F64 ? TCHC_F64 : TCHC_F32, &wide));
  TRY(tchc_flip(wide, (int[]){2, 3}, 2, &turned)); /* a transposed convolution goes the other way */
  for (int i = 0; i < 4; i++) TRY(tchc_pad(turned, i % 2, 1 - i % 2, i / 2, 1 - i / 2, &part[i]));
  sum = part[0];
  for (int i = 1; i < 4; i++) TRY(tchc_add(sum, part[i], 1, &sum));
  TRY(tchc_transpose(sum, 0, 1, &swapped));
  TRY(tchc_to_type(swapped, tchc_type(w), &k));
  TRY(tchc_contiguous(k, TCHC_CHANNELS_LAST, &k));
  tchc_promote(k);
  *out = k;
out:
  tchc_scope_close(&s);
  return st;
}
