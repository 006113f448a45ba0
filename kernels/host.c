#include "kernels/host.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"

static double get(kn_type type, const void *p, int64_t i) {
  return type == KN_F32 ? (double)((const float *)p)[i] : (double)bf16_to_f32(((const uint16_t *)p)[i]);
}

static void put(kn_type type, void *p, int64_t i, double v) {
  if (type == KN_F32) ((float *)p)[i] = (float)v;
  else ((uint16_t *)p)[i] = bf16_from_f32((float)v);
}

static bool is_type(kn_type type) { return type == KN_F32 || type == KN_BF16; }

/* f64 copies of one call's arrays, all freed at its end. */
enum { COPIES = 12 };
typedef struct copies {
  double *at[COPIES];
  int n;
} copies;

static void copies_free(copies *c) {
  for (int i = 0; i < c->n; i++) free(c->at[i]);
}

/* n numbers, zeros at first. */
static int make(copies *c, int64_t n, double **out) {
  double *p = c->n < COPIES ? calloc((size_t)n + 1, sizeof *p) : NULL;

  if (!p) return err_set(E_NOMEM, __FILE__, __LINE__, "kernels on the host: %lld numbers", (long long)n);
  c->at[c->n++] = *out = p;
  return OK;
}

/* rows of `width` numbers that lie `ld` apart; from NULL: *out NULL. */
static int widen_rows(copies *c, kn_type type, const void *from, int64_t rows, int64_t width, int64_t ld, int64_t first,
                      double **out) {
  int st = OK;

  *out = NULL;
  if (!from) return OK;
  TRY(make(c, rows * width, out));
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < width; i++) (*out)[r * width + i] = get(type, from, r * ld + first + i);
out:
  return st;
}

static int widen(copies *c, kn_type type, const void *from, int64_t n, double **out) {
  return widen_rows(c, type, from, 1, n, n, 0, out);
}

static void narrow_rows(kn_type type, const double *from, int64_t rows, int64_t width, int64_t ld, int64_t first,
                        void *to) {
  for (int64_t r = 0; to && r < rows; r++)
    for (int64_t i = 0; i < width; i++) put(type, to, r * ld + first + i, from[r * width + i]);
}

static void narrow(kn_type type, const double *from, int64_t n, void *to) { narrow_rows(type, from, 1, n, n, 0, to); }

/* ---- losses ---- */

typedef struct planes {
  float *decoded, *grad; /* [B,3,n] f32, row-major */
} planes;

static int open_planes(const kn_loss_args *a, planes *p) {
  int st = OK;

  NEED(is_type(a->type) && a->B >= 0 && a->n >= 0, E_SHAPE, "loss on the host: %lld images of %lld pixels, type %d",
       (long long)a->B, (long long)a->n, (int)a->type);
  const size_t n = (size_t)(3 * a->B * a->n);
  p->decoded = calloc(n + 1, sizeof *p->decoded);
  p->grad = a->grad ? calloc(n + 1, sizeof *p->grad) : NULL;
  NEED(p->decoded && (p->grad || !a->grad), E_NOMEM, "loss on the host: %zu numbers", n);
  for (int64_t b = 0; b < a->B; b++)
    for (int64_t c = 0; c < 3; c++)
      for (int64_t i = 0; i < a->n; i++)
        p->decoded[(b * 3 + c) * a->n + i] =
            (float)get(a->type, a->decoded, b * a->stride_b + c * a->stride_c + i * a->stride_p);
out:
  return st;
}

static void close_planes(const kn_loss_args *a, planes *p, int st) {
  double total = 0;

  for (int64_t b = 0; st == OK && b < a->B; b++) {
    total += (double)a->weight[b] * (double)a->sums[b];
    for (int64_t c = 0; p->grad && c < 3; c++)
      for (int64_t i = 0; i < a->n; i++)
        put(a->type, a->grad, b * a->stride_b + c * a->stride_c + i * a->stride_p,
            (double)p->grad[(b * 3 + c) * a->n + i]);
  }
  if (st == OK && a->B > 0) *a->total = (float)total;
  free(p->decoded);
  free(p->grad);
}

static int affine_l1(void *stream, const kn_loss_args *a) {
  planes p = {NULL, NULL};
  int st = open_planes(a, &p);

  (void)stream;
  if (st == OK) st = kn_affine_l1_f32_ref(a->B, a->n, p.decoded, a->gt, a->mask, a->weight, a->sums, p.grad, NULL);
  close_planes(a, &p, st);
  return st;
}

static int angular(void *stream, const kn_loss_args *a, int reference) {
  planes p = {NULL, NULL};
  int st = open_planes(a, &p);

  (void)stream;
  if (st == OK) st = kn_angular_f32_ref(a->B, a->n, p.decoded, a->gt, a->mask, a->weight, reference, a->sums, p.grad);
  close_planes(a, &p, st);
  return st;
}

/* ---- optimizer ---- */

static int sumsq_f32(void *stream, int64_t n, const float *g, const float *also, int64_t n_also, void *workspace,
                     kn_norm *out) {
  int st = OK, finite;
  double sum;

  (void)stream, (void)workspace;
  NEED((uintptr_t)g % 16 == 0, E_SHAPE, "sumsq: the gradients are not aligned to 16 bytes");
  TRY(kn_sumsq_f32_ref(g, n, &sum, &finite));
  for (int64_t i = 0; also && i < n_also; i++) finite &= isfinite(also[i]) != 0;
  *out = (kn_norm){sum, (float)sqrt(sum), finite};
out:
  return st;
}

static int adamw_f32(void *stream, const kn_adamw_step *s, int64_t n, float *p, const float *g, const kn_norm *norm,
                     float *m, float *v, float *ema, uint16_t *bf16) {
  (void)stream;
  return kn_adamw_f32_ref(s, norm->finite || n < 0 ? n : 0, p, g, sqrt(norm->sumsq), m, v, ema, bf16);
}

/* ---- between convolutions ---- */

static int add_stats(void *stream, const kn_add_stats_args *a) {
  int st = OK;
  const int64_t n = a->N * a->HW * a->C, parts = a->N * kn_chunks(a->HW) * 2 * a->C;
  copies c = {.n = 0};
  double *h = NULL, *x = NULL, *bias = NULL, *sum = NULL, *part = NULL;

  (void)stream;
  NEED(is_type(a->type) && a->N >= 0 && a->HW >= 0 && a->C >= 0, E_SHAPE, "add_stats: [%lld,%lld,%lld], type %d",
       (long long)a->N, (long long)a->HW, (long long)a->C, (int)a->type);
  TRY(widen(&c, a->type, a->h, n, &h));
  TRY(widen(&c, a->type, a->x, n, &x));
  TRY(widen(&c, KN_F32, a->bias, a->C, &bias));
  TRY(make(&c, n, &sum));
  TRY(kn_add_ref(a->N, a->HW, a->C, h, x, bias, sum));
  if (a->out) {
    narrow(a->type, sum, n, a->out);
    for (int64_t i = 0; i < n; i++) sum[i] = get(a->type, a->out, i);
  }
  if (!a->part) goto out;
  TRY(make(&c, parts, &part));
  TRY(kn_channel_stats_ref(a->N, a->HW, a->C, sum, part));
  narrow(KN_F32, part, parts, a->part);
out:
  copies_free(&c);
  return st;
}

static int group_norm_coef(void *stream, const kn_group_norm_coef_args *a) {
  int st = OK;
  const int64_t rows = a->N * kn_chunks(a->HW) * 2, C2 = a->C - a->C1;
  copies c = {.n = 0};
  double *part = NULL, *gamma = NULL, *beta = NULL, *offset = NULL, *coef = NULL, *stats = NULL, *sum = NULL;

  (void)stream;
  NEED(a->groups > 0 && a->C % a->groups == 0, E_SHAPE, "group_norm coef: %lld channels in %d groups", (long long)a->C, a->groups);
  TRY(make(&c, rows * a->C, &part));
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < a->C; i++)
      part[r * a->C + i] = (double)(i < a->C1 ? a->part[0][r * a->C1 + i] : a->part[1][r * C2 + i - a->C1]);
  TRY(widen(&c, KN_F32, a->gamma, a->C, &gamma));
  TRY(widen(&c, KN_F32, a->beta, a->C, &beta));
  if (a->offset) TRY(make(&c, a->N * a->C, &offset));
  for (int64_t i = 0; offset && i < a->N * a->C; i++)
    offset[i] = (a->bias ? (double)a->bias[i % a->C] : 0) + (a->shift ? (double)a->shift[i] : 0);
  TRY(make(&c, a->N * 2 * a->C, &coef));
  TRY(make(&c, a->N * a->groups * 2, &stats));
  TRY(make(&c, a->N * a->C, &sum));
  TRY(kn_group_norm_coef_ref(a->N, a->HW, a->C, a->groups, a->eps, part, gamma, beta, offset, coef, stats, sum));
  narrow(KN_F32, coef, a->N * 2 * a->C, a->coef);
  narrow(KN_F32, stats, a->N * a->groups * 2, a->stats);
  narrow(KN_F32, sum, a->N * a->C, a->sum);
  narrow(KN_F32, offset, a->N * a->C, a->offset);
out:
  copies_free(&c);
  return st;
}

/* What the three passes over one source read. */
typedef struct source {
  double *x, *dy, *coef, *back;
} source;

static int open_source(copies *c, const kn_group_norm_args *a, source *s) {
  int st = OK;

  NEED(is_type(a->type) && a->C >= 0 && a->c0 >= 0 && a->c0 + a->C <= a->norm_C && a->ld >= a->norm_C, E_SHAPE,
       "group_norm: columns %lld..%lld of %lld, rows of %lld, type %d", (long long)a->c0, (long long)(a->c0 + a->C),
       (long long)a->norm_C, (long long)a->ld, (int)a->type);
  TRY(widen(c, a->type, a->x, a->N * a->HW * a->C, &s->x));
  TRY(widen_rows(c, a->type, a->dy, a->N * a->HW, a->C, a->ld, a->c0, &s->dy));
  TRY(widen_rows(c, KN_F32, a->coef, a->N * 2, a->C, a->norm_C, a->c0, &s->coef));
  TRY(widen_rows(c, KN_F32, a->back, a->N * 2, a->C, a->norm_C, a->c0, &s->back));
out:
  return st;
}

static int group_norm_apply(void *stream, const kn_group_norm_args *a) {
  int st = OK;
  copies c = {.n = 0};
  source s = {NULL};
  double *y = NULL;

  (void)stream;
  TRY(open_source(&c, a, &s));
  TRY(make(&c, a->N * a->HW * a->C, &y));
  TRY(kn_group_norm_apply_ref(a->N, a->HW, a->C, a->silu, s.x, s.coef, y));
  narrow_rows(a->type, y, a->N * a->HW, a->C, a->ld, a->c0, a->y);
out:
  copies_free(&c);
  return st;
}

/* The source's channels may begin in the middle of a group: each gets statistics of its own. */
static int channel_stats(copies *c, const kn_group_norm_args *a, double **out) {
  int st = OK;
  const int64_t size = a->norm_C / a->groups;

  TRY(make(c, a->N * a->C * 2, out));
  for (int64_t n = 0; n < a->N; n++)
    for (int64_t i = 0; i < a->C; i++)
      for (int k = 0; k < 2; k++)
        (*out)[2 * (n * a->C + i) + k] = (double)a->stats[2 * (n * a->groups + (a->c0 + i) / size) + k];
out:
  return st;
}

static int group_norm_reduce(void *stream, const kn_group_norm_args *a) {
  int st = OK;
  const int64_t rows = a->N * kn_chunks(a->HW) * 2;
  copies c = {.n = 0};
  source s = {NULL};
  double *stats = NULL, *offset = NULL, *part = NULL;

  (void)stream;
  TRY(open_source(&c, a, &s));
  if (a->C == 0) goto out;
  TRY(channel_stats(&c, a, &stats));
  TRY(widen_rows(&c, KN_F32, a->offset, a->N, a->C, a->norm_C, a->c0, &offset));
  TRY(make(&c, rows * a->C, &part));
  TRY(kn_group_norm_reduce_ref(a->N, a->HW, a->C, (int)a->C, a->silu, s.x, s.dy, s.coef, stats, offset, part));
  narrow_rows(KN_F32, part, rows, a->C, a->norm_C, a->c0, a->part);
out:
  copies_free(&c);
  return st;
}

static int group_norm_back(void *stream, const kn_group_norm_back_args *a) {
  int st = OK;
  copies c = {.n = 0};
  double *part = NULL, *gamma = NULL, *stats = NULL, *offset = NULL, *sum = NULL, *back = NULL, *red = NULL;

  (void)stream;
  TRY(widen(&c, KN_F32, a->part, a->N * kn_chunks(a->HW) * 2 * a->C, &part));
  TRY(widen(&c, KN_F32, a->gamma, a->C, &gamma));
  TRY(widen(&c, KN_F32, a->stats, a->N * a->groups * 2, &stats));
  TRY(widen(&c, KN_F32, a->offset, a->N * a->C, &offset));
  TRY(widen(&c, KN_F32, a->sum, a->N * a->C, &sum));
  TRY(make(&c, a->N * 2 * a->C, &back));
  TRY(widen(&c, KN_F32, a->red, a->N * 3 * a->C, &red));
  TRY(kn_group_norm_back_ref(a->N, a->HW, a->C, a->groups, part, gamma, stats, offset, sum, back, red));
  narrow(KN_F32, back, a->N * 2 * a->C, a->back);
  narrow(KN_F32, red, a->N * 3 * a->C, a->red);
out:
  copies_free(&c);
  return st;
}

static int group_norm_params(void *stream, int64_t N, int64_t C, const float *red, float *dgamma, float *dbeta,
                             float *dbias) {
  float *const out[3] = {dgamma, dbeta, dbias};

  (void)stream;
  for (int k = 0; k < 3; k++) {
    for (int64_t i = 0; out[k] && i < C; i++) {
      float sum = 0;
      for (int64_t n = 0; n < N; n++) sum += red[(3 * n + k) * C + i];
      out[k][i] += sum;
    }
  }
  return OK;
}

static int group_norm_dx(void *stream, const kn_group_norm_args *a) {
  int st = OK;
  const int64_t n = a->N * a->HW * a->C;
  copies c = {.n = 0};
  source s = {NULL};
  double *dx = NULL;

  (void)stream;
  NEED(a->dx != a->dy || a->ld == a->C, E_SHAPE, "group_norm dx: rows of %lld columns cannot replace rows of %lld",
       (long long)a->C, (long long)a->ld);
  TRY(open_source(&c, a, &s));
  TRY(make(&c, n, &dx));
  TRY(kn_group_norm_dx_ref(a->N, a->HW, a->C, a->silu, s.x, s.dy, s.coef, s.back, dx));
  for (int k = 0; k < 2; k++)
    for (int64_t i = 0; a->residual[k] && i < n; i++) dx[i] += get(a->type, a->residual[k], i);
  narrow(a->type, dx, n, a->dx);
out:
  copies_free(&c);
  return st;
}

/* ---- transformer ---- */

static int softmax(void *stream, kn_type type, int64_t rows, int64_t n, float scale, void *s) {
  int st = OK;
  copies c = {.n = 0};
  double *wide = NULL;

  (void)stream;
  NEED(is_type(type), E_SHAPE, "softmax: type %d", (int)type);
  TRY(widen(&c, type, s, rows * n, &wide));
  TRY(kn_softmax_ref(rows, n, (double)scale, wide));
  narrow(type, wide, rows * n, s);
out:
  copies_free(&c);
  return st;
}

static int softmax_bwd(void *stream, kn_type type, int64_t rows, int64_t n, float scale, const void *p, void *dp) {
  int st = OK;
  copies c = {.n = 0};
  double *wide = NULL, *grad = NULL;

  (void)stream;
  TRY(widen(&c, type, p, rows * n, &wide));
  TRY(widen(&c, type, dp, rows * n, &grad));
  TRY(kn_softmax_bwd_ref(rows, n, (double)scale, wide, grad));
  narrow(type, grad, rows * n, dp);
out:
  copies_free(&c);
  return st;
}

static int geglu(void *stream, kn_type type, int64_t M, int64_t F, const void *p, void *y) {
  int st = OK;
  copies c = {.n = 0};
  double *in = NULL, *out_ = NULL;

  (void)stream;
  NEED(M >= 0 && F >= 0, E_SHAPE, "geglu: [%lld,2x%lld]", (long long)M, (long long)F);
  TRY(widen(&c, type, p, M * 2 * F, &in));
  TRY(make(&c, M * F, &out_));
  TRY(kn_geglu_ref(M, F, in, out_));
  narrow(type, out_, M * F, y);
out:
  copies_free(&c);
  return st;
}

/* Sums of all rows stand in the first of `parts` rows, the others are 0. */
static void put_sums(const double *sums, int64_t n, int64_t parts, float *part) {
  for (int64_t i = 0; part && i < parts * n; i++) part[i] = i < n ? (float)sums[i] : 0;
}

static int geglu_bwd(void *stream, kn_type type, int64_t M, int64_t F, const void *p, const void *dy, void *dp, void *y,
                     float *part) {
  int st = OK;
  copies c = {.n = 0};
  double *in = NULL, *grad = NULL, *back = NULL, *again = NULL, *sums = NULL;

  (void)stream;
  TRY(widen(&c, type, p, M * 2 * F, &in));
  TRY(widen(&c, type, dy, M * F, &grad));
  TRY(make(&c, M * 2 * F, &back));
  TRY(make(&c, M * F, &again));
  TRY(make(&c, 2 * F, &sums));
  TRY(kn_geglu_ref(M, F, in, again));
  TRY(kn_geglu_bwd_ref(M, F, in, grad, back, sums));
  narrow(type, back, M * 2 * F, dp);
  narrow(type, again, M * F, y);
  put_sums(sums, 2 * F, kn_chunks(M), part);
out:
  copies_free(&c);
  return st;
}

static int colsum(void *stream, int64_t S, int64_t C, int64_t ld, const float *part, float *out) {
  (void)stream;
  if (ld < C) return err_set(E_SHAPE, __FILE__, __LINE__, "colsum: [%lld,%lld], rows of %lld", (long long)S, (long long)C, (long long)ld);
  if (S == 0) return OK;
  for (int64_t i = 0; i < C; i++) {
    float sum = 0;
    for (int64_t s = 0; s < S; s++) sum += part[s * ld + i];
    out[i] += sum;
  }
  return OK;
}

static int layer_norm(void *stream, const kn_layer_norm_args *a) {
  int st = OK;
  const int64_t n = a->M * a->C;
  copies c = {.n = 0};
  double *x = NULL, *h = NULL, *bias = NULL, *gamma = NULL, *beta = NULL, *sum = NULL, *y = NULL, *stats = NULL;

  (void)stream;
  TRY(widen(&c, a->type, a->x, n, &x));
  TRY(widen(&c, a->type, a->h, n, &h));
  TRY(widen(&c, KN_F32, a->bias, a->C, &bias));
  TRY(widen(&c, KN_F32, a->gamma, a->C, &gamma));
  TRY(widen(&c, KN_F32, a->beta, a->C, &beta));
  TRY(make(&c, n, &sum));
  TRY(make(&c, n, &y));
  TRY(make(&c, 2 * a->M, &stats));
  TRY(kn_layer_norm_ref(a->M, a->C, a->eps, x, h, bias, gamma, beta, sum, y, stats));
  if (h || bias) { /* the norm is of the sum as it is kept */
    narrow(a->type, sum, n, a->sum);
    for (int64_t i = 0; i < n; i++) x[i] = get(a->type, a->sum, i);
    TRY(kn_layer_norm_ref(a->M, a->C, a->eps, x, NULL, NULL, gamma, beta, sum, y, stats));
  }
  narrow(a->type, y, n, a->y);
  narrow(KN_F32, stats, 2 * a->M, a->stats);
out:
  copies_free(&c);
  return st;
}

static int layer_norm_bwd(void *stream, const kn_layer_norm_bwd_args *a) {
  int st = OK;
  const int64_t n = a->M * a->C, most = a->C % 8 ? 1024 : 2048; /* as on the device */
  copies c = {.n = 0};
  double *x = NULL, *dy = NULL, *dres = NULL, *stats = NULL, *gamma = NULL, *dx = NULL, *cols = NULL;

  (void)stream;
  NEED(a->C <= most, E_SHAPE, "layer_norm_bwd: %lld columns are more than %lld", (long long)a->C, (long long)most);
  TRY(widen(&c, a->type, a->x, n, &x));
  TRY(widen(&c, a->type, a->dy, n, &dy));
  TRY(widen(&c, a->type, a->dres, n, &dres));
  TRY(widen(&c, KN_F32, a->stats, 2 * a->M, &stats));
  TRY(widen(&c, KN_F32, a->gamma, a->C, &gamma));
  TRY(make(&c, n, &dx));
  TRY(make(&c, 3 * a->C, &cols));
  TRY(kn_layer_norm_bwd_ref(a->M, a->C, x, stats, gamma, dy, dres, dx, cols));
  narrow(a->type, dx, n, a->dx);
  put_sums(cols, 3 * a->C, kn_layer_norm_parts(a->M), a->part);
out:
  copies_free(&c);
  return st;
}

const kn_cuda *kn_host(void) {
  static const kn_cuda table = {.affine_l1 = affine_l1,
                                .angular = angular,
                                .sumsq_f32 = sumsq_f32,
                                .adamw_f32 = adamw_f32,
                                .add_stats = add_stats,
                                .group_norm_coef = group_norm_coef,
                                .group_norm_apply = group_norm_apply,
                                .group_norm_reduce = group_norm_reduce,
                                .group_norm_back = group_norm_back,
                                .group_norm_params = group_norm_params,
                                .group_norm_dx = group_norm_dx,
                                .softmax = softmax,
                                .softmax_bwd = softmax_bwd,
                                .geglu = geglu,
                                .geglu_bwd = geglu_bwd,
                                .colsum = colsum,
                                .layer_norm = layer_norm,
                                .layer_norm_bwd = layer_norm_bwd};
  return &table;
}
