#include "losses/decoded.h"

#include <stdlib.h>

enum { DECODED, TARGET, MASK, WEIGHT, INPUTS };
enum { TOTAL, SUMS, OUTPUTS };

typedef struct context {
  const ls_kernel *kernel;
  const kn_cuda *cuda;     /* NULL: on the host */
  bool reference;
  tchc_dtype decoded_type; /* of the gradient too */
} context;

static bool fits(const tchc_tensor *t, int64_t B, int64_t C, int64_t H, int64_t W) {
  return tchc_ndim(t) == 4 && tchc_size(t, 0) == B && tchc_size(t, 1) == C && tchc_size(t, 2) == H &&
         tchc_size(t, 3) == W;
}

static int check(const ls_kernel *k, const ls_batch *b) {
  int st = OK;
  const tchc_tensor *d = b->decoded;
  const int64_t B = tchc_size(d, 0), H = tchc_size(d, 2), W = tchc_size(d, 3);

  NEED(tchc_ndim(d) == 4 && B > 0 && tchc_size(d, 1) == 3, E_SHAPE, "%s: decoded is %s, wanted [B,3,H,W]", k->name, tchc_text(d));
  NEED(fits(b->target, B, k->target_channels, H, W), E_SHAPE, "%s: target is %s, wanted [B,%lld,H,W] of decoded %s",
       k->name, tchc_text(b->target), (long long)k->target_channels, tchc_text(d));
  NEED(fits(b->mask, B, 1, H, W), E_SHAPE, "%s: mask is %s, wanted [B,1,H,W] of decoded %s", k->name,
       tchc_text(b->mask), tchc_text(d));
  NEED(tchc_ndim(b->weight) == 1 && tchc_size(b->weight, 0) == B, E_SHAPE, "%s: weight is %s, wanted [B] of decoded %s",
       k->name, tchc_text(b->weight), tchc_text(d));
out:
  return st;
}

/* ---- on the host: row-major copies of one type ---- */
static int run_host(const context *c, tchc_tensor *const *in, tchc_tensor *sums, tchc_tensor *grad) {
  const int64_t B = tchc_size(in[DECODED], 0), n = tchc_size(in[DECODED], 2) * tchc_size(in[DECODED], 3);
  const void *x = tchc_data(in[DECODED]), *gt = tchc_data(in[TARGET]), *w = tchc_data(in[WEIGHT]);
  const uint8_t *mask = tchc_data(in[MASK]);
  void *s = tchc_data(sums), *g = grad ? tchc_data(grad) : NULL;

  if (tchc_type(in[DECODED]) == TCHC_F64) return c->kernel->f64(B, n, x, gt, mask, w, c->reference, s, g);
  return c->kernel->f32(B, n, x, gt, mask, w, c->reference, s, g);
}

/* Scalar sum of weight[b] sums[b]; the sum itself in f64. */
static int weighted_total(const tchc_tensor *weight, const tchc_tensor *sums, tchc_tensor **total) {
  const bool wide = tchc_type(sums) == TCHC_F64;
  const void *w = tchc_data(weight), *s = tchc_data(sums);
  double sum = 0;

  for (int64_t b = 0; b < tchc_numel(sums); b++)
    sum += wide ? ((const double *)w)[b] * ((const double *)s)[b]
                : (double)((const float *)w)[b] * (double)((const float *)s)[b];
  return tchc_full(NULL, 0, sum, tchc_type(sums), TCHC_CPU_DEVICE, total);
}

/* out: total and sums; *grad where a gradient is wanted. */
static int on_host(const context *c, tchc_tensor *const *in, bool want_grad, tchc_tensor **out, tchc_tensor **grad) {
  int st = OK;
  const tchc_dtype type = c->decoded_type == TCHC_F64 ? TCHC_F64 : TCHC_F32;
  const tchc_device home = tchc_where(in[DECODED]);
  const int64_t B = tchc_size(in[DECODED], 0);
  tchc_tensor *host[INPUTS] = {NULL}, *sums = NULL, *total = NULL;

  for (int i = 0; i < INPUTS; i++)
    TRY(tchc_to(in[i], i == MASK ? TCHC_U8 : type, TCHC_CPU_DEVICE, TCHC_CONTIGUOUS, &host[i]));
  TRY(tchc_empty(&B, 1, type, TCHC_CPU_DEVICE, TCHC_CONTIGUOUS, &sums));
  if (want_grad) TRY(tchc_zeros_like(host[DECODED], grad));
  TRY(run_host(c, host, sums, *grad));
  TRY(weighted_total(host[WEIGHT], sums, &total));
  if (want_grad) TRY(tchc_to(*grad, type, home, TCHC_PRESERVE, grad));
  TRY(tchc_to(total, type, home, TCHC_PRESERVE, &out[TOTAL]));
  TRY(tchc_to(sums, type, home, TCHC_PRESERVE, &out[SUMS]));
out:
  return st;
}

/* ---- on the device ---- */
/* decoded as the kernels take it: f32 or bf16, row-major or channels last, and the gradient's tensor like it. */
static int device_image(const context *c, const tchc_tensor *decoded, bool want_grad, tchc_tensor **x, tchc_tensor **grad,
                        kn_loss_args *a) {
  int st = OK;
  const tchc_format f = tchc_is_format(decoded, TCHC_CHANNELS_LAST) ? TCHC_CHANNELS_LAST : TCHC_CONTIGUOUS;
  const tchc_dtype type = c->decoded_type == TCHC_BF16 ? TCHC_BF16 : TCHC_F32;
  const int64_t sizes[] = {tchc_size(decoded, 0), 3, tchc_size(decoded, 2), tchc_size(decoded, 3)}, n = sizes[2] * sizes[3];

  TRY(tchc_to(decoded, type, tchc_where(decoded), f, x));
  if (want_grad) TRY(tchc_empty(sizes, 4, type, tchc_where(decoded), f, grad));
  *a = (kn_loss_args){.B = sizes[0], .n = n, .type = type == TCHC_BF16 ? KN_BF16 : KN_F32, .stride_b = 3 * n,
                      .stride_c = f == TCHC_CHANNELS_LAST ? 1 : n, .stride_p = f == TCHC_CHANNELS_LAST ? 3 : 1,
                      .decoded = tchc_data(*x), .grad = want_grad ? tchc_data(*grad) : NULL};
out:
  return st;
}

static int on_device(const context *c, tchc_tensor *const *in, bool want_grad, tchc_tensor **out, tchc_tensor **grad) {
  int st = OK;
  const tchc_device home = tchc_where(in[DECODED]);
  tchc_tensor *x = NULL, *near[INPUTS] = {NULL}, *workspace = NULL;
  kn_loss_args a;
  void *stream = NULL;

  TRY(device_image(c, in[DECODED], want_grad, &x, grad, &a));
  for (int i = TARGET; i < INPUTS; i++)
    TRY(tchc_to(in[i], i == MASK ? TCHC_U8 : TCHC_F32, home, TCHC_CONTIGUOUS, &near[i]));
  const int64_t bytes = (int64_t)kn_loss_workspace(a.B, a.n);
  TRY(tchc_empty(&bytes, 1, TCHC_U8, home, TCHC_CONTIGUOUS, &workspace));
  TRY(tchc_empty(NULL, 0, TCHC_F32, home, TCHC_CONTIGUOUS, &out[TOTAL]));
  TRY(tchc_empty(&a.B, 1, TCHC_F32, home, TCHC_CONTIGUOUS, &out[SUMS]));
  a.gt = tchc_data(near[TARGET]);
  a.mask = tchc_data(near[MASK]);
  a.weight = tchc_data(near[WEIGHT]);
  a.total = tchc_data(out[TOTAL]);
  a.sums = tchc_data(out[SUMS]);
  a.workspace = tchc_data(workspace);
  if (home.type == TCHC_CUDA) TRY(tchc_cuda_stream(home.index, &stream));
  TRY(c->kernel->cuda(c->cuda, stream, &a, c->reference));
out:
  return st;
}

/* ---- the operator ---- */
static int forward(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  int st = OK;
  const context *c = ctx;
  const bool want_grad = tchc_call_needs(call, DECODED), device = c->cuda && c->decoded_type != TCHC_F64;
  tchc_tensor *grad = NULL;

  (void)nin, (void)nout;
  TRY((device ? on_device : on_host)(c, in, want_grad, out, &grad));
  if (grad) TRY(tchc_call_save(call, &grad, 1));
out:
  return st;
}

/* The kept gradient times the incoming one, which stays on its device. */
static int backward(void *ctx, tchc_call *call, tchc_tensor *const *gout, int nout, tchc_tensor **gin, int nin) {
  int st = OK;
  const context *c = ctx;
  tchc_tensor *grad = NULL, *scaled = NULL;

  (void)nout, (void)nin;
  if (!gout[TOTAL] || !tchc_call_needs(call, DECODED)) goto out;
  TRY(tchc_call_saved(call, &grad, 1));
  TRY(tchc_mul(grad, gout[TOTAL], &scaled));
  TRY(tchc_to_type(scaled, c->decoded_type, &gin[DECODED]));
out:
  return st;
}

int ls_kernel_apply(const ls_kernel *k, const ls_batch *b, tchc_tensor **total, tchc_tensor **sums) {
  static const tchc_op op = {"loss", forward, backward, free};
  int st = OK;
  tchc_scope *scope = NULL;
  tchc_tensor *out[OUTPUTS] = {NULL}, *bare = NULL;
  context *c = NULL;

  TRY(tchc_scope_open(&scope));
  TRY(check(k, b));
  NEED((c = malloc(sizeof *c)) != NULL, E_NOMEM, "%s: no memory", k->name);
  *c = (context){k, b->cuda, b->reference, tchc_type(b->decoded)};
  tchc_tensor *in[INPUTS] = {(tchc_tensor *)b->decoded, (tchc_tensor *)b->target, (tchc_tensor *)b->mask,
                             (tchc_tensor *)b->weight}; /* lent to callbacks that do not write */
  TRY(tchc_apply(&op, c, in, INPUTS, out, OUTPUTS));
  TRY(tchc_detach(out[SUMS], &bare));
  tchc_promote(out[TOTAL]);
  tchc_promote(bare);
  *total = out[TOTAL];
  *sums = bare;
out:
  tchc_scope_close(&scope);
  return st;
}
