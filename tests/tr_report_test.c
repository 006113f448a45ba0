/* e2eft report: a short run, what it changed, and what cannot be reported on. */
#include "tests/support/runs.h"

static const char *data_of(const char *name, const char *kind, const char *folder) {
  static char spec[2][IO_PATH_MAX];
  static int turn;

  turn = !turn;
  check_ok(io_path(spec[turn], "%s=%s:%s/synth/%s", name, kind, TEST_DATA, folder));
  return spec[turn];
}

#define ROOMS data_of("rooms", "hypersim", "hypersim")
#define STREETS data_of("streets", "vkitti2", "virtual_kitti_2")

static const char *trained(void **state, const char *task) {
  const char *dir = tmpdir_at(state, "run");
  RUNS_TRAIN(0, runs_config(state, task), dir, "-s", "optim.steps=2");
  return dir;
}

static void before_and_after(void **state) {
  const char *run = trained(state, "depth"), *out = tmpdir_at(state, "out");
  program p = program_run(120, "report", run, "-d", ROOMS, "-d", STREETS, "-o", out, "-s", "limit=2", "--title", "Two steps", NULL);
  json_t *j;

  program_expect(&p, 0);
  assert_non_null(strstr(p.out, "mean_map"));
  program_free(&p);
  assert_non_null(j = json_load_file(tmpdir_at(state, "out/report.json"), 0, NULL));
  const char *const who[] = {"before", "after", "constant", "mean_map"}, *const sets[] = {"rooms", "streets"};
  for (int i = 0; i < 4; i++)
    for (int k = 0; k < 2; k++)
      assert_true(json_number_value(json_object_get(json_object_get(json_object_get(j, who[i]), sets[k]), "abs_rel")) > 0);
  json_decref(j);
  assert_true(io_exists(tmpdir_at(state, "out/report.html")));
  assert_true(io_exists(tmpdir_at(state, "out/heldout/streets-001.after.npy")));
  assert_false(io_exists(tmpdir_at(state, "out/heldout/streets-002.after.npy")));
  /* it does not write over what is there */
  p = program_run(60, "report", run, "-d", ROOMS, "-o", out, NULL);
  program_expect_error(&p, 2, "heldout");
  program_free(&p);
}

static void normals(void **state) {
  const char *run = trained(state, "normals"), *out = tmpdir_at(state, "out");
  program p = program_run(120, "report", run, "-d", ROOMS, "-o", out, "-s", "limit=2", NULL);
  json_t *j;

  program_expect(&p, 0);
  program_free(&p);
  assert_non_null(j = json_load_file(tmpdir_at(state, "out/report.json"), 0, NULL));
  const json_t *after = json_object_get(json_object_get(j, "after"), "rooms");
  assert_true(json_number_value(json_object_get(after, "mean")) > 0 && json_is_number(json_object_get(after, "below_11_25")));
  json_decref(j);
}

static void fails(void **state, const char *run, const char *data, int status, const char *part) {
  program p = program_run(60, "report", run, "-d", data, "-o", tmpdir_at(state, "other"), NULL);
  program_expect_error(&p, status, part);
  program_free(&p);
}

static const char *two_entries(void **state) {
  char text[3 * IO_PATH_MAX];
  const char *path = tmpdir_at(state, "two.yaml");

  snprintf(text, sizeof text,
           "data:\n  - {kind: hypersim, root: %s/synth/hypersim, size: native}\n"
           "  - {kind: vkitti2, root: %s/synth/virtual_kitti_2, size: native}\n",
           TEST_DATA, TEST_DATA);
  tmpdir_put(path, text, strlen(text));
  return tmpdir_at(state, "x=%s", path) + strlen(*state) + 1;
}

static void bad_input(void **state) {
  const char *run = trained(state, "depth"), *rooms = ROOMS;
  program p = program_run(60, "report", run, "-d", rooms, NULL);

  program_expect_error(&p, 2, "-o DIR is missing");
  program_free(&p);
  p = program_run(60, "report", run, "-d", rooms, "-d", rooms, "-o", tmpdir_at(state, "other"), NULL);
  program_expect_error(&p, 2, "two sets are called rooms");
  program_free(&p);
  fails(state, tmpdir_at(state, "none"), rooms, 4, "no config.yaml");
  fails(state, run, "hypersim:/x", 2, "wanted NAME=");
  fails(state, run, "a/b=hypersim:/x", 2, "wanted NAME=");
  fails(state, run, "rooms=hypersim:/not/there", 3, "/not/there");
  fails(state, run, "rooms=nyuv2_normals:/not/there", 3, "/not/there");
  fails(state, run, two_entries(state), 2, "wanted one data set, found 2");
  check_ok(io_rename(tmpdir_at(state, "run/model"), tmpdir_at(state, "run/moved")));
  fails(state, run, rooms, 4, "has not come to its end");
  check_ok(io_rename(tmpdir_at(state, "run/moved"), tmpdir_at(state, "run/model")));
  tmpdir_put(tmpdir_at(state, "run/metrics.jsonl"), "{\"step\": 1, \"loss\": \"nan\"}\n{}\n", 31);
  fails(state, run, rooms, 4, "metrics.jsonl:2");
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(before_and_after), TEST(normals), TEST(bad_input)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
