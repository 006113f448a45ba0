/* The VAE against diffusers: golden moments, latents, images, the gradient to the latent, activations. */
#include "models/vae.h"

#include <stdio.h>

#include "tests/support/model_check.h"

#define FORWARD_REL 2e-5 /* golden/manifest.json, nets/ */
#define GRAD_REL 1e-4

static const char *const models[] = {"tiny-sd2", "tiny-marigold"};

static vae_model open_model(const char *model, tchc_dtype dt) {
  char path[512];
  snprintf(path, sizeof path, TEST_DATA "/golden/models/%s/vae", model);
  return vae_open(path, dt);
}

static st_file *nets(const char *model, const char *what) {
  char path[512];
  snprintf(path, sizeof path, "nets/%s.%s.safetensors", model, what);
  return golden_open(path);
}

/* Decoded image of g's z, as the trainer asks for it (z / scaling_factor), and the gradient to z. */
static tchc_tensor *decode(vae_model *m, const st_file *g, tchc_tensor **grad_z) {
  tchc_tensor *z, *unscaled, *image;
  check_ok(tchc_leaf(golden_tensor(g, "z"), &z));
  check_ok(tchc_affine(z, 1 / m->cfg.scaling_factor, 0, &unscaled));
  check_ok(md_vae_decode(m->net, unscaled, NULL, &image));
  check_ok(tchc_backward(image, golden_tensor(g, "grad_decoded")));
  check_ok(tchc_grad(z, grad_z));
  return image;
}

static void check_case(const char *model, const char *name) {
  tchc_scope *s = NULL;
  tchc_tensor *moments, *latent, *grad_z;
  check_ok(tchc_scope_open(&s));
  st_file *g = nets(model, name);
  vae_model m = open_model(model, TCHC_F32);

  check_ok(md_vae_encode(m.net, golden_tensor(g, "image"), NULL, &moments));
  golden_tensor_near(moments, g, "moments", FORWARD_REL);
  check_ok(md_vae_latent(m.net, golden_tensor(g, "image"), &latent));
  golden_tensor_near(latent, g, "latent", FORWARD_REL);
  assert_false(tchc_requires_grad(latent));
  golden_tensor_near(decode(&m, g, &grad_z), g, "decoded", FORWARD_REL);
  golden_tensor_near(grad_z, g, "grad_z", GRAD_REL);
  for (int i = 0; i < md_params_count(m.p); i++) assert_false(tchc_requires_grad(md_params_tensor(m.p, i)));
  vae_close(&m);
  st_close(&g);
  tchc_scope_close(&s);
}

static void test_golden_passes(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    check_case(models[i], "vae0");
    check_case(models[i], "vae1");
  }
}

typedef struct seen { const st_file *golden; int n; } seen;

static int compare_activation(void *ctx, const char *name, const tchc_tensor *t) {
  seen *s = ctx;
  char key[512];
  snprintf(key, sizeof key, "act.%s", name);
  if (!st_find(s->golden, key)) return OK;
  golden_tensor_near(t, s->golden, key, FORWARD_REL);
  s->n++;
  return OK;
}

static void test_golden_activations(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    tchc_scope *s = NULL;
    tchc_tensor *unscaled, *image, *moments;
    check_ok(tchc_scope_open(&s));
    st_file *g = nets(models[i], "vae_activations");
    vae_model m = open_model(models[i], TCHC_F32);
    seen acts = {.golden = g};
    const md_probe probe = {.ctx = &acts, .see = compare_activation};
    int stored = 0;

    check_ok(tchc_affine(golden_tensor(g, "z"), 1 / m.cfg.scaling_factor, 0, &unscaled));
    check_ok(md_vae_decode(m.net, unscaled, &probe, &image));
    golden_tensor_near(image, g, "decoded", FORWARD_REL);
    check_ok(md_vae_encode(m.net, golden_tensor(g, "image"), &probe, &moments));
    for (size_t k = 0; k < st_count(g); k++) stored += strncmp(st_at(g, k)->name, "act.", 4) == 0;
    assert_int_equal(acts.n, stored - 1); /* all but to_out.1, a dropout that does nothing */
    vae_close(&m);
    st_close(&g);
    tchc_scope_close(&s);
  }
}

/* Bit for bit: what an image is batched with does not reach its latent. */
static void test_latents_do_not_depend_on_the_batch(void **state) {
  tchc_scope *s = NULL;
  tchc_tensor *image, *one, *both, *alone, *second;
  float a[4 * 8 * 12], b[4 * 8 * 12];
  (void)state;
  check_ok(tchc_scope_open(&s));
  st_file *g = nets("tiny-sd2", "vae0");
  vae_model m = open_model("tiny-sd2", TCHC_F32);
  image = golden_tensor(g, "image");
  check_ok(tchc_narrow(image, 0, 1, 1, &one));
  check_ok(md_vae_latent(m.net, image, &both));
  check_ok(md_vae_latent(m.net, one, &alone));
  check_ok(tchc_narrow(both, 0, 1, 1, &second));
  to_floats(alone, a, 4 * 8 * 12);
  to_floats(second, b, 4 * 8 * 12);
  assert_memory_equal(a, b, sizeof a);
  vae_close(&m);
  st_close(&g);
  tchc_scope_close(&s);
}

static void test_recomputing_changes_no_bit(void **state) {
  tchc_scope *s = NULL;
  tchc_tensor *grad[2], *image[2];
  float g[2][2 * 4 * 8 * 12], y[2][2 * 3 * 64 * 96];
  (void)state;
  check_ok(tchc_scope_open(&s));
  st_file *f = nets("tiny-sd2", "vae0");
  vae_model m = open_model("tiny-sd2", TCHC_F32);
  for (int i = 0; i < 2; i++) {
    md_vae_set_recompute(m.net, i == 1);
    image[i] = decode(&m, f, &grad[i]);
    to_floats(grad[i], g[i], 2 * 4 * 8 * 12);
    to_floats(image[i], y[i], 2 * 3 * 64 * 96);
  }
  assert_memory_equal(g[0], g[1], sizeof g[0]);
  assert_memory_equal(y[0], y[1], sizeof y[0]);
  /* nothing asks for a gradient: no graph, recomputing or not */
  check_ok(md_vae_decode(m.net, golden_tensor(f, "z"), NULL, &image[0]));
  assert_false(tchc_requires_grad(image[0]));
  vae_close(&m);
  st_close(&f);
  tchc_scope_close(&s);
}

static void test_bf16(void **state) {
  tchc_scope *s = NULL;
  tchc_tensor *image;
  (void)state;
  check_ok(tchc_scope_open(&s));
  st_file *g = nets("tiny-sd2", "vae0");
  vae_model m = open_model("tiny-sd2", TCHC_BF16);
  tchc_tensor *grad_z;
  image = decode(&m, g, &grad_z);
  assert_int_equal(tchc_type(image), TCHC_BF16);
  assert_int_equal(tchc_type(grad_z), TCHC_F32);
  golden_tensor_near(image, g, "decoded", 0.05);
  golden_tensor_near(grad_z, g, "grad_z", 0.1);
  vae_close(&m);
  st_close(&g);
  tchc_scope_close(&s);
}

static void test_bad_shapes(void **state) {
  tchc_scope *s = NULL;
  tchc_tensor *t, *out;
  (void)state;
  check_ok(tchc_scope_open(&s));
  vae_model m = open_model("tiny-sd2", TCHC_F32);
  check_ok(tchc_full(DIMS(1, 3, 64, 7), 0, TCHC_F32, TCHC_CPU_DEVICE, &t));
  check_fails(E_SHAPE, "vae: image: wanted [B,3,H,W], H and W at least 8, found [1,3,64,7]", md_vae_encode(m.net, t, NULL, &out));
  check_fails(E_SHAPE, "at least 8", md_vae_latent(m.net, t, &out));
  check_ok(tchc_full(DIMS(3, 64, 64), 0, TCHC_F32, TCHC_CPU_DEVICE, &t));
  check_fails(E_SHAPE, "vae: image: wanted [B,3,H,W]", md_vae_latent(m.net, t, &out));
  check_ok(tchc_full(DIMS(1, 3, 8, 8), 0, TCHC_F32, TCHC_CPU_DEVICE, &t));
  check_fails(E_SHAPE, "vae: latent: wanted [B,4,h,w], found [1,3,8,8]", md_vae_decode(m.net, t, NULL, &out));
  check_ok(tchc_full(DIMS(0, 4, 8, 8), 0, TCHC_F32, TCHC_CPU_DEVICE, &t));
  check_fails(E_SHAPE, "vae: latent", md_vae_decode(m.net, t, NULL, &out));
  vae_close(&m);
  tchc_scope_close(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(test_golden_passes), LIVE_TEST(test_golden_activations), LIVE_TEST(test_latents_do_not_depend_on_the_batch),
      LIVE_TEST(test_recomputing_changes_no_bit), LIVE_TEST(test_bf16), LIVE_TEST(test_bad_shapes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
