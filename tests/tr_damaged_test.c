/* A third of the files is damaged in every way there is: training goes on with the rest and lists every damaged path. */
#include "tests/support/damage.h"
#include "tests/support/runs.h"

enum { FRAMES = 18, DAMAGED = 6, STEPS = 24, BATCH = 6 };

static const char *const damaged_path[DAMAGED] = {
    "scene_cam_00_final_hdf5/frame.0000.color.hdf5",        "scene_cam_00_geometry_hdf5/frame.0001.depth_meters.hdf5",
    "scene_cam_00_geometry_hdf5/frame.0002.render_entity_id.hdf5", "scene_cam_00_final_hdf5/frame.0003.color.hdf5",
    "scene_cam_00_geometry_hdf5/frame.0004.render_entity_id.hdf5", "scene_cam_00_geometry_hdf5/frame.0005.depth_meters.hdf5"};

static const char *frame_path(void **state, const char *scene, const char *rest) {
  return tmpdir_at(state, "data/hypersim/raw_data/%s/images/%s", scene, rest);
}

static void swap(const char *a, const char *b) {
  char aside[IO_PATH_MAX];

  check_ok(io_path(aside, "%s.aside", a));
  check_ok(io_rename(a, aside));
  check_ok(io_rename(b, a));
  check_ok(io_rename(aside, b));
}

static void damage(void **state, const char *scene) {
  const char *path[DAMAGED];
  char *zeros;

  for (int i = 0; i < DAMAGED; i++) path[i] = frame_path(state, scene, damaged_path[i]);
  damaged d = damaged_load(path[0]);
  damaged_save(path[0], d.bytes, d.n / 2); /* truncated */
  damaged_free(&d);
  d = damaged_load(path[1]); /* zeroed */
  assert_non_null(zeros = calloc(1, d.n));
  damaged_save(path[1], zeros, d.n);
  free(zeros);
  damaged_free(&d);
  swap(path[2], frame_path(state, scene, "scene_cam_00_geometry_hdf5/frame.0002.depth_meters.hdf5"));
  damaged_save(path[3], "\x89PNG\r\n\x1a\n", 8); /* of another type */
  assert_int_equal(remove(path[4]), 0);          /* missing */
  d = damaged_load(path[5]);                     /* damaged in the middle of its chunks */
  for (size_t i = d.n / 2; i < d.n / 2 + 40; i++) d.bytes[i] = (char)~d.bytes[i];
  damaged_save(path[5], d.bytes, d.n);
  damaged_free(&d);
}

static const char *put_config(void **state) {
  const char *config = tmpdir_at(state, "c.yaml");
  FILE *f = fopen(config, "w");

  assert_non_null(f);
  fprintf(f,
          "run: {dir: run, device: cpu}\nmodel: {path: %s/golden/models/tiny-marigold}\n"
          "data: [{kind: hypersim, root: data/hypersim, size: [24, 32]}]\n"
          "loader: {workers: 2}\noptim: {steps: %d, batch: %d, group: 2, lr: 1e-3, warmup: 0, decay_steps: 40}\n",
          TEST_DATA, STEPS, BATCH);
  fclose(f);
  return config;
}

/* The one scene folder that holds six frames' worth of damage. */
static void first_scene(void **state, char scene[64]) {
  char **names = NULL;
  size_t n = 0;

  check_ok(io_list_dir(tmpdir_at(state, "data/hypersim/raw_data"), &names, &n));
  assert_true(n >= 3);
  snprintf(scene, 64, "%s", names[0]);
  io_free_names(&names, n);
}

/* Lines of text that hold `part`. */
static int lines_with(const char *text, const char *part) {
  int n = 0;

  for (const char *at = strstr(text, part); at; n++) {
    at = strchr(at, '\n');
    at = at ? strstr(at, part) : NULL;
  }
  return n;
}

static double peak_at(const char *dir, int want) {
  char path[IO_PATH_MAX], line[8192];
  double peak = 0;
  int n = 0;

  check_ok(io_path(path, "%s/metrics.jsonl", dir));
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  while (n < want && fgets(line, sizeof line, f)) n++;
  json_t *doc = json_loads(line, 0, NULL);
  peak = json_number_value(json_object_get(doc, "peak_bytes"));
  json_decref(doc);
  fclose(f);
  assert_int_equal(n, want);
  return peak;
}

static void a_third_of_the_files_is_damaged(void **state) {
  static runs_line lines[RUNS_STEPS];
  const char *config = put_config(state), *run = tmpdir_at(state, "run");
  char scene[64], *list = NULL;
  size_t n;

  program p = program_run(120, "synth", "-o", tmpdir_at(state, "data"), "--seed", "5", "--rooms", "3", "--frames", "6", "--streets",
                          "0", "--size", "48x64", NULL);
  program_expect(&p, 0);
  program_free(&p);
  first_scene(state, scene);
  damage(state, scene);
  p = program_run(240, "train", config, NULL);
  program_expect(&p, 0);
  assert_non_null(strstr(p.err, "6 bad files were passed over: "));
  program_free(&p);
  assert_int_equal(runs_metrics(run, lines), STEPS);
  for (int i = 0; i < STEPS; i++) assert_true(isfinite(lines[i].loss) && !lines[i].skipped);
  check_ok(io_read_file(tmpdir_at(state, "run/bad_files.txt"), 1 << 20, &list, &n));
  assert_int_equal(lines_with(list, "data.0: "), DAMAGED);
  for (int i = 0; i < DAMAGED; i++)
    if (lines_with(list, frame_path(state, scene, damaged_path[i])) != 1) fail_msg("%s is not there once:\n%s", damaged_path[i], list);
  free(list);
  assert_true(peak_at(run, STEPS) < 1.05 * peak_at(run, STEPS / 2));
  /* a run that goes on lists nothing twice */
  p = program_run(240, "train", config, "--resume", "-s", "optim.steps=30", NULL);
  program_expect(&p, 0);
  program_free(&p);
  check_ok(io_read_file(tmpdir_at(state, "run/bad_files.txt"), 1 << 20, &list, &n));
  assert_int_equal(lines_with(list, "data.0: "), DAMAGED);
  free(list);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_third_of_the_files_is_damaged, tmpdir_setup, tmpdir_teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
