/* e2eft eval on the data sets of a config: predictions that are an affine function of the truth measure as exact, with
 * depth that is not clamped to the training's percentiles. */
#include <jansson.h>
#include <math.h>

#include "base/npy.h"
#include "eval/set.h"
#include "tests/support/program.h"
#include "tests/support/tmpdir.h"

/* Stores (truth * scale + shift), or normals, of every image of the set under its id; their number. */
static int store_predictions(void **state, const char *spec, bool normals, float scale, float shift) {
  ev_set *s = NULL;
  ev_item item;
  char path[IO_PATH_MAX], folder[IO_PATH_MAX];

  check_ok(ev_set_open(spec, normals, NULL, 0, &s));
  const int n = (int)ev_set_count(s);
  for (int i = 0; i < n; i++) {
    check_ok(ev_set_read(s, i, &item));
    const size_t values = (size_t)item.H * (size_t)item.W * (normals ? 3 : 1);
    float *v = malloc(values * sizeof *v);
    assert_non_null(v);
    for (size_t k = 0; k < values; k++) v[k] = item.truth[k] * scale + shift;
    check_ok(io_path(path, "%s/%s.npy", tmpdir_at(state, "pred"), item.id));
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    check_ok(io_make_dirs(folder));
    const int64_t shape[3] = {3, item.H, item.W};
    check_ok(npy_save_f32(path, normals ? 3 : 2, normals ? shape : shape + 1, v));
    free(v);
  }
  ev_set_close(&s);
  return n;
}

static json_t *evaluated(void **state, const char *data, const char *task) {
  const char *file = tmpdir_at(state, "e.json");
  program p = program_run(60, "eval", "--data", data, "--task", task, "--predictions", tmpdir_at(state, "pred"), "--json", file, NULL);
  json_error_t error;

  program_expect(&p, 0);
  program_free(&p);
  json_t *j = json_load_file(file, 0, &error);
  if (!j) fail_msg("%s", error.text);
  return j;
}

static double number(const json_t *j, const char *key) { return json_number_value(json_object_get(j, key)); }

static const char *synth_spec(const char *kind, const char *folder) {
  static char spec[2][IO_PATH_MAX];
  static int turn;

  turn = !turn;
  check_ok(io_path(spec[turn], "%s:%s/synth/%s", kind, TEST_DATA, folder));
  return spec[turn];
}

static void depth_of_data_sets(void **state) {
  const char *const specs[2] = {synth_spec("hypersim", "hypersim"), synth_spec("vkitti2", "virtual_kitti_2")};

  for (int i = 0; i < 2; i++) {
    const int n = store_predictions(state, specs[i], false, 0.07f, 0.2f);
    json_t *j = evaluated(state, specs[i], "depth");
    assert_int_equal(number(j, "images"), n);
    assert_true(n > 0 && number(j, "abs_rel") < 1e-5 && number(j, "delta1") == 1);
    json_decref(j);
  }
}

static void normals_of_a_data_set(void **state) {
  const char *spec = synth_spec("hypersim", "hypersim");
  const int n = store_predictions(state, spec, true, 2, 0);
  json_t *j = evaluated(state, spec, "normals");

  assert_int_equal(number(j, "images"), n);
  assert_true(number(j, "mean") < 0.05 && number(j, "below_5") == 100);
  assert_string_equal(json_string_value(json_object_get(j, "task")), "normals");
  json_decref(j);
}

/* A config's entries are evaluated one by one, by their own keys. */
static void entries_of_a_config(void **state) {
  const char *rooms = synth_spec("hypersim", "hypersim"), *streets = synth_spec("vkitti2", "virtual_kitti_2");
  char text[3 * IO_PATH_MAX];

  snprintf(text, sizeof text, "data:\n  - {kind: hypersim, root: %s, size: native, far: 5}\n  - {kind: vkitti2, root: %s, size: native}\n",
           strchr(rooms, ':') + 1, strchr(streets, ':') + 1);
  tmpdir_put(tmpdir_at(state, "two.yaml"), text, strlen(text));
  for (int i = 0; i < 2; i++) store_predictions(state, i ? streets : rooms, false, 0.07f, 0.2f);
  json_t *j = evaluated(state, tmpdir_at(state, "two.yaml"), "depth");
  const json_t *sets = json_object_get(j, "sets");
  assert_int_equal(json_array_size(sets), 2);
  assert_true(number(json_array_get(sets, 0), "far") == 5);
  assert_true(number(json_array_get(sets, 1), "far") == 80);
  for (size_t i = 0; i < 2; i++) assert_true(number(json_array_get(sets, i), "images") > 0);
  json_decref(j);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(depth_of_data_sets), TEST(normals_of_a_data_set), TEST(entries_of_a_config)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
