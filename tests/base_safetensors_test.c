/* base/safetensors: the bytes of Python's writer, and files that lie. */
#include "base/safetensors.h"

#include <math.h>

#include "tests/support/faults.h"
#include "tests/support/tmpdir.h"

/* Written by Python's safetensors 0.8: every type, a scalar, empty tensors, names and metadata to escape. */
static const char golden_path[] = TEST_DATA "/base_all_types.safetensors";

static void read_bytes(const char *path, char **data, size_t *n) { check_ok(io_read_file(path, 1 << 24, data, n)); }

static void reads_every_type(void **state) {
  static const struct { const char *name; st_dtype dtype; int ndim; int64_t shape[2]; } want[] = {
      {"a\xc3\xa9\"x", ST_F64, 1, {1}}, {"b.w", ST_F32, 2, {2, 3}}, {"bf", ST_BF16, 1, {1}}, {"bo", ST_BOOL, 1, {2}},
      {"empty", ST_F64, 2, {3, 0}},     {"h", ST_F16, 1, {3}},      {"i16", ST_I16, 1, {2}}, {"i32", ST_I32, 2, {1, 1}},
      {"i64", ST_I64, 0, {0}},          {"i8", ST_I8, 1, {3}},      {"u8", ST_U8, 1, {1}},   {"zero", ST_F32, 2, {0, 4}}};
  st_file *f = NULL;

  (void)state;
  check_ok(st_open(golden_path, &f));
  assert_string_equal(st_path(f), golden_path);
  assert_int_equal(st_count(f), sizeof want / sizeof *want);
  for (size_t i = 0; i < st_count(f); i++) {
    const st_tensor *t = st_at(f, i);
    assert_string_equal(t->name, want[i].name);
    assert_true(t->dtype == want[i].dtype && t->ndim == want[i].ndim);
    assert_memory_equal(t->shape, want[i].shape, (size_t)t->ndim * sizeof *t->shape);
    assert_int_equal(t->nbytes, (size_t)st_numel(t) * st_dtype_size(t->dtype));
    assert_ptr_equal(st_find(f, want[i].name), t);
  }
  assert_null(st_find(f, "b.ww"));
  assert_null(st_find(f, "__metadata__"));
  assert_string_equal(st_metadata(f, "k\n\xe2\x82\xac"), "q/\x7f\x1b\t\\");
  assert_null(st_metadata(f, "none"));
  int64_t scalar = 0;
  memcpy(&scalar, st_find(f, "i64")->data, sizeof scalar);
  assert_int_equal(scalar, 5);
  st_close(&f);
  assert_null(f);
  st_close(&f);
}

static void to_f32(void **state) {
  float v[6];
  st_file *f = NULL;

  (void)state;
  check_ok(st_open(golden_path, &f));
  check_ok(st_to_f32(st_find(f, "b.w"), v));
  for (int i = 0; i < 6; i++) assert_true(v[i] == (float)i);
  check_ok(st_to_f32(st_find(f, "h"), v));
  assert_true(v[0] == 1 && v[1] == 1 && v[2] == 1);
  check_ok(st_to_f32(st_find(f, "bf"), v));
  assert_true(v[0] == 1);
  check_ok(st_to_f32(st_find(f, "a\xc3\xa9\"x"), v));
  assert_true(v[0] == 1);
  check_ok(st_to_f32(st_find(f, "u8"), v));
  assert_true(v[0] == 7);
  check_ok(st_to_f32(st_find(f, "zero"), NULL));
  check_fails(E_FORMAT, "i32: type I32, a float type or U8 wanted", st_to_f32(st_find(f, "i32"), v));
  st_close(&f);
}

/* Reads a file of Python's writer and writes it again: the same bytes, whatever order the tensors come in. */
static void rewrite_and_compare(void **state, const char *path, const char *key) {
  st_file *f = NULL;
  char *want = NULL, *got = NULL;
  size_t n = 0, m = 0;
  const char *copy = tmpdir_at(state, "copy.safetensors");

  check_ok(st_open(path, &f));
  const char *meta[2] = {key, key ? st_metadata(f, key) : NULL};
  st_tensor *t = malloc((st_count(f) + 1) * sizeof *t);
  assert_non_null(t);
  for (size_t i = 0; i < st_count(f); i++) t[i] = *st_at(f, st_count(f) - 1 - i);
  check_ok(st_write(copy, t, st_count(f), meta, key ? 1 : 0));
  read_bytes(path, &want, &n);
  read_bytes(copy, &got, &m);
  assert_int_equal(n, m);
  assert_memory_equal(got, want, n);
  assert_false(io_exists(tmpdir_at(state, "copy.safetensors.tmp")));
  free(t);
  free(want);
  free(got);
  st_close(&f);
}

static void bytes_as_python(void **state) {
  char *got = NULL;
  size_t n = 0;

  rewrite_and_compare(state, golden_path, "k\n\xe2\x82\xac");
  rewrite_and_compare(state, TEST_DATA "/golden/models/tiny-sd2/unet/diffusion_pytorch_model.safetensors", "format");
  rewrite_and_compare(state, TEST_DATA "/golden/losses/ssi.safetensors", NULL);
  check_ok(st_write(tmpdir_at(state, "none"), NULL, 0, NULL, 0));
  read_bytes(tmpdir_at(state, "none"), &got, &n);
  assert_int_equal(n, 16);
  assert_memory_equal(got, "\x08\0\0\0\0\0\0\0{}      ", 16);
  free(got);
  check_ok(st_write(tmpdir_at(state, "none"), NULL, 0, (const char *[]){"a", "b"}, 1));
  read_bytes(tmpdir_at(state, "none"), &got, &n);
  assert_int_equal(n, 40);
  assert_memory_equal(got, " \0\0\0\0\0\0\0{\"__metadata__\":{\"a\":\"b\"}}      ", 40);
  free(got);
}

/* A file of this header and n bytes of data. */
static void put_file(const char *path, const char *header, size_t n) {
  char buf[2048] = {0};
  const size_t length = strlen(header);

  assert_true(8 + length + n <= sizeof buf);
  buf[0] = (char)(length & 0xff);
  buf[1] = (char)(length >> 8);
  memcpy(buf + 8, header, length);
  tmpdir_put(path, buf, 8 + length + n);
}

#define T(name, type, shape, a, b) "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #a "," #b "]}"

static void lying_headers(void **state) {
  static const struct { size_t bytes; const char *part, *header; } bad[] = {
      {4, "type F8 is not known", "{" T("a", "F8", "[4]", 0, 4) "}"},
      {4, "type (none)", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}"},
      {4, "a: no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}"},
      {4, "data_offsets are not two integers", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}"},
      {4, "data_offsets are not two integers", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}"},
      {4, "data_offsets are not two integers", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]}}"},
      {4, "type (none)", "{\"a\":[1]}"},
      {4, "no size", "{" T("a", "F32", "[-1]", 0, 4) "}"},
      {4, "no size", "{" T("a", "F32", "[1.0]", 0, 4) "}"},
      {4, "9 dimensions, at most 8", "{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}"},
      {4, "a: F32 [2] does not take 4 bytes", "{" T("a", "F32", "[2]", 0, 4) "}"},
      {8, "a: F32 [1] does not take 8 bytes", "{" T("a", "F32", "[1]", 0, 8) "}"},
      {0, "does not take 0 bytes", "{" T("a", "F32", "[4294967296,4294967296]", 0, 0) "}"},
      {0, "does not take 0 bytes", "{" T("a", "F32", "[4611686018427387904]", 0, 0) "}"},
      {8, "a: ends at byte 12 of the data, which has 8: the file is cut", "{" T("a", "F32", "[3]", 0, 12) "}"},
      {8, "data_offsets [8,4]", "{" T("a", "F32", "[1]", 8, 4) "}"},
      {8, "data_offsets [-4,4]", "{" T("a", "F32", "[2]", -4, 4) "}"},
      {8, "4 bytes behind the last tensor", "{" T("a", "F32", "[1]", 0, 4) "}"},
      {8, "a: begins at byte 4 of the data, 0 wanted: there is a hole", "{" T("a", "F32", "[1]", 4, 8) "}"},
      {8, "b: begins at byte 2 of the data, 4 wanted: it overlaps", "{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 2, 6) "}"},
      {4, "duplicate object key", "{" T("a", "F32", "[1]", 0, 4) "," T("a", "F32", "[1]", 0, 4) "}"},
      {4, "duplicate object key", "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"},
      {0, "__metadata__ is no object", "{\"__metadata__\":[]}"},
      {0, "the value of k is no text", "{\"__metadata__\":{\"k\":1}}"},
      {0, "no JSON object", "[]"},
      {0, "no JSON object", " {}"},
      {0, "no JSON object", ""},
      {0, "header: ", "{"},
      {0, "header: ", "{} x"},
      {0, "header: ", "{\"a\\u0000b\":{}}"},
      {0, "header: ", "{\"\xff\":{}}"}};

  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const char *path = tmpdir_at(state, "bad");
    st_file *f = NULL;
    put_file(path, bad[i].header, bad[i].bytes);
    check_fails(E_FORMAT, bad[i].part, st_open(path, &f));
    assert_non_null(strstr(err_text(), path));
    assert_null(f);
  }
}

static void legal_oddities(void **state) {
  const char *path = tmpdir_at(state, "odd");
  st_file *f = NULL;

  put_file(path, "{}", 0);
  check_ok(st_open(path, &f));
  assert_int_equal(st_count(f), 0);
  assert_null(st_find(f, "a"));
  assert_null(st_metadata(f, "a"));
  st_close(&f);
  /* tensors out of order, empty ones at both ends and in between, an unaligned one, spaces behind */
  put_file(path, "{" T("c", "F32", "[1]", 1, 5) "," T("z", "F32", "[0]", 5, 5) "," T("a", "U8", "[1]", 0, 1) ","
           T("m", "F64", "[2,0]", 1, 1) "," T("n", "I8", "[0]", 0, 0) "}   ", 5);
  check_ok(st_open(path, &f));
  assert_int_equal(st_count(f), 5);
  float v = 1;
  check_ok(st_to_f32(st_find(f, "c"), &v));
  assert_true(v == 0);
  st_close(&f);
}

static void not_a_file(void **state) {
  st_file *f = NULL;
  char big[16] = "\xff\xff\xff\xff\xff\xff\xff\xff{}      ";

  check_fails(E_IO, "none: cannot open: No such file", st_open(tmpdir_at(state, "none"), &f));
  check_fails(E_IO, "not a file but a folder", st_open(*state, &f));
  tmpdir_put(tmpdir_at(state, "a"), "", 0);
  check_fails(E_FORMAT, "a: 0 bytes, too short", st_open(tmpdir_at(state, "a"), &f));
  tmpdir_put(tmpdir_at(state, "a"), big, sizeof big);
  check_fails(E_FORMAT, "header of 18446744073709551615 bytes, at most 100000000", st_open(tmpdir_at(state, "a"), &f));
  memcpy(big, "\0\xe1\xf5\x05\0\0\0\0", 8); /* 100 000 000 */
  tmpdir_put(tmpdir_at(state, "a"), big, sizeof big);
  check_fails(E_FORMAT, "in a file of 16: the file is cut", st_open(tmpdir_at(state, "a"), &f));
  assert_null(f);
}

static void cut_anywhere(void **state) {
  char *whole = NULL;
  size_t n = 0;
  st_file *f = NULL;

  read_bytes(golden_path, &whole, &n);
  for (size_t cut = 0; cut < n; cut++) {
    const char *path = tmpdir_at(state, "cut");
    tmpdir_put(path, whole, cut);
    check_fails(E_FORMAT, path, st_open(path, &f));
    assert_true(strstr(err_text(), "the file is cut") || strstr(err_text(), "too short"));
  }
  free(whole);
}

/* Each byte of the header changed in three ways: an error or a file that still adds up, never a crash. */
static void flipped_headers(void **state) {
  char *b = NULL;
  size_t n = 0, opened = 0;

  read_bytes(golden_path, &b, &n);
  for (size_t i = 0; i < n - 88; i++) {
    for (int bit = 0; bit < 8; bit += 3) {
      st_file *f = NULL;
      b[i] ^= (char)(1 << bit);
      tmpdir_put(tmpdir_at(state, "flip"), b, n);
      if (st_open(tmpdir_at(state, "flip"), &f) == OK) opened++;
      for (size_t k = 0; f && k < st_count(f); k++) {
        const st_tensor *t = st_at(f, k);
        assert_int_equal(t->nbytes, (size_t)st_numel(t) * st_dtype_size(t->dtype));
      }
      st_close(&f);
      b[i] ^= (char)(1 << bit);
    }
  }
  assert_true(opened < n); /* a changed name is none of the reader's business */
  free(b);
}

static void write_refuses(void **state) {
  const float v[2] = {1, 2};
  const st_tensor a = {"a", ST_F32, 1, {2}, v, 8}, b = {"a", ST_I32, 1, {2}, v, 8};
  const st_tensor wrong = {"w", ST_F32, 1, {3}, v, 8};
  const char *path = tmpdir_at(state, "x");

  check_fails(E_FAIL, "two tensors are named a", st_write(path, (st_tensor[]){a, b}, 2, NULL, 0));
  check_fails(E_FAIL, "w: 8 bytes for F32 [3]", st_write(path, &wrong, 1, NULL, 0));
  check_fails(E_IO, "none/x.tmp: cannot create", st_write(tmpdir_at(state, "none/x"), &a, 1, NULL, 0));
  assert_false(io_exists(path));
  assert_false(io_exists(tmpdir_at(state, "x.tmp")));
}

/* Whichever call fails, the old file or the new one is there whole. */
static void write_faults(void **state) {
  const char *path = tmpdir_at(state, "x");
  const float old[2] = {1, 2}, new[2] = {3, 4};
  const st_tensor a = {"a", ST_F32, 1, {2}, old, 8}, b = {"a", ST_F32, 1, {2}, new, 8};
  int sites = 0;

  check_ok(st_write(path, &a, 1, NULL, 0));
  for (int i = 1;; i++) {
    st_file *f = NULL;
    faults_begin(i, ENOSPC, FAULTS_ONCE);
    const int st = st_write(path, &b, 1, NULL, 0);
    if (!faults_end()) break;
    sites++;
    if (st != OK) check_fails(E_DISK, "No space left on device", st);
    check_ok(st_open(path, &f));
    assert_memory_equal(st_at(f, 0)->data, i <= 6 ? old : new, 8);
    st_close(&f);
    assert_false(io_exists(tmpdir_at(state, "x.tmp")));
  }
  assert_int_equal(sites, 9); /* open, header, tensor, fsync, close, rename, then the folder: open fsync close */
  faults_begin(0, 0, FAULTS_SLOW);
  check_ok(st_write(path, &b, 1, NULL, 0));
  faults_end();
  st_file *f = NULL;
  check_ok(st_open(path, &f));
  assert_memory_equal(st_at(f, 0)->data, new, 8);
  st_close(&f);
}

static void shape_text(void **state) {
  const int64_t big[8] = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};

  (void)state;
  const char *a = st_shape_text(0, NULL), *b = st_shape_text(2, (int64_t[]){2, 3}), *c = st_shape_text(8, big);
  assert_string_equal(a, "[]");
  assert_string_equal(b, "[2,3]");
  assert_int_equal(strlen(c), 8 * 19 + 7 + 2);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {
      TEST(reads_every_type), TEST(to_f32),       TEST(bytes_as_python), TEST(lying_headers), TEST(legal_oddities),
      TEST(not_a_file),       TEST(cut_anywhere), TEST(flipped_headers), TEST(write_refuses), TEST(write_faults),
      TEST(shape_text)};
  return cmocka_run_group_tests(tests, faults_no_sync, NULL);
}
