/* tests/kn_adamw_test.c: the update against torch's optimizers (tests/data/adamw.safetensors, made by make_adamw.py),
 * the gradient norm against itself on other thread counts. */
#include <math.h>
#include <omp.h>
#include <stdio.h>

#include "base/half.h"
#include "base/io.h"
#include "kernels/adamw.h"
#include "tests/support/golden.h"
#include "tests/support/pixels.h"

enum { STEPS = 20, N = 33 };
static const char *const recorded[] = {"p", "m", "v", "ema"};

typedef struct trace {
  double options[8], lr[STEPS]; /* lr, beta1, beta2, eps, weight_decay, decoupled, clip, ema_decay */
  float p0[N], g[STEPS][N], norm[STEPS], want[4][STEPS][N];
  uint16_t bf16[STEPS][N];
} trace;

static void read_into(const st_file *f, const char *name, const char *what, void *out, size_t nbytes) {
  char key[64];

  snprintf(key, sizeof key, "%s.%s", name, what);
  const st_tensor *t = golden_find(f, key);
  assert_int_equal(t->nbytes, nbytes);
  memcpy(out, t->data, nbytes);
}

static trace *trace_load(const char *name) {
  st_file *f = NULL;
  trace *t = calloc(1, sizeof *t);

  assert_non_null(t);
  check_ok(st_open(TEST_DATA "/adamw.safetensors", &f));
  read_into(f, name, "options", t->options, sizeof t->options);
  read_into(f, name, "lr", t->lr, sizeof t->lr);
  read_into(f, name, "p0", t->p0, sizeof t->p0);
  read_into(f, name, "g", t->g, sizeof t->g);
  read_into(f, name, "norm", t->norm, sizeof t->norm);
  read_into(f, name, "bf16", t->bf16, sizeof t->bf16);
  for (int k = 0; k < 4; k++) read_into(f, name, recorded[k], t->want[k], sizeof t->want[k]);
  st_close(&f);
  return t;
}

static kn_adamw_step step_of(const trace *t, int s) {
  const double *o = t->options;

  return (kn_adamw_step){.lr = t->lr[s], .beta1 = o[1], .beta2 = o[2], .eps = o[3], .weight_decay = o[4],
                         .decoupled = o[5] != 0, .t = s + 1, .clip = o[6], .ema_decay = o[7]};
}

/* Each number within a few ulp of the largest that it has been. */
static void expect_close(const char *what, int s, const float *got, const float *want, float *top) {
  for (int i = 0; i < N; i++) {
    top[i] = fmaxf(top[i], fabsf(want[i]));
    if (!(fabsf(got[i] - want[i]) <= 6e-7f * top[i]))
      fail_msg("update %d: %s[%d] is %.9g, torch's %.9g", s + 1, what, i, (double)got[i], (double)want[i]);
  }
}

static void follow(const char *name) {
  trace *t = trace_load(name);
  float p[N], m[N] = {0}, v[N] = {0}, ema[N], top[4][N] = {{0}};
  float *const got[4] = {p, m, v, ema};
  uint16_t bf16[N];

  memcpy(p, t->p0, sizeof p);
  memcpy(ema, t->p0, sizeof ema);
  for (int s = 0; s < STEPS; s++) {
    const kn_adamw_step o = step_of(t, s);
    double sum;
    int finite;
    check_ok(kn_sumsq_f32_ref(t->g[s], N, &sum, &finite));
    assert_true(finite && fabs(sqrt(sum) / t->norm[s] - 1) < 3e-7);
    check_ok(kn_adamw_f32_ref(&o, N, p, t->g[s], sqrt(sum), m, v, ema, bf16));
    for (int k = 0; k < 4; k++) expect_close(recorded[k], s, got[k], t->want[k][s], top[k]);
    for (int i = 0; i < N; i++) assert_true(bf16[i] == bf16_from_f32(p[i]));
  }
  free(t);
}

static void adamw_follows_torch(void **state) { (void)state, follow("adamw"); }
static void without_clipping_it_follows_torch(void **state) { (void)state, follow("noclip"); }
static void adam_follows_torch(void **state) { (void)state, follow("adam"); }

static void the_first_update_at_rate_0_moves_only_moments(void **state) {
  const kn_adamw_step o = {.lr = 0, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-2, .decoupled = true, .t = 1};
  float p[3] = {1, -2, 3}, m[3] = {0}, v[3] = {0};

  (void)state;
  check_ok(kn_adamw_f32_ref(&o, 3, p, (float[]){1, 2, -3}, 0, m, v, NULL, NULL));
  assert_true(p[0] == 1 && p[1] == -2 && p[2] == 3 && m[1] > 0 && v[1] > 0);
}

/* The norm scales as torch.nn.utils.clip_grad_norm_: never up. */
static void clipping_scales_down_only(void **state) {
  kn_adamw_step o = {.lr = 0, .beta1 = 0, .beta2 = 0.999, .eps = 1e-8, .t = 1, .clip = 2};
  float p[1] = {0}, m[1] = {0}, v[1] = {0};

  (void)state;
  check_ok(kn_adamw_f32_ref(&o, 1, p, (float[]){8}, 8, m, v, NULL, NULL));
  assert_true(fabsf(m[0] - 2) < 1e-5f);
  m[0] = 0;
  check_ok(kn_adamw_f32_ref(&o, 1, p, (float[]){0.5f}, 0.5, m, v, NULL, NULL));
  assert_true(m[0] == 0.5f);
  o.clip = 1e-6;
  m[0] = 0;
  check_ok(kn_adamw_f32_ref(&o, 1, p, (float[]){1e-6f}, 1e-6, m, v, NULL, NULL));
  assert_true(fabsf(m[0] / 0.5e-6f - 1) < 1e-6f); /* the norm's + 1e-6 */
}

static void the_norm_is_the_same_on_any_threads(void **state) {
  static const int64_t sizes[] = {0, 1, 7, 1023, 1025, 100003};

  (void)state;
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    const int64_t n = sizes[k];
    double *wide = random_f64(k, (size_t)n, -3, 3), sum[2], plain = 0;
    float *g = narrowed(wide, (size_t)n);
    int finite[2];
    for (int64_t i = 0; i < n; i++) plain += (double)g[i] * g[i];
    for (int i = 0; i < 2; i++) {
      omp_set_num_threads(i == 0 ? 1 : 3);
      check_ok(kn_sumsq_f32_ref(g, n, &sum[i], &finite[i]));
    }
    assert_true(finite[0] == 1 && finite[1] == 1 && fabs(sum[0] - plain) <= 1e-12 * plain);
    assert_memory_equal(&sum[0], &sum[1], sizeof sum[0]);
    free(wide);
    free(g);
  }
}

static void a_non_finite_gradient_is_reported(void **state) {
  static const float bad[] = {NAN, INFINITY, -INFINITY};
  float g[1031];
  double sum;
  int finite;

  (void)state;
  for (int i = 0; i < 1031; i++) g[i] = 3e38f; /* large is not infinite */
  check_ok(kn_sumsq_f32_ref(g, 1031, &sum, &finite));
  assert_true(finite == 1);
  for (int k = 0; k < 3; k++) {
    g[1030 - 500 * k] = bad[k];
    check_ok(kn_sumsq_f32_ref(g, 1031, &sum, &finite));
    assert_true(finite == 0);
    g[1030 - 500 * k] = 1;
  }
}

static void bad_sizes(void **state) {
  kn_adamw_step o = {.t = 0};
  double sum;
  int finite;

  (void)state;
  check_fails(E_SHAPE, "update 0", kn_adamw_f32_ref(&o, 1, NULL, NULL, 0, NULL, NULL, NULL, NULL));
  o.t = 1;
  check_fails(E_SHAPE, "n = -1", kn_adamw_f32_ref(&o, -1, NULL, NULL, 0, NULL, NULL, NULL, NULL));
  check_ok(kn_adamw_f32_ref(&o, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL));
  check_fails(E_SHAPE, "n = -1", kn_sumsq_f32_ref(NULL, -1, &sum, &finite));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adamw_follows_torch),
      cmocka_unit_test(without_clipping_it_follows_torch),
      cmocka_unit_test(adam_follows_torch),
      cmocka_unit_test(the_first_update_at_rate_0_moves_only_moments),
      cmocka_unit_test(clipping_scales_down_only),
      cmocka_unit_test(the_norm_is_the_same_on_any_threads),
      cmocka_unit_test(a_non_finite_gradient_is_reported),
      cmocka_unit_test(bad_sizes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
