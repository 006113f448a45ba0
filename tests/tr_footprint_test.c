/* The model of memory beside the bytes that tensors hold: networks of Stable Diffusion's shape with a fraction of its
 * channels, forward and backward, in both ways of computing them. */
#include <math.h>

#include "tests/support/tchc_check.h"
#include "trainer/footprint.h"
#include "trainer/network.h"

enum { B = 2 };

/* Bytes more than before the forward pass: after it, and at the highest point of the backward pass. */
typedef struct measured { double kept, highest; } measured;

static cf_config *config(const char *kernels, const char *precision) {
  cf_config *c = NULL;
  const char *const sets[] = {"run.device=cpu", kernels, precision};

  check_ok(cf_load(TEST_DATA "/../../configs/bench.yaml", sets, 3, true, &c));
  return c;
}

static void open_narrow(const cf_config *c, tr_network *net) {
  tr_device d;

  check_ok(tr_network_read(c, net));
  for (int i = 0; i < net->unet_config.blocks; i++) net->unet_config.block_out_channels[i] /= 5;
  for (int i = 0; i < net->unet_config.blocks; i++) net->unet_config.heads[i] /= 5;
  for (int i = 0; i < net->vae_config.blocks; i++) net->vae_config.block_out_channels[i] /= 4;
  net->unet_config.cross_attention_dim = 64;
  check_ok(tr_device_open(c, &d));
  check_ok(tr_network_load(c, &d, net));
}

static double bytes(bool peak) {
  tchc_memory m;
  check_ok(tchc_memory_stats(TCHC_CPU_DEVICE, &m));
  return (double)(peak ? m.allocated_peak : m.allocated);
}

static tchc_tensor *random_input(const tr_network *net, int channels, int h, int w, bool leaf) {
  tchc_tensor *x = NULL, *y = NULL;

  check_ok(tchc_randn(DIMS(B, channels, h, w), TCHC_F32, TCHC_CPU_DEVICE, &x));
  check_ok(tchc_to_type(x, net->dtype, &y));
  if (leaf) check_ok(tchc_requires_grad_(y, true));
  tchc_free(&x);
  return y;
}

static measured measure(const tr_network *net, bool unet, int h, int w) {
  measured m;
  tchc_tensor *x = random_input(net, unet ? 8 : 4, h, w, !unet), *t = NULL, *out = NULL, *g = NULL;

  check_ok(tchc_full(DIMS(1), 999, TCHC_I64, TCHC_CPU_DEVICE, &t));
  const double before = bytes(false);
  check_ok(unet ? md_unet_forward(net->unet, x, t, net->text, NULL, &out) : md_vae_decode(net->vae, x, NULL, &out));
  m.kept = bytes(false) - before;
  check_ok(tchc_zeros_like(out, &g));
  check_ok(tchc_memory_reset_peak(TCHC_CPU_DEVICE));
  check_ok(tchc_backward(out, g));
  m.highest = bytes(true) - before;
  tchc_free(&x), tchc_free(&t), tchc_free(&out), tchc_free(&g);
  return m;
}

static void expect_close(const char *what, double got, double model) {
  if (!(fabs(got - model) <= 0.05 * model)) fail_msg("%s: %.2f MB, the model says %.2f", what, got, model);
}

/* All that tensors hold, against the model. */
static void compare(const char *kernels, const char *precision, bool recompute) {
  const double unit = 1.0 / (1 << 20);
  cf_config *c = config(kernels, precision);
  tr_network net;

  check_ok(tchc_memory_count(true));
  open_narrow(c, &net);
  tr_network_recompute(&net, recompute, recompute);
  const tr_footprint_way way = {recompute, net.fused};
  for (int unet = 0; unet < 2; unet++) {
    char what[64];
    const int h = unet ? 24 : 16, w = unet ? 32 : 20; /* the decoder's are 64 times as many pixels */
    const tr_footprint f = unet ? tr_footprint_unet(&net.unet_config, h, w, way) : tr_footprint_decoder(&net.vae_config, h, w, way);
    const double width = unit * (double)tchc_dtype_size(net.dtype), kept = width * (double)(B * f.kept + f.fixed), back = width * B * (double)f.back;
    (void)measure(&net, unet, h, w); /* the first run makes what stays */
    const measured m = measure(&net, unet, h, w);
    print_message("%s, %s, %s%s: kept %.1f MB (model %.1f), backward up to %.1f (%.1f)\n", kernels, precision, unet ? "U-Net" : "decoder",
                  recompute ? " run again" : "", unit * m.kept, kept, unit * m.highest, kept + back);
    snprintf(what, sizeof what, "%s, kept", unet ? "U-Net" : "decoder");
    expect_close(what, unit * m.kept, kept);
    snprintf(what, sizeof what, "%s, backward", unet ? "U-Net" : "decoder");
    expect_close(what, unit * m.highest, kept + back);
  }
  tr_network_fini(&net);
  check_ok(tchc_memory_count(false));
  cf_free(&c);
}

static void fused(void **state) {
  (void)state;
  compare("run.kernels=fused", "run.precision=fp32", false);
  compare("run.kernels=fused", "run.precision=bf16", false);
  compare("run.kernels=fused", "run.precision=fp32", true);
}

static void plain(void **state) {
  (void)state;
  compare("run.kernels=plain", "run.precision=fp32", false);
  compare("run.kernels=plain", "run.precision=fp32", true);
}

int main(void) {
  const struct CMUnitTest tests[] = {LIVE_TEST(fused), LIVE_TEST(plain)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
