/* tests/kn_adamw_device_test.c: the norm and the update on the device against their references. */
#include "tests/support/kernel.h"

static const kn_cuda *k;
static const kn_adamw_step step = {.lr = 3e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1,
                                   .decoupled = true, .t = 3, .clip = 1, .ema_decay = 0.9};

static float *floats(const buffer *b) { return (float *)(void *)b->data; }

static kn_norm norm_on_device(int64_t n, const buffer *g, const buffer *also, kn_norm *device) {
  void *workspace = device_alloc(kn_sumsq_workspace());
  kn_norm out;

  check_ok(k->sumsq_f32(NULL, n, floats(g), also ? floats(also) : NULL, also ? (int64_t)also->n : 0, workspace, device));
  device_get(&out, device, sizeof out);
  device_free(workspace);
  return out;
}

/* The state of an update: p, g, m, v, ema in that order. */
enum { P, G, M, V, EMA, BUFFERS };
typedef struct state {
  int64_t n;
  double *host[BUFFERS];
  buffer device[BUFFERS], bf16;
  kn_norm *norm;
} state_t;

static state_t state_make(int64_t n, size_t shift) {
  state_t s = {.n = n, .norm = device_alloc(sizeof(kn_norm))};

  for (int i = 0; i < BUFFERS; i++) {
    s.host[i] = random_f64((uint64_t)(10 + i), (size_t)n, i == V ? 0 : -2, 2);
    s.device[i] = buffer_make(KN_F32, s.host[i], (size_t)n, i == G ? 0 : shift);
  }
  s.bf16 = buffer_make(KN_BF16, NULL, (size_t)n, shift);
  return s;
}

static void state_free(state_t *s) {
  for (int i = 0; i < BUFFERS; i++) {
    buffer_free(&s->device[i]);
    free(s->host[i]);
  }
  buffer_free(&s->bf16);
  device_free(s->norm);
}

static int update(const state_t *s, const kn_adamw_step *o, bool ema, bool bf16) {
  return k->adamw_f32(NULL, o, s->n, floats(&s->device[P]), floats(&s->device[G]), s->norm, floats(&s->device[M]),
                      floats(&s->device[V]), ema ? floats(&s->device[EMA]) : NULL, bf16 ? (uint16_t *)(void *)s->bf16.data : NULL);
}

static void compare(int64_t n, size_t shift, const kn_adamw_step *o, bool ema, bool bf16) {
  state_t s = state_make(n, shift);
  float *want[BUFFERS];
  double sum;
  int finite;

  for (int i = 0; i < BUFFERS; i++) want[i] = narrowed(s.host[i], (size_t)n);
  check_ok(kn_sumsq_f32_ref(want[G], n, &sum, &finite));
  const kn_norm norm = {sum, (float)sqrt(sum), finite};
  device_put(s.norm, &norm, sizeof norm);
  check_ok(kn_adamw_f32_ref(o, n, want[P], want[G], norm.norm, want[M], want[V], ema ? want[EMA] : NULL, NULL));
  check_ok(update(&s, o, ema, bf16));
  for (int i = 0; i < BUFFERS; i++) {
    double *wide = widened(want[i], (size_t)n);
    expect_buffer("adamw", &s.device[i], wide);
    free(wide);
    free(want[i]);
  }
  double *p = buffer_read("p", &s.device[P]), *copy = buffer_read("bf16", &s.bf16);
  for (int64_t i = 0; i < n; i++) assert_true(bf16 ? copy[i] == (double)bf16_to_f32(bf16_from_f32((float)p[i])) : isnan(copy[i]));
  free(p), free(copy);
  state_free(&s);
}

static void it_is_the_reference(void **state) {
  static const int64_t sizes[] = {1, 3, 4, 1023, 1025, 20001};

  (void)state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    device_last_thread_first(i % 2);
    compare(sizes[i], 0, &step, i % 2, i % 3);
    compare(sizes[i], 1, &step, true, true);
  }
}

static void every_rule(void **state) {
  kn_adamw_step o = step;

  (void)state;
  o.decoupled = false;
  compare(100, 0, &o, true, true);
  o.clip = 0;
  compare(100, 0, &o, true, true);
  o.clip = 1e9; /* never up */
  compare(100, 0, &o, true, true);
  o.beta1 = 0.3;
  compare(100, 0, &o, true, true);
}

static void the_norm_is_the_reference(void **state) {
  static const int64_t sizes[] = {1, 1025, (int64_t)1024 * 256 * 4 + 12345}; /* the last: more than one round of the grid */

  (void)state;
  for (int i = 0; i < 3; i++) {
    const int64_t n = sizes[i];
    double *values = random_f64(1, (size_t)n, -3, 3), sum;
    buffer g = buffer_make(KN_F32, values, (size_t)n, 0);
    float *host = narrowed(values, (size_t)n);
    kn_norm *device = device_alloc(sizeof *device);
    int finite;
    device_last_thread_first(i % 2);
    check_ok(kn_sumsq_f32_ref(host, n, &sum, &finite));
    const kn_norm got = norm_on_device(n, &g, NULL, device);
    assert_true(got.finite == 1 && fabs(got.sumsq - sum) <= 1e-12 * sum && got.norm == (float)sqrt(got.sumsq));
    free(values), free(host);
    buffer_free(&g);
    device_free(device);
  }
}

/* A NaN among gradients or losses: nothing changes. */
static void non_finite_changes_nothing(void **state) {
  (void)state;
  for (int in_losses = 0; in_losses < 2; in_losses++) {
    state_t s = state_make(100, 0);
    double losses[] = {1, 2, in_losses ? INFINITY : 3};
    buffer also = buffer_make(KN_F32, losses, 3, 0);
    if (!in_losses) {
      s.host[G][99] = NAN;
      buffer_free(&s.device[G]);
      s.device[G] = buffer_make(KN_F32, s.host[G], 100, 0);
    }
    const kn_norm norm = norm_on_device(100, &s.device[G], &also, s.norm);
    assert_true(norm.finite == 0);
    check_ok(update(&s, &step, true, true));
    for (int i = 0; i < BUFFERS; i++) {
      double *got = buffer_read("unchanged", &s.device[i]);
      if (i != G) assert_memory_equal(got, s.host[i], 100 * sizeof *got);
      free(got);
    }
    buffer_free(&also);
    state_free(&s);
  }
}

static void empty_and_bad_sizes(void **state) {
  kn_adamw_step o = step;
  kn_norm *device = device_alloc(sizeof *device);
  buffer none = buffer_make(KN_F32, NULL, 0, 0), off = buffer_make(KN_F32, NULL, 4, 1);

  (void)state;
  const kn_norm norm = norm_on_device(0, &none, NULL, device);
  assert_true(norm.finite == 1 && norm.sumsq == 0);
  check_ok(k->adamw_f32(NULL, &o, 0, NULL, NULL, device, NULL, NULL, NULL, NULL));
  check_fails(E_SHAPE, "n = -1", k->adamw_f32(NULL, &o, -1, NULL, NULL, device, NULL, NULL, NULL, NULL));
  check_fails(E_SHAPE, "not aligned", k->sumsq_f32(NULL, 4, floats(&off), NULL, 0, NULL, device));
  o.t = 0;
  check_fails(E_SHAPE, "update 0", k->adamw_f32(NULL, &o, 4, NULL, NULL, device, NULL, NULL, NULL, NULL));
  buffer_free(&none);
  buffer_free(&off);
  device_free(device);
}

static void run_update(void *ctx) { check_ok(update(ctx, &step, false, true)); }
static void run_norm(void *ctx) {
  const state_t *s = ctx;
  check_ok(k->sumsq_f32(NULL, s->n, floats(&s->device[G]), NULL, 0, s->bf16.data, s->norm));
}

static void rates(void **state) {
  (void)state;
  if (device_seconds(run_update, &(state_t){0}) == 0) return;
  state_t s = state_make(50 << 20, 0);
  norm_on_device(s.n, &s.device[G], NULL, s.norm);
  print_rate("adamw 52 M, bf16 copy", 30.0 * (double)s.n, run_update, &s);
  print_rate("sumsq 52 M", 4.0 * (double)s.n, run_norm, &s);
  state_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_is_the_reference),        cmocka_unit_test(every_rule),
      cmocka_unit_test(the_norm_is_the_reference),  cmocka_unit_test(non_finite_changes_nothing),
      cmocka_unit_test(empty_and_bad_sizes),        cmocka_unit_test(rates),
  };
  k = device_open();
  return k ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
