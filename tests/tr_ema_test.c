/* The running mean of the weights is diffusers' EMAModel: decay of each update, and the mean after six of them. */
#include "kernels/adamw.h"
#include "tests/support/golden.h"
#include "trainer/optimizer.h"

static void decay_of_an_update(void **state) {
  /* golden/manifest.json, sched/ema.safetensors, extra.plain: EMAModel(decay=0.9999).get_decay */
  static const struct { int64_t t; double decay; } table[] = {
      {0, 0}, {1, 0}, {2, 0.18181818181818182}, {3, 0.25}, {4, 0.3076923076923077}, {11, 0.55},
      {50, 0.847457627118644}, {100, 0.9174311926605505}, {1000, 0.9910802775024777}, {20000, 0.999550202408916}};

  (void)state;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    assert_true(fabs(tr_ema_decay(0.9999, table[i].t) - table[i].decay) < 1e-15);
  assert_true(tr_ema_decay(0.9, 1000) == 0.9);
}

/* The weights are those of the file before each update, which changes them by nothing: learning rate 0. */
static void mean_after_updates(void **state) {
  enum { N = 4, UPDATES = 6 };
  st_file *f = golden_open("sched/ema.safetensors");
  float *params = golden_f32(f, "params", NULL), *shadow = golden_f32(f, "shadow", NULL);
  float mean[N], g[N] = {0}, m[N] = {0}, v[N] = {0};

  (void)state;
  memcpy(mean, params, sizeof mean);
  for (int t = 1; t <= UPDATES; t++) {
    const kn_adamw_step s = {.lr = 0, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decoupled = true, .t = t,
                             .ema_decay = tr_ema_decay(0.9, t)};
    check_ok(kn_adamw_f32_ref(&s, N, params + (t - 1) * N, g, 0, m, v, mean, NULL));
    golden_near_f32("mean", mean, shadow + (t - 1) * N, N, 0, 1e-6);
  }
  free(params);
  free(shadow);
  st_close(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(decay_of_an_update), cmocka_unit_test(mean_after_updates)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
