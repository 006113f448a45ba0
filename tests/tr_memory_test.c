/* Out of memory in a step: smaller parts, a warning, the same numbers but for rounding. The loss says E_NOMEM in the
 * allocator's place whenever it sees more samples than there is room for. */
#include <math.h>

#include "tests/support/tchc_check.h"
#include "trainer/bench_groups.h"
#include "trainer/step.h"

enum { GROUP = 2, GROUPS = 4 };

static int room; /* samples that fit through the decoder and loss */
static int calls, refused, fail_at; /* fail_at: this call finds no room, whatever its size; 0 = none */
static const ls_kind *real;

static int narrow_apply(const ls_batch *b, tchc_tensor **total, tchc_tensor **sums) {
  calls++;
  if (tchc_size(b->decoded, 0) > room || calls == fail_at) {
    refused++;
    return err_set(E_NOMEM, __FILE__, __LINE__, "out of memory: %lld samples", (long long)tchc_size(b->decoded, 0));
  }
  return real->apply(b, total, sums);
}

static const ls_kind narrow = {"narrow", LS_DEPTH, narrow_apply};

typedef struct outcome {
  float *grads;
  int64_t n;
  double loss;
  int status;
} outcome;

static cf_config *tiny_config(const char *kernels) {
  cf_config *c = NULL;
  const char *const sets[] = {"model.path=" TEST_DATA "/golden/models/tiny-sd2", "run.precision=fp32", kernels};

  check_ok(cf_load(TEST_DATA "/../../configs/bench.yaml", sets, 3, true, &c));
  return c;
}

/* Two steps of 4 groups; the second must be computed with the sizes that the first one found. */
static outcome run(const char *kernels, int fits, int unet_batch, int decoder_batch) {
  cf_config *c = tiny_config(kernels);
  tr_device d;
  tr_network net;
  tr_stepper *s = NULL;
  ds_group made[GROUPS], *groups[GROUPS];
  const tr_losses *l;
  outcome out = {0};
  bool empty;

  room = fits;
  real = ls_find("affine_l1");
  check_ok(tr_network_read(c, &net));
  check_ok(tr_device_open(c, &d));
  check_ok(tr_network_load(c, &d, &net));
  for (int g = 0; g < GROUPS; g++) {
    const tr_group_size size = {GROUP, 32, 48, true};
    check_ok(tr_group_make(&size, CF_DEPTH, (uint64_t)g, &made[g]));
    groups[g] = &made[g];
  }
  const tr_step_opts o = {.group = GROUP, .groups = GROUPS, .unet_batch = unet_batch, .decoder_batch = decoder_batch,
                          .timestep = 999, .loss = &narrow};
  check_ok(tr_stepper_create(&o, &net, &s));
  calls = refused = 0;
  out.status = tr_stepper_run(s, groups, &empty);
  if (out.status == OK) {
    const int first = refused;
    check_ok(tr_stepper_losses(s, groups, &l));
    out.loss = l->mean;
    out.n = tchc_numel(net.grads);
    out.grads = malloc((size_t)out.n * sizeof *out.grads);
    to_floats(net.grads, out.grads, out.n);
    check_ok(tr_stepper_run(s, groups, &empty));
    assert_int_equal(refused, first);
  }
  for (int g = 0; g < GROUPS; g++) tr_group_fini(&made[g]);
  tr_stepper_destroy(&s);
  tr_network_fini(&net);
  cf_free(&c);
  return out;
}

static double off(const outcome *got, const outcome *want) {
  double error = 0, norm = 0;
  for (int64_t i = 0; i < want->n; i++) {
    error += pow((double)got->grads[i] - want->grads[i], 2);
    norm += pow(want->grads[i], 2);
  }
  return sqrt(error / norm);
}

static void smaller_parts_same_numbers(void **state) {
  static const char *const kernels[] = {"run.kernels=plain", "run.kernels=fused"};

  (void)state;
  for (int i = 0; i < 2; i++) {
    outcome all = run(kernels[i], 8, 8, 8), parts = run(kernels[i], 2, 8, 8), single = run(kernels[i], 1, 4, 4);
    if (all.status != OK) fail_msg("%s", err_text());
    assert_true(refused > 0);
    assert_int_equal(parts.status, OK);
    assert_int_equal(single.status, OK);
    assert_true(fabs(parts.loss - all.loss) <= 1e-6 * all.loss && fabs(single.loss - all.loss) <= 1e-6 * all.loss);
    assert_true(off(&parts, &all) <= 1e-4 && off(&single, &all) <= 1e-4);
    free(all.grads), free(parts.grads), free(single.grads);
  }
}

/* The first half's gradient is there already when the second half finds no room. */
static void half_a_step_counts_for_nothing(void **state) {
  (void)state;
  outcome all = run("run.kernels=plain", 8, 4, 2);
  fail_at = 3;
  outcome again = run("run.kernels=plain", 8, 4, 2);
  fail_at = 0;
  assert_int_equal(refused, 1);
  assert_true(fabs(again.loss - all.loss) <= 1e-6 * all.loss && off(&again, &all) <= 1e-4);
  free(all.grads), free(again.grads);
}

static void nothing_smaller_is_an_error(void **state) {
  (void)state;
  outcome none = run("run.kernels=plain", 0, 8, 8);
  assert_int_equal(none.status, E_NOMEM);
  assert_true(strstr(err_text(), "out of memory") != NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {LIVE_TEST(smaller_parts_same_numbers), LIVE_TEST(half_a_step_counts_for_nothing),
                                     LIVE_TEST(nothing_smaller_is_an_error)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
