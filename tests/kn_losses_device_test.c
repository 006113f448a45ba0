/* tests/kn_losses_device_test.c: both losses on the device against their references, in both layouts. */
#include <stdbool.h>

#include "tests/support/kernel.h"

static const kn_cuda *k;

typedef enum { AFFINE_L1, ANGULAR, ANGULAR_REFERENCE } loss;

/* A batch on both sides; x as the type keeps it. */
typedef struct batch {
  int64_t B, n;
  bool nhwc;
  double *x, *gt, *weight;
  uint8_t *mask;
  float *want_sums, *want_grad;
  buffer dx, dgrad, dgt, dweight, dsums, dtotal;
  uint8_t *dmask;
  void *workspace;
} batch;

static int64_t place(const batch *t, int64_t b, int64_t c, int64_t i) {
  return b * 3 * t->n + (t->nhwc ? i * 3 + c : c * t->n + i);
}

static batch batch_make(loss l, kn_type type, int64_t B, int64_t n, bool nhwc, double valid) {
  const size_t pixels = (size_t)(B * n), targets = l == AFFINE_L1 ? pixels : 3 * pixels;
  batch t = {.B = B, .n = n, .nhwc = nhwc};

  t.x = random_f64(1, 3 * pixels, -1.3, 1.3);
  t.gt = l == AFFINE_L1 ? random_f64(2, pixels, 1, 60) : random_normals(2, B, n);
  t.weight = random_f64(3, (size_t)B, 0.5, 2);
  t.mask = random_mask(4, pixels, valid);
  t.want_sums = malloc((size_t)B * sizeof(float) + 1);
  t.want_grad = malloc(3 * pixels * sizeof(float) + 1);
  t.dx = buffer_make(type, t.x, 3 * pixels, 1);
  t.dgrad = buffer_make(type, NULL, 3 * pixels, 1);
  t.dgt = buffer_make(KN_F32, t.gt, targets, 0);
  t.dweight = buffer_make(KN_F32, t.weight, (size_t)B, 0);
  t.dsums = buffer_make(KN_F32, NULL, (size_t)B, 0);
  t.dtotal = buffer_make(KN_F32, NULL, 1, 0);
  t.dmask = device_alloc(pixels + 1);
  device_put(t.dmask, t.mask, pixels);
  t.workspace = device_alloc(kn_loss_workspace(B, n) + 1);
  return t;
}

static void batch_free(batch *t) {
  buffer *all[] = {&t->dx, &t->dgrad, &t->dgt, &t->dweight, &t->dsums, &t->dtotal};

  for (size_t i = 0; i < sizeof all / sizeof *all; i++) buffer_free(all[i]);
  device_free(t->dmask);
  device_free(t->workspace);
  free(t->x), free(t->gt), free(t->weight), free(t->mask), free(t->want_sums), free(t->want_grad);
}

static kn_loss_args args_of(const batch *t, bool grad) {
  return (kn_loss_args){.B = t->B, .n = t->n, .type = t->dx.type, .stride_b = 3 * t->n, .stride_c = t->nhwc ? 1 : t->n,
                        .stride_p = t->nhwc ? 3 : 1, .decoded = t->dx.data, .grad = grad ? t->dgrad.data : NULL,
                        .gt = (const float *)(const void *)t->dgt.data, .mask = t->dmask,
                        .weight = (const float *)(const void *)t->dweight.data,
                        .total = (float *)(void *)t->dtotal.data, .sums = (float *)(void *)t->dsums.data,
                        .workspace = t->workspace};
}

/* The reference is row-major. */
static void run_reference(loss l, batch *t) {
  const size_t numbers = (size_t)(3 * t->B * t->n);
  float *x = malloc(numbers * sizeof *x + 1), *gt = narrowed(t->gt, l == AFFINE_L1 ? numbers / 3 : numbers);
  float *weight = narrowed(t->weight, (size_t)t->B);

  assert_non_null(x);
  for (int64_t b = 0; b < t->B; b++)
    for (int64_t c = 0; c < 3; c++)
      for (int64_t i = 0; i < t->n; i++) x[(b * 3 + c) * t->n + i] = (float)t->x[place(t, b, c, i)];
  if (l == AFFINE_L1) check_ok(kn_affine_l1_f32_ref(t->B, t->n, x, gt, t->mask, weight, t->want_sums, t->want_grad, NULL));
  else check_ok(kn_angular_f32_ref(t->B, t->n, x, gt, t->mask, weight, l == ANGULAR_REFERENCE, t->want_sums, t->want_grad));
  free(x), free(gt), free(weight);
}

static int run_kernel(loss l, const kn_loss_args *a) {
  return l == AFFINE_L1 ? k->affine_l1(NULL, a) : k->angular(NULL, a, l == ANGULAR_REFERENCE);
}

/* NaN and inf have to agree in kind and place; they are compared here and taken out. */
static void take_out_non_finite(double *got, double *want, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (isfinite(want[i])) continue;
    assert_true(isnan(want[i]) ? isnan(got[i]) != 0 : got[i] == want[i]);
    got[i] = want[i] = 0;
  }
}

static void expect_grad(const char *what, const batch *t) {
  const size_t n = (size_t)(3 * t->B * t->n);
  double *got = buffer_read(what, &t->dgrad), *want = malloc(n * sizeof *want + 1);

  assert_non_null(want);
  for (int64_t b = 0; b < t->B; b++)
    for (int64_t c = 0; c < 3; c++)
      for (int64_t i = 0; i < t->n; i++) want[place(t, b, c, i)] = (double)t->want_grad[(b * 3 + c) * t->n + i];
  take_out_non_finite(got, want, n);
  if (t->dx.type == KN_F32) expect_within(what, got, want, n, 0, 1e-5, 1e-5);
  else expect_within(what, got, want, n, 6e-3, 1e-4, 3e-3);
  free(got), free(want);
}

static void expect_batch(const char *what, const batch *t) {
  double *sums = buffer_read(what, &t->dsums), *total = buffer_read(what, &t->dtotal), want = 0;
  double *want_sums = widened(t->want_sums, (size_t)t->B);

  for (int64_t b = 0; b < t->B; b++) want += t->weight[b] * want_sums[b];
  expect_within(what, sums, want_sums, (size_t)t->B, 1e-5, 1e-7, 1);
  expect_within(what, total, &want, 1, 1e-5, 1e-7, 1);
  expect_grad(what, t);
  free(sums), free(total), free(want_sums);
}

static void compare(loss l, kn_type type, int64_t B, int64_t n, bool nhwc, double valid) {
  batch t = batch_make(l, type, B, n, nhwc, valid);
  const kn_loss_args a = args_of(&t, true);
  char what[96];

  snprintf(what, sizeof what, "loss %d, %s, %lld images of %lld, %s", (int)l, type == KN_F32 ? "f32" : "bf16", (long long)B,
           (long long)n, nhwc ? "NHWC" : "NCHW");
  run_reference(l, &t);
  check_ok(run_kernel(l, &a));
  expect_batch(what, &t);
  batch_free(&t);
}

static void over_sizes(loss l) {
  static const int64_t sizes[] = {1, 31, 257, 4096, 9001};

  for (int order = 0; order < 2; order++) {
    device_last_thread_first(order == 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
      for (int kind = 0; kind < 4; kind++)
        compare(l, kind & 1 ? KN_BF16 : KN_F32, sizes[i] > 4000 ? 2 : 3, sizes[i], kind & 2, 0.7);
  }
}

static void affine_l1_is_the_reference(void **state) { (void)state, over_sizes(AFFINE_L1); }
static void angular_is_the_reference(void **state) { (void)state, over_sizes(ANGULAR); }
static void angular_reference_is_the_reference(void **state) { (void)state, over_sizes(ANGULAR_REFERENCE); }

static void nothing_valid(void **state) {
  (void)state;
  compare(AFFINE_L1, KN_F32, 2, 500, true, 0);
  compare(ANGULAR, KN_BF16, 2, 500, false, 0);
}

static void more_images_than_warps(void **state) {
  (void)state;
  compare(AFFINE_L1, KN_F32, 37, 40, true, 0.5);
  compare(ANGULAR, KN_F32, 37, 40, false, 0.5);
}

/* det is exactly 0: no fit, no gradient; also where the first pixels are masked out and differ. */
static void a_constant_image_is_not_fitted(void **state) {
  batch t = batch_make(AFFINE_L1, KN_F32, 2, 5000, true, 0.7);
  const kn_loss_args a = args_of(&t, true);

  (void)state;
  for (int64_t b = 0; b < t.B; b++) {
    for (int64_t i = 0; i < t.n; i++) {
      if (i < 3) t.mask[b * t.n + i] = 0;
      for (int64_t c = 0; c < 3; c++) t.x[place(&t, b, c, i)] = i < 3 ? 0.9 : 0.3;
    }
  }
  buffer_free(&t.dx);
  t.dx = buffer_make(KN_F32, t.x, (size_t)(3 * t.B * t.n), 1);
  device_put(t.dmask, t.mask, (size_t)(t.B * t.n));
  kn_loss_args with = a;
  with.decoded = t.dx.data;
  run_reference(AFFINE_L1, &t);
  check_ok(run_kernel(AFFINE_L1, &with));
  expect_batch("constant", &t);
  double *grad = buffer_read("constant", &t.dgrad);
  for (int64_t i = 0; i < 3 * t.B * t.n; i++) assert_true(grad[i] == 0);
  free(grad);
  batch_free(&t);
}

/* Vectors on the target, the zero vector, and masked-out pixels: NaN with `reference`, finite without. */
static void angular_on_the_target(void **state) {
  (void)state;
  for (loss l = ANGULAR; l <= ANGULAR_REFERENCE; l++) {
    batch t = batch_make(l, KN_F32, 2, 300, false, 0.7);
    for (int64_t b = 0; b < t.B; b++)
      for (int64_t i = 0; i < t.n; i++)
        for (int64_t c = 0; c < 3; c++)
          t.x[place(&t, b, c, i)] = i == 7 ? 0 : 1e6 * (float)t.gt[(b * 3 + c) * t.n + i] * (i % 2 ? 1 : -1);
    buffer_free(&t.dx);
    t.dx = buffer_make(KN_F32, t.x, (size_t)(3 * t.B * t.n), 1);
    const kn_loss_args a = args_of(&t, true);
    run_reference(l, &t);
    check_ok(run_kernel(l, &a));
    expect_batch("on the target", &t);
    batch_free(&t);
  }
}

static void values_without_a_gradient(void **state) {
  (void)state;
  for (loss l = AFFINE_L1; l <= ANGULAR; l++) {
    batch t = batch_make(l, KN_F32, 2, 5000, true, 0.7);
    kn_loss_args a = args_of(&t, true);
    run_reference(l, &t);
    check_ok(run_kernel(l, &a));
    double *with = buffer_read("sums", &t.dsums);
    a = args_of(&t, false);
    check_ok(run_kernel(l, &a));
    double *without = buffer_read("sums", &t.dsums);
    assert_memory_equal(with, without, (size_t)t.B * sizeof *with);
    free(with), free(without);
    batch_free(&t);
  }
}

/* The results of an image do not depend on the batch around it. */
static void one_image_is_bit_equal(void **state) {
  (void)state;
  for (loss l = AFFINE_L1; l <= ANGULAR; l++) {
    batch t = batch_make(l, KN_F32, 3, 9000, true, 0.7);
    kn_loss_args a = args_of(&t, true);
    const size_t skip = (size_t)(2 * 3 * t.n);
    check_ok(run_kernel(l, &a));
    double *grad = buffer_read("grad", &t.dgrad), *sums = buffer_read("sums", &t.dsums);
    a.B = 1;
    a.decoded = t.dx.data + skip * 4;
    a.grad = t.dgrad.data + skip * 4;
    a.gt += 2 * (l == AFFINE_L1 ? t.n : 3 * t.n);
    a.mask += 2 * t.n;
    a.weight += 2;
    check_ok(run_kernel(l, &a));
    double *again = buffer_read("grad", &t.dgrad), *first = buffer_read("sums", &t.dsums);
    assert_memory_equal(grad, again, (size_t)(3 * t.B * t.n) * sizeof *grad);
    assert_true(first[0] == sums[2]);
    free(grad), free(sums), free(again), free(first);
    batch_free(&t);
  }
}

static void bad_sizes(void **state) {
  kn_loss_args a = {.B = -1, .n = 5};

  (void)state;
  check_fails(E_SHAPE, "-1 images", k->affine_l1(NULL, &a));
  a.B = 0;
  check_ok(k->affine_l1(NULL, &a));
  check_ok(k->angular(NULL, &a, 0));
  a.B = 1;
  a.type = (kn_type)9;
  check_fails(E_SHAPE, "type 9", k->angular(NULL, &a, 0));
}

typedef struct timed {
  loss l;
  kn_loss_args a;
} timed;

static void run_timed(void *ctx) {
  const timed *t = ctx;
  check_ok(run_kernel(t->l, &t->a));
}

static void rates(void **state) {
  (void)state;
  if (device_seconds(run_timed, &(timed){AFFINE_L1, {.n = 1}}) == 0) return;
  for (loss l = AFFINE_L1; l <= ANGULAR; l++) {
    batch t = batch_make(l, KN_BF16, 8, 480 * 640, true, 0.9);
    timed run = {l, args_of(&t, true)};
    const double pixels = 8.0 * 480 * 640;
    print_rate(l == AFFINE_L1 ? "affine_l1 8x480x640 bf16" : "angular 8x480x640 bf16",
               pixels * (l == AFFINE_L1 ? 4 * 6 + 3 * 4 + 3 : 2 * 6 + 12 + 1), run_timed, &run);
    batch_free(&t);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(affine_l1_is_the_reference),
      cmocka_unit_test(angular_is_the_reference),
      cmocka_unit_test(angular_reference_is_the_reference),
      cmocka_unit_test(nothing_valid),
      cmocka_unit_test(more_images_than_warps),
      cmocka_unit_test(a_constant_image_is_not_fitted),
      cmocka_unit_test(angular_on_the_target),
      cmocka_unit_test(values_without_a_gradient),
      cmocka_unit_test(one_image_is_bit_equal),
      cmocka_unit_test(bad_sizes),
      cmocka_unit_test(rates),
  };
  k = device_open();
  return k ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
