/* The U-Net against diffusers: golden outputs, activations and gradients; recomputing, precision, odd sizes. */
#include "models/unet.h"

#include <stdio.h>

#include "tests/support/model_check.h"

#define FORWARD_REL 2e-5 /* golden/manifest.json, nets/ */
#define GRAD_REL 1e-4

static const char *const models[] = {"tiny-sd2", "tiny-marigold"};

static const char *model_dir(const char *model) {
  static char path[512];
  snprintf(path, sizeof path, TEST_DATA "/golden/models/%s/unet", model);
  return path;
}

static st_file *nets(const char *model, const char *what) {
  char path[512];
  snprintf(path, sizeof path, "nets/%s.%s.safetensors", model, what);
  return golden_open(path);
}

/* One forward and backward of a golden case; out and the two input gradients belong to the innermost scope. */
typedef struct pass {
  tchc_tensor *out, *grad_sample, *grad_text;
} pass;

static pass run_case(unet_model *m, const st_file *g) {
  tchc_tensor *sample, *text;
  pass p = {NULL, NULL, NULL};
  check_ok(tchc_leaf(golden_tensor(g, "sample"), &sample));
  check_ok(tchc_leaf(golden_tensor(g, "encoder_hidden_states"), &text));
  check_ok(md_unet_forward(m->net, sample, golden_tensor(g, "timestep"), text, NULL, &p.out));
  check_ok(tchc_backward(p.out, golden_tensor(g, "grad_out")));
  check_ok(tchc_grad(sample, &p.grad_sample));
  check_ok(tchc_grad(text, &p.grad_text));
  return p;
}

/* Norms of all gradients, in the order of diffusers' parameters, and the stored gradients themselves. */
static void check_gradients(const unet_model *m, const st_file *g) {
  size_t n, stored = 0;
  double *norms = golden_f64(g, "grad_norms", &n);
  assert_int_equal(n, md_params_count(m->p));
  for (int i = 0; i < (int)n; i++) {
    const md_param *p = md_params_at(m->p, i);
    tchc_tensor *grad;
    char key[512];
    check_ok(tchc_grad(md_params_tensor(m->p, i), &grad));
    float *v = malloc((size_t)p->numel * sizeof *v);
    to_floats(grad, v, p->numel);
    double norm = 0;
    for (int64_t j = 0; j < p->numel; j++) norm += (double)v[j] * v[j];
    norm = sqrt(norm);
    if (!(fabs(norm - norms[i]) <= GRAD_REL * norms[i])) fail_msg("%s: norm of the gradient is %.9g, not %.9g", p->name, norm, norms[i]);
    free(v);
    snprintf(key, sizeof key, "grad.%s", p->name);
    if (st_find(g, key)) golden_tensor_near(grad, g, key, GRAD_REL), stored++;
  }
  assert_true(stored >= 16);
  free(norms);
}

static void check_case(const char *model, const char *name) {
  tchc_scope *s = NULL;
  check_ok(tchc_scope_open(&s));
  st_file *g = nets(model, name);
  unet_model m = unet_open(model_dir(model), TCHC_F32);
  unet_train(&m);
  const pass p = run_case(&m, g);
  golden_tensor_near(p.out, g, "out", FORWARD_REL);
  golden_tensor_near(p.grad_sample, g, "grad_sample", GRAD_REL);
  golden_tensor_near(p.grad_text, g, "grad_encoder_hidden_states", GRAD_REL);
  check_gradients(&m, g);
  unet_close(&m);
  st_close(&g);
  tchc_scope_close(&s);
}

static void test_golden_passes(void **state) {
  static const char *const cases[] = {"unet_a", "unet_b", "unet_c"};
  (void)state;
  for (int i = 0; i < 2; i++)
    for (int k = 0; k < 3; k++) check_case(models[i], cases[k]);
}

/* ---- activations ---- */

typedef struct seen {
  const st_file *golden;
  int blocks, others;
} seen;

static int compare_activation(void *ctx, const char *name, const tchc_tensor *t) {
  seen *s = ctx;
  char key[512];
  snprintf(key, sizeof key, "act.%s", name);
  if (!st_find(s->golden, key)) return OK;
  golden_tensor_near(t, s->golden, key, FORWARD_REL);
  if (strstr(name, "transformer_blocks") || strstr(name, "attentions.0.norm") || strstr(name, "proj_")) s->others++;
  else s->blocks++;
  return OK;
}

static int count_blocks(const st_file *g) {
  int n = 0;
  for (size_t i = 0; i < st_count(g); i++) {
    const char *k = st_at(g, i)->name;
    n += strncmp(k, "act.", 4) == 0 && !strstr(k, "transformer_blocks") && !strstr(k, "attentions.0.norm") && !strstr(k, "proj_");
  }
  return n;
}

static void test_golden_activations(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    tchc_scope *s = NULL;
    tchc_tensor *out;
    check_ok(tchc_scope_open(&s));
    st_file *g = nets(models[i], "unet_activations");
    unet_model m = unet_open(model_dir(models[i]), TCHC_F32);
    seen acts = {.golden = g};
    const md_probe probe = {.ctx = &acts, .see = compare_activation};
    check_ok(md_unet_forward(m.net, golden_tensor(g, "sample"), golden_tensor(g, "timestep"),
                         golden_tensor(g, "encoder_hidden_states"), &probe, &out));
    golden_tensor_near(out, g, "out", FORWARD_REL);
    /* every block there is, and every layer of the transformer but its two dropouts that do nothing */
    assert_int_equal(acts.blocks, count_blocks(g));
    assert_true(acts.others >= 20);
    unet_close(&m);
    st_close(&g);
    tchc_scope_close(&s);
  }
}

/* ---- the ways to run ---- */

enum { OUT_A = 2 * 4 * 8 * 12 }; /* elements of case a's output */

/* Case a's output and all gradients, as bits. */
static void run_bits(unet_model *m, const st_file *g, float *out, float *grads) {
  tchc_scope *s = NULL;
  check_ok(tchc_scope_open(&s));
  check_ok(tchc_zero_(m->grads));
  to_floats(run_case(m, g).out, out, OUT_A);
  to_floats(m->grads, grads, md_params_numel(m->p));
  tchc_scope_close(&s);
}

static void test_recomputing_changes_no_bit(void **state) {
  st_file *g = nets("tiny-marigold", "unet_a");
  unet_model m = unet_open(model_dir("tiny-marigold"), TCHC_F32);
  const size_t n = (size_t)md_params_numel(m.p);
  float *a = malloc((n + OUT_A) * sizeof *a), *b = malloc((n + OUT_A) * sizeof *b);
  (void)state;
  unet_train(&m);
  run_bits(&m, g, a, a + OUT_A);
  md_unet_set_recompute(m.net, true);
  run_bits(&m, g, b, b + OUT_A);
  assert_memory_equal(a, b, (n + OUT_A) * sizeof *a);
  md_unet_set_recompute(m.net, false);
  run_bits(&m, g, b, b + OUT_A);
  assert_memory_equal(a, b, (n + OUT_A) * sizeof *a);
  free(a);
  free(b);
  unet_close(&m);
  st_close(&g);
}

static int count_call(void *ctx, const char *name, const tchc_tensor *t) {
  (void)name;
  (void)t;
  return ++*(int *)ctx, OK;
}

/* Without a graph the same bits; one timestep or text for all, and a probe beside recomputing, change none. */
static void test_without_a_graph(void **state) {
  tchc_scope *s = NULL;
  tchc_tensor *sample, *time, *text, *one_time, *one_text, *wide, *first, *out;
  float a[OUT_A], b[OUT_A];
  int calls = 0;
  const md_probe probe = {&calls, count_call};
  (void)state;
  check_ok(tchc_scope_open(&s));
  st_file *g = nets("tiny-sd2", "unet_a");
  unet_model m = unet_open(model_dir("tiny-sd2"), TCHC_F32);
  unet_train(&m);
  sample = golden_tensor(g, "sample"), time = golden_tensor(g, "timestep"), text = golden_tensor(g, "encoder_hidden_states");
  check_ok(tchc_narrow(text, 0, 0, 1, &one_text));
  check_ok(tchc_cat((const tchc_tensor *const[]){one_text, one_text}, 2, 0, &wide));
  check_ok(tchc_narrow(time, 0, 0, 1, &one_time));
  check_ok(md_unet_forward(m.net, sample, time, wide, NULL, &first));
  assert_true(tchc_requires_grad(first));
  to_floats(first, a, OUT_A);
  md_unet_set_recompute(m.net, true);
  const bool was = tchc_grad_mode(false);
  check_ok(md_unet_forward(m.net, sample, one_time, one_text, NULL, &out));
  assert_false(tchc_requires_grad(out));
  to_floats(out, b, OUT_A);
  assert_memory_equal(a, b, sizeof a);
  tchc_grad_mode(was);
  check_ok(md_unet_forward(m.net, sample, one_time, one_text, &probe, &out));
  to_floats(out, b, OUT_A);
  assert_memory_equal(a, b, sizeof a);
  assert_int_equal(calls, 386);
  unet_close(&m);
  st_close(&g);
  tchc_scope_close(&s);
}

/* Nothing but the output is left of a pass, also of one that a probe stops in the middle. */
static int stop_at(void *ctx, const char *name, const tchc_tensor *t) {
  (void)t;
  return strcmp(name, ctx) == 0 ? err_set(E_FAIL, __FILE__, __LINE__, "stopped at %s", name) : OK;
}

static void test_handles_after_a_failure(void **state) {
  static char *const places[] = {"time_proj", "conv_in", "down_blocks.1.attentions.1.transformer_blocks.0.attn2.to_v",
                                 "mid_block.resnets.0", "up_blocks.1.upsamplers.0", "conv_out"};
  tchc_scope *s = NULL;
  tchc_tensor *out = NULL;
  (void)state;
  check_ok(tchc_scope_open(&s));
  st_file *g = nets("tiny-sd2", "unet_b");
  unet_model m = unet_open(model_dir("tiny-sd2"), TCHC_F32);
  tchc_tensor *sample = golden_tensor(g, "sample"), *time = golden_tensor(g, "timestep"), *text = golden_tensor(g, "encoder_hidden_states");
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    const md_probe probe = {places[i], stop_at};
    const int64_t before = tchc_live();
    check_fails(E_FAIL, places[i], md_unet_forward(m.net, sample, time, text, &probe, &out));
    assert_null(out);
    assert_int_equal(tchc_live(), before);
  }
  const int64_t before = tchc_live();
  check_ok(md_unet_forward(m.net, sample, time, text, NULL, &out));
  assert_int_equal(tchc_live(), before + 1);
  unet_close(&m);
  st_close(&g);
  tchc_scope_close(&s);
}

static void test_bf16(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    tchc_scope *s = NULL;
    check_ok(tchc_scope_open(&s));
    st_file *g = nets(models[i], "unet_a");
    unet_model m = unet_open(model_dir(models[i]), TCHC_BF16);
    unet_train(&m); /* fp32 sums of bf16 gradients */
    const pass p = run_case(&m, g);
    assert_int_equal(tchc_type(p.out), TCHC_BF16);
    assert_int_equal(tchc_type(p.grad_sample), TCHC_F32);
    /* diffusers itself in bf16: 0.06 and 0.21 */
    golden_tensor_near(p.out, g, "out", 0.1);
    golden_tensor_near(p.grad_sample, g, "grad_sample", 0.3);
    unet_close(&m);
    st_close(&g);
    tchc_scope_close(&s);
  }
}

static void test_bad_inputs(void **state) {
  tchc_scope *s = NULL;
  tchc_tensor *sample, *time, *text, *bad, *out;
  (void)state;
  check_ok(tchc_scope_open(&s));
  unet_model m = unet_open(model_dir("tiny-sd2"), TCHC_F32);
  check_ok(tchc_full(DIMS(2, 4, 3, 5), 0, TCHC_F32, TCHC_CPU_DEVICE, &sample));
  check_ok(tchc_full(DIMS(1), 999, TCHC_I64, TCHC_CPU_DEVICE, &time));
  check_ok(tchc_full(DIMS(1, 2, 32), 0, TCHC_F32, TCHC_CPU_DEVICE, &text));
  check_ok(md_unet_forward(m.net, sample, time, text, NULL, &out));
  check_ok(tchc_full(DIMS(2, 8, 3, 5), 0, TCHC_F32, TCHC_CPU_DEVICE, &bad));
  check_fails(E_SHAPE, "unet: sample: wanted [B,4,h,w], found [2,8,3,5]", md_unet_forward(m.net, bad, time, text, NULL, &out));
  check_ok(tchc_full(DIMS(2, 4, 0, 5), 0, TCHC_F32, TCHC_CPU_DEVICE, &bad));
  check_fails(E_SHAPE, "unet: sample", md_unet_forward(m.net, bad, time, text, NULL, &out));
  check_ok(tchc_full(DIMS(3), 0, TCHC_I64, TCHC_CPU_DEVICE, &bad));
  check_fails(E_SHAPE, "unet: timesteps: wanted [2] or [1], found [3]", md_unet_forward(m.net, sample, bad, text, NULL, &out));
  check_ok(tchc_full(DIMS(1, 2, 31), 0, TCHC_F32, TCHC_CPU_DEVICE, &bad));
  check_fails(E_SHAPE, "unet: text: wanted [2 or 1,T,32], found [1,2,31]", md_unet_forward(m.net, sample, time, bad, NULL, &out));
  check_ok(tchc_full(DIMS(3, 2, 32), 0, TCHC_F32, TCHC_CPU_DEVICE, &bad));
  check_fails(E_SHAPE, "unet: text", md_unet_forward(m.net, sample, time, bad, NULL, &out));
  unet_close(&m);
  tchc_scope_close(&s);
}

/* Parameters of one configuration do not bind to another. */
static void test_binding_checks_shapes(void **state) {
  md_unet_config c;
  md_unet *u = NULL;
  (void)state;
  unet_model m = unet_open(model_dir("tiny-sd2"), TCHC_F32);
  c = m.cfg;
  c.in_channels = 8;
  check_fails(E_SHAPE, "conv_in.weight: wanted [8,8,3,3], found [8,4,3,3]", md_unet_create(&c, m.p, &u));
  c = m.cfg;
  c.layers_per_block[0] = 3;
  check_fails(E_FAIL, "down_blocks.0.attentions.2.norm.weight: not among the parameters", md_unet_create(&c, m.p, &u));
  assert_null(u);
  unet_close(&m);
}

/* ---- the smallest latents ---- */

static void test_one_cell(void **state) {
  tchc_scope *s = NULL;
  tchc_tensor *sample, *time, *text, *out;
  (void)state;
  check_ok(tchc_scope_open(&s));
  unet_model m = unet_open(model_dir("tiny-sd2"), TCHC_F32);
  check_ok(tchc_full(DIMS(1), 999, TCHC_I64, TCHC_CPU_DEVICE, &time));
  check_ok(tchc_full(DIMS(1, 1, 32), 0.1, TCHC_F32, TCHC_CPU_DEVICE, &text));
  for (int64_t h = 1; h < 4; h++)
    for (int64_t w = 1; w < 4; w++) {
      check_ok(tchc_full(DIMS(1, 4, h, w), 0.3, TCHC_F32, TCHC_CPU_DEVICE, &sample));
      check_ok(md_unet_forward(m.net, sample, time, text, NULL, &out));
      assert_true(tchc_size(out, 1) == 4 && tchc_size(out, 2) == h && tchc_size(out, 3) == w);
    }
  unet_close(&m);
  tchc_scope_close(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(test_golden_passes),
      LIVE_TEST(test_golden_activations),
      LIVE_TEST(test_recomputing_changes_no_bit),
      LIVE_TEST(test_without_a_graph),
      LIVE_TEST(test_handles_after_a_failure),
      LIVE_TEST(test_bf16),
      LIVE_TEST(test_bad_inputs),
      LIVE_TEST(test_binding_checks_shapes),
      LIVE_TEST(test_one_cell),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
