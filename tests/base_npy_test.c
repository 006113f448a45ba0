/* base/npy: numpy's bytes out and in, and files that are not. */
#include "base/npy.h"

#include <math.h>

#include "tests/support/tmpdir.h"

/* numpy.save of numpy.array([[1, 2, 3], [4, 5, nan]], "<f4"). */
static const char numpy_head[] =
    "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";

static void bytes_as_numpy(void **state) {
  const float v[6] = {1, 2, 3, 4, 5, NAN};
  const char *path = tmpdir_at(state, "a.npy");
  char *got = NULL;
  size_t n = 0;

  check_ok(npy_save_f32(path, 2, (int64_t[]){2, 3}, v));
  check_ok(io_read_file(path, 1000, &got, &n));
  assert_int_equal(n, 128 + 24);
  assert_memory_equal(got, numpy_head, sizeof numpy_head - 1);
  for (size_t i = sizeof numpy_head - 1; i < 127; i++) assert_int_equal(got[i], ' ');
  assert_int_equal(got[127], '\n');
  assert_memory_equal(got + 128, v, sizeof v);
  free(got);
}

static void one_dimension_has_a_comma(void **state) {
  char *got = NULL;
  size_t n = 0;

  check_ok(npy_save_f32(tmpdir_at(state, "a.npy"), 1, (int64_t[]){1}, (float[]){1}));
  check_ok(io_read_file(tmpdir_at(state, "a.npy"), 1000, &got, &n));
  assert_non_null(strstr(got + 10, "'shape': (1,), }"));
  free(got);
}

static void round_trip(void **state, int ndim, const int64_t *shape, size_t count) {
  float v[24], *back = NULL;
  int64_t dims[8];
  int nd = -1;
  const char *path = tmpdir_at(state, "r.npy");

  for (size_t i = 0; i < count; i++) v[i] = (float)i - 3.5f;
  check_ok(npy_save_f32(path, ndim, shape, v));
  check_ok(npy_load_f32(path, &nd, dims, &back));
  assert_int_equal(nd, ndim);
  for (int i = 0; i < ndim; i++) assert_int_equal(dims[i], shape[i]);
  if (count) assert_memory_equal(back, v, count * sizeof *v);
  free(back);
}

static void shapes(void **state) {
  round_trip(state, 0, NULL, 1);
  round_trip(state, 1, (int64_t[]){1}, 1);
  round_trip(state, 1, (int64_t[]){0}, 0);
  round_trip(state, 3, (int64_t[]){3, 0, 2}, 0);
  round_trip(state, 4, (int64_t[]){1, 2, 3, 4}, 24);
  round_trip(state, 8, (int64_t[]){1, 1, 2, 1, 3, 1, 4, 1}, 24);
}

/* A file with this dictionary and n bytes of data. */
static void put_npy(const char *path, const char *dict, const void *data, size_t n) {
  char buf[400] = "\x93NUMPY\x01";
  const size_t length = strlen(dict);

  buf[8] = (char)(length & 0xff);
  buf[9] = (char)(length >> 8);
  memcpy(buf + 10, dict, length);
  memcpy(buf + 10 + length, data, n);
  tmpdir_put(path, buf, 10 + length + n);
}

/* The same two values in each type; quotes, order of the keys and blanks are free. */
static void types_are_converted(void **state) {
  const struct { const char *descr; size_t size; const void *two; float want[2]; } types[] = {
      {"<f8", 8, (double[]){1.5, -1e300}, {1.5f, -INFINITY}}, {"<f2", 2, (uint16_t[]){0x3e00, 0xc000}, {1.5f, -2}},
      {"|u1", 1, (uint8_t[]){3, 250}, {3, 250}},              {"|b1", 1, (uint8_t[]){0, 1}, {0, 1}},
      {"|i1", 1, (int8_t[]){-3, 4}, {-3, 4}},                 {"<u2", 2, (uint16_t[]){3, 65535}, {3, 65535}},
      {"<i2", 2, (int16_t[]){-3, 4}, {-3, 4}},                {"<u4", 4, (uint32_t[]){3, 4000000000}, {3, 4e9f}},
      {"<i4", 4, (int32_t[]){-3, 4}, {-3, 4}},                {"<i8", 8, (int64_t[]){-3, 4}, {-3, 4}}};
  const char *path = tmpdir_at(state, "d.npy");

  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    char dict[128];
    float *back = NULL;
    int64_t shape[8];
    int nd;
    snprintf(dict, sizeof dict, "{ \"shape\": (2,), 'fortran_order':False, 'descr' : \"%s\" }  \n", types[i].descr);
    put_npy(path, dict, types[i].two, 2 * types[i].size);
    check_ok(npy_load_f32(path, &nd, shape, &back));
    assert_true(nd == 1 && shape[0] == 2);
    if (back[0] != types[i].want[0] || back[1] != types[i].want[1]) fail_msg("%s: %g, %g", types[i].descr, (double)back[0], (double)back[1]);
    free(back);
  }
}

static void bad_files(void **state) {
  static const struct { const char *dict, *part; } bad[] = {
      {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", "bad.npy: elements of type '<c8'"},
      {"{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", "elements of type '>f4'"},
      {"{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", "C order wanted"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "8 bytes of elements, the header wants 12"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "8 bytes of elements, the header wants 4"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "no dictionary"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, }", "no dictionary"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2), }", "no dictionary"},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "no dictionary"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2), }", "no dictionary"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999999,), }", "no dictionary"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (461168601842738791, 40), }", "dimension 1 is 40"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (461168601842738790, 8), }", "elements"},
      {"{'descr': '<f4', 'shape': (2,), }", "no dictionary"},
      {"", "no dictionary"}};
  float *back = NULL;
  int64_t shape[8];
  int nd;

  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const char *path = tmpdir_at(state, "bad.npy");
    put_npy(path, bad[i].dict, "12345678", 8);
    check_fails(E_FORMAT, bad[i].part, npy_load_f32(path, &nd, shape, &back));
  }
  check_fails(E_IO, "none.npy", npy_load_f32(tmpdir_at(state, "none.npy"), &nd, shape, &back));
  assert_null(back);
}

static void cut_anywhere(void **state) {
  const float v[6] = {0};
  const char *path = tmpdir_at(state, "a.npy");
  char *whole = NULL;
  float *back = NULL;
  size_t n = 0;
  int64_t shape[8];
  int nd;

  check_ok(npy_save_f32(path, 2, (int64_t[]){2, 3}, v));
  check_ok(io_read_file(path, 1000, &whole, &n));
  for (size_t cut = 0; cut < n; cut++) {
    tmpdir_put(path, whole, cut);
    check_fails(E_FORMAT, "a.npy", npy_load_f32(path, &nd, shape, &back));
  }
  free(whole);
}

static void save_fails(void **state) {
  check_fails(E_IO, "none/a.npy: cannot create",
              npy_save_f32(tmpdir_at(state, "none/a.npy"), 1, (int64_t[]){1}, (float[]){1}));
  check_fails(E_SHAPE, "9 dimensions", npy_save_f32(tmpdir_at(state, "a.npy"), 9, NULL, NULL));
  check_fails(E_SHAPE, "", npy_save_f32(tmpdir_at(state, "a.npy"), 1, (int64_t[]){-1}, NULL));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(bytes_as_numpy), TEST(one_dimension_has_a_comma), TEST(shapes), TEST(types_are_converted),
                                     TEST(bad_files),      TEST(cut_anywhere), TEST(save_fails)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
