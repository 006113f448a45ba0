/* GroupNorm as a node: statistics, coefficients, apply; backward recomputes SiLU and adds what comes along the residual. A
 * bias and a shift before it go into the coefficients. */
#include <stdlib.h>

#include "models/fused_call.h"

enum { X, SKIP, PART_X, PART_SKIP, SHIFT, INPUTS };
enum { Y, PASS_X, PASS_SKIP };
enum { SAVED_X, SAVED_SKIP, COEF, STATS, OFFSET, SUM, SAVED };

typedef struct norm_call {
  const kn_cuda *k;
  const md_group_norm *n;
  bool silu, shifted;
  md_vector bias;
  int64_t N, HW, h, w, C1, C; /* C1: channels of x, C: of x and skip */
} norm_call;

static kn_group_norm_args source_args(const norm_call *c, const tchc_tensor *x, tchc_tensor *const *saved, bool skip) {
  return (kn_group_norm_args){.type = md_kn_type(x), .N = c->N, .HW = c->HW, .C = skip ? c->C - c->C1 : c->C1,
                              .c0 = skip ? c->C1 : 0, .norm_C = c->C, .groups = c->n->groups, .silu = c->silu,
                              .x = tchc_data(x), .coef = tchc_data(saved[COEF]), .stats = tchc_data(saved[STATS]),
                              .offset = saved[OFFSET] ? tchc_data(saved[OFFSET]) : NULL, .ld = c->C};
}

static int f32_tensor(const tchc_tensor *like, int ndim, const int64_t *sizes, tchc_tensor **out) {
  return tchc_empty(sizes, ndim, TCHC_F32, tchc_where(like), TCHC_CONTIGUOUS, out);
}

static int gather(const norm_call *c, void *stream, const tchc_tensor *x, tchc_tensor **part) {
  int st = OK;
  const int64_t C = tchc_size(x, 1);

  TRY(f32_tensor(x, 4, (int64_t[]){c->N, kn_chunks(c->HW), 2, C}, part));
  const kn_add_stats_args a = {.type = md_kn_type(x), .N = c->N, .HW = c->HW, .C = C, .h = tchc_data(x),
                               .part = tchc_data(*part)};
  TRY(c->k->add_stats(stream, &a));
out:
  return st;
}

static int coefficients(const norm_call *c, void *stream, const tchc_tensor *x, const tchc_tensor *shift,
                        tchc_tensor *const part[2], tchc_tensor **saved) {
  int st = OK;

  TRY(f32_tensor(x, 3, (int64_t[]){c->N, 2, c->C}, &saved[COEF]));
  TRY(f32_tensor(x, 3, (int64_t[]){c->N, c->n->groups, 2}, &saved[STATS]));
  if (c->shifted) TRY(f32_tensor(x, 2, (int64_t[]){c->N, c->C}, &saved[OFFSET]));
  if (c->shifted) TRY(f32_tensor(x, 2, (int64_t[]){c->N, c->C}, &saved[SUM]));
  const kn_group_norm_coef_args a = {
      .N = c->N, .HW = c->HW, .C = c->C, .groups = c->n->groups, .eps = c->n->eps, .C1 = c->C1,
      .part = {tchc_data(part[0]), part[1] ? tchc_data(part[1]) : NULL}, .gamma = c->n->scale.value,
      .beta = c->n->shift.value, .bias = c->bias.value, .shift = shift ? tchc_data(shift) : NULL,
      .offset = saved[OFFSET] ? tchc_data(saved[OFFSET]) : NULL, .coef = tchc_data(saved[COEF]), .stats = tchc_data(saved[STATS]),
      .sum = saved[SUM] ? tchc_data(saved[SUM]) : NULL};
  TRY(c->k->group_norm_coef(stream, &a));
out:
  return st;
}

static int apply(const norm_call *c, void *stream, const tchc_tensor *x, bool skip, tchc_tensor *const *saved,
                 tchc_tensor *y) {
  kn_group_norm_args a = source_args(c, x, saved, skip);

  a.y = tchc_data(y);
  return c->k->group_norm_apply(stream, &a);
}

static int forward(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  int st = OK;
  const norm_call *c = ctx;
  const int64_t shape[] = {c->N, c->C, c->h, c->w};
  tchc_tensor *saved[SAVED] = {in[X], in[SKIP]}, *part[2] = {in[PART_X], in[PART_SKIP]};
  void *stream = NULL;

  (void)nin;
  TRY(md_stream_of(in[X], &stream));
  if (!part[0]) TRY(gather(c, stream, in[X], &part[0]));
  if (in[SKIP] && !part[1]) TRY(gather(c, stream, in[SKIP], &part[1]));
  TRY(coefficients(c, stream, in[X], in[SHIFT], part, saved));
  TRY(tchc_empty(shape, 4, tchc_type(in[X]), tchc_where(in[X]), TCHC_CHANNELS_LAST, &out[Y]));
  TRY(apply(c, stream, in[X], false, saved, out[Y]));
  if (in[SKIP]) TRY(apply(c, stream, in[SKIP], true, saved, out[Y]));
  if (nout > PASS_X) TRY(tchc_detach(in[X], &out[PASS_X]));
  if (nout > PASS_SKIP) TRY(tchc_detach(in[SKIP], &out[PASS_SKIP]));
  TRY(tchc_call_save(call, saved, SAVED));
out:
  return st;
}

/* Sums over the image, and what they make of dx. red [N,3,C]: those that parameters and shift want. */
static int reduce(const norm_call *c, void *stream, tchc_tensor *const *saved, const tchc_tensor *dy, tchc_tensor **back,
                  tchc_tensor **red) {
  int st = OK;
  tchc_tensor *part = NULL;

  TRY(f32_tensor(dy, 4, (int64_t[]){c->N, kn_chunks(c->HW), 2, c->C}, &part));
  for (int i = 0; i < 2; i++) {
    if (!saved[i]) continue;
    kn_group_norm_args a = source_args(c, saved[i], saved, i == SAVED_SKIP);
    a.dy = tchc_data(dy);
    a.part = tchc_data(part);
    TRY(c->k->group_norm_reduce(stream, &a));
  }
  TRY(f32_tensor(dy, 3, (int64_t[]){c->N, 2, c->C}, back));
  if (c->shifted || c->n->scale.grad) TRY(f32_tensor(dy, 3, (int64_t[]){c->N, 3, c->C}, red));
  const kn_group_norm_back_args b = {.N = c->N, .HW = c->HW, .C = c->C, .groups = c->n->groups, .part = tchc_data(part),
                                     .gamma = c->n->scale.value, .stats = tchc_data(saved[STATS]),
                                     .offset = saved[OFFSET] ? tchc_data(saved[OFFSET]) : NULL,
                                     .sum = saved[SUM] ? tchc_data(saved[SUM]) : NULL, .back = tchc_data(*back),
                                     .red = *red ? tchc_data(*red) : NULL};
  TRY(c->k->group_norm_back(stream, &b));
  if (c->n->scale.grad)
    TRY(c->k->group_norm_params(stream, c->N, c->C, tchc_data(*red), c->n->scale.grad, c->n->shift.grad, c->bias.grad));
out:
  tchc_free(&part);
  return st;
}

static int input_grad(const norm_call *c, void *stream, tchc_tensor *const *saved, int which, const tchc_tensor *dy,
                      const tchc_tensor *back, const tchc_tensor *pass, tchc_tensor **dx) {
  int st = OK;
  tchc_tensor *residual = NULL;
  kn_group_norm_args a = source_args(c, saved[which], saved, which == SAVED_SKIP);
  const int64_t shape[] = {c->N, a.C, c->h, c->w};

  if (pass) TRY(tchc_contiguous(pass, TCHC_CHANNELS_LAST, &residual));
  TRY(tchc_empty(shape, 4, tchc_type(dy), tchc_where(dy), TCHC_CHANNELS_LAST, dx));
  a.dy = tchc_data(dy);
  a.back = tchc_data(back);
  a.residual[0] = residual ? tchc_data(residual) : NULL;
  a.dx = tchc_data(*dx);
  TRY(c->k->group_norm_dx(stream, &a));
out:
  tchc_free(&residual);
  return st;
}

/* red [N,3,C] -> its third row, [N,C]. */
static int shift_grad(const norm_call *c, const tchc_tensor *red, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *row = NULL;

  TRY(tchc_narrow(red, 1, 2, 1, &row));
  TRY(tchc_reshape(row, (int64_t[]){c->N, c->C}, 2, out));
out:
  tchc_free(&row);
  return st;
}

static int backward(void *ctx, tchc_call *call, tchc_tensor *const *gout, int nout, tchc_tensor **gin, int nin) {
  int st = OK;
  const norm_call *c = ctx;
  tchc_tensor *saved[SAVED] = {NULL}, *dy = NULL, *back = NULL, *red = NULL;
  void *stream = NULL;

  (void)nin;
  if (!gout[Y]) { /* only what was passed through was used */
    for (int i = 0; i + PASS_X < nout; i++)
      if (gout[PASS_X + i]) TRY(tchc_share(gout[PASS_X + i], &gin[X + i]));
    goto out;
  }
  TRY(tchc_call_saved(call, saved, SAVED));
  TRY(md_stream_of(gout[Y], &stream));
  TRY(tchc_contiguous(gout[Y], TCHC_CHANNELS_LAST, &dy));
  TRY(reduce(c, stream, saved, dy, &back, &red));
  for (int i = 0; i < 2; i++)
    if (saved[i] && tchc_call_needs(call, X + i))
      TRY(input_grad(c, stream, saved, i, dy, back, nout > PASS_X + i ? gout[PASS_X + i] : NULL, &gin[X + i]));
  if (tchc_call_needs(call, SHIFT)) TRY(shift_grad(c, red, &gin[SHIFT]));
out:
  return st;
}

static int make_call(const kn_cuda *k, const md_group_norm *n, bool silu, const tchc_tensor *x, const tchc_tensor *skip,
                     norm_call **out) {
  int st = OK;
  norm_call *c = calloc(1, sizeof *c);

  NEED(c, E_NOMEM, "group norm");
  c->k = k;
  c->n = n;
  c->silu = silu;
  c->N = tchc_size(x, 0);
  c->h = tchc_size(x, 2);
  c->w = tchc_size(x, 3);
  c->HW = c->h * c->w;
  c->C1 = tchc_size(x, 1);
  c->C = c->C1 + (skip ? tchc_size(skip, 1) : 0);
  *out = c;
out:
  return st;
}

static const tchc_op op = {"group_norm", forward, backward, free};

int md_fused_norm(const kn_cuda *k, const md_group_norm *n, bool silu, const md_image *x, const md_image *skip,
                  tchc_tensor **y, tchc_tensor *pass[2]) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *in[INPUTS] = {NULL}, *out[3] = {NULL};
  norm_call *c = NULL;
  const int nout = skip && skip->t ? 3 : 2;

  TRY(tchc_scope_open(&s));
  TRY(tchc_contiguous(x->t, TCHC_CHANNELS_LAST, &in[X]));
  in[PART_X] = x->part;
  if (nout == 3) TRY(tchc_contiguous(skip->t, TCHC_CHANNELS_LAST, &in[SKIP]));
  if (nout == 3) in[PART_SKIP] = skip->part;
  TRY(make_call(k, n, silu, in[X], in[SKIP], &c));
  TRY(tchc_apply(&op, c, in, INPUTS, out, nout));
  for (int i = 0; i < nout; i++) tchc_promote(out[i]);
  *y = out[Y];
  pass[0] = out[PASS_X];
  pass[1] = out[PASS_SKIP];
out:
  tchc_scope_close(&s);
  return st;
}

int md_fused_shifted_norm(const kn_cuda *k, const md_group_norm *n, const tchc_tensor *h, const md_vector *bias,
                          const tchc_tensor *shift, tchc_tensor **y) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *in[INPUTS] = {NULL}, *out[1] = {NULL};
  norm_call *c = NULL;

  TRY(tchc_scope_open(&s));
  TRY(tchc_contiguous(h, TCHC_CHANNELS_LAST, &in[X]));
  if (shift) TRY(tchc_contiguous(shift, TCHC_CONTIGUOUS, &in[SHIFT]));
  TRY(make_call(k, n, true, in[X], NULL, &c));
  c->shifted = true;
  c->bias = *bias;
  TRY(tchc_apply(&op, c, in, INPUTS, out, 1));
  tchc_promote(out[Y]);
  *y = out[Y];
out:
  tchc_scope_close(&s);
  return st;
}
