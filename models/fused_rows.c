/* The transformer's small operators as nodes: residual + layer norm, the gated feed-forward's second half, and the VAE
 * attention's softmax. */
#include <stdlib.h>

#include "models/fused_call.h"

/* ---- sum = x + h + bias, y = norm(sum) ---- */
enum { X, H, NORM_INPUTS };
enum { SUM, Y };

typedef struct layer_norm_call {
  const kn_cuda *k;
  const md_layer_norm *n;
  md_vector bias;
} layer_norm_call;

static int norm_forward(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  int st = OK;
  const layer_norm_call *c = ctx;
  const md_extent e = md_extent_of(in[X]);
  tchc_tensor *saved[2] = {NULL}, *sum = in[H] ? in[H] : in[X];
  void *stream = NULL;

  (void)nin, (void)nout;
  TRY(md_stream_of(in[X], &stream));
  TRY(md_empty_like(in[X], &out[Y]));
  TRY(tchc_empty((int64_t[]){e.HW, 2}, 2, TCHC_F32, tchc_where(in[X]), TCHC_CONTIGUOUS, &saved[1]));
  const kn_layer_norm_args a = {.type = md_kn_type(in[X]), .M = e.HW, .C = e.C, .eps = c->n->eps, .x = tchc_data(in[X]),
                                .h = in[H] ? tchc_data(in[H]) : NULL, .bias = c->bias.value,
                                .gamma = c->n->scale.value, .beta = c->n->shift.value, .sum = tchc_data(sum),
                                .y = tchc_data(out[Y]), .stats = tchc_data(saved[1])};
  TRY(c->k->layer_norm(stream, &a));
  TRY(tchc_detach(sum, &out[SUM]));
  saved[0] = sum;
  TRY(tchc_call_save(call, saved, 2));
out:
  return st;
}

static int norm_grads(const layer_norm_call *c, void *stream, const tchc_tensor *part, int64_t parts, int64_t C) {
  int st = OK;
  float *const grads[3] = {c->n->scale.grad, c->n->shift.grad, c->bias.grad};

  for (int i = 0; i < 3; i++)
    if (grads[i]) TRY(c->k->colsum(stream, parts, C, 3 * C, (const float *)tchc_data(part) + i * C, grads[i]));
out:
  return st;
}

static int norm_backward(void *ctx, tchc_call *call, tchc_tensor *const *gout, int nout, tchc_tensor **gin, int nin) {
  int st = OK;
  const layer_norm_call *c = ctx;
  tchc_tensor *saved[2] = {NULL}, *dy = NULL, *dsum = NULL, *dx = NULL, *part = NULL;
  void *stream = NULL;

  (void)nout;
  TRY(tchc_call_saved(call, saved, 2));
  const md_extent e = md_extent_of(saved[0]);
  const int64_t parts = kn_layer_norm_parts(e.HW);
  TRY(md_stream_of(saved[0], &stream));
  if (gout[Y]) TRY(md_laid_out(gout[Y], &dy));
  else TRY(tchc_zeros_like(saved[0], &dy));
  if (gout[SUM]) TRY(md_laid_out(gout[SUM], &dsum));
  TRY(md_empty_like(saved[0], &dx));
  TRY(tchc_empty((int64_t[]){parts, 3, e.C}, 3, TCHC_F32, tchc_where(dx), TCHC_CONTIGUOUS, &part));
  const kn_layer_norm_bwd_args a = {.type = md_kn_type(dx), .M = e.HW, .C = e.C, .x = tchc_data(saved[0]),
                                    .dy = tchc_data(dy), .dres = dsum ? tchc_data(dsum) : NULL,
                                    .stats = tchc_data(saved[1]), .gamma = c->n->scale.value, .dx = tchc_data(dx),
                                    .part = tchc_data(part)};
  TRY(c->k->layer_norm_bwd(stream, &a));
  TRY(norm_grads(c, stream, part, parts, e.C));
  for (int i = 0; i < nin; i++)
    if (tchc_call_needs(call, i)) TRY(tchc_share(dx, &gin[i]));
out:
  return st;
}

int md_fused_layer_norm(const kn_cuda *k, const md_layer_norm *n, const tchc_tensor *x, const tchc_tensor *h,
                        const md_vector *bias, tchc_tensor **sum, tchc_tensor **y) {
  static const tchc_op op = {"layer_norm", norm_forward, norm_backward, free};
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *in[NORM_INPUTS] = {NULL}, *out[2] = {NULL};
  layer_norm_call *c = NULL;

  TRY(tchc_scope_open(&s));
  TRY(md_laid_out(x, &in[X]));
  if (h) TRY(md_laid_out(h, &in[H]));
  NEED((c = calloc(1, sizeof *c)) != NULL, E_NOMEM, "layer norm");
  *c = (layer_norm_call){.k = k, .n = n};
  if (bias) c->bias = *bias;
  TRY(tchc_apply(&op, c, in, NORM_INPUTS, out, 2));
  tchc_promote(out[SUM]);
  tchc_promote(out[Y]);
  *sum = out[SUM];
  *y = out[Y];
out:
  tchc_scope_close(&s);
  return st;
}

/* ---- geglu(p) w^T: the gate's result is made again in backward for w's gradient ---- */
enum { P, W, GEGLU_INPUTS };

typedef struct geglu_call {
  const kn_cuda *k;
  float *bias_grad;
} geglu_call;

static int geglu_forward(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  int st = OK;
  const geglu_call *c = ctx;
  const md_extent e = md_extent_of(in[P]);
  tchc_tensor *y = NULL;
  void *stream = NULL;

  (void)nout;
  TRY(md_stream_of(in[P], &stream));
  TRY(tchc_empty((int64_t[]){e.HW, e.C / 2}, 2, tchc_type(in[P]), tchc_where(in[P]), TCHC_CONTIGUOUS, &y));
  TRY(c->k->geglu(stream, md_kn_type(in[P]), e.HW, e.C / 2, tchc_data(in[P]), tchc_data(y)));
  TRY(tchc_linear(y, in[W], NULL, &out[0]));
  TRY(tchc_call_save(call, in, nin));
out:
  tchc_free(&y);
  return st;
}

/* dy [M,F] -> p becomes its own gradient, and y [M,F] is the gate's result again. */
static int gate_backward(const geglu_call *c, tchc_tensor *p, const tchc_tensor *dy, tchc_tensor **y) {
  int st = OK;
  const md_extent e = md_extent_of(p);
  tchc_tensor *part = NULL;
  void *stream = NULL;

  TRY(md_stream_of(p, &stream));
  TRY(md_empty_like(dy, y));
  if (c->bias_grad)
    TRY(tchc_empty((int64_t[]){kn_chunks(e.HW), e.C}, 2, TCHC_F32, tchc_where(p), TCHC_CONTIGUOUS, &part));
  TRY(c->k->geglu_bwd(stream, md_kn_type(p), e.HW, e.C / 2, tchc_data(p), tchc_data(dy), tchc_data(p), tchc_data(*y),
                      part ? tchc_data(part) : NULL));
  if (part) TRY(c->k->colsum(stream, kn_chunks(e.HW), e.C, e.C, tchc_data(part), c->bias_grad));
out:
  tchc_free(&part);
  return st;
}

static int geglu_backward(void *ctx, tchc_call *call, tchc_tensor *const *gout, int nout, tchc_tensor **gin, int nin) {
  int st = OK;
  tchc_tensor *saved[GEGLU_INPUTS] = {NULL}, *g = NULL, *dy = NULL, *rows = NULL, *y = NULL, *turned = NULL;

  (void)nout, (void)nin;
  if (!gout[0]) goto out;
  TRY(tchc_call_saved(call, saved, GEGLU_INPUTS));
  TRY(md_laid_out(gout[0], &g));
  TRY(tchc_matmul(g, saved[W], &rows));
  TRY(md_laid_out(rows, &dy));
  TRY(gate_backward(ctx, saved[P], dy, &y));
  TRY(tchc_share(saved[P], &gin[P]));
  if (!tchc_call_needs(call, W)) goto out;
  TRY(tchc_transpose(g, 0, 1, &turned));
  TRY(tchc_matmul(turned, y, &gin[W]));
out:
  return st;
}

int md_fused_geglu_linear(const kn_cuda *k, const tchc_tensor *p, const md_vector *bias, const tchc_tensor *w,
                          tchc_tensor **out) {
  static const tchc_op op = {"geglu", geglu_forward, geglu_backward, free};
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *in[GEGLU_INPUTS] = {NULL, (tchc_tensor *)w}, *y = NULL;
  geglu_call *c = NULL;

  TRY(tchc_scope_open(&s));
  TRY(md_laid_out(p, &in[P]));
  NEED((c = calloc(1, sizeof *c)) != NULL, E_NOMEM, "geglu");
  *c = (geglu_call){k, bias->grad};
  TRY(tchc_apply(&op, c, in, GEGLU_INPUTS, &y, 1));
  tchc_promote(y);
  *out = y;
out:
  tchc_scope_close(&s);
  return st;
}

/* ---- softmax in place ---- */
typedef struct softmax_call {
  const kn_cuda *k;
  float scale;
} softmax_call;

static int softmax_forward(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  int st = OK;
  const softmax_call *c = ctx;
  const md_extent e = md_extent_of(in[0]);
  void *stream = NULL;

  (void)nout;
  TRY(md_stream_of(in[0], &stream));
  TRY(c->k->softmax(stream, md_kn_type(in[0]), e.HW, e.C, c->scale, tchc_data(in[0])));
  TRY(tchc_detach(in[0], &out[0]));
  TRY(tchc_call_save(call, in, nin));
out:
  return st;
}

static int softmax_backward(void *ctx, tchc_call *call, tchc_tensor *const *gout, int nout, tchc_tensor **gin, int nin) {
  int st = OK;
  const softmax_call *c = ctx;
  tchc_tensor *p = NULL, *g = NULL;
  void *stream = NULL;

  (void)nout;
  if (!gout[0]) goto out;
  TRY(tchc_call_saved(call, &p, nin));
  TRY(md_laid_out(gout[0], &g));
  const md_extent e = md_extent_of(p);
  TRY(md_stream_of(p, &stream));
  TRY(c->k->softmax_bwd(stream, md_kn_type(p), e.HW, e.C, c->scale, tchc_data(p), tchc_data(g)));
  gin[0] = g;
  g = NULL;
out:
  return st;
}

int md_fused_softmax(const kn_cuda *k, double scale, const tchc_tensor *s, tchc_tensor **out) {
  static const tchc_op op = {"softmax", softmax_forward, softmax_backward, free};
  int st = OK;
  tchc_scope *scope = NULL;
  tchc_tensor *in = NULL, *y = NULL;
  softmax_call *c = NULL;

  TRY(tchc_scope_open(&scope));
  TRY(md_laid_out(s, &in));
  NEED((c = calloc(1, sizeof *c)) != NULL, E_NOMEM, "softmax");
  *c = (softmax_call){k, (float)scale};
  TRY(tchc_apply(&op, c, &in, 1, &y, 1));
  tchc_promote(y);
  *out = y;
out:
  tchc_scope_close(&scope);
  return st;
}
