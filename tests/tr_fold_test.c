/* trainer/fold and export_check: the folded U-Net's tensors, and that a folder with other weights is noticed. */
#include "trainer/fold.h"

#include <math.h>

#include "tests/support/tmpdir.h"
#include "trainer/export_check.h"

#define TINY TEST_DATA "/golden/models/tiny-sd2"

static void factors(void **state) {
  static md_schedule s = {.train_steps = 3, .alphas_cumprod = {0.75f, 0.25f, 0}};
  double f;

  (void)state;
  s.prediction = MD_V_PREDICTION;
  check_ok(tr_fold_factor(&s, 0, &f));
  assert_true(f == -0.5);
  check_ok(tr_fold_factor(&s, 2, &f));
  assert_true(f == -1);
  s.prediction = MD_EPSILON;
  check_ok(tr_fold_factor(&s, 1, &f));
  assert_true(fabs(f + sqrt(3)) < 1e-15);
  check_fails(E_CKPT, "timestep 2", tr_fold_factor(&s, 2, &f));
  s.prediction = MD_SAMPLE;
  check_ok(tr_fold_factor(&s, 2, &f));
  assert_true(f == 1);
}

/* The tiny model's tensors, lent by *f. */
static st_tensor *open_unet(st_file **f, size_t *n) {
  check_ok(st_open(TINY "/unet/diffusion_pytorch_model.safetensors", f));
  *n = st_count(*f);
  st_tensor *t = malloc(*n * sizeof *t);
  assert_non_null(t);
  for (size_t i = 0; i < *n; i++) t[i] = *st_at(*f, i);
  return t;
}

static const st_tensor *named(const st_tensor *t, size_t n, const char *name) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(t[i].name, name)) return &t[i];
  fail_msg("no %s", name);
  return NULL;
}

static float at(const st_tensor *t, int64_t i) { return ((const float *)t->data)[i]; }

static void four_channels_become_eight(void **state) {
  static md_schedule s;
  md_unet_config c;
  st_file *file = NULL;
  size_t n;
  tr_folded f;
  st_tensor *t = open_unet(&file, &n);

  (void)state;
  check_ok(md_unet_config_read(TINY "/unet", &c, NULL));
  check_ok(md_schedule_read(TINY "/scheduler", &s));
  check_ok(tr_fold(&c, &s, 999, t, n, &f));
  const st_tensor *in = named(f.tensors, n, "conv_in.weight"), *was = named(t, n, "conv_in.weight");
  assert_int_equal(in->shape[1], 8);
  assert_int_equal(in->nbytes, 2 * was->nbytes);
  for (int64_t r = 0; r < in->shape[0]; r++)
    for (int64_t k = 0; k < 8 * 9; k++) assert_true(at(in, r * 72 + k) == (k < 36 ? at(was, r * 36 + k) : 0));
  const float factor = (float)-sqrt(1 - (double)s.alphas_cumprod[999]);
  const st_tensor *out = named(f.tensors, n, "conv_out.bias"), *plain = named(t, n, "conv_out.bias");
  for (int64_t i = 0; i < 4; i++) assert_true(fabsf(at(out, i) - factor * at(plain, i)) <= 1e-7f * fabsf(at(plain, i)));
  const st_tensor *time = named(f.tensors, n, "time_embedding.linear_1.weight");
  for (int64_t i = 0; i < st_numel(time); i++) assert_true(at(time, i) == 0);
  assert_ptr_equal(named(f.tensors, n, "conv_norm_out.bias")->data, named(t, n, "conv_norm_out.bias")->data);
  tr_folded_fini(&f);
  free(t);
  st_close(&file);
}

/* The check that export makes would see another U-Net. */
static void other_weights_are_noticed(void **state) {
  cf_config c = {.run = {.device = CF_CPU}, .model = {.path = (char *)TINY, .task = CF_DEPTH, .timestep = 999, .noise = CF_NONE}};
  st_file *file = NULL;
  size_t n;
  double d = -1;
  tr_answers a;
  st_tensor *t = open_unet(&file, &n);

  (void)state;
  check_ok(tr_answers_make(&c, t, n, &a));
  check_ok(tr_answers_compare(&c, TINY, false, false, &a, &d));
  assert_true(d == 0);
  assert_true(a.text_difference == 0);
  tr_answers_fini(&a);

  st_tensor *bias = (st_tensor *)named(t, n, "conv_out.bias");
  const float other[4] = {1, -1, 2, 0};
  bias->data = other;
  check_ok(tr_answers_make(&c, t, n, &a));
  check_fails(E_FAIL, "tiny-sd2: loaded back it differs by", tr_answers_compare(&c, TINY, false, false, &a, &d));
  tr_answers_fini(&a);
  bias->name = "conv_out.bais";
  check_fails(E_CKPT, "conv_out.bais is no weight of this U-Net", tr_answers_make(&c, t, n, &a));
  free(t);
  st_close(&file);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(factors), cmocka_unit_test(four_channels_become_eight),
                                     cmocka_unit_test(other_weights_are_noticed)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
