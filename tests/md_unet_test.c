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
  CALL(tchc_leaf(golden_tensor(g, "sample"), &sample));
  CALL(tchc_leaf(golden_tensor(g, "encoder_hidden_states"), &text));
  CALL(md_unet_forward(m->net, sample, golden_tensor(g, "timestep"), text, NULL, &p.out));
  CALL(tchc_backward(p.out, golden_tensor(g, "grad_out")));
  CALL(tchc_grad(sample, &p.grad_sample));
  CALL(tchc_grad(text, &p.grad_text));
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
    CALL(tchc_grad(md_params_tensor(m->p, i), &grad));
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
  CALL(tchc_scope_open(&s));
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
    CALL(tchc_scope_open(&s));
    st_file *g = nets(models[i], "unet_activations");
    unet_model m = unet_open(model_dir(models[i]), TCHC_F32);
    seen acts = {.golden = g};
    const md_probe probe = {.ctx = &acts, .see = compare_activation};
    CALL(md_unet_forward(m.net, golden_tensor(g, "sample"), golden_tensor(g, "timestep"),
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

int main(void) {
  const struct CMUnitTest tests[] = {LIVE_TEST(test_golden_passes), LIVE_TEST(test_golden_activations)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
