/* Virtual KITTI 2: the list, rendered frames against their truth, crops, and what can be wrong with a folder.
 * The numbers of the reference are in ds_reference_test.c. */
#include <math.h>
#include <stdio.h>
#include <turbojpeg.h>

#include "datasets/kind.h"
#include "tests/support/damage.h"
#include "tests/support/golden.h"
#include "tests/support/samples.h"
#include "tests/support/tmpdir.h"

static ds_opts synth_opts(void) { return sample_opts("vkitti2", "%s/synth/virtual_kitti_2", TEST_DATA); }

static int64_t find(ds_source *s, const char *id) {
  char got[DS_ID_MAX];

  for (int64_t i = 0; i < ds_source_count(s); i++) {
    check_ok(ds_source_describe(s, i, got));
    if (strcmp(got, id) == 0) return i;
  }
  fail_msg("no %s", id);
  return -1;
}

static void list_is_sorted(void **state) {
  (void)state;
  ds_opts o = synth_opts();
  ds_source *s = sample_source(&o);
  char last[DS_ID_MAX] = "", id[DS_ID_MAX];

  assert_true(ds_source_count(s) >= 10);
  for (int64_t i = 0; i < ds_source_count(s); i++) {
    check_ok(ds_source_describe(s, i, id));
    assert_true(strcmp(last, id) < 0);
    memcpy(last, id, sizeof last);
  }
  assert_true(ds_source_opts(s)->far_m == 80);
  ds_source_close(&s);
  o.split = "val";
  check_source_fails(E_DATA, "split 'val'", &o);
}

/* Centimetres in 16 bits: half a centimetre off at most. */
static void depth_of_the_truth(void **state) {
  (void)state;
  static const char id[] = "Scene02/fog/Camera_1/00000";
  st_file *g = NULL;
  ds_opts o = synth_opts();
  ds_source *s = sample_source(&o);
  const int64_t i = find(s, id);
  char name[64];
  size_t n;
  double worst = 0;
  int far_away = 0;

  check_ok(st_open(TEST_DATA "/synth/truth/vkitti2.safetensors", &g));
  snprintf(name, sizeof name, "%s.depth", id);
  float *want = golden_f32(g, name, &n);
  check_ok(s->kind->decode(s, i));
  assert_int_equal(n, s->frame.H * s->frame.W);
  for (size_t j = 0; j < n; j++) {
    const float got = ((float *)s->frame.depth.p)[j];
    if (want[j] > 0 && want[j] < 600) worst = fmax(worst, fabs((double)got - (double)want[j]));
    else far_away += got > 600;
  }
  print_message("%s: depth off by %.5f m at most, %d pixels of sky\n", id, worst, far_away);
  assert_true(worst <= 0.00501);
  free(want);
  st_close(&g);
  ds_source_close(&s);
}

/* No size given: the benchmark crop where it fits, small frames whole; given: no crop of its own. */
static void crop_and_size(void **state) {
  (void)state;
  ds_opts o = synth_opts();
  int H, W;
  ds_source *s = sample_source(&o);
  int64_t large = -1, small = -1;

  for (int64_t i = 0; i < ds_source_count(s); i++) {
    check_ok(ds_source_shape(s, i, &H, &W));
    if (H == 375 && W == 1242) large = i;
    else if (H == 192 && W == 256) small = i;
  }
  assert_true(large >= 0 && small >= 0);
  ds_source_close(&s);
  o.size_set = false;
  s = sample_source(&o);
  ds_sample a = sample_read(s, large, false), b = sample_read(s, small, true);
  assert_true(a.H == 352 && a.W == 1216 && b.H == 192 && b.W == 256);
  ds_source_close(&s);
  o.size_set = true;
  o.H = 100;
  o.W = 200;
  s = sample_source(&o);
  ds_sample c = sample_read(s, large, false), d = sample_read(s, small, false);
  assert_true(c.H == 100 && c.W == 200 && d.H == 100 && d.W == 200 && c.valid > 5000);
  ds_source_close(&s);
  o.H = o.W = 0;
  o.crop_H = 352;
  o.crop_W = 1216;
  s = sample_source(&o);
  ds_sample e = sample_read(s, large, false);
  assert_memory_equal(e.rgb, a.rgb, 3 * 352 * 1216 * sizeof(float));
  check_read_fails("a crop of [352, 1216] does not fit in its [192, 256] pixels", s, small);
  ds_source_close(&s);
  sample_free(&a);
  sample_free(&b);
  sample_free(&c);
  sample_free(&d);
  sample_free(&e);
}

/* ---- a folder of our own ---- */

static const char *const names[] = {"vkitti_2.0.3_rgb/%s/%s/frames/rgb/Camera_%d/rgb_%05d.jpg",
                                    "vkitti_2.0.3_depth/%s/%s/frames/depth/Camera_%d/depth_%05d.png",
                                    "vkitti_DAG_normals/%s/%s/frames/normal/Camera_%d/normal_%05d.png"};

static const char *file(void **state, int k, const char *scene, const char *variation, int camera, int frame) {
  char rest[512];

  snprintf(rest, sizeof rest, names[k], scene, variation, camera, frame);
  return tmpdir_at(state, "%s", rest);
}

/* The golden frame under another name. */
static void put_frame(void **state, const char *scene, const char *variation, int camera, int frame) {
  char from[IO_PATH_MAX], rest[512], folder[IO_PATH_MAX];

  for (int k = 0; k < 3; k++) {
    snprintf(rest, sizeof rest, names[k], "Scene01", "morning", 0, 0);
    check_ok(io_path(from, TEST_DATA "/golden/data/vkitti_root/%s", rest));
    check_ok(io_path(folder, "%s", file(state, k, scene, variation, camera, frame)));
    *strrchr(folder, '/') = 0;
    check_ok(io_make_dirs(folder));
    check_ok(io_copy_file(from, file(state, k, scene, variation, camera, frame)));
  }
}

static void check_split(void **state, const char *split, const char *first, int64_t n) {
  char id[DS_ID_MAX];
  ds_opts o = sample_opts("vkitti2", "%s", (const char *)*state);

  o.split = split;
  ds_source *s = sample_source(&o);
  assert_int_equal(ds_source_count(s), n);
  check_ok(ds_source_describe(s, 0, id));
  assert_string_equal(id, first);
  ds_source_close(&s);
}

static void order(void **state) {
  static const char *const want[] = {"Scene01/fog/Camera_1/00007", "Scene01/morning/Camera_0/00003",
                                     "Scene01/sunset/Camera_0/00002", "Scene01/sunset/Camera_0/00010",
                                     "Scene20/fog/Camera_0/00000"};
  char id[DS_ID_MAX];

  put_frame(state, "Scene20", "fog", 0, 0);
  put_frame(state, "Scene01", "sunset", 0, 10);
  put_frame(state, "Scene01", "sunset", 0, 2);
  put_frame(state, "Scene01", "fog", 1, 7);
  put_frame(state, "Scene01", "morning", 0, 3);
  put_frame(state, "Scene01", "clone", 0, 0);                        /* not trained on */
  put_frame(state, "Scene20", "15-deg-left", 1, 9);
  put_frame(state, "Scene03", "fog", 0, 0);                          /* no such scene */
  damaged_save(file(state, 0, "Scene20", "fog", 0, 123456), "x", 1); /* rgb_123456.jpg: no frame's name */
  check_ok(
      io_make_dirs(tmpdir_at(state, "vkitti_2.0.3_rgb/Scene02/fog/frames/rgb/Camera_0"))); /* no depth beside it */
  ds_opts o = sample_opts("vkitti2", "%s", (const char *)*state);
  ds_source *s = sample_source(&o);
  assert_int_equal(ds_source_count(s), 5);
  for (int i = 0; i < 5; i++) {
    check_ok(ds_source_describe(s, i, id));
    assert_string_equal(id, want[i]);
  }
  ds_source_close(&s);
  check_split(state, "marigold_train", "Scene20/15-deg-left/Camera_1/00009", 1);
  check_split(state, "marigold_val", "Scene01/clone/Camera_0/00000", 4);
  check_split(state, "all", "Scene01/clone/Camera_0/00000", 7);
  check_split(state, "Scene20", "Scene20/15-deg-left/Camera_1/00009", 2);
  check_split(state, "Scene01/sunset", "Scene01/sunset/Camera_0/00002", 2);
  check_split(state, "Scene01/fog/Camera_1", "Scene01/fog/Camera_1/00007", 1);
  static const char *const none[] = {"", "Scene0", "Scene01/", "Scene01/15-deg", "Scene01/fog/Camera_1/00007"};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    o.split = none[i];
    check_source_fails(E_DATA, "has none of its own", &o);
  }
}

static void missing(void **state) {
  put_frame(state, "Scene01", "fog", 0, 0);
  put_frame(state, "Scene01", "fog", 0, 1);
  ds_opts o = sample_opts("vkitti2", "%s", (const char *)*state);
  const char *depth = file(state, 1, "Scene01", "fog", 0, 0), *normal = file(state, 2, "Scene01", "fog", 0, 1);

  check_ok(io_remove_tree(depth));
  ds_source *s = sample_source(&o);
  check_read_fails(depth, s, 0);
  ds_sample a = sample_read(s, 1, false);
  sample_free(&a);
  ds_source_close(&s);
  check_ok(io_remove_tree(normal));
  check_source_fails(E_DATA, depth, &o);
  check_source_fails(E_DATA, "one file of each of the 2 frames", &o);
  check_ok(io_remove_tree(tmpdir_at(state, "vkitti_DAG_normals")));
  o.normals = DS_NORMALS_FILES;
  check_source_fails(E_DATA, "vkitti_DAG_normals: no such folder; Virtual KITTI 2 comes without normals", &o);
  o.need = DS_NEED_METRIC; /* then they are not needed */
  s = sample_source(&o);
  a = sample_read(s, 1, false);
  sample_free(&a);
  ds_source_close(&s);
  check_ok(io_remove_tree(tmpdir_at(state, "vkitti_2.0.3_depth/Scene01")));
  check_source_fails(E_DATA, "or the like that has depth too", &o);
  check_ok(io_remove_tree(tmpdir_at(state, "vkitti_2.0.3_depth")));
  check_source_fails(E_DATA, "vkitti_2.0.3_depth: no such folder", &o);
  o.root = tmpdir_at(state, "nowhere");
  check_source_fails(E_DATA, "nowhere: no such folder", &o);
}

static void cut_files(void **state) {
  put_frame(state, "Scene01", "fog", 0, 0);
  put_frame(state, "Scene01", "fog", 0, 1);
  ds_opts o = sample_opts("vkitti2", "%s", (const char *)*state);
  ds_source *s = sample_source(&o);

  for (int k = 0; k < 3; k++) {
    const char *path = file(state, k, "Scene01", "fog", 0, 0);
    damaged d = damaged_load(path);
    for (int i = 0; i < DAMAGED_CUTS; i++) {
      damaged_cut(&d, i, path);
      check_read_fails(path, s, 0);
    }
    damaged_save(path, d.bytes, d.n);
    damaged_free(&d);
  }
  ds_sample a = sample_read(s, 0, false);
  sample_free(&a);
  ds_source_close(&s);
}

static void sizes_that_differ(void **state) {
  put_frame(state, "Scene01", "fog", 0, 0);
  ds_opts o = sample_opts("vkitti2", "%s", (const char *)*state);
  ds_source *s = sample_source(&o);
  const char *rgb = file(state, 0, "Scene01", "fog", 0, 0), *depth = file(state, 1, "Scene01", "fog", 0, 0);
  unsigned char pixels[3 * 8 * 9] = {0}, *jpeg = NULL;
  unsigned long n = 0;
  tjhandle tj = tjInitCompress();

  assert_int_equal(tjCompress2(tj, pixels, 9, 27, 8, TJPF_RGB, &jpeg, &n, TJSAMP_444, 90, 0), 0);
  damaged_save(rgb, (char *)jpeg, n);
  tjFree(jpeg);
  tjDestroy(tj);
  check_read_fails("has 9x8", s, 0);
  check_read_fails(depth, s, 0);
  ds_source_close(&s);
}

/* A folder of normals in another frame is read by saying so. */
static void stored_frames(void **state) {
  (void)state;
  static const float sign[][3] = {{1, 1, 1}, {-1, 1, 1}, {-1, -1, -1}};
  ds_opts o = synth_opts();
  ds_source *s = sample_source(&o);
  ds_sample lub = sample_read(s, 0, false);
  const int n = lub.H * lub.W;

  ds_source_close(&s);
  for (int frame = DS_FRAME_LUB; frame <= DS_FRAME_OPENCV; frame++) {
    o.normals_frame = (ds_normals_frame)frame;
    s = sample_source(&o);
    ds_sample a = sample_read(s, 0, false);
    for (int i = 0; i < 3 * n; i++) assert_true(a.normals[i] == sign[frame][i / n] * lub.normals[i]);
    sample_free(&a);
    ds_source_close(&s);
  }
  sample_free(&lub);
  o.as_reference = true;
  check_source_fails(E_CONFIG, "as_reference knows no normals_frame but lub", &o);
}

int main(void) {
#define IN_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {cmocka_unit_test(list_is_sorted),
                                     cmocka_unit_test(depth_of_the_truth),
                                     cmocka_unit_test(crop_and_size),
                                     cmocka_unit_test(stored_frames),
                                     IN_TMPDIR(order),
                                     IN_TMPDIR(missing),
                                     IN_TMPDIR(cut_files),
                                     IN_TMPDIR(sizes_that_differ)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
