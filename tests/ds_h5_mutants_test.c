/* ds_h5_mutants_test [FILES]: so many HDF5 files with 1 to 4 changed bytes go through the loader as training runs it. libhdf5
 * crashes on some and gives wrong numbers for others: the decoders may die, we may not, and no wrong number may come out. */
#include <hdf5.h>
#include <math.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/rng.h"
#include "datasets/image_write.h"
#include "datasets/loader.h"
#include "tests/support/damage.h"
#include "tests/support/tmpdir.h"

enum { H = 48, W = 64, N = H * W, WHOLE = 3, WORKERS = 2, WRONG_PER_MILLE = 5 };
static int files = 300;

static float depth_at(int i) { return 1 + (float)(i * 37 % 1000) / 100; }

/* As Hypersim's files: chunks, deflated, one dataset. */
static void put_whole(const char *path) {
  const hsize_t dims[2] = {H, W}, chunk[2] = {12, 16};
  float depth[N];
  const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), dcpl = H5Pcreate(H5P_DATASET_CREATE);
  const hid_t space = H5Screate_simple(2, dims, NULL);

  for (int i = 0; i < N; i++) depth[i] = depth_at(i);
  H5Pset_chunk(dcpl, 2, chunk);
  H5Pset_deflate(dcpl, 9);
  const hid_t set = H5Dcreate2(file, "dataset", H5T_IEEE_F32LE, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
  assert_true(set >= 0 && H5Dwrite(set, H5T_IEEE_F32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, depth) >= 0);
  H5Dclose(set);
  H5Sclose(space);
  H5Pclose(dcpl);
  H5Fclose(file);
}

static void put_mutant(void **state, const damaged *whole, int number) {
  const rng_key k = rng_stream(2, "mutant", (uint64_t)number, 0);
  char *copy = malloc(whole->n);

  assert_non_null(copy);
  memcpy(copy, whole->bytes, whole->n);
  for (uint64_t j = 0; j <= rng_below(&k, 0, 4); j++)
    copy[rng_below(&k, 2 * j + 1, whole->n)] ^= (char)(1 + rng_below(&k, 2 * j + 2, 255));
  FILE *f = fopen(tmpdir_at(state, "m%d.h5", number), "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(copy, 1, whole->n, f), whole->n);
  fclose(f);
  free(copy);
}

/* A manifest in which each mutant stands between rows of the whole file, so that a bad one finds a replacement. */
static void put_data(void **state) {
  uint8_t rgb[3 * N] = {0};
  const char *whole = tmpdir_at(state, "whole.h5");

  put_whole(whole);
  check_ok(ds_png_write8(tmpdir_at(state, "rgb.png"), W, H, 3, rgb));
  damaged d = damaged_load(whole);
  FILE *f = fopen(tmpdir_at(state, "manifest.csv"), "w");
  assert_non_null(f);
  fputs("rgb,depth\n", f);
  for (int i = 0; i < files; i++) {
    put_mutant(state, &d, i);
    fprintf(f, "rgb.png,m%d.h5\n", i);
    for (int w = 0; w < WHOLE; w++) fputs("rgb.png,whole.h5\n", f);
  }
  fclose(f);
  damaged_free(&d);
}

/* The one picture that may come out: the depth between its quantiles. */
static bool is_right(const ds_group *g) {
  for (int i = 0; i < N; i++) {
    const float d = depth_at(i);
    if (!g->mask[i] || (d > 1.5f && d < 10.5f && fabsf(g->metric[i] - d) > 1e-5f)) return false;
  }
  return true;
}

static void no_mutant_ends_the_trainer(void **state) {
  const ds_loader_opts lo = {.seed = 1, .group = 1, .groups_per_step = 1, .workers = WORKERS, .ahead = 8, .timeout_s = 20};
  ds_opts o;
  ds_data data = {.weight = 1};
  ds_loader *l = NULL;
  ds_group *g;
  int wrong = 0;

  put_data(state);
  ds_opts_default(&o);
  o.kind = "manifest";
  o.root = *state;
  o.shuffle = false;
  o.flip = 0;
  check_ok(ds_source_open(&o, &data.source));
  log_set_level(LOG_ERROR);
  check_ok(ds_loader_open(&lo, &data, 1, &l));
  for (int i = 0; i < files * (1 + WHOLE); i++) {
    check_ok(ds_loader_next(l, &g));
    wrong += !is_right(g);
    ds_loader_release(l, g);
  }
  print_message("%d files: %lld refused, %d gave other numbers\n", files, (long long)ds_loader_bad_files(l), wrong);
  assert_true(ds_loader_bad_files(l) > files / 2 && ds_loader_bad_files(l) <= files);
  assert_true(wrong <= files * WRONG_PER_MILLE / 1000);
  ds_loader_close(&l);
  ds_source_close(&data.source);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(no_mutant_ends_the_trainer, tmpdir_setup, tmpdir_teardown)};

  if (argc > 1) files = atoi(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
