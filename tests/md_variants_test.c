/* Models unlike the golden ones (tests/data/make_variants.py): SD-1 projections and activation, 1 to 3 layers a block,
 * blocks with and without attention, half-precision and sharded files, the VAE's older keys.
 * md_variants_test [DIR]: all variants of DIR, as `make_variants.py --all DIR` writes them. */
#include <stdio.h>

#include "models/clip.h"
#include "models/scheduler.h"
#include "tests/support/model_check.h"

#define FORWARD_REL 2e-5
#define GRAD_REL 1e-4

static const char *root = TEST_DATA "/variants";

static const char *at(const char *variant, const char *part) {
  static char ring[4][IO_PATH_MAX];
  static int next;
  char *out = ring[next++ % 4];
  check_ok(io_path(out, "%s/%s/%s", root, variant, part));
  return out;
}

static void check_grads(const unet_model *m, const st_file *g) {
  size_t n;
  double *norms = golden_f64(g, "unet.grad_norms", &n);
  float *whole = st_find(g, "unet.grads") ? golden_f32(g, "unet.grads", NULL) : NULL;
  float *got = malloc((size_t)md_params_numel(m->p) * sizeof *got);

  assert_int_equal(n, md_params_count(m->p));
  to_floats(m->grads, got, md_params_numel(m->p));
  /* of sums that are 0 but for rounding, as a bias has before a norm that takes it away again */
  double noise = 0;
  for (size_t i = 0; i < n; i++) noise = fmax(noise, 1e-7 * norms[i]);
  for (int i = 0; i < (int)n; i++) {
    const md_param *p = md_params_at(m->p, i);
    double norm = 0;
    for (int64_t j = 0; j < p->numel; j++) norm += (double)got[p->offset + j] * got[p->offset + j];
    norm = sqrt(norm);
    if (!(fabs(norm - norms[i]) <= GRAD_REL * norms[i] + noise)) fail_msg("%s: norm is %.9g, not %.9g", p->name, norm, norms[i]);
    if (whole) golden_near_f32(p->name, got + p->offset, whole + p->offset, (size_t)p->numel, GRAD_REL, noise);
  }
  free(norms);
  free(whole);
  free(got);
}

static void check_unet(const char *variant, const st_file *g) {
  unet_model m = unet_open(at(variant, "unet"), TCHC_F32);
  tchc_tensor *sample, *text, *out, *grad;

  unet_train(&m);
  check_ok(tchc_leaf(golden_tensor(g, "unet.sample"), &sample));
  check_ok(tchc_leaf(golden_tensor(g, "unet.text"), &text));
  check_ok(md_unet_forward(m.net, sample, golden_tensor(g, "unet.timestep"), text, NULL, &out));
  golden_tensor_near(out, g, "unet.out", FORWARD_REL);
  check_ok(tchc_backward(out, golden_tensor(g, "unet.grad_out")));
  check_ok(tchc_grad(sample, &grad));
  golden_tensor_near(grad, g, "unet.grad_sample", GRAD_REL);
  check_ok(tchc_grad(text, &grad));
  golden_tensor_near(grad, g, "unet.grad_text", GRAD_REL);
  check_grads(&m, g);
  unet_close(&m);
}

static void check_vae(const char *variant, const st_file *g) {
  vae_model m = vae_open(at(variant, "vae"), TCHC_F32);
  tchc_tensor *moments, *z, *image, *grad;

  check_ok(md_vae_encode(m.net, golden_tensor(g, "vae.image"), NULL, &moments));
  golden_tensor_near(moments, g, "vae.moments", FORWARD_REL);
  check_ok(tchc_leaf(golden_tensor(g, "vae.z"), &z));
  check_ok(md_vae_decode(m.net, z, NULL, &image));
  golden_tensor_near(image, g, "vae.decoded", FORWARD_REL);
  check_ok(tchc_backward(image, golden_tensor(g, "vae.grad_image")));
  check_ok(tchc_grad(z, &grad));
  golden_tensor_near(grad, g, "vae.grad_z", GRAD_REL);
  vae_close(&m);
}

static void check_clip(const char *variant, const st_file *g) {
  md_clip_config c;
  md_params *p = NULL;
  tchc_tensor *last, *empty;

  check_ok(md_clip_config_read(at(variant, "text_encoder"), &c));
  check_ok(md_params_create("text encoder", &p));
  check_ok(md_clip_declare(&c, p));
  check_ok(md_params_allocate(p, TCHC_F32, TCHC_CPU_DEVICE));
  check_ok(md_clip_load(&c, at(variant, "text_encoder"), p));
  check_ok(md_clip_forward(&c, p, golden_tensor(g, "clip.ids"), NULL, &last));
  golden_tensor_near(last, g, "clip.last_hidden_state", FORWARD_REL);
  check_ok(md_clip_empty_prompt(at(variant, ""), true, &empty));
  golden_tensor_near(empty, g, "clip.empty", FORWARD_REL);
  md_params_destroy(&p);
}

static void check_variant(const char *variant) {
  tchc_scope *s = NULL;
  st_file *g = NULL;

  check_ok(tchc_scope_open(&s));
  check_ok(st_open(at(variant, "expected.safetensors"), &g));
  check_unet(variant, g);
  if (st_find(g, "vae.image")) check_vae(variant, g);
  if (st_find(g, "clip.ids")) check_clip(variant, g);
  st_close(&g);
  tchc_scope_close(&s);
}

static void test_variants(void **state) {
  char **names = NULL;
  size_t n = 0;
  (void)state;
  check_ok(io_list_dir(root, &names, &n));
  assert_true(n >= 2);
  for (size_t i = 0; i < n; i++) {
    print_message("%s\n", names[i]);
    check_variant(names[i]);
  }
  io_free_names(&names, n);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {LIVE_TEST(test_variants)};
  if (argc > 1) root = argv[1];
  return cmocka_run_group_tests(tests, NULL, NULL);
}
