/* The plan at full size, where no card is needed: operations against those counted in PyTorch, memory and micro-batches on
 * cards of several sizes. */
#include <math.h>

#include "tests/support/check.h"
#include "trainer/flops.h"
#include "trainer/footprint.h"
#include "trainer/plan.h"

#define GIB (1024.0 * 1024 * 1024)

typedef struct full_size {
  cf_config *c;
  tr_network net;
  tr_plan plan;
} full_size;

static full_size open_full(const char *const *sets, size_t n) {
  full_size f = {NULL};

  check_ok(cf_load(TEST_DATA "/../../configs/bench.yaml", sets, n, true, &f.c));
  check_ok(tr_network_read(f.c, &f.net));
  check_ok(tr_plan_sizes(f.c, &f.net, (int[]){480, 640}, &f.plan));
  return f;
}

static void close_full(full_size *f) {
  tr_network_fini(&f->net);
  cf_free(&f->c);
}

static void expect_close(const char *what, double got, double want, double rel) {
  if (!(fabs(got - want) <= rel * want)) fail_msg("%s: %g, wanted %g", what, got, want);
}

/* U-Net 0.970, decoder 2.954, encoder 1.316 TFLOP, as counted by torch's flop counter; 352 x 1216 costs 1.43 times. */
static void operations_of_stable_diffusion(void **state) {
  full_size f = open_full(NULL, 0);
  const tr_flops small = tr_flops_count(&f.net.unet_config, &f.net.vae_config, 480, 640, 77);
  const tr_flops wide = tr_flops_count(&f.net.unet_config, &f.net.vae_config, 352, 1216, 77);

  (void)state;
  expect_close("parameters of the U-Net", 1e-6 * (double)f.plan.unet_numel, 865.9, 1e-3);
  expect_close("U-Net", 1e-12 * small.unet, 0.970, 0.01);
  expect_close("U-Net, backward", 1e-12 * small.unet_back, 1.935, 0.01);
  expect_close("decoder", 1e-12 * small.decoder, 2.954, 0.01);
  expect_close("decoder, backward", 1e-12 * small.decoder_back, 3.001, 0.02);
  expect_close("encoder", 1e-12 * small.encoder, 1.316, 0.01);
  expect_close("the wider image", (wide.unet + wide.decoder) / (small.unet + small.decoder), 1.43, 0.02);
  close_full(&f);
}

/* Measured with a prototype of the same graph: 0.81 GiB a sample in the U-Net, 1.05 in the decoder. */
static void activations_of_stable_diffusion(void **state) {
  full_size f = open_full(NULL, 0);
  const tr_footprint_way fused = {false, true}, again = {true, true}, plain = {false, false};
  const tr_footprint u = tr_footprint_unet(&f.net.unet_config, 60, 80, fused), d = tr_footprint_decoder(&f.net.vae_config, 60, 80, fused);

  (void)state;
  expect_close("U-Net", 2 * (double)u.kept / GIB, 0.806, 0.12);
  expect_close("decoder", 2 * (double)d.kept / GIB, 1.046, 0.1);
  assert_true(tr_footprint_unet(&f.net.unet_config, 60, 80, again).kept < u.kept / 3);
  assert_true(tr_footprint_decoder(&f.net.vae_config, 60, 80, again).kept < d.kept);
  assert_true(tr_footprint_unet(&f.net.unet_config, 60, 80, plain).kept > u.kept);
  close_full(&f);
}

static void fit(full_size *f, double gib, int unet, int least_decoder, bool recompute_unet) {
  tr_plan_fit(f->c, &f->net, TCHC_CUDA, true, (int64_t)(gib * GIB), &f->plan);
  print_message("%.0f GiB: %d through the U-Net%s, %d through the decoder%s, %.1f GiB planned\n", gib, f->plan.unet_batch,
                f->plan.recompute_unet ? " (recomputed)" : "", f->plan.decoder_batch,
                f->plan.recompute_decoder ? " (recomputed)" : "",
                (double)(f->plan.weights + f->plan.optimizer + f->plan.activations) / GIB);
  assert_true(f->plan.fits);
  assert_true((double)(f->plan.weights + f->plan.optimizer + f->plan.activations) < gib * GIB);
  assert_int_equal(f->plan.unet_batch, unet);
  assert_int_equal(f->plan.recompute_unet, recompute_unet);
  if (f->plan.decoder_batch < least_decoder) fail_msg("%d through the decoder, at least %d wanted", f->plan.decoder_batch, least_decoder);
}

static void cards_of_several_sizes(void **state) {
  full_size f = open_full(NULL, 0);

  (void)state;
  fit(&f, 79, 32, 8, false);
  fit(&f, 60, 32, 8, false);
  fit(&f, 38, 32, 8, true);
  fit(&f, 22, 8, 2, true);
  close_full(&f);
}

/* A size that was asked for stays, and what cannot fit is said. */
static void sizes_that_were_set(void **state) {
  full_size f = open_full((const char *const[]){"optim.micro_batch=4"}, 1);

  (void)state;
  fit(&f, 79, 4, 4, false);
  tr_plan_fit(f.c, &f.net, TCHC_CUDA, true, (int64_t)(12 * GIB), &f.plan);
  assert_false(f.plan.fits);
  assert_int_equal(f.plan.unet_batch, 4);
  assert_int_equal(f.plan.decoder_batch, 1);
  close_full(&f);
}

/* Without a GPU all that a run holds is in one memory, a checkpoint's copy too. */
static void without_a_gpu(void **state) {
  full_size f = open_full((const char *const[]){"run.precision=fp32"}, 1);
  tr_plan *p = &f.plan;

  (void)state;
  tr_plan_fit(f.c, &f.net, TCHC_CPU, false, (int64_t)(24 * GIB), p);
  assert_false(p->fits);
  assert_int_equal(p->unet_batch, 2);
  tr_plan_fit(f.c, &f.net, TCHC_CPU, false, (int64_t)(128 * GIB), p);
  assert_true(p->fits);
  expect_close("a checkpoint's copy", (double)p->snapshot, 12.0 * (double)p->unet_numel, 1e-9);
  const int64_t rest = p->weights + p->optimizer + p->groups_ahead + p->snapshot;
  assert_true(p->activations <= ((int64_t)(128 * GIB) - rest) / 2);
  tr_plan_fit(f.c, &f.net, TCHC_CPU, false, 0, p);
  assert_true(p->fits && p->unet_batch == 8);
  close_full(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(operations_of_stable_diffusion), cmocka_unit_test(activations_of_stable_diffusion),
                                     cmocka_unit_test(cards_of_several_sizes), cmocka_unit_test(sizes_that_were_set),
                                     cmocka_unit_test(without_a_gpu)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
