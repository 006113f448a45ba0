/* e2eft bench at tiny sizes: what it prints is JSON with what the README promises, whichever way it computes. */
#include <jansson.h>

#include "tests/support/program.h"

#define CONFIG TEST_DATA "/../../configs/bench.yaml"
#define TINY "-s", "model.path=" TEST_DATA "/golden/models/tiny-sd2", "-s", "optim.batch=4", "-s", "run.precision=fp32"

static json_t *bench_json(program *p) {
  json_error_t e;

  program_expect(p, 0);
  json_t *root = json_loads(p->out, 0, &e);
  if (!root) fail_msg("line %d: %s: %s", e.line, e.text, p->out);
  program_free(p);
  return root;
}

/* The number at a.b of the object. */
static double number(const json_t *root, const char *a, const char *b) {
  const json_t *v = json_object_get(root, a);
  if (b) v = json_object_get(v, b);
  if (!json_is_number(v)) fail_msg("%s%s%s: no number", a, b ? "." : "", b ? b : "");
  return json_number_value(v);
}

static void steps_are_timed(void **state) {
  static const char *const kernels[] = {"run.kernels=plain", "run.kernels=fused"};

  (void)state;
  for (int i = 0; i < 2; i++) {
    program p = program_run(100, "bench", CONFIG, TINY, "-s", kernels[i], "--shape", "32x48:3", "--shape", "64x32",
                            "--steps", "2", "--warm", "1", NULL);
    json_t *j = bench_json(&p);
    double phases = 0, step = number(j, "seconds_per_step", "median");
    const char *name;
    json_t *v;
    json_object_foreach(json_object_get(j, "phases_ms"), name, v) phases += json_number_value(v);
    assert_true(step > 0 && number(j, "samples_per_second", NULL) > 0);
    assert_true(phases > 0 && phases <= 2.1e3 * number(j, "seconds_per_step", "max"));
    assert_true(number(j, "memory_bytes", "peak") > 0 && number(j, "memory_bytes", "planned") > 0);
    assert_true(number(j, "fraction_of_limit", NULL) > 0 && number(j, "loss", NULL) > 0 && number(j, "grad_norm", NULL) > 0);
    assert_int_equal(json_object_get(json_object_get(j, "kernels_ms"), "group_norm") != NULL, i);
    assert_string_equal(json_string_value(json_object_get(json_object_get(j, "set_up"), "kernels")), i ? "fused" : "plain");
    json_decref(j);
  }
}

static void inference_is_timed(void **state) {
  (void)state;
  program p = program_run(100, "bench", CONFIG, TINY, "--predict", "--shape", "48x32", "-s", "optim.micro_batch=2", "--steps",
                          "2", "--warm", "1", NULL);
  json_t *j = bench_json(&p);
  assert_true(number(j, "ms_per_image", NULL) > 0);
  assert_true(number(j, "images_at_once", NULL) == 2);
  json_decref(j);
}

static void fused_gradients_agree_with_plain_ones(void **state) {
  (void)state;
  program p = program_run(100, "bench", CONFIG, TINY, "-s", "run.kernels=fused", "--check", "--shape", "32x48", NULL);
  json_t *j = bench_json(&p);
  assert_true(number(j, "this", "loss_relative") < 1e-5);
  assert_true(number(j, "this", "gradient_cosine") > 1 - 1e-6);
  assert_true(number(j, "this", "gradient_relative") > 0); /* another way it is */
  assert_true(number(j, "plain", "gradient_relative") < 1e-5);
  json_decref(j);
}

static void what_is_wrong_is_said(void **state) {
  (void)state;
  program p = program_run(20, "bench", CONFIG, TINY, "--shape", "33x48", NULL);
  program_expect_error(&p, 2, "33 x 48: wanted multiples of");
  program_free(&p);
  p = program_run(20, "bench", CONFIG, TINY, "--shape", "48", NULL);
  program_expect_error(&p, 2, "wanted HxW");
  program_free(&p);
  p = program_run(20, "bench", CONFIG, TINY, "--predict", "--check", NULL);
  program_expect_error(&p, 2, "two things");
  program_free(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(steps_are_timed), cmocka_unit_test(inference_is_timed),
                                     cmocka_unit_test(fused_gradients_agree_with_plain_ones), cmocka_unit_test(what_is_wrong_is_said)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
