/* tests/kn_refs_test.c: the plain references of the network's kernels against libtorch in f64, forward and backward.
 * (Losses and optimizer have tests of their own.) */
#include "kernels/geglu.h"
#include "kernels/group_norm.h"
#include "kernels/layer_norm.h"
#include "kernels/softmax.h"
#include "tests/support/pixels.h"
#include "tests/support/tchc_check.h"

static tchc_tensor *leaf_of(const double *x, const int64_t *sizes, int ndim) {
  tchc_tensor *t = NULL, *leaf = NULL;
  check_ok(tchc_from_host(x, sizes, ndim, TCHC_F64, TCHC_CPU_DEVICE, &t));
  check_ok(tchc_leaf(t, &leaf));
  return leaf;
}

static void expect_near(const char *what, const double *got, const double *want, int64_t n) {
  double top = 0;

  for (int64_t i = 0; i < n; i++) top = fmax(top, fabs(want[i]));
  for (int64_t i = 0; i < n; i++)
    if (!(fabs(got[i] - want[i]) <= 1e-11 * top + 1e-13))
      fail_msg("%s[%lld]: %.15g, libtorch's %.15g", what, (long long)i, got[i], want[i]);
}

static void expect_tensor(const char *what, const double *got, const tchc_tensor *want) {
  const int64_t n = tchc_numel(want);
  double *host = malloc((size_t)n * sizeof *host);

  assert_non_null(host);
  check_ok(tchc_to_host(want, host, (size_t)n * sizeof *host));
  expect_near(what, got, host, n);
  free(host);
}

static void expect_grad(const char *what, const double *got, const tchc_tensor *leaf) {
  tchc_tensor *grad = NULL;
  check_ok(tchc_grad(leaf, &grad));
  expect_tensor(what, got, grad);
}

static void backward_from(const tchc_tensor *y, const double *dy) {
  int64_t sizes[8];
  tchc_tensor *g = NULL;

  for (int d = 0; d < tchc_ndim(y); d++) sizes[d] = tchc_size(y, d);
  check_ok(tchc_from_host(dy, sizes, tchc_ndim(y), TCHC_F64, TCHC_CPU_DEVICE, &g));
  check_ok(tchc_backward(y, g));
}

static double *numbers(uint64_t seed, int64_t n) { return random_f64(seed, (size_t)n, -2, 2); }

static double *room(int64_t n) {
  double *p = malloc((size_t)n * sizeof *p + 1);
  assert_non_null(p);
  return p;
}

/* ---- GroupNorm ---- */
typedef struct group_norm {
  int64_t N, HW, C;
  int groups;
  bool silu;
  double *offset; /* NULL: none */
  double *x, *dy, *gamma, *beta;
  double *part, *coef, *stats, *sum, *y, *back, *red, *dx;
} group_norm;

static group_norm group_norm_make(int64_t N, int64_t HW, int64_t C, int groups, bool silu, bool offset) {
  const int64_t all = N * HW * C, parts = N * kn_chunks(HW) * 2 * C;
  group_norm t = {N, HW, C, groups, silu, offset ? numbers(5, N * C) : NULL, numbers(1, all), numbers(2, all),
                  numbers(3, C), numbers(4, C), room(parts), room(2 * N * C), room(2 * N * groups), room(N * C), room(all), room(2 * N * C),
                  room(3 * N * C), room(all)};

  for (int64_t i = 0; i < all; i++) t.x[i] += 3; /* a mean worth subtracting */
  return t;
}

static void group_norm_free(group_norm *t) {
  double *all[] = {t->offset, t->x, t->dy, t->gamma, t->beta, t->part, t->coef, t->stats, t->sum, t->y, t->back, t->red, t->dx};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void group_norm_run(group_norm *t) {
  check_ok(kn_channel_stats_ref(t->N, t->HW, t->C, t->x, t->part));
  check_ok(kn_group_norm_coef_ref(t->N, t->HW, t->C, t->groups, 1e-6, t->part, t->gamma, t->beta, t->offset, t->coef, t->stats,
                                  t->sum));
  check_ok(kn_group_norm_apply_ref(t->N, t->HW, t->C, t->silu, t->x, t->coef, t->y));
  check_ok(kn_group_norm_reduce_ref(t->N, t->HW, t->C, t->groups, t->silu, t->x, t->dy, t->coef, t->stats, t->offset, t->part));
  check_ok(kn_group_norm_back_ref(t->N, t->HW, t->C, t->groups, t->part, t->gamma, t->stats, t->offset, t->sum, t->back, t->red));
  check_ok(kn_group_norm_dx_ref(t->N, t->HW, t->C, t->silu, t->x, t->dy, t->coef, t->back, t->dx));
}

/* red's three rows over images and, for the third, dx over pixels. */
static void expect_red(const group_norm *t, const tchc_tensor *gamma, const tchc_tensor *beta) {
  double *cols = room(3 * t->C), *dbias = room(t->C);

  for (int64_t c = 0; c < t->C; c++) {
    cols[c] = cols[t->C + c] = cols[2 * t->C + c] = dbias[c] = 0;
    for (int64_t n = 0; n < t->N; n++)
      for (int row = 0; row < 3; row++) cols[row * t->C + c] += t->red[(3 * n + row) * t->C + c];
    for (int64_t i = 0; i < t->N * t->HW; i++) dbias[c] += t->dx[i * t->C + c];
    assert_true(fabs(cols[2 * t->C + c] - dbias[c]) < 1e-10);
  }
  expect_grad("dgamma", cols, gamma);
  expect_grad("dbeta", cols + t->C, beta);
  free(cols), free(dbias);
}

static void group_norm_is_libtorchs(void **state) {
  static const struct { int64_t N, HW, C; int groups; } sizes[] = {{2, 35, 12, 3}, {1, 1, 4, 2}, {3, 101, 8, 8}, {2, 1030, 6, 1}};

  (void)state;
  for (int k = 0; k < 16; k++) {
    tchc_scope *s = NULL;
    tchc_tensor *y = NULL;
    group_norm t = group_norm_make(sizes[k / 4].N, sizes[k / 4].HW, sizes[k / 4].C, sizes[k / 4].groups, k % 2, k / 2 % 2);
    check_ok(tchc_scope_open(&s));
    tchc_tensor *x = leaf_of(t.x, DIMS(t.N, t.HW, t.C)), *gamma = leaf_of(t.gamma, DIMS(t.C)), *beta = leaf_of(t.beta, DIMS(t.C));
    check_ok(tchc_share(x, &y));
    if (t.offset) check_ok(tchc_add(x, leaf_of(t.offset, DIMS(t.N, 1, t.C)), 1, &y));
    check_ok(tchc_transpose(y, 1, 2, &y));
    check_ok(tchc_group_norm(y, t.groups, gamma, beta, 1e-6, &y));
    if (t.silu) check_ok(tchc_silu(y, &y));
    check_ok(tchc_transpose(y, 1, 2, &y));
    check_ok(tchc_contiguous(y, TCHC_CONTIGUOUS, &y));
    backward_from(y, t.dy);
    group_norm_run(&t);
    expect_tensor("y", t.y, y);
    expect_grad("dx", t.dx, x);
    expect_red(&t, gamma, beta);
    tchc_scope_close(&s);
    group_norm_free(&t);
  }
}

static void add_is_the_sum(void **state) {
  enum { N = 2, HW = 3, C = 5 };
  double *h = numbers(1, N * HW * C), *x = numbers(2, N * HW * C), *bias = numbers(3, C);
  double out[N * HW * C], bare[N * HW * C];

  (void)state;
  check_ok(kn_add_ref(N, HW, C, h, x, bias, out));
  check_ok(kn_add_ref(N, HW, C, h, NULL, NULL, bare));
  for (int i = 0; i < N * HW * C; i++) {
    assert_true(fabs(out[i] - (h[i] + x[i] + bias[i % C])) < 1e-15);
    assert_true(bare[i] == h[i]);
  }
  free(h), free(x), free(bias);
}

/* ---- the others ---- */
static void softmax_is_libtorchs(void **state) {
  static const int64_t sizes[][2] = {{3, 1}, {5, 31}, {2, 300}};
  const double scale = 0.3;

  (void)state;
  for (int k = 0; k < 3; k++) {
    const int64_t rows = sizes[k][0], n = sizes[k][1];
    tchc_scope *s = NULL;
    tchc_tensor *y = NULL;
    double *x = numbers(1, rows * n), *d = numbers(2, rows * n);
    check_ok(tchc_scope_open(&s));
    tchc_tensor *leaf = leaf_of(x, DIMS(rows, n));
    check_ok(tchc_affine(leaf, scale, 0, &y));
    check_ok(tchc_softmax(y, 1, &y));
    backward_from(y, d);
    check_ok(kn_softmax_ref(rows, n, scale, x));
    expect_tensor("p", x, y);
    check_ok(kn_softmax_bwd_ref(rows, n, scale, x, d));
    expect_grad("ds", d, leaf);
    tchc_scope_close(&s);
    free(x), free(d);
  }
}

static void geglu_is_libtorchs(void **state) {
  enum { M = 7, F = 13 };
  tchc_scope *s = NULL;
  tchc_tensor *u = NULL, *v = NULL, *y = NULL;
  double *p = numbers(1, M * 2 * F), *dy = numbers(2, M * F), out[M * F], dp[M * 2 * F], dbias[2 * F];

  (void)state;
  check_ok(tchc_scope_open(&s));
  tchc_tensor *leaf = leaf_of(p, DIMS(M, 2 * F));
  check_ok(tchc_narrow(leaf, 1, 0, F, &u));
  check_ok(tchc_narrow(leaf, 1, F, F, &v));
  check_ok(tchc_gelu(v, &v));
  check_ok(tchc_mul(u, v, &y));
  backward_from(y, dy);
  check_ok(kn_geglu_ref(M, F, p, out));
  expect_tensor("y", out, y);
  check_ok(kn_geglu_bwd_ref(M, F, p, dy, dp, dbias));
  expect_grad("dp", dp, leaf);
  for (int c = 0; c < 2 * F; c++)
    for (int r = 0; r < M; r++) dbias[c] -= dp[r * 2 * F + c];
  for (int c = 0; c < 2 * F; c++) assert_true(fabs(dbias[c]) < 1e-13);
  tchc_scope_close(&s);
  free(p), free(dy);
}

static void layer_norm_is_libtorchs(void **state) {
  enum { M = 9, C = 21 };
  tchc_scope *s = NULL;
  tchc_tensor *t = NULL, *y = NULL, *all = NULL;
  double *x = numbers(1, M * C), *h = numbers(2, M * C), *bias = numbers(3, C), *gamma = numbers(4, C), *beta = numbers(5, C);
  double *dy = numbers(6, M * C), *dres = numbers(7, M * C), sum[M * C], out[M * C], stats[2 * M], dx[M * C], cols[3 * C];

  (void)state;
  check_ok(tchc_scope_open(&s));
  tchc_tensor *lx = leaf_of(x, DIMS(M, C)), *lb = leaf_of(bias, DIMS(C)), *lg = leaf_of(gamma, DIMS(C)), *lt = leaf_of(beta, DIMS(C));
  check_ok(tchc_add(lx, leaf_of(h, DIMS(M, C)), 1, &t));
  check_ok(tchc_add(t, lb, 1, &t));
  check_ok(tchc_layer_norm(t, lg, lt, 1e-5, &y));
  /* one graph with both gradients: <y, dy> + <sum, dres> */
  check_ok(tchc_mul(y, leaf_of(dy, DIMS(M, C)), &all));
  tchc_tensor *along = NULL;
  check_ok(tchc_mul(t, leaf_of(dres, DIMS(M, C)), &along));
  check_ok(tchc_add(all, along, 1, &all));
  check_ok(tchc_sum(all, &all));
  check_ok(tchc_backward(all, NULL));
  check_ok(kn_layer_norm_ref(M, C, 1e-5, x, h, bias, gamma, beta, sum, out, stats));
  expect_tensor("sum", sum, t);
  expect_tensor("y", out, y);
  check_ok(kn_layer_norm_bwd_ref(M, C, sum, stats, gamma, dy, dres, dx, cols));
  expect_grad("dx", dx, lx);
  expect_grad("dgamma", cols, lg);
  expect_grad("dbeta", cols + C, lt);
  expect_grad("dbias", cols + 2 * C, lb);
  tchc_scope_close(&s);
  free(x), free(h), free(bias), free(gamma), free(beta), free(dy), free(dres);
}

static void bad_sizes(void **state) {
  (void)state;
  check_fails(E_SHAPE, "[-1,2,3]", kn_channel_stats_ref(-1, 2, 3, NULL, NULL));
  check_fails(E_SHAPE, "[1,-2,3]", kn_add_ref(1, -2, 3, NULL, NULL, NULL, NULL));
  check_fails(E_SHAPE, "in 4 groups", kn_group_norm_coef_ref(1, 2, 6, 4, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
  check_fails(E_SHAPE, "[-1,2]", kn_softmax_ref(-1, 2, 1, NULL));
  check_fails(E_SHAPE, "[1,-2]", kn_softmax_bwd_ref(1, -2, 1, NULL, NULL));
  check_fails(E_SHAPE, "[-3,2x4]", kn_geglu_ref(-3, 4, NULL, NULL));
  check_fails(E_SHAPE, "[3,2x-4]", kn_geglu_bwd_ref(3, -4, NULL, NULL, NULL, NULL));
  check_fails(E_SHAPE, "[-1,4]", kn_layer_norm_ref(-1, 4, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
  check_fails(E_SHAPE, "[1,-4]", kn_layer_norm_bwd_ref(1, -4, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
  check_ok(kn_channel_stats_ref(0, 5, 3, NULL, NULL));
  check_ok(kn_softmax_ref(0, 5, 1, NULL));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(group_norm_is_libtorchs), LIVE_TEST(add_is_the_sum),          LIVE_TEST(softmax_is_libtorchs),
      LIVE_TEST(geglu_is_libtorchs),      LIVE_TEST(layer_norm_is_libtorchs), LIVE_TEST(bad_sizes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
