/* Sources: diffusers scheduling_ddim.py (betas, rescale_zero_terminal_snr), training/train.py of the reference (the
 * estimate of x0). */
#include "models/scheduler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/json.h"

/* Of how the various schedulers step, which a single step to x0 never does; shapes of noise and of samplers. */
static const char *const without_effect[] = {
    "algorithm_type", "clip_sample_range", "disable_corrector", "dynamic_thresholding_ratio", "euler_at_final",
    "final_sigmas_type", "flow_shift", "interpolation_type", "lambda_min_clipped", "lower_order_final",
    "predict_x0", "rho", "sample_max_value", "shift_terminal", "sigma_data", "sigma_max",
    "sigma_min", "sigma_schedule", "skip_prk_steps", "solver_order", "solver_p", "solver_type", "time_shift_type",
    "timestep_type", "use_beta_sigmas", "use_dynamic_shifting", "use_exponential_sigmas",
    "use_karras_sigmas", "use_lu_lambdas", "variance_type", NULL};
static const md_json_off unsupported[] = {
    {"clip_sample", "false", NULL}, {"thresholding", "false", NULL}, {"use_flow_sigmas", "false", NULL}};

/* torch.linspace in f32: from both ends to the middle, with fused multiply-adds as its compiled kernels have. */
static void linspace(double from, double to, int n, float *out) {
  const float a = (float)from, b = (float)to, step = n > 1 ? (b - a) / (float)(n - 1) : 0;
  for (int i = 0; i < n; i++)
    out[i] = i < n / 2 || n == 1 ? fmaf(step, (float)i, a) : fmaf(-step, (float)(n - 1 - i), b);
}

/* torch.cumprod of 1 - beta: products in f64, rounded to f32 at every step. */
static void cumprod_alphas(const float *betas, int n, float *out) {
  double product = 1;
  for (int i = 0; i < n; i++) {
    product *= (double)(1.0f - betas[i]);
    out[i] = (float)product;
  }
}

static double alpha_bar_cosine(double t) { return pow(cos((t + 0.008) / 1.008 * 3.14159265358979323846 / 2), 2); }

static void cosine_betas(int n, float *betas) {
  for (int i = 0; i < n; i++) {
    const double beta = 1 - alpha_bar_cosine((double)(i + 1) / n) / alpha_bar_cosine((double)i / n);
    betas[i] = (float)(beta < 0.999 ? beta : 0.999);
  }
}

/* Square roots as torch takes them: its vector library rounds some one bit off, which the differences below magnify. */
static int torch_sqrt(float *x, int n) {
  int st = OK;
  tchc_tensor *t = NULL, *root = NULL;
  TRY(tchc_from_blob(x, (int64_t[]){n}, 1, TCHC_F32, NULL, NULL, &t));
  TRY(tchc_sqrt(t, &root));
  TRY(tchc_to_host(root, x, (size_t)n * sizeof *x));
out:
  tchc_free(&t);
  tchc_free(&root);
  return st;
}

/* Betas whose last alphas_cumprod is 0 and whose first stays; bars: n floats of scratch. */
static int rescale_zero_terminal_snr(float *betas, int n, float *bars) {
  int st = OK;
  cumprod_alphas(betas, n, bars);
  TRY(torch_sqrt(bars, n));
  const float first = bars[0], last = bars[n - 1], scale = first / (first - last);
  NEED(first > last, E_CKPT, "rescale_betas_zero_snr: the schedule does not fall over its %d steps", n);
  for (int i = 0; i < n; i++) {
    const float root = (bars[i] - last) * scale;
    bars[i] = root * root;
  }
  betas[0] = 1.0f - bars[0];
  for (int i = 1; i < n; i++) betas[i] = 1.0f - bars[i] / bars[i - 1];
out:
  return st;
}

static int read_trained_betas(md_json *j, const json_t *list, int n, float *betas) {
  bool ok = json_is_array(list) && json_array_size(list) == (size_t)n;
  for (int i = 0; ok && i < n; i++) {
    const json_t *v = json_array_get(list, (size_t)i);
    betas[i] = (float)json_number_value(v);
    ok = json_is_number(v) && betas[i] >= 0 && betas[i] < 1;
  }
  return ok ? OK : md_json_wrong(j, "trained_betas", "null or a list of %d numbers in [0,1)", n);
}

static int read_betas(md_json *j, int n, float *betas) {
  enum { LINEAR, SCALED_LINEAR, COSINE };
  static const char *const kinds[] = {"linear", "scaled_linear", "squaredcos_cap_v2", NULL};
  int st = OK, kind;
  double start, end;
  const json_t *trained = md_json_get(j, "trained_betas");

  if (trained && !json_is_null(trained)) {
    md_json_pass(j, (const char *const[]){"beta_schedule", "beta_start", "beta_end", NULL});
    return read_trained_betas(j, trained, n, betas);
  }
  TRY(md_json_choice(j, "beta_schedule", -1, kinds, &kind));
  TRY(md_json_real(j, "beta_start", kind == COSINE ? 0.0001 : MD_NEEDED_F, 1e-12, 0.999, &start));
  TRY(md_json_real(j, "beta_end", kind == COSINE ? 0.02 : MD_NEEDED_F, 1e-12, 0.999, &end));
  if (kind == LINEAR) linspace(start, end, n, betas);
  if (kind == COSINE) cosine_betas(n, betas);
  if (kind == SCALED_LINEAR) {
    linspace(sqrt(start), sqrt(end), n, betas);
    for (int i = 0; i < n; i++) betas[i] *= betas[i];
  }
out:
  return st;
}

static int read_keys(md_json *j, md_schedule *s, float *betas) {
  static const char *const predictions[] = {"epsilon", "v_prediction", "sample", NULL};
  static const md_prediction kinds[] = {MD_EPSILON, MD_V_PREDICTION, MD_SAMPLE};
  static const char *const spacings[] = {"leading", "trailing", "linspace", NULL};
  int st = OK, prediction, spacing;

  TRY(md_json_int(j, "num_train_timesteps", MD_NEEDED, 1, MD_MAX_TRAIN_STEPS, &s->train_steps));
  TRY(md_json_choice(j, "prediction_type", 0, predictions, &prediction));
  s->prediction = kinds[prediction];
  TRY(md_json_choice(j, "timestep_spacing", 0, spacings, &spacing));
  snprintf(s->spacing, sizeof s->spacing, "%s", spacings[spacing]);
  TRY(md_json_int(j, "steps_offset", 0, 0, MD_MAX_TRAIN_STEPS, &s->steps_offset));
  TRY(md_json_bool(j, "set_alpha_to_one", true, &s->set_alpha_to_one));
  TRY(md_json_bool(j, "rescale_betas_zero_snr", false, &s->zero_snr));
  TRY(md_json_int(j, "original_inference_steps", 50, 1, MD_MAX_TRAIN_STEPS, &s->original_inference_steps));
  TRY(md_json_real(j, "timestep_scaling", 10, 0, 1e9, &s->timestep_scaling));
  TRY(md_json_want_off(j, unsupported, sizeof unsupported / sizeof *unsupported));
  TRY(read_betas(j, s->train_steps, betas));
  md_json_pass(j, without_effect);
  TRY(md_json_finish(j));
out:
  return st;
}

int md_schedule_read(const char *dir, md_schedule *out) {
  int st = OK;
  md_json j = {.root = NULL};
  md_schedule *s = calloc(1, sizeof *s);
  float *betas = malloc(MD_MAX_TRAIN_STEPS * sizeof *betas);

  NEED(s && betas, E_NOMEM, "%s: scheduler", dir);
  TRY(md_json_open("scheduler configuration", dir, "scheduler_config.json", 0, &j));
  TRY(read_keys(&j, s, betas));
  if (s->zero_snr) TRY(rescale_zero_terminal_snr(betas, s->train_steps, s->alphas_cumprod));
  cumprod_alphas(betas, s->train_steps, s->alphas_cumprod);
  *out = *s;
out:
  md_json_close(&j);
  free(betas);
  free(s);
  return st;
}

/* scale * t in f32 */
static int scaled(const tchc_tensor *t, float scale, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *wide = NULL;
  TRY(tchc_to_type(t, TCHC_F32, &wide));
  TRY(tchc_affine(wide, scale, 0, out));
out:
  tchc_free(&wide);
  return st;
}

int md_schedule_x0(const md_schedule *s, int t, const tchc_tensor *x, const tchc_tensor *out, tchc_tensor **x0) {
  int st = OK;
  tchc_scope *scope = NULL;
  tchc_tensor *clean = NULL, *known = NULL, *sum = NULL;

  TRY(tchc_scope_open(&scope));
  NEED(t >= 0 && t < s->train_steps, E_SHAPE, "timestep: wanted 0 to %d, found %d", s->train_steps - 1, t);
  const float a = s->alphas_cumprod[t], signal = sqrtf(a), noise = sqrtf(1.0f - a);
  NEED(a > 0 || s->prediction != MD_EPSILON, E_CKPT,
       "prediction_type epsilon says nothing of the clean latent at timestep %d, where alphas_cumprod is 0", t);
  switch (s->prediction) {
  case MD_SAMPLE: TRY(tchc_to_type(out, TCHC_F32, &clean)); break;
  case MD_V_PREDICTION:
    TRY(scaled(out, -noise, &clean));
    if (x) TRY(scaled(x, signal, &known));
    break;
  case MD_EPSILON:
    TRY(scaled(out, -noise / signal, &clean));
    if (x) TRY(scaled(x, 1 / signal, &known));
    break;
  }
  if (known) {
    TRY(tchc_add(known, clean, 1, &sum));
    clean = sum;
  }
  tchc_promote(clean);
  *x0 = clean;
out:
  tchc_scope_close(&scope);
  return st;
}
