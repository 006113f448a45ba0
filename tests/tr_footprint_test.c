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

static void narrow(tr_network *net) {
  for (int i = 0; i < net->unet_config.blocks; i++) net->unet_config.block_out_channels[i] /= 5;
  for (int i = 0; i < net->unet_config.blocks; i++) net->unet_config.heads[i] /= 5;
  for (int i = 0; i < net->vae_config.blocks; i++) net->vae_config.block_out_channels[i] /= 4;
  net->unet_config.cross_attention_dim = 64;
}

/* One level: the U-Net is mostly its middle, the decoder mostly scores of its attention. */
static void flat(tr_network *net) {
  narrow(net);
  net->unet_config.blocks = net->vae_config.blocks = 1;
  net->unet_config.layers_per_block[0] = net->vae_config.layers_per_block = 1;
  net->unet_config.down_attention[0] = net->unet_config.up_attention[0] = false;
}

static const struct net_case {
  const char *name;
  bool unet;
  void (*shape)(tr_network *);
  int h, w;         /* of the latents */
  bool kept_alone;  /* what its backward pass needs besides is not modelled */
} cases[] = {{"U-Net", true, narrow, 24, 32, false},
             {"U-Net at odd sizes", true, narrow, 20, 28, false}, /* 5 x 7, 3 x 4 */
             {"decoder", false, narrow, 12, 16, false},
             /* whose turns in backward come when in a whole network much is gone */
             {"U-Net's middle", true, flat, 24, 32, true},
             {"decoder's attention", false, flat, 24, 32, true}};
enum { CASES = sizeof cases / sizeof *cases };

static void open_network(const cf_config *c, void (*shape)(tr_network *), tr_network *net) {
  tr_device d;

  check_ok(tr_network_read(c, net));
  shape(net);
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

static void expect_close(const char *name, const char *what, double got, double model, double within) {
  if (!(fabs(got - model) <= within * model)) fail_msg("%s, %s: %.2f MB, the model says %.2f", name, what, got, model);
}

/* All that tensors hold, against the model. */
static void compare_one(const cf_config *c, const struct net_case *k, bool recompute) {
  const double unit = 1.0 / (1 << 20);
  tr_network net;

  open_network(c, k->shape, &net);
  tr_network_recompute(&net, recompute, recompute);
  const tr_footprint_way way = {recompute, net.fused};
  const tr_footprint f = k->unet ? tr_footprint_unet(&net.unet_config, k->h, k->w, way)
                                 : tr_footprint_decoder(&net.vae_config, k->h, k->w, way);
  const double width = unit * (double)tchc_dtype_size(net.dtype);
  const double kept = width * (double)(B * f.kept + f.fixed), back = width * B * (double)f.back;
  (void)measure(&net, k->unet, k->h, k->w); /* the first run makes what stays */
  const measured m = measure(&net, k->unet, k->h, k->w);
  print_message("%s%s: kept %.2f MB (model %.2f), backward up to %.2f (%.2f)\n", k->name, recompute ? ", run again" : "",
                unit * m.kept, kept, unit * m.highest, kept + back);
  const double within = recompute ? 0.07 : 0.05; /* statistics are a larger part of less */
  expect_close(k->name, "kept", unit * m.kept, kept, within);
  if (!k->kept_alone) expect_close(k->name, "backward", unit * m.highest, kept + back, within);
  tr_network_fini(&net);
}

static void compare(const char *kernels, const char *precision, bool recompute) {
  cf_config *c = config(kernels, precision);

  print_message("%s, %s\n", kernels, precision);
  check_ok(tchc_memory_count(true));
  for (int i = 0; i < CASES; i++)
    if (!recompute || !cases[i].kept_alone) compare_one(c, &cases[i], recompute);
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
