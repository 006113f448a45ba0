/* Rendered scenes: the same for any number of threads, exact against their own truth when read back as data sets. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/io.h"
#include "base/safetensors.h"
#include "datasets/source.h"
#include "datasets/synth.h"
#include "tests/support/tmpdir.h"

static ds_synth_opts small(const char *out) {
  ds_synth_opts o;

  ds_synth_opts_default(&o);
  o.out = out;
  o.seed = 11;
  o.rooms = 4;
  o.room_frames = 2;
  o.room_W = 31;
  o.room_H = 23;
  o.streets = 2;
  o.street_frames = 1;
  o.street_W = 37;
  o.street_H = 21;
  o.weathers = 2;
  o.threads = 3;
  o.truth = true;
  return o;
}

static void same_tree(const char *a, const char *b) {
  char **names, pa[IO_PATH_MAX], pb[IO_PATH_MAX], *da, *db;
  size_t n, na, nb;

  check_ok(io_list_dir(a, &names, &n));
  assert_true(n > 0);
  for (size_t i = 0; i < n; i++) {
    check_ok(io_path(pa, "%s/%s", a, names[i]));
    check_ok(io_path(pb, "%s/%s", b, names[i]));
    if (io_is_dir(pa)) {
      same_tree(pa, pb);
      continue;
    }
    check_ok(io_read_file(pa, 1 << 24, &da, &na));
    check_ok(io_read_file(pb, 1 << 24, &db, &nb));
    if (na != nb || memcmp(da, db, na)) fail_msg("%s and %s differ", pa, pb);
    free(da);
    free(db);
  }
  io_free_names(&names, n);
}

static void threads_do_not_matter(void **state) {
  ds_synth_opts o = small(tmpdir_at(state, "three"));

  check_ok(ds_synth(&o, NULL, NULL));
  o.out = tmpdir_at(state, "one");
  o.threads = 1;
  check_ok(ds_synth(&o, NULL, NULL));
  same_tree(tmpdir_at(state, "one"), tmpdir_at(state, "three"));
}

static void counts(void *ctx, int64_t done, int64_t total) {
  int64_t *last = ctx;

  assert_int_equal(done, last[0] + 1);
  last[0] = done;
  last[1] = total;
}

static void progress_counts_every_frame(void **state) {
  const ds_synth_opts o = small(tmpdir_at(state, "out"));
  int64_t last[2] = {0, 0};

  check_ok(ds_synth(&o, counts, last));
  assert_int_equal(last[0], 4 * 2 + 2 * 2 * 2 * 1);
  assert_int_equal(last[0], last[1]);
}

static const float *truth_of(const st_file *f, const char *name) {
  const st_tensor *t = st_find(f, name);

  assert_non_null(t);
  return t->data;
}

/* Reads every frame back and compares with the truth stored beside: depth, and the angle of the normals. */
static void compare(ds_synth_opts *o, const char *kind, const char *root, const char *prefix, double depth_rel, double depth_abs) {
  ds_opts d;
  ds_source *src;

  ds_opts_default(&d);
  d.kind = kind;
  d.root = root;
  d.size_set = true;
  d.need = strcmp(kind, "hypersim") ? DS_NEED_METRIC : DS_NEED_METRIC | DS_NEED_NORMALS;
  check_ok(ds_source_open(&d, &src));
  for (int64_t i = 0; i < ds_source_count(src); i++) {
    int H, W;
    char path[IO_PATH_MAX], id[DS_ID_MAX], *at;
    check_ok(ds_source_shape(src, i, &H, &W));
    const size_t n = (size_t)H * (size_t)W;
    float *floats = malloc(sizeof *floats * ds_sample_floats(H, W));
    uint8_t *mask = malloc(n);
    ds_sample s = {0};
    st_file *f;
    ds_sample_place(&s, H, W, floats, mask);
    check_ok(ds_source_read(src, i, false, &s));
    check_ok(ds_source_describe(src, i, id));
    check_ok(io_path(path, "%s/truth/%s__", o->out, prefix));
    for (at = id; *at; at++) {
      char c[3] = {*at == '/' ? '_' : *at, *at == '/' ? '_' : 0, 0};
      strcat(path, c);
    }
    strcat(path, ".safetensors");
    check_ok(st_open(path, &f));
    const float *z = truth_of(f, "z"), *normal = truth_of(f, "n_cv");
    const uint8_t *valid = st_find(f, "valid")->data;
    double angle = 0;
    for (size_t k = 0; k < n; k++) {
      if (!mask[k]) continue;
      assert_true(valid[k]);
      /* the target is clamped to the percentiles of depth: compare where it was not */
      const double err = fabs((double)s.metric[k] - z[k]);
      if (err > depth_rel * z[k] + depth_abs) assert_true(s.depth[k] <= -1 || s.depth[k] >= 1);
      if (!(d.need & DS_NEED_NORMALS)) continue;
      const double dot = -(s.normals[k] * normal[3 * k] + s.normals[n + k] * normal[3 * k + 1] + s.normals[2 * n + k] * normal[3 * k + 2]);
      angle += acos(fmin(1, dot)) * 57.29577951308232;
    }
    if (d.need & DS_NEED_NORMALS) assert_true(s.valid > 0 && angle / (double)s.valid < 0.03);
    st_close(&f);
    free(floats);
    free(mask);
  }
  assert_true(ds_source_count(src) > 0);
  ds_source_close(&src);
}

static void readers_find_the_truth(void **state) {
  ds_synth_opts o = small(tmpdir_at(state, "out"));

  check_ok(ds_synth(&o, NULL, NULL));
  compare(&o, "hypersim", tmpdir_at(state, "out/hypersim"), "hypersim", 5e-4, 0);
  compare(&o, "vkitti2", tmpdir_at(state, "out/virtual_kitti_2"), "vkitti", 1e-6, 0.00501);
}

static void any_size_renders(void **state) {
  ds_synth_opts o = small(tmpdir_at(state, "out"));

  o.room_W = o.street_H = 1;
  o.room_H = o.street_W = 5;
  check_ok(ds_synth(&o, NULL, NULL));
}

static void options_out_of_range_are_named(void **state) {
  ds_synth_opts o = small(tmpdir_at(state, "out"));

  o.streets = 6;
  check_fails(E_CONFIG, "streets 6, want 0 to 5", ds_synth(&o, NULL, NULL));
  o = small(tmpdir_at(state, "out"));
  o.room_W = 0;
  check_fails(E_CONFIG, "room width 0", ds_synth(&o, NULL, NULL));
  o.out = "";
  check_fails(E_CONFIG, "no output folder", ds_synth(&o, NULL, NULL));
}

static void a_file_in_the_way_is_named(void **state) {
  const ds_synth_opts o = small(tmpdir_at(state, "out"));

  check_ok(io_make_dirs(tmpdir_at(state, "out")));
  check_ok(io_write_file(tmpdir_at(state, "out/hypersim"), "x", 1));
  assert_int_not_equal(ds_synth(&o, NULL, NULL), OK);
  assert_non_null(strstr(err_text(), "out/hypersim"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(threads_do_not_matter, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(progress_counts_every_frame, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(readers_find_the_truth, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(any_size_renders, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(options_out_of_range_are_named, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(a_file_in_the_way_is_named, tmpdir_setup, tmpdir_teardown)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
