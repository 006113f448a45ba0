/* Training steps as on a GPU, its kernels run thread by thread on the CPU: networks, losses and optimizer beside the plain
 * way. */
#include <math.h>

#include "tests/support/device.h"
#include "tests/support/tchc_check.h"
#include "trainer/bench_groups.h"
#include "trainer/bind.h"
#include "trainer/optimizer.h"
#include "trainer/step.h"

enum { GROUP = 1, GROUPS = 2, STEPS = 2, H = 64, W = 48 };

typedef struct outcome {
  double loss[STEPS], norm[STEPS];
  float *weights;
  int64_t n;
} outcome;

static cf_config *config(const char *task) {
  cf_config *c = NULL;
  const char *const sets[] = {"model.path=" TEST_DATA "/golden/models/tiny-sd2", task, "run.precision=fp32", "optim.ema=0.9"};

  check_ok(cf_load(TEST_DATA "/../../configs/bench.yaml", sets, 4, true, &c));
  return c;
}

static outcome train(const cf_config *c, const tr_device *d) {
  tr_network net;
  tr_stepper *s = NULL;
  tr_optimizer *o = NULL;
  ds_group made[GROUPS], *groups[GROUPS];
  const tr_group_size size = {GROUP, H, W, true};
  const tr_losses *l;
  const char *bad;
  ck_state state = {0};
  outcome out = {.n = 0};
  tr_step_opts so = {.group = GROUP, .groups = GROUPS, .unet_batch = 2, .decoder_batch = 1, .timestep = 999};

  check_ok(tr_bind_loss(c, &so.loss));
  check_ok(tr_network_read(c, &net));
  check_ok(tr_network_load(c, d, &net));
  for (int g = 0; g < GROUPS; g++) {
    check_ok(tr_group_make(&size, c->model.task, (uint64_t)g, &made[g]));
    groups[g] = &made[g];
  }
  check_ok(tr_stepper_create(&so, &net, &s));
  check_ok(tr_optimizer_create(c, &net, &o));
  for (int i = 0; i < STEPS; i++) {
    bool empty;
    check_ok(tr_stepper_run(s, groups, &empty));
    check_ok(tr_optimizer_step(o, 1e-3, tr_stepper_sums(s), !empty));
    check_ok(tr_stepper_losses(s, groups, &l));
    check_ok(tr_optimizer_result(o, &out.norm[i], &bad));
    assert_null(bad);
    out.loss[i] = l->mean;
  }
  check_ok(tr_optimizer_state(o, &state));
  out.n = state.numel;
  out.weights = malloc(2 * sizeof *out.weights * (size_t)out.n);
  memcpy(out.weights, state.weights, sizeof *out.weights * (size_t)out.n);
  memcpy(out.weights + out.n, state.ema, sizeof *out.weights * (size_t)out.n);
  for (int g = 0; g < GROUPS; g++) tr_group_fini(&made[g]);
  tr_optimizer_destroy(&o);
  tr_stepper_destroy(&s);
  tr_network_fini(&net);
  return out;
}

static void expect_near(const char *what, double got, double want, double rel) {
  if (!(fabs(got - want) <= rel * fabs(want))) fail_msg("%s: %.9g, the plain way %.9g", what, got, want);
}

/* Weights and their mean move by the learning rate at each step: what differs is counted in it. */
static double share_off(const outcome *a, const outcome *b) {
  int64_t n = 0;
  for (int64_t i = 0; i < 2 * a->n; i++) n += fabs((double)a->weights[i] - b->weights[i]) > 1e-4;
  return (double)n / (double)(2 * a->n);
}

static void compare(const char *task, double loss, double norm, double weights) {
  cf_config *c = config(task);
  const tr_device plain = {.at = TCHC_CPU_DEVICE, .name = "cpu"};
  const tr_device emulated = {.at = TCHC_CPU_DEVICE, .kernels = device_open(), .fused = true, .name = "emulated"};
  outcome want = train(c, &plain), got = train(c, &emulated);

  for (int i = 0; i < STEPS; i++) {
    expect_near("loss", got.loss[i], want.loss[i], loss);
    expect_near("norm of the gradient", got.norm[i], want.norm[i], i ? 10 * norm : norm); /* Adam enlarges what differs */
  }
  const double off = share_off(&got, &want);
  if (!(off <= weights)) fail_msg("%g of the weights are off by a tenth of the rate", off);
  free(want.weights), free(got.weights);
  cf_free(&c);
}

static void depth(void **state) {
  (void)state;
  compare("model.task=depth", 1e-5, 1e-3, 3e-2);
}

static void normals(void **state) {
  (void)state;
  compare("model.task=normals", 1e-4, 1e-3, 3e-2);
}

int main(void) {
  const struct CMUnitTest tests[] = {LIVE_TEST(depth), LIVE_TEST(normals)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
