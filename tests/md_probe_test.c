/* Dumps of a pass, and the tool that finds where two dumps part. md_probe_test TDIFF */
#include "models/probe.h"

#include <stdio.h>
#include <sys/wait.h>

#include "base/npy.h"
#include "tests/support/tchc_check.h"
#include "tests/support/tmpdir.h"

static const char *tdiff;
#define TMP_TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

static void see(const md_probe *probe, const char *prefix, const char *name, const float *v, int64_t n) {
  tchc_tensor *t = from_floats(v, &n, 1);
  check_ok(md_probe_see(probe, prefix, name, t));
  tchc_free(&t);
}

static void test_no_probe(void **state) {
  (void)state;
  check_ok(md_probe_see(NULL, "a", "b", NULL));
}

static void test_dump(void **state) {
  md_dump d;
  md_probe probe;
  int ndim;
  int64_t shape[8];
  float *x = NULL;
  tchc_tensor *t = NULL, *turned = NULL;
  const float v[6] = {1, 2, 3, 4, 5, 6}, columns[6] = {1, 4, 2, 5, 3, 6};

  check_ok(md_dump_init(&d, tmpdir_at(state, "deep/er"), &probe));
  see(&probe, "a.0", "b", v, 6);
  see(&probe, "a.0", NULL, v, 3);
  check_ok(tchc_from_host(v, DIMS(2, 3), TCHC_F32, TCHC_CPU_DEVICE, &t)); /* strided, and of another type */
  check_ok(tchc_transpose(t, 0, 1, &turned));
  tchc_free(&t);
  check_ok(tchc_to_type(turned, TCHC_BF16, &t));
  check_ok(md_probe_see(&probe, NULL, "c", t));
  tchc_free(&t);
  tchc_free(&turned);
  assert_int_equal(d.n, 3);
  check_ok(npy_load_f32(tmpdir_at(state, "deep/er/0001_a.0.npy"), &ndim, shape, &x));
  assert_true(ndim == 1 && shape[0] == 3 && x[2] == 3);
  free(x);
  check_ok(npy_load_f32(tmpdir_at(state, "deep/er/0002_c.npy"), &ndim, shape, &x));
  assert_true(ndim == 2 && shape[0] == 3 && shape[1] == 2);
  assert_memory_equal(x, columns, sizeof columns);
  free(x);
  assert_true(io_exists(tmpdir_at(state, "deep/er/0000_a.0.b.npy")));
  check_ok(io_write_file(tmpdir_at(state, "file"), "", 0));
  assert_int_not_equal(md_dump_init(&d, tmpdir_at(state, "file"), &probe), OK);
}

/* Dump of n values of each of these names, in order; the value at `name` is off by `off`. */
static void write_dump(void **state, const char *dir, const char *const *names, const char *name, float off) {
  md_dump d;
  md_probe probe;
  check_ok(md_dump_init(&d, tmpdir_at(state, "%s", dir), &probe));
  for (int i = 0; names[i]; i++) {
    const float v[3] = {1 + (float)i, 2, name && strcmp(name, names[i]) == 0 ? 3 + off : 3};
    see(&probe, NULL, names[i], v, 3);
  }
}

/* Exit status of tdiff on REF and OURS, its output in `text`. */
static int run_tdiff(void **state, const char *ref, const char *ours, char text[4096]) {
  char command[3 * IO_PATH_MAX];
  size_t n;
  snprintf(command, sizeof command, "'%s' '%s' '%s' 2>&1", tdiff, tmpdir_at(state, "%s", ref), tmpdir_at(state, "%s", ours));
  FILE *f = popen(command, "r");
  assert_non_null(f);
  n = fread(text, 1, 4095, f);
  text[n] = 0;
  const int status = pclose(f);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_tdiff(void **state) {
  static const char *const three[] = {"conv_in", "mid", "conv_out", NULL}, *const more[] = {"time", "conv_in", "extra", "mid", "conv_out", NULL};
  static const char *const twice[] = {"mid", "mid", NULL};
  char text[4096];
  write_dump(state, "ref", three, NULL, 0);
  write_dump(state, "same", three, NULL, 0);
  assert_int_equal(run_tdiff(state, "ref", "same", text), 0);
  assert_null(strstr(text, "FIRST"));
  /* small enough; then not; then not a number */
  write_dump(state, "near", three, "mid", 1e-5f);
  assert_int_equal(run_tdiff(state, "ref", "near", text), 0);
  write_dump(state, "far", three, "mid", 1e-2f);
  assert_int_equal(run_tdiff(state, "ref", "far", text), 1);
  assert_non_null(strstr(text, "0001_mid.npy"));
  assert_non_null(strstr(text, "at flat index 2: ref 3, ours 3.01; 0 newly non-finite"));
  assert_null(strstr(text, "conv_out"));
  write_dump(state, "nan", three, "conv_in", NAN);
  assert_int_equal(run_tdiff(state, "ref", "nan", text), 1);
  assert_non_null(strstr(text, "0000_conv_in.npy"));
  assert_non_null(strstr(text, "1 newly non-finite"));
  assert_int_equal(run_tdiff(state, "nan", "nan", text), 0);
  /* numbers may differ where one side dumped more; what is missing is a difference */
  write_dump(state, "more", more, NULL, 0);
  assert_int_equal(run_tdiff(state, "more", "ref", text), 1);
  assert_non_null(strstr(text, "0000_time.npy"));
  assert_non_null(strstr(text, "FIRST DIFFERENCE: not in"));
  write_dump(state, "twice", twice, NULL, 0);
  assert_int_equal(run_tdiff(state, "twice", "twice", text), 0);
  assert_int_equal(run_tdiff(state, "twice", "ref", text), 1);
  assert_int_equal(run_tdiff(state, "ref", "nowhere", text), 2);
  check_ok(io_make_dirs(tmpdir_at(state, "empty")));
  assert_int_equal(run_tdiff(state, "empty", "empty", text), 2);
  assert_non_null(strstr(text, "no NNNN_name.npy files"));
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {LIVE_TEST(test_no_probe), TMP_TEST(test_dump), TMP_TEST(test_tdiff)};
  if (argc != 2) return 2;
  tdiff = argv[1];
  return cmocka_run_group_tests(tests, NULL, NULL);
}
