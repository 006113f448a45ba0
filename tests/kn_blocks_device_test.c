/* tests/kn_blocks_device_test.c: the network's kernels on the device against their references. */
#include "tests/support/kernel.h"

static const kn_cuda *k;
static const kn_type types[] = {KN_F32, KN_BF16};

static const float *floats(const buffer *b) { return (const float *)(const void *)b->data; }
static float *out_floats(const buffer *b) { return (float *)(void *)b->data; }

static double *room(int64_t n) {
  double *p = malloc((size_t)n * sizeof *p + 1);
  assert_non_null(p);
  return p;
}

static double *numbers(uint64_t seed, int64_t n, double lo, double hi) { return random_f64(seed, (size_t)n, lo, hi); }
static buffer make(kn_type type, double *values, int64_t n, size_t shift) { return buffer_make(type, values, (size_t)n, shift); }

/* ---- residual, bias, statistics ---- */
typedef struct shape {
  int64_t N, HW, C;
  int groups;
} shape;
static const shape shapes[] = {{2, 35, 24, 3}, {1, 1, 8, 2}, {2, 33, 7, 7}, {1, 1030, 40, 8}, {1, 130, 600, 4}, {3, 64, 320, 32}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void one_add_stats(shape s, kn_type type, size_t shift, bool all, bool in_place) {
  const int64_t n = s.N * s.HW * s.C, parts = s.N * kn_chunks(s.HW) * 2 * s.C;
  double *h = numbers(1, n, 4, 5), *x = numbers(2, n, -1, 1), *bias = numbers(3, s.C, -1, 1);
  double *want = room(n), *part = room(parts);
  buffer dh = make(type, h, n, shift), dx = make(type, x, n, shift), dbias = make(KN_F32, bias, s.C, 0);
  buffer out = make(type, NULL, n, shift), dpart = make(KN_F32, NULL, parts, 0);
  const kn_add_stats_args a = {type, s.N, s.HW, s.C, dh.data, all ? dx.data : NULL, all ? floats(&dbias) : NULL,
                               in_place ? dh.data : out.data, out_floats(&dpart)};

  check_ok(kn_add_ref(s.N, s.HW, s.C, h, all ? x : NULL, all ? bias : NULL, want));
  check_ok(k->add_stats(NULL, &a));
  const buffer *result = in_place ? &dh : &out;
  expect_buffer("add_stats: sum", result, want);
  double *rounded = buffer_read("add_stats: sum", result);
  check_ok(kn_channel_stats_ref(s.N, s.HW, s.C, rounded, part));
  expect_buffer("add_stats: statistics", &dpart, part);
  free(h), free(x), free(bias), free(want), free(part), free(rounded);
  buffer_free(&dh), buffer_free(&dx), buffer_free(&dbias), buffer_free(&out), buffer_free(&dpart);
}

static void add_stats(void **state) {
  (void)state;
  for (int i = 0; i < SHAPES; i++) {
    for (int t = 0; t < 2; t++) {
      device_last_thread_first(t == 1);
      one_add_stats(shapes[i], types[t], 0, true, false);
      one_add_stats(shapes[i], types[t], 0, i % 2, true);
      one_add_stats(shapes[i], types[t], 1, true, false);
    }
  }
}

/* The sum of squares about the mean keeps its digits where the mean is 1000 times the spread. */
static void a_large_mean_costs_no_digits(void **state) {
  enum { HW = 200, C = 8, PARTS = 4 * 2 * C };
  double *h = numbers(1, HW * C, 999, 1001), part[PARTS * 2], *wide;
  buffer dh = make(KN_F32, h, HW * C, 0), dpart = make(KN_F32, NULL, kn_chunks(HW) * 2 * C, 0);
  const kn_add_stats_args a = {.type = KN_F32, .N = 1, .HW = HW, .C = C, .h = dh.data, .part = out_floats(&dpart)};

  (void)state;
  check_ok(k->add_stats(NULL, &a));
  check_ok(kn_channel_stats_ref(1, HW, C, h, part));
  wide = buffer_read("statistics", &dpart);
  for (int64_t s = 0; s < kn_chunks(HW); s++)
    for (int c = 0; c < C; c++) assert_true(fabs(wide[(2 * s + 1) * C + c] / part[(2 * s + 1) * C + c] - 1) < 1e-5);
  free(h), free(wide);
  buffer_free(&dh), buffer_free(&dpart);
}

/* ---- GroupNorm ---- */
typedef struct norm {
  shape s;
  kn_type type;
  double *x, *dy, *r[2], *gamma, *beta, *bias, *shift;               /* inputs as the device has them */
  double *offset; /* the sum of those two that `parts` names; NULL: none */
  int parts;
  double *part, *coef, *stats, *sum, *y, *dpart, *back, *red, *dx;   /* references */
  buffer bx, bdy, br[2], bgamma, bbeta, bbias, bshift, boffset, bpart, bcoef, bstats, bsum, by, bdpart, bback, bred, bdx;
} norm;

static norm norm_make(shape s, kn_type type, size_t shift) {
  const int64_t n = s.N * s.HW * s.C, parts = s.N * kn_chunks(s.HW) * 2 * s.C;
  norm t = {.s = s, .type = type, .x = numbers(1, n, 0, 3), .dy = numbers(2, n, -1, 1), .gamma = numbers(3, s.C, 0.5, 2),
            .beta = numbers(4, s.C, -1, 1), .bias = numbers(7, s.C, -1, 1), .shift = numbers(8, s.N * s.C, -1, 1),
            .r = {numbers(5, n, -1, 1), numbers(6, n, -1, 1)}, .part = room(parts),
            .coef = room(2 * s.N * s.C), .stats = room(2 * s.N * s.groups), .sum = room(s.N * s.C), .y = room(n),
            .dpart = room(parts), .back = room(2 * s.N * s.C), .red = room(3 * s.N * s.C), .dx = room(n)};

  t.bx = make(type, t.x, n, shift), t.bdy = make(type, t.dy, n, shift);
  for (int i = 0; i < 2; i++) t.br[i] = make(type, t.r[i], n, shift);
  t.bgamma = make(KN_F32, t.gamma, s.C, 0), t.bbeta = make(KN_F32, t.beta, s.C, 0);
  t.bbias = make(KN_F32, t.bias, s.C, 0), t.bshift = make(KN_F32, t.shift, s.N * s.C, 0), t.boffset = make(KN_F32, NULL, s.N * s.C, 0);
  t.bpart = make(KN_F32, NULL, parts, 0), t.bdpart = make(KN_F32, NULL, parts, 0);
  t.bcoef = make(KN_F32, NULL, 2 * s.N * s.C, 0), t.bback = make(KN_F32, NULL, 2 * s.N * s.C, 0);
  t.bstats = make(KN_F32, NULL, 2 * s.N * s.groups, 0), t.bsum = make(KN_F32, NULL, s.N * s.C, 0);
  t.bred = make(KN_F32, NULL, 3 * s.N * s.C, 0);
  t.by = make(type, NULL, n, shift), t.bdx = make(type, NULL, n, shift);
  return t;
}

enum { BIAS = 1, SHIFT = 2 };

static void norm_offset(norm *t, int parts) {
  const int64_t n = t->s.N * t->s.C;

  t->parts = parts;
  if (parts) t->offset = room(n);
  for (int64_t i = 0; t->offset && i < n; i++)
    t->offset[i] = (parts & BIAS ? t->bias[i % t->s.C] : 0) + (parts & SHIFT ? t->shift[i] : 0);
}

static void norm_free(norm *t) {
  double *host[] = {t->x, t->dy, t->r[0], t->r[1], t->gamma, t->beta, t->bias, t->shift, t->offset,
                    t->part, t->coef, t->stats, t->sum, t->y, t->dpart, t->back, t->red, t->dx};
  buffer *device[] = {&t->bx, &t->bdy, &t->br[0], &t->br[1], &t->bgamma, &t->bbeta, &t->bbias, &t->bshift, &t->boffset,
                      &t->bpart, &t->bcoef, &t->bstats, &t->bsum, &t->by, &t->bdpart, &t->bback, &t->bred, &t->bdx};

  for (size_t i = 0; i < sizeof host / sizeof *host; i++) free(host[i]);
  for (size_t i = 0; i < sizeof device / sizeof *device; i++) buffer_free(device[i]);
}

static void norm_reference(norm *t, bool silu, int residuals) {
  const shape s = t->s;

  check_ok(kn_channel_stats_ref(s.N, s.HW, s.C, t->x, t->part));
  check_ok(kn_group_norm_coef_ref(s.N, s.HW, s.C, s.groups, 1e-5, t->part, t->gamma, t->beta, t->offset, t->coef, t->stats, t->sum));
  check_ok(kn_group_norm_apply_ref(s.N, s.HW, s.C, silu, t->x, t->coef, t->y));
  check_ok(kn_group_norm_reduce_ref(s.N, s.HW, s.C, s.groups, silu, t->x, t->dy, t->coef, t->stats, t->offset, t->dpart));
  check_ok(kn_group_norm_back_ref(s.N, s.HW, s.C, s.groups, t->dpart, t->gamma, t->stats, t->offset, t->sum, t->back, t->red));
  check_ok(kn_group_norm_dx_ref(s.N, s.HW, s.C, silu, t->x, t->dy, t->coef, t->back, t->dx));
  for (int64_t i = 0; i < s.N * s.HW * s.C; i++)
    for (int r = 0; r < residuals; r++) t->dx[i] += t->r[r][i];
}

static kn_group_norm_args norm_args(const norm *t, bool silu) {
  return (kn_group_norm_args){.type = t->type, .N = t->s.N, .HW = t->s.HW, .C = t->s.C, .norm_C = t->s.C, .groups = t->s.groups,
                              .silu = silu, .x = t->bx.data, .coef = floats(&t->bcoef), .stats = floats(&t->bstats),
                              .offset = t->offset ? floats(&t->boffset) : NULL,
                              .y = t->by.data, .dy = t->bdy.data, .ld = t->s.C, .part = out_floats(&t->bdpart),
                              .back = floats(&t->bback), .dx = t->bdx.data};
}

static kn_group_norm_coef_args coef_args(const norm *t) {
  return (kn_group_norm_coef_args){.N = t->s.N, .HW = t->s.HW, .C = t->s.C, .groups = t->s.groups, .eps = 1e-5,
                                   .part = {floats(&t->bpart)}, .C1 = t->s.C, .gamma = floats(&t->bgamma),
                                   .beta = floats(&t->bbeta), .bias = t->parts & BIAS ? floats(&t->bbias) : NULL,
                                   .shift = t->parts & SHIFT ? floats(&t->bshift) : NULL,
                                   .offset = t->offset ? out_floats(&t->boffset) : NULL, .coef = out_floats(&t->bcoef), .stats = out_floats(&t->bstats),
                                   .sum = out_floats(&t->bsum)};
}

static kn_group_norm_back_args back_args(const norm *t) {
  return (kn_group_norm_back_args){t->s.N, t->s.HW, t->s.C, t->s.groups, floats(&t->bdpart), floats(&t->bgamma),
                                   floats(&t->bstats), t->offset ? floats(&t->boffset) : NULL, floats(&t->bsum),
                                   out_floats(&t->bback), out_floats(&t->bred)};
}

/* The whole of it, each kernel on the results of the one before. */
static void one_norm(shape s, kn_type type, size_t shift, bool silu, int offset, int residuals, bool in_place) {
  norm t = norm_make(s, type, shift);
  norm_offset(&t, offset);
  const kn_add_stats_args stats = {.type = type, .N = s.N, .HW = s.HW, .C = s.C, .h = t.bx.data, .part = out_floats(&t.bpart)};
  const kn_group_norm_coef_args coef = coef_args(&t);
  const kn_group_norm_back_args back = back_args(&t);
  kn_group_norm_args a = norm_args(&t, silu);

  norm_reference(&t, silu, residuals);
  check_ok(k->add_stats(NULL, &stats));
  check_ok(k->group_norm_coef(NULL, &coef));
  expect_buffer("coef", &t.bcoef, t.coef);
  expect_buffer("stats", &t.bstats, t.stats);
  expect_buffer("sum", &t.bsum, t.sum);
  if (t.offset) expect_buffer("offset", &t.boffset, t.offset);
  check_ok(k->group_norm_apply(NULL, &a));
  expect_buffer("y", &t.by, t.y);
  check_ok(k->group_norm_reduce(NULL, &a));
  expect_buffer("backward sums", &t.bdpart, t.dpart);
  check_ok(k->group_norm_back(NULL, &back));
  for (int r = 0; r < residuals; r++) a.residual[r] = t.br[r].data;
  if (in_place) a.dx = t.bdy.data;
  check_ok(k->group_norm_dx(NULL, &a));
  expect_buffer("dx", in_place ? &t.bdy : &t.bdx, t.dx);
  double *red = buffer_read("red", &t.bred);
  expect_within("red", red, t.red, (size_t)(3 * s.N * s.C), 0, 1e-4, 1e-4); /* the third row is a difference */
  free(red);
  norm_free(&t);
}

static void group_norm(void **state) {
  (void)state;
  for (int i = 0; i < SHAPES; i++) {
    for (int v = 0; v < 4; v++) {
      device_last_thread_first(v & 1);
      one_norm(shapes[i], types[v & 1], v == 3, v & 2, (i + v) & (BIAS | SHIFT), v == 0 ? 2 : v - 1, v == 1);
    }
  }
}

/* A norm over two tensors side by side equals that over their concatenation; 7 channels of 12 cut a group in two. */
static void two_sources_are_one(void **state) {
  const shape s = {2, 70, 12, 3};
  const int64_t cut = 7, pixels = s.N * s.HW, chunks = kn_chunks(s.HW);

  (void)state;
  for (int type = 0; type < 2; type++) {
    norm t = norm_make(s, types[type], 0);
    norm_offset(&t, BIAS | SHIFT);
    kn_group_norm_coef_args coef = coef_args(&t);
    const kn_group_norm_back_args back = back_args(&t);
    buffer part[2], x[2], dx[2];
    norm_reference(&t, true, 0);
    for (int i = 0; i < 2; i++) {
      const int64_t c0 = i ? cut : 0, C = i ? s.C - cut : cut;
      double *half = room(pixels * C);
      for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = 0; c < C; c++) half[p * C + c] = t.x[p * s.C + c0 + c];
      x[i] = make(t.type, half, pixels * C, 0), dx[i] = make(t.type, NULL, pixels * C, 0);
      part[i] = make(KN_F32, NULL, s.N * chunks * 2 * C, 0);
      const kn_add_stats_args stats = {.type = t.type, .N = s.N, .HW = s.HW, .C = C, .h = x[i].data, .part = out_floats(&part[i])};
      check_ok(k->add_stats(NULL, &stats));
      coef.part[i] = floats(&part[i]);
      free(half);
    }
    coef.C1 = cut;
    check_ok(k->group_norm_coef(NULL, &coef));
    expect_buffer("coef of two", &t.bcoef, t.coef);
    for (int pass = 0; pass < 3; pass++) {
      for (int i = 0; i < 2; i++) {
        kn_group_norm_args a = norm_args(&t, true);
        a.C = i ? s.C - cut : cut, a.c0 = i ? cut : 0, a.x = x[i].data, a.dx = dx[i].data;
        check_ok((pass == 0 ? k->group_norm_apply : pass == 1 ? k->group_norm_reduce : k->group_norm_dx)(NULL, &a));
      }
      if (pass == 1) check_ok(k->group_norm_back(NULL, &back));
    }
    expect_buffer("y of two", &t.by, t.y);
    expect_buffer("backward sums of two", &t.bdpart, t.dpart);
    for (int i = 0; i < 2; i++) {
      const int64_t c0 = i ? cut : 0, C = i ? s.C - cut : cut;
      double *half = room(pixels * C);
      for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = 0; c < C; c++) half[p * C + c] = t.dx[p * s.C + c0 + c];
      expect_buffer("dx of two", &dx[i], half);
      free(half);
      buffer_free(&x[i]), buffer_free(&dx[i]), buffer_free(&part[i]);
    }
    norm_free(&t);
  }
}

/* Gradients of the parameters are added to what is there; a NULL one is left out. */
static void params_are_added_up(void **state) {
  enum { N = 5, C = 300 };
  double *red = numbers(1, N * 3 * C, -1, 1), *had = numbers(2, C, -1, 1), *want = room(C);
  buffer bred = make(KN_F32, red, N * 3 * C, 0), dgamma = make(KN_F32, had, C, 0), dbias = make(KN_F32, had, C, 0);

  (void)state;
  check_ok(k->group_norm_params(NULL, N, C, floats(&bred), out_floats(&dgamma), NULL, out_floats(&dbias)));
  for (int row = 0; row < 3; row += 2) {
    for (int c = 0; c < C; c++) {
      want[c] = had[c];
      for (int n = 0; n < N; n++) want[c] += red[(3 * n + row) * C + c];
    }
    expect_buffer("params", row ? &dbias : &dgamma, want);
  }
  free(red), free(had), free(want);
  buffer_free(&bred), buffer_free(&dgamma), buffer_free(&dbias);
}

/* ---- softmax ---- */
static void one_softmax(int64_t rows, int64_t n, kn_type type, size_t shift) {
  double *s = numbers(1, rows * n, -8, 8), *d = numbers(2, rows * n, -1, 1);
  buffer bs = make(type, s, rows * n, shift), bd = make(type, d, rows * n, shift);

  check_ok(kn_softmax_ref(rows, n, 0.7, s));
  check_ok(k->softmax(NULL, type, rows, n, 0.7f, bs.data));
  expect_buffer("softmax", &bs, s);
  double *p = buffer_read("softmax", &bs);
  check_ok(kn_softmax_bwd_ref(rows, n, 0.7, p, d));
  check_ok(k->softmax_bwd(NULL, type, rows, n, 0.7f, bs.data, bd.data));
  expect_buffer("softmax_bwd", &bd, d);
  free(s), free(d), free(p);
  buffer_free(&bs), buffer_free(&bd);
}

static void softmax(void **state) {
  static const int64_t sizes[] = {1, 8, 31, 264, 2056, 4104, 8200, 16392};

  (void)state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    for (int t = 0; t < 2; t++) {
      device_last_thread_first(t == 0);
      one_softmax(2, sizes[i], types[t], 0);
    }
  }
  one_softmax(3, 264, KN_BF16, 1);
}

/* ---- GEGLU ---- */
static void one_geglu(int64_t M, int64_t F, kn_type type, size_t shift, bool in_place) {
  const int64_t chunks = kn_chunks(M);
  double *p = numbers(1, M * 2 * F, -3, 3), *dy = numbers(2, M * F, -1, 1), *y = room(M * F), *dp = room(M * 2 * F), *dbias = room(2 * F);
  buffer bp = make(type, p, M * 2 * F, shift), bdy = make(type, dy, M * F, shift), by = make(type, NULL, M * F, shift);
  buffer bdp = make(type, NULL, M * 2 * F, shift), again = make(type, NULL, M * F, shift), part = make(KN_F32, NULL, chunks * 2 * F, 0);
  double *zero = calloc((size_t)(2 * F), sizeof *zero);
  buffer sums = make(KN_F32, zero, 2 * F, 0);

  check_ok(kn_geglu_ref(M, F, p, y));
  check_ok(kn_geglu_bwd_ref(M, F, p, dy, dp, dbias));
  check_ok(k->geglu(NULL, type, M, F, bp.data, by.data));
  expect_buffer("geglu", &by, y);
  check_ok(k->geglu_bwd(NULL, type, M, F, bp.data, bdy.data, in_place ? bp.data : bdp.data, again.data, out_floats(&part)));
  expect_buffer("geglu_bwd", in_place ? &bp : &bdp, dp);
  expect_buffer("geglu again", &again, y);
  check_ok(k->colsum(NULL, chunks, 2 * F, 2 * F, floats(&part), out_floats(&sums)));
  expect_buffer("column sums", &sums, dbias);
  free(p), free(dy), free(y), free(dp), free(dbias), free(zero);
  buffer_free(&bp), buffer_free(&bdy), buffer_free(&by), buffer_free(&bdp), buffer_free(&again), buffer_free(&part), buffer_free(&sums);
}

static void geglu(void **state) {
  static const int64_t sizes[][2] = {{1, 8}, {33, 31}, {70, 520}, {1003, 24}};

  (void)state;
  for (int i = 0; i < 4; i++) {
    for (int t = 0; t < 2; t++) {
      device_last_thread_first(t == 1);
      one_geglu(sizes[i][0], sizes[i][1], types[t], 0, t == i % 2);
    }
  }
  one_geglu(33, 24, KN_BF16, 1, true);
}

/* ---- LayerNorm ---- */
static void one_layer_norm(int64_t M, int64_t C, kn_type type, size_t shift, bool residual, bool in_place) {
  const int64_t n = M * C, parts = kn_layer_norm_parts(M);
  double *x = numbers(1, n, 1, 3), *h = numbers(2, n, -1, 1), *bias = numbers(3, C, -1, 1), *gamma = numbers(4, C, 0.5, 2), *beta = numbers(5, C, -1, 1);
  double *dy = numbers(6, n, -1, 1), *dres = numbers(7, n, -1, 1), *sum = room(n), *y = room(n), *stats = room(2 * M), *dx = room(n), *cols = room(3 * C);
  buffer bx = make(type, x, n, shift), bh = make(type, h, n, shift), bbias = make(KN_F32, bias, C, 0), bgamma = make(KN_F32, gamma, C, 0), bbeta = make(KN_F32, beta, C, 0);
  buffer bdy = make(type, dy, n, shift), bdres = make(type, dres, n, shift), bsum = make(type, NULL, n, shift), by = make(type, NULL, n, shift);
  buffer bstats = make(KN_F32, NULL, 2 * M, 0), bdx = make(type, NULL, n, shift), part = make(KN_F32, NULL, parts * 3 * C, 0);
  double *zero = calloc((size_t)(3 * C), sizeof *zero);
  buffer bcols = make(KN_F32, zero, 3 * C, 0);
  const buffer *total = !residual || in_place ? &bx : &bsum;
  const kn_layer_norm_args f = {type, M, C, 1e-5, bx.data, residual ? bh.data : NULL, residual ? floats(&bbias) : NULL,
                                floats(&bgamma), floats(&bbeta), total->data, by.data, out_floats(&bstats)};
  const kn_layer_norm_bwd_args b = {type, M, C, total->data, bdy.data, residual ? bdres.data : NULL, floats(&bstats),
                                    floats(&bgamma), in_place ? bdy.data : bdx.data, out_floats(&part)};

  check_ok(kn_layer_norm_ref(M, C, 1e-5, x, residual ? h : NULL, residual ? bias : NULL, gamma, beta, sum, y, stats));
  check_ok(k->layer_norm(NULL, &f));
  expect_buffer("sum", total, sum);
  double *kept = buffer_read("sum", total); /* rounded: the norm and its gradient are of that */
  check_ok(kn_layer_norm_ref(M, C, 1e-5, kept, NULL, NULL, gamma, beta, sum, y, stats));
  expect_buffer("y", &by, y);
  expect_buffer("stats", &bstats, stats);
  check_ok(kn_layer_norm_bwd_ref(M, C, kept, stats, gamma, dy, residual ? dres : NULL, dx, cols));
  check_ok(k->layer_norm_bwd(NULL, &b));
  expect_buffer("dx", in_place ? &bdy : &bdx, dx);
  check_ok(k->colsum(NULL, parts, 3 * C, 3 * C, floats(&part), out_floats(&bcols)));
  double *got = buffer_read("column sums", &bcols);
  expect_within("column sums", got, cols, (size_t)(3 * C), 0, 1e-5, 1e-5);
  double *all[] = {x, h, bias, gamma, beta, dy, dres, sum, y, stats, dx, cols, zero, kept, got};
  buffer *device[] = {&bx, &bh, &bbias, &bgamma, &bbeta, &bdy, &bdres, &bsum, &by, &bstats, &bdx, &part, &bcols};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
  for (size_t i = 0; i < sizeof device / sizeof *device; i++) buffer_free(device[i]);
}

static void layer_norm(void **state) {
  static const int64_t sizes[][2] = {{1, 8}, {33, 31}, {70, 320}, {17, 640}, {9, 1280}, {5, 2048}, {3, 1000}};

  (void)state;
  for (int i = 0; i < 7; i++) {
    for (int t = 0; t < 2; t++) {
      device_last_thread_first(t == 1);
      one_layer_norm(sizes[i][0], sizes[i][1], types[t], 0, true, t == i % 2);
      one_layer_norm(sizes[i][0], sizes[i][1], types[t], 0, false, false);
    }
  }
  one_layer_norm(40, 40, KN_BF16, 1, true, true);
}

/* Too wide for the backward, and a width that only the slow forward takes. */
static void wide_rows(void **state) {
  const kn_layer_norm_bwd_args b = {.type = KN_F32, .M = 1, .C = 2056};
  double *x = numbers(1, 2600, -1, 1), *gamma = numbers(2, 2600, -1, 1), *y = room(2600), stats[2];
  buffer bx = make(KN_F32, x, 2600, 0), bgamma = make(KN_F32, gamma, 2600, 0), by = make(KN_F32, NULL, 2600, 0), bstats = make(KN_F32, NULL, 2, 0);
  const kn_layer_norm_args f = {.type = KN_F32, .M = 1, .C = 2600, .eps = 1e-5, .x = bx.data, .gamma = floats(&bgamma),
                                .beta = floats(&bgamma), .y = by.data, .stats = out_floats(&bstats)};

  (void)state;
  check_fails(E_SHAPE, "2056 columns are more than 2048", k->layer_norm_bwd(NULL, &b));
  check_ok(kn_layer_norm_ref(1, 2600, 1e-5, x, NULL, NULL, gamma, gamma, x, y, stats));
  check_ok(k->layer_norm(NULL, &f));
  expect_buffer("2600 columns", &by, y);
  free(x), free(gamma), free(y);
  buffer_free(&bx), buffer_free(&bgamma), buffer_free(&by), buffer_free(&bstats);
}

/* ---- sizes ---- */
static void nothing_to_do(void **state) {
  const kn_add_stats_args a = {.type = KN_F32};
  const kn_group_norm_args g = {.groups = 1};
  const kn_group_norm_coef_args c = {.groups = 1};
  const kn_group_norm_back_args b = {.groups = 1};
  const kn_layer_norm_args l = {.C = 8};
  const kn_layer_norm_bwd_args m = {.C = 8};

  (void)state;
  check_ok(k->add_stats(NULL, &a));
  check_ok(k->group_norm_coef(NULL, &c));
  check_ok(k->group_norm_apply(NULL, &g));
  check_ok(k->group_norm_reduce(NULL, &g));
  check_ok(k->group_norm_back(NULL, &b));
  check_ok(k->group_norm_dx(NULL, &g));
  check_ok(k->group_norm_params(NULL, 0, 8, NULL, NULL, NULL, NULL));
  check_ok(k->softmax(NULL, KN_F32, 0, 8, 1, NULL));
  check_ok(k->softmax_bwd(NULL, KN_BF16, 8, 0, 1, NULL, NULL));
  check_ok(k->geglu(NULL, KN_F32, 0, 8, NULL, NULL));
  check_ok(k->geglu_bwd(NULL, KN_F32, 0, 8, NULL, NULL, NULL, NULL, NULL));
  check_ok(k->colsum(NULL, 0, 8, 8, NULL, NULL));
  check_ok(k->layer_norm(NULL, &l));
  check_ok(k->layer_norm_bwd(NULL, &m));
}

static void bad_sizes(void **state) {
  const kn_add_stats_args a = {.type = KN_F32, .N = -1};
  const kn_group_norm_coef_args c = {.N = 1, .HW = 1, .C = 6, .groups = 4};
  kn_group_norm_args g = {.groups = 1, .N = 1, .HW = 4, .C = 8, .c0 = 1, .norm_C = 8, .ld = 8};
  char byte;

  (void)state;
  check_fails(E_SHAPE, "[-1,0,0]", k->add_stats(NULL, &a));
  check_fails(E_SHAPE, "in 4 groups", k->group_norm_coef(NULL, &c));
  check_fails(E_SHAPE, "columns 1..9 of 8", k->group_norm_apply(NULL, &g));
  g = (kn_group_norm_args){.groups = 1, .N = 1, .HW = 4, .C = 4, .norm_C = 8, .ld = 8, .dy = &byte, .dx = &byte};
  check_fails(E_SHAPE, "cannot replace", k->group_norm_dx(NULL, &g));
  check_fails(E_SHAPE, "type 9", k->softmax(NULL, (kn_type)9, 1, 1, 1, NULL));
  check_fails(E_SHAPE, "[-1,2x4]", k->geglu(NULL, KN_F32, -1, 4, NULL, NULL));
  check_fails(E_SHAPE, "rows of 3", k->colsum(NULL, 1, 4, 3, NULL, NULL));
}

/* ---- rates at full size ---- */
typedef struct timed {
  int (*f)(void *stream, const kn_group_norm_args *a);
  kn_group_norm_args g;
  kn_add_stats_args a;
} timed;
static void run_norm(void *ctx) { check_ok(((timed *)ctx)->f(NULL, &((timed *)ctx)->g)); }
static void run_add(void *ctx) { check_ok(k->add_stats(NULL, &((timed *)ctx)->a)); }
static void run_nothing(void *ctx) { (void)ctx; }

typedef struct rows {
  int64_t M, F;
  void *p, *q, *r;
  float *part;
} rows;
static void run_softmax(void *ctx) { check_ok(k->softmax(NULL, KN_BF16, ((rows *)ctx)->M, ((rows *)ctx)->F, 1, ((rows *)ctx)->p)); }
static void run_softmax_bwd(void *ctx) {
  const rows *r = ctx;
  check_ok(k->softmax_bwd(NULL, KN_BF16, r->M, r->F, 1, r->p, r->q));
}
static void run_geglu(void *ctx) { check_ok(k->geglu(NULL, KN_BF16, ((rows *)ctx)->M, ((rows *)ctx)->F, ((rows *)ctx)->p, ((rows *)ctx)->q)); }
static void run_geglu_bwd(void *ctx) {
  const rows *r = ctx;
  check_ok(k->geglu_bwd(NULL, KN_BF16, r->M, r->F, r->p, r->q, r->p, r->r, r->part));
}
static void run_layer_norm(void *ctx) {
  const rows *r = ctx;
  const kn_layer_norm_args a = {KN_BF16, r->M, r->F, 1e-5, r->p, r->q, r->part, r->part, r->part, r->p, r->r, r->part + 4096};
  check_ok(k->layer_norm(NULL, &a));
}
static void run_layer_norm_bwd(void *ctx) {
  const rows *r = ctx;
  const kn_layer_norm_bwd_args a = {KN_BF16, r->M, r->F, r->p, r->q, r->r, r->part, r->part, r->q, r->part + 1048576};
  check_ok(k->layer_norm_bwd(NULL, &a));
}

static void rates_of_images(void) {
  const int64_t N = 8, HW = 480 * 640, C = 128, n = N * HW * C;
  const double bytes = 2.0 * (double)n;
  char *x = device_alloc((size_t)(4 * 2 * n)), *y = x + 2 * n, *z = y + 2 * n, *w = z + 2 * n;
  float *part = device_alloc((size_t)(N * kn_chunks(HW) * 2 * C + 16 * N * C) * 4), *coef = part + N * kn_chunks(HW) * 2 * C;
  timed t = {.g = {.type = KN_BF16, .N = N, .HW = HW, .C = C, .norm_C = C, .groups = 32, .silu = true, .x = x, .coef = coef,
                   .stats = coef + 4 * N * C, .y = y, .dy = y, .ld = C, .part = part, .back = coef + 2 * N * C, .dx = z},
             .a = {.type = KN_BF16, .N = N, .HW = HW, .C = C, .h = x, .part = part}};

  print_rate("statistics 8x128x480x640 bf16", bytes, run_add, &t);
  t.a.x = y, t.a.out = z;
  print_rate("residual + statistics", 3 * bytes, run_add, &t);
  t.f = k->group_norm_apply;
  print_rate("apply + SiLU", 2 * bytes, run_norm, &t);
  t.f = k->group_norm_reduce;
  print_rate("backward reduce", 2 * bytes, run_norm, &t);
  t.f = k->group_norm_dx;
  print_rate("backward dx", 3 * bytes, run_norm, &t);
  t.g.residual[0] = w;
  print_rate("backward dx with residual", 4 * bytes, run_norm, &t);
  device_free(x);
  device_free(part);
}

static void rates(void **state) {
  (void)state;
  if (device_seconds(run_nothing, NULL) == 0) return;
  rates_of_images();
  const double M = 153600, F = 1280, S = 8 * 4800.0 * 4800;
  rows r = {8 * 4800, 4800, device_alloc(800 << 20), device_alloc(800 << 20), device_alloc(800 << 20), device_alloc(64 << 20)};
  print_rate("softmax 38400x4800 bf16", 4 * S, run_softmax, &r);
  print_rate("softmax backward", 6 * S, run_softmax_bwd, &r);
  r.M = (int64_t)M, r.F = (int64_t)F;
  print_rate("GEGLU 153600x1280 bf16", 6 * M * F, run_geglu, &r);
  print_rate("GEGLU backward with column sums", 12 * M * F, run_geglu_bwd, &r);
  r.F = 320;
  print_rate("residual + LayerNorm 153600x320 bf16", 8 * M * 320, run_layer_norm, &r);
  print_rate("LayerNorm backward with column sums", 8 * M * 320, run_layer_norm_bwd, &r);
  device_free(r.p), device_free(r.q), device_free(r.r), device_free(r.part);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(add_stats),     cmocka_unit_test(a_large_mean_costs_no_digits),
      cmocka_unit_test(group_norm),    cmocka_unit_test(two_sources_are_one),
      cmocka_unit_test(params_are_added_up), cmocka_unit_test(softmax),
      cmocka_unit_test(geglu),         cmocka_unit_test(layer_norm),
      cmocka_unit_test(wide_rows),     cmocka_unit_test(nothing_to_do),
      cmocka_unit_test(bad_sizes),     cmocka_unit_test(rates),
  };
  k = device_open();
  return k ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
