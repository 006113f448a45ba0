/* prepare --normals: the same files each time, what is there stays, what cannot be made is named. (That they are the reference's,
 * bit for bit, is in ds_d2nt_test.) */
#include "tests/support/damage.h"
#include "tests/support/runs.h"

#define SYNTH TEST_DATA "/synth/virtual_kitti_2"

static const char *config_of(void **state, const char *root) {
  const char *path = tmpdir_at(state, "n.yaml");
  FILE *f = fopen(path, "w");

  assert_non_null(f);
  fprintf(f, "model: {task: normals}\ndata: [{kind: vkitti2, root: %s, size: native}]\n", root);
  fclose(f);
  return path;
}

static void expect_same_file(const char *a, const char *b) {
  char *x = NULL, *y = NULL;
  size_t n, m;

  check_ok(io_read_file(a, 1 << 24, &x, &n));
  check_ok(io_read_file(b, 1 << 24, &y, &m));
  assert_true(n > 0);
  assert_int_equal(n, m);
  assert_memory_equal(x, y, n);
  free(x);
  free(y);
}

static void normals_are_stored_once(void **state) {
  const char *config = config_of(state, SYNTH), *file = "vkitti_DAG_normals/Scene18/rain/frames/normal/Camera_0/normal_00000.png";
  struct stat first, again;
  program p = program_run(60, "prepare", config, "--normals", tmpdir_at(state, "a"), NULL);

  program_expect(&p, 0);
  assert_non_null(strstr(p.out, ", 0 failed"));
  program_free(&p);
  assert_int_equal(stat(tmpdir_at(state, "a/%s", file), &first), 0);
  p = program_run(60, "prepare", config, "--normals", tmpdir_at(state, "a"), NULL);
  program_expect(&p, 0);
  program_free(&p);
  assert_int_equal(stat(tmpdir_at(state, "a/%s", file), &again), 0);
  assert_true(first.st_ino == again.st_ino && first.st_mtime == again.st_mtime);
  p = program_run(60, "prepare", config, "--normals", tmpdir_at(state, "b"), NULL);
  program_expect(&p, 0);
  program_free(&p);
  expect_same_file(tmpdir_at(state, "a/%s", file), tmpdir_at(state, "b/%s", file));
}

static void a_broken_depth_is_named(void **state) {
  const char *copy = tmpdir_at(state, "data"), *depth = "vkitti_2.0.3_depth/Scene18/rain/frames/depth/Camera_0/depth_00000.png";

  check_ok(io_copy_tree(SYNTH, copy));
  damaged_save(tmpdir_at(state, "data/%s", depth), "\x89PNG\r\n", 6);
  program p = program_run(60, "prepare", config_of(state, copy), "--normals", tmpdir_at(state, "out"), NULL);
  program_expect_error(&p, 3, "1 frames have no normals");
  assert_non_null(strstr(p.err, depth));
  assert_non_null(strstr(p.out, ", 1 failed"));
  program_free(&p);
}

static void other_kinds_have_none_to_make(void **state) {
  program p = program_run(60, "prepare", runs_config(state, "depth"), "--normals", tmpdir_at(state, "out"), NULL);

  program_expect_error(&p, 2, "no entry is of kind vkitti2");
  program_free(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(normals_are_stored_once, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(a_broken_depth_is_named, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(other_kinds_have_none_to_make, tmpdir_setup, tmpdir_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
