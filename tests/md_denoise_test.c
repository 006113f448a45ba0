/* Timesteps and denoising loops against diffusers', both ends of the last step, and what is refused. */
#include "models/denoise.h"

#include "tests/support/model_check.h"
#include "tests/support/tmpdir.h"

#define LATENT_REL_PER_STEP 1e-4 /* golden/manifest.json, sched/denoise */

static md_schedule *schedule(void) {
  static md_schedule s;
  check_ok(md_schedule_read(TEST_DATA "/golden/models/tiny-marigold/scheduler", &s));
  return &s;
}

/* zero SNR has square roots of a table: the file says how. */
static md_schedule *zero_snr(void **state) {
  static md_schedule s;
  const char text[] = "{\"num_train_timesteps\": 1000, \"beta_start\": 0.00085, \"beta_end\": 0.012, \"beta_schedule\": "
                      "\"scaled_linear\", \"prediction_type\": \"v_prediction\", \"rescale_betas_zero_snr\": true, "
                      "\"set_alpha_to_one\": false, \"steps_offset\": 1}";
  tmpdir_put(tmpdir_at(state, "scheduler_config.json"), text, strlen(text));
  check_ok(md_schedule_read(*state, &s));
  return &s;
}

static void check_timesteps(const st_file *g, const char *key, const int *got, int n) {
  size_t count;
  double *want = golden_f64(g, key, &count);

  assert_int_equal(count, n);
  for (int i = 0; i < n; i++)
    if (got[i] != (int)want[i]) fail_msg("%s: step %d at %d, wanted %d", key, i, got[i], (int)want[i]);
  free(want);
}

static void timesteps_are_diffusers(void **state) {
  static const char *const names[] = {"trailing", "leading", "linspace"};
  static const int steps[] = {1, 2, 3, 4, 5, 10, 20, 50};
  st_file *g = golden_open("sched/tables.safetensors");
  int got[50];
  char key[64];

  (void)state;
  for (int s = 0; s < 3; s++)
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
      check_ok(md_timesteps(schedule(), MD_DDIM, (md_spacing)s, steps[i], got));
      snprintf(key, sizeof key, "ddim.%s.%d", names[s], steps[i]);
      check_timesteps(g, key, got, steps[i]);
    }
  for (int i = 0; i < 6; i++) {
    if (steps[i] == 5) continue;
    check_ok(md_timesteps(schedule(), MD_LCM, MD_TRAILING, steps[i], got));
    snprintf(key, sizeof key, "lcm.leading.%d", steps[i]);
    check_timesteps(g, key, got, steps[i]);
  }
  st_close(&g);
}

/* Every number of steps ends where the schedule does, falls, and none is left out. */
static void any_number_of_steps(void **state) {
  static int got[1000];

  (void)state;
  for (int n = 1; n <= 1000; n++) {
    check_ok(md_timesteps(schedule(), MD_DDIM, MD_TRAILING, n, got));
    assert_int_equal(got[0], 999);
    for (int i = 1; i < n; i++) assert_true(got[i] < got[i - 1]);
    assert_true(got[n - 1] >= 0);
  }
}

static void wrong_numbers_of_steps(void **state) {
  static int got[2000];

  (void)state;
  check_fails(E_CONFIG, "wanted 1 to 1000", md_timesteps(schedule(), MD_DDIM, MD_TRAILING, 0, got));
  check_fails(E_CONFIG, "found 1001", md_timesteps(schedule(), MD_DDIM, MD_TRAILING, 1001, got));
  check_fails(E_CONFIG, "steps_offset 1", md_timesteps(schedule(), MD_DDIM, MD_LEADING, 1000, got));
  check_fails(E_CONFIG, "LCM", md_timesteps(schedule(), MD_LCM, MD_TRAILING, 51, got));
}

typedef struct loop {
  const char *name;
  md_sampler sampler;
  md_spacing spacing;
  int steps;
} loop;
static const loop loops[] = {
    {"ddim_trailing_4", MD_DDIM, MD_TRAILING, 4},          {"ddim_leading_4", MD_DDIM, MD_LEADING, 4},
    {"ddim_linspace_4", MD_DDIM, MD_LINSPACE, 4},          {"ddim_trailing_1", MD_DDIM, MD_TRAILING, 1},
    {"ddim_leading_1", MD_DDIM, MD_LEADING, 1},            {"ddim_leading_10", MD_DDIM, MD_LEADING, 10},
    {"ddim_trailing_zero_snr_3", MD_DDIM, MD_TRAILING, 3}, {"ddim_trailing_epsilon_3", MD_DDIM, MD_TRAILING, 3},
    {"lcm_4", MD_LCM, MD_TRAILING, 4},                     {"lcm_1", MD_LCM, MD_TRAILING, 1}};
enum { LOOPS = sizeof loops / sizeof *loops, MOST = 10 };

static const md_schedule *schedule_of(void **state, const loop *l) {
  if (strstr(l->name, "zero_snr")) return zero_snr(state);
  md_schedule *s = schedule();
  if (strstr(l->name, "epsilon")) s->prediction = MD_EPSILON;
  return s;
}

static const char *key_of(const loop *l, const char *fmt, int i) {
  static char key[96];
  const int n = snprintf(key, sizeof key, "%s.", l->name);
  snprintf(key + n, sizeof key - (size_t)n, fmt, i);
  return key;
}

/* One step of the golden network's output from the golden latent: prev and x0. */
static void check_step(const md_schedule *s, const st_file *g, const loop *l, const int *t, int i) {
  tchc_scope *scope = NULL;
  tchc_tensor *x, *out, *x0, *prev;
  const bool last = i + 1 == l->steps;

  check_ok(tchc_scope_open(&scope));
  x = golden_tensor(g, i ? key_of(l, "%d.prev", i - 1) : "latent");
  out = golden_tensor(g, key_of(l, "%d.model_out", i));
  if (l->sampler == MD_DDIM) check_ok(md_ddim_step(s, t[i], l->steps, x, out, &x0, &prev));
  else
    check_ok(md_lcm_step(s, t[i], last ? t[i] : t[i + 1], x, out, last ? NULL : golden_tensor(g, key_of(l, "noise%d", i)), &x0, &prev));
  golden_tensor_near(x0, g, key_of(l, "%d.x0", i), 1e-6);
  golden_tensor_near(prev, g, key_of(l, "%d.prev", i), 1e-6);
  tchc_scope_close(&scope);
}

static void single_steps_are_diffusers(void **state) {
  st_file *g = golden_open("sched/denoise.safetensors");
  int t[MOST];

  for (int l = 0; l < LOOPS; l++) {
    const md_schedule *s = schedule_of(state, &loops[l]);
    check_ok(md_timesteps(s, loops[l].sampler, loops[l].spacing, loops[l].steps, t));
    check_timesteps(g, key_of(&loops[l], "timesteps", 0), t, loops[l].steps);
    for (int i = 0; i < loops[l].steps; i++) check_step(s, g, &loops[l], t, i);
  }
  st_close(&g);
}

typedef struct stored_noise { const st_file *g; const loop *l; } stored_noise;

static int step_noise(void *ctx, int i, const tchc_tensor *x, tchc_tensor **noise) {
  const stored_noise *n = ctx;
  (void)x;
  *noise = golden_tensor(n->g, key_of(n->l, "noise%d", i));
  return OK;
}

static void whole_loops_are_diffusers(void **state) {
  st_file *g = golden_open("sched/denoise.safetensors");
  unet_model m = unet_open(TEST_DATA "/golden/models/tiny-marigold/unet", TCHC_F32);
  int t[MOST];

  for (int l = 0; l < LOOPS; l++) {
    tchc_scope *scope = NULL;
    tchc_tensor *rgb, *x, *got;
    stored_noise n = {g, &loops[l]};
    const int steps = loops[l].steps;
    check_ok(tchc_scope_open(&scope));
    md_denoiser d = {.unet = m.net, .schedule = schedule_of(state, &loops[l]), .text = golden_tensor(g, "text"),
                     .sampler = loops[l].sampler, .timesteps = t, .steps = steps, .step_noise = step_noise, .ctx = &n};
    rgb = golden_tensor(g, "rgb_latent");
    x = golden_tensor(g, "latent");
    check_ok(md_timesteps(d.schedule, d.sampler, loops[l].spacing, steps, t));
    check_ok(md_denoise(&d, rgb, x, &got));
    golden_tensor_near(got, g, key_of(&loops[l], "%d.prev", steps - 1), steps * LATENT_REL_PER_STEP);
    d.clean_end = true;
    check_ok(md_denoise(&d, rgb, x, &got));
    golden_tensor_near(got, g, key_of(&loops[l], "%d.x0", steps - 1), steps * LATENT_REL_PER_STEP);
    tchc_scope_close(&scope);
  }
  unet_close(&m);
  st_close(&g);
}

/* sample: x0 is the output, and the noise is what is left of x; one value by hand. */
static void sample_prediction(void **state) {
  const float x = 0.5f, out = 0.25f;
  md_schedule *s = schedule();
  tchc_scope *scope = NULL;
  tchc_tensor *prev, *x0;
  float got[2];

  (void)state;
  s->prediction = MD_SAMPLE;
  const double a = s->alphas_cumprod[999], b = s->alphas_cumprod[749];
  check_ok(tchc_scope_open(&scope));
  check_ok(md_ddim_step(s, 999, 4, from_floats(&x, DIMS(1)), from_floats(&out, DIMS(1)), &x0, &prev));
  to_floats(x0, &got[0], 1);
  to_floats(prev, &got[1], 1);
  assert_true(got[0] == out);
  assert_true(fabs(got[1] - (sqrt(b) * out + sqrt(1 - b) * (x - sqrt(a) * out) / sqrt(1 - a))) < 1e-6);
  tchc_scope_close(&scope);
}

/* At timestep 0 LCM's boundary condition holds: what comes out is what went in. Half-way there, one value by hand. */
static void lcm_boundary(void **state) {
  const float x = 0.5f, out = 0.25f;
  md_schedule *s = schedule();
  tchc_scope *scope = NULL;
  tchc_tensor *clean;
  float got;

  (void)state;
  s->prediction = MD_SAMPLE;
  s->timestep_scaling = 0.1;
  check_ok(tchc_scope_open(&scope));
  for (int t = 0; t < 10; t += 5) {
    const double at = 0.1 * t, sum = at * at + 0.25;
    check_ok(md_lcm_step(s, t, t, from_floats(&x, DIMS(1)), from_floats(&out, DIMS(1)), NULL, &clean, NULL));
    to_floats(clean, &got, 1);
    assert_true(fabs(got - (at / sqrt(sum) * out + 0.25 / sum * x)) < 1e-6);
  }
  tchc_scope_close(&scope);
}

static void no_handle_stays(void **state) {
  const int64_t before = tchc_live();
  single_steps_are_diffusers(state);
  assert_int_equal(tchc_live(), before);
}

#define TMP_TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(timesteps_are_diffusers), cmocka_unit_test(any_number_of_steps), cmocka_unit_test(wrong_numbers_of_steps),
      TMP_TEST(single_steps_are_diffusers),      TMP_TEST(whole_loops_are_diffusers),   cmocka_unit_test(sample_prediction),
      cmocka_unit_test(lcm_boundary),            TMP_TEST(no_handle_stays)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
