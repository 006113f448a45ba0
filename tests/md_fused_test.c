/* The fused networks beside the plain ones, outputs and gradients: with each kernel's C reference, with the CUDA kernels
 * run thread by thread on the CPU, in f32 and bf16, at odd sizes, and with blocks that run again in backward. */
#include "kernels/host.h"
#include "tests/support/device.h"
#include "tests/support/model_check.h"
#include "tests/support/pixels.h"

static const char *const models[] = {TEST_DATA "/golden/models/tiny-sd2", TEST_DATA "/golden/models/tiny-marigold",
                                     TEST_DATA "/variants/layers", TEST_DATA "/variants/sd1"};
enum { MODELS = sizeof models / sizeof *models };

/* One way to run a network. */
typedef struct way {
  const char *name;
  const kn_cuda *kernels; /* NULL: plain */
  tchc_dtype type;
  bool recompute;
} way;

/* What came out, as floats; grads in the order and layout of the plain parameters. */
typedef struct result {
  float *out, *dx, *grads;
  int64_t n_out, n_dx;
  md_params *names;
} result;

static void result_free(result *r) {
  free(r->out);
  free(r->dx);
  free(r->grads);
  md_params_destroy(&r->names);
}

static float *floats_of(const tchc_tensor *t) {
  tchc_tensor *row_major = NULL;
  float *out = malloc((size_t)tchc_numel(t) * sizeof *out + 1);

  check_ok(tchc_to(t, TCHC_F32, TCHC_CPU_DEVICE, TCHC_CONTIGUOUS, &row_major));
  check_ok(tchc_to_host(row_major, out, (size_t)tchc_numel(t) * sizeof *out));
  tchc_free(&row_major);
  return out;
}

static tchc_tensor *noise(uint64_t seed, int ndim, const int64_t *shape) {
  size_t n = 1;
  tchc_tensor *t = NULL;
  for (int i = 0; i < ndim; i++) n *= (size_t)shape[i];
  double *wide = random_f64(seed, n, -1, 1);
  float *v = malloc(n * sizeof *v);
  for (size_t i = 0; i < n; i++) v[i] = (float)wide[i];
  check_ok(tchc_from_host(v, shape, ndim, TCHC_F32, TCHC_CPU_DEVICE, &t));
  free(v);
  free(wide);
  return t;
}

/* Vectors of the files are often 1 and 0: others find more mistakes. */
static void shake_vectors(md_params *p) {
  for (int i = 0; i < md_params_count(p); i++) {
    const md_param *m = md_params_at(p, i);
    if (m->ndim != 1) continue;
    float *v = floats_of(md_params_tensor(p, i));
    double *d = random_f64((uint64_t)i, (size_t)m->numel, -0.3, 0.3);
    for (int64_t j = 0; j < m->numel; j++) v[j] += (float)d[j];
    check_ok(md_params_put(p, i, v));
    free(v);
    free(d);
  }
}

static md_params *parameters(const char *what, const way *w, int (*declare)(const void *cfg, md_params *p),
                             int (*load)(const void *cfg, const char *dir, md_params *p), const void *cfg, const char *dir) {
  md_params *p = NULL;

  check_ok(md_params_create(what, &p));
  check_ok(declare(cfg, p));
  if (w->kernels) md_params_channels_last(p);
  check_ok(md_params_allocate(p, TCHC_F32, TCHC_CPU_DEVICE));
  check_ok(load(cfg, dir, p));
  shake_vectors(p);
  return p;
}

static int declare_unet(const void *c, md_params *p) { return md_unet_declare(c, p); }
static int load_unet(const void *c, const char *dir, md_params *p) { return md_unet_load(c, dir, false, p); }
static int declare_vae(const void *c, md_params *p) { return md_vae_declare(c, p); }
static int load_vae(const void *c, const char *dir, md_params *p) { return md_vae_load(c, dir, p); }

/* Gradients parameter by parameter, row-major. */
static float *gather_grads(const md_params *p, const tchc_tensor *grads) {
  float *all = malloc((size_t)md_params_numel(p) * sizeof *all);

  for (int i = 0; i < md_params_count(p); i++) {
    tchc_tensor *view = NULL;
    check_ok(md_params_view(p, i, grads, &view));
    float *v = floats_of(view);
    memcpy(all + md_params_at(p, i)->offset, v, (size_t)md_params_at(p, i)->numel * sizeof *v);
    free(v);
    tchc_free(&view);
  }
  return all;
}

static result finish(const tchc_tensor *x, const tchc_tensor *out, md_params *names, float *grads) {
  tchc_tensor *dx = NULL;
  check_ok(tchc_grad(x, &dx));
  assert_non_null(dx);
  return (result){floats_of(out), floats_of(dx), grads, tchc_numel(out), tchc_numel(dx), names};
}

static result run_unet(const char *dir, const way *w, int64_t h, int64_t wide) {
  char path[IO_PATH_MAX];
  md_unet_config cfg;
  md_unet *net = NULL;
  md_params *bf16 = NULL;
  tchc_scope *s = NULL;
  tchc_tensor *grads, *x, *t, *out;

  check_ok(tchc_scope_open(&s));
  check_ok(io_path(path, "%s/unet", dir));
  check_ok(md_unet_config_read(path, &cfg, NULL));
  md_params *p = parameters("unet", w, declare_unet, load_unet, &cfg, path);
  if (w->type != TCHC_F32) check_ok(md_params_clone(p, w->type, &bf16));
  md_params *active = bf16 ? bf16 : p;
  check_ok(tchc_full((int64_t[]){md_params_numel(p)}, 1, 0, TCHC_F32, TCHC_CPU_DEVICE, &grads));
  check_ok(md_params_train(active, grads));
  if (w->kernels) check_ok(md_unet_create_fused(&cfg, active, &(md_fusion){w->kernels, p, grads}, &net));
  else check_ok(md_unet_create(&cfg, active, &net));
  md_unet_set_recompute(net, w->recompute);
  check_ok(tchc_leaf(noise(1, 4, (int64_t[]){2, cfg.in_channels, h, wide}), &x));
  check_ok(tchc_full((int64_t[]){1}, 1, 999, TCHC_I64, TCHC_CPU_DEVICE, &t));
  check_ok(md_unet_forward(net, x, t, noise(2, 3, (int64_t[]){1, 3, cfg.cross_attention_dim}), NULL, &out));
  tchc_tensor *wanted = noise(3, 4, (int64_t[]){2, cfg.out_channels, h, wide}), *typed;
  check_ok(tchc_to_type(wanted, w->type, &typed));
  check_ok(tchc_backward(out, typed));
  result r = finish(x, out, p, gather_grads(p, grads));
  md_unet_destroy(&net);
  md_params_destroy(&bf16);
  tchc_scope_close(&s);
  return r;
}

static result run_decoder(const char *dir, const way *w, int64_t h, int64_t wide) {
  char path[IO_PATH_MAX];
  md_vae_config cfg;
  md_vae *net = NULL;
  md_params *bf16 = NULL;
  tchc_scope *s = NULL;
  tchc_tensor *z, *out;

  check_ok(tchc_scope_open(&s));
  check_ok(io_path(path, "%s/vae", dir));
  check_ok(md_vae_config_read(path, &cfg));
  md_params *p = parameters("vae", w, declare_vae, load_vae, &cfg, path);
  if (w->type != TCHC_F32) check_ok(md_params_clone(p, w->type, &bf16));
  if (w->kernels) check_ok(md_vae_create_fused(&cfg, bf16 ? bf16 : p, &(md_fusion){w->kernels, p, NULL}, &net));
  else check_ok(md_vae_create(&cfg, bf16 ? bf16 : p, &net));
  md_vae_set_recompute(net, w->recompute);
  check_ok(tchc_leaf(noise(1, 4, (int64_t[]){2, cfg.latent_channels, h, wide}), &z));
  check_ok(md_vae_decode(net, z, NULL, &out));
  const int64_t f = md_vae_factor(&cfg);
  tchc_tensor *wanted = noise(3, 4, (int64_t[]){2, cfg.out_channels, h * f, wide * f}), *typed;
  check_ok(tchc_to_type(wanted, w->type, &typed));
  check_ok(tchc_backward(out, typed));
  result r = finish(z, out, p, NULL);
  md_vae_destroy(&net);
  md_params_destroy(&bf16);
  tchc_scope_close(&s);
  return r;
}

/* The encoder has no gradient: its moments stand for both. */
static result run_encoder(const char *dir, const way *w, int64_t h, int64_t wide) {
  char path[IO_PATH_MAX];
  md_vae_config cfg;
  md_vae *net = NULL;
  tchc_scope *s = NULL;
  tchc_tensor *out;

  check_ok(tchc_scope_open(&s));
  check_ok(io_path(path, "%s/vae", dir));
  check_ok(md_vae_config_read(path, &cfg));
  md_params *p = parameters("vae", w, declare_vae, load_vae, &cfg, path);
  if (w->kernels) check_ok(md_vae_create_fused(&cfg, p, &(md_fusion){w->kernels, p, NULL}, &net));
  else check_ok(md_vae_create(&cfg, p, &net));
  const int64_t f = md_vae_factor(&cfg);
  check_ok(md_vae_encode(net, noise(1, 4, (int64_t[]){2, cfg.in_channels, h * f, wide * f}), NULL, &out));
  result r = {floats_of(out), NULL, NULL, tchc_numel(out), 0, p};
  md_vae_destroy(&net);
  tchc_scope_close(&s);
  return r;
}

/* |got - want| / |want| over n numbers, where differences below `noise` a number do not count. */
static double off(const float *got, const float *want, int64_t n, double noise_each) {
  double error = 0, norm = 0;
  for (int64_t i = 0; i < n; i++) {
    error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
    norm += (double)want[i] * want[i];
  }
  error = sqrt(error) - noise_each * sqrt((double)n);
  return error <= 0 ? 0 : error / sqrt(norm);
}

static double size_of(const float *v, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)v[i] * v[i];
  return sqrt(sum / (double)n);
}

static void expect(const char *what, double error, double most) {
  if (!(error <= most)) fail_msg("%s: off by %.3g, %.3g allowed", what, error, most);
}

static void compare(const char *what, const result *got, const result *want, double forward, double backward) {
  char text[IO_PATH_MAX + 128];
  assert_int_equal(got->n_out, want->n_out);
  snprintf(text, sizeof text, "%s: output", what);
  expect(text, off(got->out, want->out, want->n_out, 0), forward);
  if (!want->dx) return;
  snprintf(text, sizeof text, "%s: gradient of the input", what);
  expect(text, off(got->dx, want->dx, want->n_dx, 0), backward);
  if (!want->grads) return;
  /* a bias before a norm of its own has a gradient of rounding alone */
  const double floor = 1e-6 * size_of(want->grads, md_params_numel(want->names));
  for (int i = 0; i < md_params_count(want->names); i++) {
    const md_param *p = md_params_at(want->names, i);
    snprintf(text, sizeof text, "%s: gradient of %s", what, p->name);
    expect(text, off(got->grads + p->offset, want->grads + p->offset, p->numel, floor), backward);
  }
}

typedef result (*run_fn)(const char *dir, const way *w, int64_t h, int64_t wide);

/* Each `step`th model. */
static void compare_ways(const char *part, run_fn run, const way *ways, int n, int64_t h, int64_t wide, int step) {
  const way plain = {"plain", NULL, TCHC_F32, false};
  char what[IO_PATH_MAX];

  for (int m = 0; m < MODELS; m += step) {
    snprintf(what, sizeof what, "%s/%s", models[m], part);
    if (!io_is_dir(what)) continue;
    result want = run(models[m], &plain, h, wide);
    for (int i = 0; i < n; i++) {
      result got = run(models[m], &ways[i], h, wide);
      snprintf(what, sizeof what, "%s %s, %s", strrchr(models[m], '/') + 1, part, ways[i].name);
      compare(what, &got, &want, 1e-5, ways[i].kernels == kn_host() ? 1e-4 : 1e-3); /* kernels sum in f32 */
      result_free(&got);
    }
    result_free(&want);
  }
}

static void unet_as_the_plain_one(void **state) {
  const way ways[] = {{"references", kn_host(), TCHC_F32, false}, {"references, recomputed", kn_host(), TCHC_F32, true}};
  (void)state;
  compare_ways("unet", run_unet, ways, 2, 16, 8, 1);
  compare_ways("unet", run_unet, ways, 1, 11, 13, 2);
}

static void unet_by_emulated_kernels(void **state) {
  const way ways[] = {{"emulated", device_open(), TCHC_F32, false}};
  (void)state;
  compare_ways("unet", run_unet, ways, 1, 8, 8, 2);
}

static void decoder_as_the_plain_one(void **state) {
  const way ways[] = {{"references", kn_host(), TCHC_F32, false}, {"references, recomputed", kn_host(), TCHC_F32, true},
                      {"emulated", device_open(), TCHC_F32, false}};
  (void)state;
  compare_ways("vae", run_decoder, ways, 3, 5, 3, 1);
}

static void encoder_as_the_plain_one(void **state) {
  const way ways[] = {{"references", kn_host(), TCHC_F32, false}, {"emulated", device_open(), TCHC_F32, false}};
  (void)state;
  compare_ways("vae", run_encoder, ways, 2, 3, 5, 2);
}

/* bf16 loses about what it loses through torch's operators. Gradients of such small networks amplify a rounding by anything
 * from 2 to 30, differently at each size: hence several, and the mean of the ratios' logarithms. */
enum { F32, PLAIN, REFERENCES, EMULATED, WAYS };

/* Errors of output and gradient in bf16 at one size, by way. */
static void bf16_errors(const char *model, run_fn run, const way *ways, int n, int h, int w, double output[WAYS], double gradient[WAYS]) {
  result r[WAYS];

  for (int i = 0; i < n; i++) {
    r[i] = run(model, &ways[i], h, w);
    const bool all = r[F32].grads != NULL;
    output[i] = off(r[i].out, r[F32].out, r[F32].n_out, 0);
    gradient[i] = off(all ? r[i].grads : r[i].dx, all ? r[F32].grads : r[F32].dx, all ? md_params_numel(r[F32].names) : r[F32].n_dx, 0);
  }
  for (int i = 0; i < n; i++) result_free(&r[i]);
}

static void bf16_about_as_well(const char *part, run_fn run) {
  static const int sizes[][2] = {{24, 16}, {16, 16}, {32, 16}, {16, 24}, {16, 32}, {8, 24}, {8, 48}, {24, 24}};
  enum { SIZES = sizeof sizes / sizeof *sizes };
  char dir[IO_PATH_MAX];

  for (int m = 0; m < MODELS; m += 2) {
    const way ways[] = {{"f32", NULL, TCHC_F32, false}, {"plain", NULL, TCHC_BF16, false},
                        {"references", kn_host(), TCHC_BF16, false}, {"emulated", device_open(), TCHC_BF16, false}};
    double ratio[2][WAYS] = {{0}}; /* sums of logarithms */
    snprintf(dir, sizeof dir, "%s/%s", models[m], part);
    if (!io_is_dir(dir)) continue;
    for (int k = 0; k < SIZES; k++) {
      const int n = k == 0 ? WAYS : EMULATED; /* the emulation is slow */
      double output[WAYS] = {0}, gradient[WAYS] = {0};
      bf16_errors(models[m], run, ways, n, sizes[k][0], sizes[k][1], output, gradient);
      ratio[0][REFERENCES] += log(output[REFERENCES] / output[PLAIN]) / SIZES;
      ratio[1][REFERENCES] += log(gradient[REFERENCES] / gradient[PLAIN]) / SIZES;
      if (n == WAYS) expect("output in bf16, emulated", output[EMULATED], 1.3 * output[REFERENCES]);
      if (n == WAYS) expect("gradient in bf16, emulated", gradient[EMULATED], 1.5 * gradient[REFERENCES]);
    }
    print_message("%s: error of the output %.2f times that of plain bf16, of the gradient %.2f times\n", dir,
                  exp(ratio[0][REFERENCES]), exp(ratio[1][REFERENCES]));
    expect("output in bf16", exp(ratio[0][REFERENCES]), 1.2);
    expect("gradient in bf16", exp(ratio[1][REFERENCES]), 2.2);
  }
}

static void unet_in_bf16(void **state) {
  (void)state;
  bf16_about_as_well("unet", run_unet);
}

static void decoder_in_bf16(void **state) {
  (void)state;
  bf16_about_as_well("vae", run_decoder);
}

int main(void) {
  const struct CMUnitTest tests[] = {LIVE_TEST(unet_as_the_plain_one), LIVE_TEST(unet_by_emulated_kernels),
                                     LIVE_TEST(decoder_as_the_plain_one), LIVE_TEST(encoder_as_the_plain_one),
                                     LIVE_TEST(unet_in_bf16), LIVE_TEST(decoder_in_bf16)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
