/* Residual + bias + statistics as a node. Its backward hands the gradient on as it is. */
#include <stdlib.h>

#include "models/fused_call.h"

enum { H, RESIDUAL, INPUTS };
enum { OUT, PART };

typedef struct add_call {
  const kn_cuda *k;
  md_vector bias[2]; /* value NULL: none */
} add_call;

/* The one bias to add: the first, or the sum of both in memory of its own. */
static int total_bias(const add_call *c, void *stream, const tchc_tensor *like, int64_t C, tchc_tensor **room,
                      const float **out) {
  int st = OK;

  *out = c->bias[0].value;
  if (!c->bias[1].value) goto out;
  TRY(tchc_full(&C, 1, 0, TCHC_F32, tchc_where(like), room));
  for (int i = 0; i < 2; i++) TRY(c->k->colsum(stream, 1, C, C, c->bias[i].value, tchc_data(*room)));
  *out = tchc_data(*room);
out:
  return st;
}

static int forward(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  int st = OK;
  const add_call *c = ctx;
  const md_extent e = md_extent_of(in[H]);
  tchc_tensor *room = NULL;
  const float *bias;
  void *stream = NULL;

  (void)call, (void)nin;
  TRY(md_stream_of(in[H], &stream));
  TRY(total_bias(c, stream, in[H], e.C, &room, &bias));
  if (nout > PART)
    TRY(tchc_empty((int64_t[]){e.N, kn_chunks(e.HW), 2, e.C}, 4, TCHC_F32, tchc_where(in[H]), TCHC_CONTIGUOUS, &out[PART]));
  const kn_add_stats_args a = {.type = md_kn_type(in[H]), .N = e.N, .HW = e.HW, .C = e.C, .h = tchc_data(in[H]),
                               .x = in[RESIDUAL] ? tchc_data(in[RESIDUAL]) : NULL, .bias = bias,
                               .out = tchc_data(in[H]), .part = nout > PART ? tchc_data(out[PART]) : NULL};
  TRY(c->k->add_stats(stream, &a));
  TRY(tchc_detach(in[H], &out[OUT]));
out:
  tchc_free(&room);
  return st;
}

/* Column sums of g into the biases' gradients. */
static int bias_grads(const add_call *c, const tchc_tensor *g) {
  int st = OK;
  const md_extent e = md_extent_of(g);
  const int64_t chunks = e.N * kn_chunks(e.HW);
  tchc_tensor *part = NULL;
  void *stream = NULL;

  if (!c->bias[0].grad && !c->bias[1].grad) return OK;
  TRY(md_stream_of(g, &stream));
  TRY(tchc_empty((int64_t[]){chunks, 2, e.C}, 3, TCHC_F32, tchc_where(g), TCHC_CONTIGUOUS, &part));
  const kn_add_stats_args a = {.type = md_kn_type(g), .N = e.N, .HW = e.HW, .C = e.C, .h = tchc_data(g),
                               .part = tchc_data(part)};
  TRY(c->k->add_stats(stream, &a));
  for (int i = 0; i < 2; i++)
    if (c->bias[i].grad) TRY(c->k->colsum(stream, chunks, e.C, 2 * e.C, tchc_data(part), c->bias[i].grad));
out:
  tchc_free(&part);
  return st;
}

static int backward(void *ctx, tchc_call *call, tchc_tensor *const *gout, int nout, tchc_tensor **gin, int nin) {
  int st = OK;
  tchc_tensor *g = NULL;

  (void)nout;
  if (!gout[OUT]) goto out;
  TRY(md_laid_out(gout[OUT], &g));
  TRY(bias_grads(ctx, g));
  for (int i = 0; i < nin; i++)
    if (tchc_call_needs(call, i)) TRY(tchc_share(g, &gin[i]));
out:
  return st;
}

int md_fused_add(const kn_cuda *k, const tchc_tensor *h, const tchc_tensor *x, const md_vector *bias,
                 const md_vector *bias2, md_image *out) {
  static const tchc_op op = {"add", forward, backward, free};
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *in[INPUTS] = {NULL}, *result[2] = {NULL};
  add_call *c = NULL;
  const int nout = tchc_ndim(h) == 4 ? 2 : 1;

  TRY(tchc_scope_open(&s));
  TRY(md_laid_out(h, &in[H]));
  if (x) TRY(md_laid_out(x, &in[RESIDUAL]));
  NEED((c = calloc(1, sizeof *c)) != NULL, E_NOMEM, "add");
  c->k = k;
  if (bias) c->bias[0] = *bias;
  if (bias2) c->bias[1] = *bias2;
  TRY(tchc_apply(&op, c, in, INPUTS, result, nout));
  *out = (md_image){result[OUT], nout > PART ? result[PART] : NULL};
  md_image_promote(out);
out:
  tchc_scope_close(&s);
  return st;
}
