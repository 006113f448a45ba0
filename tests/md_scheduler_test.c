/* The noise schedule against diffusers' tables, and the one-step estimate in its three parametrisations. */
#include "models/scheduler.h"

#include <stdio.h>

#include "tests/support/model_check.h"
#include "tests/support/tmpdir.h"

#define ALPHAS_REL 1e-6 /* golden/manifest.json, sched/tables */
#define TMP_TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

static md_schedule *read_text(void **state, const char *text) {
  static md_schedule s;
  check_ok(io_write_file(tmpdir_at(state, "scheduler_config.json"), text, strlen(text)));
  check_ok(md_schedule_read(*state, &s));
  return &s;
}

#define SD2 "\"num_train_timesteps\": 1000, \"beta_start\": 0.00085, \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\""

/* Relative to each value, not to the largest. */
static void check_table(const md_schedule *s, const st_file *g, const char *key) {
  size_t n;
  float *want = golden_f32(g, key, &n);
  int same = 0;
  assert_int_equal(n, s->train_steps);
  for (size_t i = 0; i < n; i++) {
    same += s->alphas_cumprod[i] == want[i];
    if (!(fabs((double)s->alphas_cumprod[i] - want[i]) <= ALPHAS_REL * fabs(want[i])))
      fail_msg("%s[%zu] is %.9g, not %.9g", key, i, s->alphas_cumprod[i], want[i]);
  }
  print_message("%s: %d of %zu bit-equal\n", key, same, n);
  free(want);
}

static void test_golden_tables(void **state) {
  st_file *g = golden_open("sched/tables.safetensors");
  check_table(read_text(state, "{" SD2 "}"), g, "base.alphas_cumprod");
  const md_schedule *s = read_text(state, "{" SD2 ", \"rescale_betas_zero_snr\": true, \"timestep_spacing\": \"trailing\"}");
  assert_true(s->zero_snr && s->alphas_cumprod[999] == 0);
  assert_string_equal(s->spacing, "trailing");
  check_table(s, g, "zero_snr.alphas_cumprod");
  st_close(&g);
}

/* First and last of diffusers' DDIMScheduler(...).alphas_cumprod. */
static void test_other_schedules(void **state) {
  const md_schedule *s = read_text(state,
      "{\"num_train_timesteps\": 1000, \"beta_start\": 0.0001, \"beta_end\": 0.02, \"beta_schedule\": \"linear\"}");
  assert_true(fabs(s->alphas_cumprod[0] - 0.9999) < 1e-6 && fabs(s->alphas_cumprod[999] / 4.035830352e-05 - 1) < 1e-5);
  s = read_text(state, "{\"num_train_timesteps\": 100, \"beta_schedule\": \"squaredcos_cap_v2\", \"prediction_type\": \"sample\"}");
  assert_true(s->prediction == MD_SAMPLE && fabs(s->alphas_cumprod[0] - 0.9993687868) < 1e-6);
  assert_true(fabs(s->alphas_cumprod[99] / 2.428652678e-07 - 1) < 1e-4);
  s = read_text(state, "{\"num_train_timesteps\": 3, \"trained_betas\": [0.5, 0.25, 0]}");
  assert_true(s->alphas_cumprod[0] == 0.5f && s->alphas_cumprod[1] == 0.375f && s->alphas_cumprod[2] == 0.375f);
  s = read_text(state, "{\"num_train_timesteps\": 1, \"beta_start\": 0.1, \"beta_end\": 0.2, \"beta_schedule\": \"linear\"}");
  assert_true(fabsf(s->alphas_cumprod[0] - 0.9f) < 1e-6);
}

static float x0_of(const md_schedule *s, int t, const float *x, float out_value) {
  tchc_scope *scope = NULL;
  tchc_tensor *out, *noisy = NULL, *x0;
  float got;
  check_ok(tchc_scope_open(&scope));
  out = from_floats(&out_value, DIMS(1));
  if (x) noisy = from_floats(x, DIMS(1));
  check_ok(md_schedule_x0(s, t, noisy, out, &x0));
  to_floats(x0, &got, 1);
  tchc_scope_close(&scope);
  return got;
}

static void check_value(float got, double want) {
  if (!(fabs(got - want) <= 1e-6 * fabs(want))) fail_msg("%.9g, not %.9g", got, want);
}

static void test_estimates(void **state) {
  static const char *const kinds[] = {"v_prediction", "epsilon", "sample"};
  const float x = 0.75f, out = -1.25f;
  for (int k = 0; k < 3; k++) {
    char text[512];
    snprintf(text, sizeof text, "{" SD2 ", \"prediction_type\": \"%s\"}", kinds[k]);
    const md_schedule *s = read_text(state, text);
    for (int t = 0; t < 1000; t += 333) {
      const double a = s->alphas_cumprod[t], b = 1 - a;
      const double with[] = {sqrt(a) * x - sqrt(b) * out, (x - sqrt(b) * out) / sqrt(a), out};
      const double without[] = {-sqrt(b) * out, -sqrt(b) * out / sqrt(a), out};
      check_value(x0_of(s, t, &x, out), with[k]);
      check_value(x0_of(s, t, NULL, out), without[k]);
    }
  }
}

static void test_bf16_output_gives_f32(void **state) {
  const md_schedule *s = read_text(state, "{" SD2 ", \"prediction_type\": \"v_prediction\"}");
  tchc_scope *scope = NULL;
  tchc_tensor *out, *x0;
  check_ok(tchc_scope_open(&scope));
  check_ok(tchc_full(DIMS(2, 3), 3, TCHC_BF16, TCHC_CPU_DEVICE, &out));
  check_ok(md_schedule_x0(s, 999, out, out, &x0));
  assert_int_equal(tchc_type(x0), TCHC_F32);
  tchc_scope_close(&scope);
}

static void test_bad_estimates(void **state) {
  static md_schedule one;
  const char text[] = "{\"num_train_timesteps\": 1, \"trained_betas\": [0.5], \"rescale_betas_zero_snr\": true}";
  const md_schedule *s = read_text(state, "{" SD2 ", \"rescale_betas_zero_snr\": true}");
  tchc_scope *scope = NULL;
  tchc_tensor *out, *x0;
  check_ok(io_write_file(tmpdir_at(state, "scheduler_config.json"), text, strlen(text)));
  check_fails(E_CKPT, "rescale_betas_zero_snr", md_schedule_read(*state, &one));
  check_ok(tchc_scope_open(&scope));
  check_ok(tchc_full(DIMS(1), 1, TCHC_F32, TCHC_CPU_DEVICE, &out));
  check_fails(E_SHAPE, "timestep: wanted 0 to 999, found 1000", md_schedule_x0(s, 1000, NULL, out, &x0));
  check_fails(E_SHAPE, "timestep: wanted 0 to 999, found -1", md_schedule_x0(s, -1, NULL, out, &x0));
  check_fails(E_CKPT, "prediction_type epsilon says nothing", md_schedule_x0(s, 999, NULL, out, &x0));
  check_ok(md_schedule_x0(s, 998, NULL, out, &x0));
  tchc_scope_close(&scope);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TMP_TEST(test_golden_tables), TMP_TEST(test_other_schedules), TMP_TEST(test_estimates),
      TMP_TEST(test_bf16_output_gives_f32), TMP_TEST(test_bad_estimates)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
