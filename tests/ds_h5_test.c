#include "datasets/h5.h"

#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "base/half.h"
#include "base/rng.h"
#include "tests/support/damage.h"
#include "tests/support/tmpdir.h"

/* ---- writing ---- */

struct layout {
  int ndim;
  hsize_t dim[4], chunk[4]; /* chunk 0 = contiguous */
  int deflate;              /* level, 0 = none */
  int shuffle;
};

static hid_t file_type(el_type t) {
  if (t == EL_I16) return H5Tcopy(H5T_STD_I16LE);
  if (t == EL_F64) return H5Tcopy(H5T_IEEE_F64LE);
  const hid_t half = H5Tcopy(H5T_IEEE_F32LE);
  H5Tset_fields(half, 15, 10, 5, 0, 10);
  H5Tset_size(half, 2);
  H5Tset_ebias(half, 15);
  return half;
}

/* data NULL: nothing is written, so that no chunk is there. */
static void write_h5_as(const char *path, const char *name, hid_t type, const struct layout *l, const void *data) {
  const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), dcpl = H5Pcreate(H5P_DATASET_CREATE);
  const hid_t space = H5Screate_simple(l->ndim, l->dim, NULL);

  if (l->chunk[0]) H5Pset_chunk(dcpl, l->ndim, l->chunk);
  if (l->shuffle) H5Pset_shuffle(dcpl);
  if (l->deflate) H5Pset_deflate(dcpl, (unsigned)l->deflate);
  const hid_t dset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
  assert_true(dset >= 0);
  if (data) assert_true(H5Dwrite(dset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
  H5Dclose(dset);
  H5Sclose(space);
  H5Pclose(dcpl);
  H5Fclose(file);
}

static void write_h5(const char *path, el_type t, const struct layout *l, const void *data) {
  const hid_t type = file_type(t);

  write_h5_as(path, "dataset", type, l, data);
  H5Tclose(type);
}

static size_t element_size(el_type t) { return t == EL_F64 ? 8 : 2; }

/* n elements whose bytes are all different from their neighbours'. */
static void *pattern(size_t bytes) {
  uint8_t *p = malloc(bytes);

  assert_non_null(p);
  for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)(i * 37 + i / 251);
  return p;
}

/* ---- what is read ---- */

static void round_trip(const char *path, el_type t, const struct layout *l) {
  ds_h5 h = {0};
  ds_buf out = {0};
  int64_t shape[3] = {0, 0, 0};
  size_t bytes = element_size(t);

  for (int i = 0; i < l->ndim; i++) bytes *= l->dim[i];
  void *data = pattern(bytes);
  write_h5(path, t, l, data);
  check_ok(ds_h5_read(&h, path, t, l->ndim, shape, &out));
  for (int i = 0; i < l->ndim; i++) assert_int_equal(shape[i], l->dim[i]);
  assert_memory_equal(out.p, data, bytes);
  free(data);
  ds_buf_free(&out);
  ds_h5_free(&h);
}

static void layouts(void **state) {
  static const el_type types[] = {EL_F16, EL_I16, EL_F64};
  const struct layout all[] = {{2, {33, 17}, {0}, 0, 0},
                               {2, {33, 17}, {8, 5}, 0, 0},
                               {2, {33, 17}, {8, 5}, 9, 0},
                               {3, {33, 17, 3}, {8, 5, 1}, 9, 0},
                               {3, {33, 17, 3}, {7, 17, 3}, 1, 0},
                               {3, {33, 17, 3}, {8, 5, 2}, 6, 0},
                               {2, {1, 1}, {1, 1}, 9, 0},
                               {1, {100}, {0}, 0, 0},
                               {1, {100}, {33}, 5, 0},
                               {2, {33, 17}, {8, 5}, 6, 1}};
  const char *path = tmpdir_at(state, "a.hdf5");

  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    for (int t = 0; t < 3; t++) round_trip(path, types[t], &all[i]);
}

/* A stream that is cut, too short or too long for its place, followed by more, or of a wrong checksum is refused. */
static void inflating(void **state) {
  (void)state;
  enum { N = 1000 };
  ds_inflater i = {0};
  unsigned char *plain = pattern(N), packed[2 * N], out[N + 1];
  uLongf n = sizeof packed;

  assert_int_equal(compress2(packed, &n, plain, N, 9), Z_OK);
  assert_true(ds_inflate(&i, packed, n, out, N));
  assert_memory_equal(out, plain, N);
  assert_false(ds_inflate(&i, packed, n, out, N - 1));
  assert_false(ds_inflate(&i, packed, n, out, N + 1));
  assert_false(ds_inflate(&i, packed, n + 1, out, N));
  for (size_t cut = 0; cut < n; cut++) assert_false(ds_inflate(&i, packed, cut, out, N));
  packed[n - 1] ^= 1;
  assert_false(ds_inflate(&i, packed, n, out, N));
  packed[n - 1] ^= 1;
  assert_true(ds_inflate(&i, packed, n, out, N));
  ds_inflater_free(&i);
  free(plain);
}

/* Halves as h5py's float32 of the same file: 65504, the smallest, -0, inf, NaN. */
static void halves(void **state) {
  const uint16_t bits[] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000, 0x7c00, 0x7e01, 0x3555};
  const float values[] = {1, -2, 65504, 5.9604645e-8f, -0.f, INFINITY, NAN, 0.33325195f};
  const char *path = tmpdir_at(state, "a.hdf5");
  ds_h5 h = {0};
  ds_buf out = {0};
  int H, W;

  write_h5(path, EL_F16, &(struct layout){2, {2, 4}, {2, 2}, 9, 0}, bits);
  check_ok(ds_h5_read_image(&h, path, EL_F16, 1, &H, &W, &out));
  assert_true(H == 2 && W == 4);
  for (int i = 0; i < 8; i++) {
    const float v = half_to_f32(((uint16_t *)out.p)[i]);
    assert_true(isnan(values[i]) ? isnan(v) : v == values[i]);
  }
  ds_buf_free(&out);
  ds_h5_free(&h);
}

/* ---- what is refused ---- */

static void check_refused(const char *part, const char *path, el_type t, int ndim, int64_t first) {
  ds_h5 h = {0};
  ds_buf out = {0};
  int64_t shape[3] = {first, 0, 0};

  check_fails(E_DATA, part, ds_h5_read(&h, path, t, ndim, shape, &out));
  check_fails(E_DATA, path, ds_h5_read(&h, path, t, ndim, shape, &out));
  ds_buf_free(&out);
  ds_h5_free(&h);
}

static void wrong_contents(void **state) {
  const char *path = tmpdir_at(state, "a.hdf5");
  const struct layout flat = {2, {4, 6}, {2, 3}, 9, 0};
  void *data = pattern(8 * 4 * 6 * 2 * 2);
  int H, W;

  check_refused("No such file", tmpdir_at(state, "none.hdf5"), EL_F16, 2, 0);
  check_refused("not a readable HDF5 file", *state, EL_F16, 2, 0);
  write_h5(path, EL_F16, &flat, data);
  check_refused("wanted a `dataset` of little-endian 16-bit integer, found 16-bit float", path, EL_I16, 2, 0);
  check_refused("wanted a `dataset` of 3 dimensions, found 2", path, EL_F16, 3, 0);
  check_refused("dimension 0 is 4, wanted 5", path, EL_F16, 2, 5);
  check_fails(E_DATA, "of 3 dimensions", ds_h5_image_size(path, 3, &H, &W));
  write_h5_as(path, "dataset", H5T_IEEE_F32LE, &flat, data);
  check_refused("found 32-bit float", path, EL_F16, 2, 0);
  write_h5_as(path, "dataset", H5T_STD_I16BE, &flat, data);
  check_refused("little-endian 16-bit integer", path, EL_I16, 2, 0);
  write_h5_as(path, "data", H5T_STD_I16LE, &flat, data);
  check_refused("no `dataset`", path, EL_I16, 2, 0);
  write_h5(path, EL_F16, &(struct layout){4, {2, 2, 2, 2}, {0}, 0, 0}, data);
  check_refused("found 4", path, EL_F16, 3, 0);
  write_h5(path, EL_F16, &(struct layout){2, {0, 6}, {0}, 0, 0}, NULL);
  check_refused("dimension 0 is 0", path, EL_F16, 2, 0);
  free(data);
}

/* Never written: libhdf5 would give zeros. */
static void missing_data(void **state) {
  const char *path = tmpdir_at(state, "a.hdf5");

  write_h5(path, EL_F16, &(struct layout){2, {4, 6}, {2, 3}, 9, 0}, NULL);
  check_refused("the chunk at (0,0) is missing", path, EL_F16, 2, 0);
  write_h5(path, EL_F16, &(struct layout){2, {4, 6}, {0}, 0, 0}, NULL);
  check_refused("0 bytes stored, wanted 48", path, EL_F16, 2, 0);
}

/* Small files that announce terabytes: refused before memory is asked for. */
static void absurd_sizes(void **state) {
  const char *path = tmpdir_at(state, "a.hdf5");
  int H, W;

  write_h5(path, EL_F16, &(struct layout){2, {1 << 20, 1 << 20}, {64, 64}, 9, 0}, NULL);
  check_refused("larger than", path, EL_F16, 2, 0);
  check_fails(E_DATA, path, ds_h5_image_size(path, 1, &H, &W));
  write_h5(path, EL_F16, &(struct layout){2, {2, 100000}, {2, 1000}, 9, 0}, NULL);
  check_fails(E_DATA, "100000x2 pixels", ds_h5_image_size(path, 1, &H, &W));
}

/* ---- damage, each in a process of its own: libhdf5 may crash ---- */

typedef enum { REFUSED, SAME, WRONG, CRASHED } outcome;
enum { TOLD = 40 }; /* added to an outcome as exit status: a sanitizer exits with 1 */

static outcome read_damaged(const char *path, const void *want, size_t bytes) {
  const pid_t pid = fork();
  int status;

  assert_true(pid >= 0);
  if (pid == 0) {
    ds_h5 h = {0};
    ds_buf out = {0};
    int64_t shape[3] = {0, 0, 0};
    for (int i = 0; i < 5; i++) signal((int[]){SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}[i], SIG_DFL); /* cmocka's */
    alarm(20);
    if (!freopen("/dev/null", "w", stderr)) _exit(1); /* glibc's last words */
    const int st = ds_h5_read(&h, path, EL_F16, 2, shape, &out);
    if (st != OK) _exit(TOLD + (st == E_DATA && strstr(err_text(), path) ? REFUSED : WRONG));
    _exit(TOLD + (shape[0] == 48 && shape[1] == 64 && memcmp(out.p, want, bytes) == 0 ? SAME : WRONG));
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) && WEXITSTATUS(status) >= TOLD ? (outcome)(WEXITSTATUS(status) - TOLD) : CRASHED;
}

static const struct layout like_hypersim = {2, {48, 64}, {12, 16}, 9, 0};
enum { BYTES = 48 * 64 * 2 };

static void cut_files(void **state) {
  const char *whole = tmpdir_at(state, "whole.hdf5"), *path = tmpdir_at(state, "cut.hdf5");
  void *data = pattern(BYTES);

  write_h5(whole, EL_F16, &like_hypersim, data);
  damaged d = damaged_load(whole);
  for (int i = 0; i < DAMAGED_CUTS; i++) {
    damaged_cut(&d, i, path);
    assert_int_equal(read_damaged(path, data, BYTES), REFUSED);
  }
  damaged_free(&d);
  free(data);
}

/* libhdf5 alone gave wrong numbers for a tenth of such files, and crashed on one in 400. */
static void flipped_bytes(void **state) {
  const char *whole = tmpdir_at(state, "whole.hdf5"), *path = tmpdir_at(state, "flipped.hdf5");
  const char *more = getenv("DS_H5_MUTANTS");
  const int mutants = more ? atoi(more) : 300;
  void *data = pattern(BYTES);
  int count[4] = {0};

  write_h5(whole, EL_F16, &like_hypersim, data);
  damaged d = damaged_load(whole);
  for (int i = 0; i < mutants; i++) {
    const rng_key k = rng_stream(1, "mutant", (uint64_t)i, 0);
    char *copy = malloc(d.n);
    memcpy(copy, d.bytes, d.n);
    for (uint64_t j = 0; j <= rng_below(&k, 0, 4); j++)
      copy[rng_below(&k, 2 * j + 1, d.n)] ^= (char)(1 + rng_below(&k, 2 * j + 2, 255));
    damaged_save(path, copy, d.n);
    free(copy);
    count[read_damaged(path, data, BYTES)]++;
  }
  print_message("%d files with 1 to 4 changed bytes: %d refused, %d read as before, %d wrong, %d crashed\n", mutants,
                count[REFUSED], count[SAME], count[WRONG], count[CRASHED]);
  assert_true(count[WRONG] + count[CRASHED] <= mutants / 50);
  damaged_free(&d);
  free(data);
}

/* ---- real files, which may not travel with the sources ---- */

static void hypersim_sample(void **state) {
  (void)state;
  const char *base = getenv("E2EFT_SAMPLES");
  char path[IO_PATH_MAX];
  ds_h5 h = {0};
  ds_buf out = {0};
  int64_t shape[3] = {0, 0, 0};
  int H, W;
  float lo = INFINITY, hi = 0;

  check_ok(io_path(path, "%s/hypersim/ai_037_002", base ? base : TEST_DATA "/../../../shared/samples"));
  if (!io_is_dir(path)) {
    print_message("no %s\n", path);
    skip();
  }
  strcat(path, "/images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5");
  check_ok(ds_h5_read_image(&h, path, EL_F16, 1, &H, &W, &out));
  assert_true(H == 768 && W == 1024);
  for (int i = 0; i < H * W; i++) {
    const float v = half_to_f32(((uint16_t *)out.p)[i]);
    lo = fminf(lo, v);
    hi = fmaxf(hi, v);
  }
  assert_true(fabsf(lo - 2.961f) < 1e-3f && fabsf(hi - 13.234f) < 1e-3f);
  *strstr(path, "/images") = 0;
  strcat(path, "/_detail/cam_00/camera_keyframe_orientations.hdf5");
  check_ok(ds_h5_read(&h, path, EL_F64, 3, shape, &out));
  assert_true(shape[0] == 100 && shape[1] == 3 && shape[2] == 3);
  for (int i = 0; i < 100; i++) { /* rows of a rotation are unit vectors */
    const double *r = (double *)out.p + 9 * i;
    assert_true(fabs(r[0] * r[0] + r[1] * r[1] + r[2] * r[2] - 1) < 1e-6);
  }
  ds_buf_free(&out);
  ds_h5_free(&h);
}

int main(void) {
#define IN_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(inflating), IN_TMPDIR(layouts),      IN_TMPDIR(halves),    IN_TMPDIR(wrong_contents), IN_TMPDIR(missing_data),
      IN_TMPDIR(absurd_sizes), IN_TMPDIR(cut_files), IN_TMPDIR(flipped_bytes),  cmocka_unit_test(hypersim_sample)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
