/* Normals from depth: the reference's PNGs to the bit, its numbers in float64, odd sizes, and the samples that a folder
 * without stored normals gives. */
#include <math.h>
#include <png.h>
#include <stdio.h>

#include "datasets/d2nt.h"
#include "datasets/kind.h"
#include "datasets/png.h"
#include "datasets/vkitti2_camera.h"
#include "tests/support/golden.h"
#include "tests/support/samples.h"
#include "tests/support/tmpdir.h"

#define ROOT TEST_DATA "/synth/virtual_kitti_2"

/* [H,W,3] with all 16 bits, from malloc. */
static uint16_t *png16(const char *path, int *H, int *W) {
  FILE *f = fopen(path, "rb");
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(png);

  assert_true(f && png && info);
  png_init_io(png, f);
  png_read_png(png, info, PNG_TRANSFORM_SWAP_ENDIAN, NULL);
  *H = (int)png_get_image_height(png, info);
  *W = (int)png_get_image_width(png, info);
  assert_int_equal(png_get_bit_depth(png, info), 16);
  const size_t row = 3 * (size_t)*W;
  uint16_t *out = malloc(row * (size_t)*H * sizeof *out);
  assert_non_null(out);
  for (int y = 0; y < *H; y++) memcpy(out + row * (size_t)y, png_get_rows(png, info)[y], row * sizeof *out);
  png_destroy_read_struct(&png, &info, NULL);
  fclose(f);
  return out;
}

static void codes_of(const char *depth_path, const ds_pinhole *k, int *H, int *W, uint16_t **out) {
  ds_buf cm = {0};
  ds_d2nt d = {0};

  check_ok(ds_png_read_grey16(depth_path, &cm, H, W));
  const size_t n = (size_t)*H * (size_t)*W;
  float *z = malloc(n * sizeof *z);
  *out = malloc(3 * n * sizeof **out);
  assert_true(z && *out);
  for (size_t i = 0; i < n; i++) z[i] = ds_d2nt_cm(((uint16_t *)cm.p)[i]);
  check_ok(ds_d2nt_normals(&d, z, *H, *W, k, *out));
  free(z);
  ds_buf_free(&cm);
  ds_d2nt_free(&d);
}

static const struct frame {
  const char *scene, *variation;
  int camera, frame;
} frames[] = {{"Scene01", "morning", 0, 0}, {"Scene01", "morning", 0, 1},  {"Scene01", "morning", 1, 0},
              {"Scene02", "fog", 0, 0},     {"Scene02", "fog", 1, 0},      {"Scene06", "sunset", 0, 0},
              {"Scene06", "sunset", 1, 0},  {"Scene18", "rain", 0, 0},     {"Scene20", "overcast", 0, 0},
              {"Scene20", "overcast", 1, 0}};

static const char *path_of(const struct frame *f, const char *root, bool normal) {
  static char path[IO_PATH_MAX];

  snprintf(path, sizeof path, "%s/%s/%s/%s/frames/%s/Camera_%d/%s_%05d.png", root,
           normal ? "vkitti_DAG_normals" : "vkitti_2.0.3_depth", f->scene, f->variation, normal ? "normal" : "depth",
           f->camera, normal ? "normal" : "depth", f->frame);
  return path;
}

/* The reference's numpy and OpenCV on the same files. The small frames' camera is one of 512 columns, cut. */
static void reference_bits(void **state) {
  (void)state;
  const double f = 725.0087 * 512 / 1242;
  int H, W, h, w;

  for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
    ds_pinhole k = {f, f, 127.5, 91.66};
    if (strcmp(frames[i].scene, "Scene18") == 0) ds_vkitti2_camera(375, 1242, &k);
    uint16_t *got = NULL, *want = png16(path_of(&frames[i], ROOT, true), &h, &w);
    codes_of(path_of(&frames[i], ROOT, false), &k, &H, &W, &got);
    assert_true(H == h && W == w);
    for (size_t j = 0; j < 3 * (size_t)H * (size_t)W; j++)
      if (got[j] != want[j]) fail_msg("%s: code %zu is %d, not %d", path_of(&frames[i], ROOT, true), j, got[j], want[j]);
    free(got);
    free(want);
  }
}

/* There all is float64. */
static void golden_codes(void **state) {
  (void)state;
  enum { H = 26, W = 41 };
  st_file *g = golden_open("data/depth_to_normals.safetensors");
  float *z = golden_f32(g, "depth_cm", NULL);
  double *k = golden_f64(g, "intrinsics", NULL), *want = golden_f64(g, "v3.png16", NULL);
  uint16_t got[3 * H * W];
  ds_d2nt d = {0};
  int off = 0;

  check_ok(ds_d2nt_normals(&d, z, H, W, &(ds_pinhole){k[0], k[1], k[2], k[3]}, got));
  for (int i = 0; i < H * W; i++) {
    int worst = 0;
    for (int c = 0; c < 3; c++) worst = (int)fmax(worst, fabs(got[3 * i + c] - want[3 * i + c]));
    off += worst > 1;
  }
  print_message("%d of %d pixels are more than 1 code off\n", off, H * W);
  assert_true(off == 0); /* 0.5 % are allowed */
  ds_d2nt_free(&d);
  free(z);
  free(k);
  free(want);
  st_close(&g);
}

/* A plane seen head-on, of any size. 1 - 1e-8/Z is cut to 65534. */
static void small_images(void **state) {
  (void)state;
  ds_d2nt d = {0};

  for (int H = 1; H <= 4; H++)
    for (int W = 1; W <= 4; W++) {
      float z[16];
      uint16_t got[48];
      for (int i = 0; i < H * W; i++) z[i] = 250;
      check_ok(ds_d2nt_normals(&d, z, H, W, &(ds_pinhole){10, 10, 2, 2}, got));
      for (int i = 0; i < H * W; i++) assert_true(got[3 * i] == 32767 && got[3 * i + 1] == 32767 && got[3 * i + 2] == 65534);
    }
  ds_d2nt_free(&d);
}

/* ---- samples ---- */

/* Normals made on the way are those that would have been stored. */
static void samples_without_files(void **state) {
  (void)state;
  ds_opts o = sample_opts("vkitti2", "%s", ROOT);
  ds_source *files = sample_source(&o);

  o.normals = DS_NORMALS_DEPTH;
  for (int as_reference = 0; as_reference < 2; as_reference++) {
    o.as_reference = as_reference;
    ds_source *depth = sample_source(&o);
    for (int64_t i = 0; i < ds_source_count(depth); i++) {
      ds_sample a = sample_read(files, i, false), b = sample_read(depth, i, false);
      const size_t n = 3 * (size_t)a.H * (size_t)a.W;
      assert_string_equal(a.id, b.id);
      assert_memory_equal(a.normals, b.normals, n * sizeof *a.normals);
      sample_free(&a);
      sample_free(&b);
    }
    ds_source_close(&depth);
  }
  ds_source_close(&files);
}

static void stored(void **state) {
  ds_opts o = sample_opts("vkitti2", "%s", ROOT);
  const struct frame *f = &frames[7];
  char id[DS_ID_MAX];
  int64_t i = -1;
  int H, W;

  o.normals = DS_NORMALS_DEPTH;
  ds_source *s = sample_source(&o);
  do check_ok(ds_source_describe(s, ++i, id));
  while (strncmp(id, "Scene18", 7));
  check_ok(ds_source_store_normals(s, i, *state));
  uint16_t *got = png16(path_of(f, *state, true), &H, &W), *want = png16(path_of(f, ROOT, true), &H, &W);
  assert_memory_equal(got, want, 3 * (size_t)H * (size_t)W * sizeof *got);
  free(got);
  free(want);
  check_ok(io_write_file(path_of(f, *state, true), "x", 1)); /* what is there stays */
  check_ok(ds_source_store_normals(s, i, *state));
  char *text = NULL;
  size_t n;
  check_ok(io_read_file(path_of(f, *state, true), 99, &text, &n));
  assert_string_equal(text, "x");
  free(text);
  ds_source_close(&s);
  o = sample_opts("hypersim", "%s/synth/hypersim", TEST_DATA);
  s = sample_source(&o);
  check_fails(E_CONFIG, "comes with its normals", ds_source_store_normals(s, 0, *state));
  ds_source_close(&s);
}

/* ---- cameras ---- */

static int camera_of(void **state, const char *text, int camera, ds_pinhole *k, bool *found) {
  check_ok(io_write_file(tmpdir_at(state, "intrinsic.txt"), text, strlen(text)));
  return ds_vkitti2_camera_read(tmpdir_at(state, "intrinsic.txt"), camera, k, found);
}

static void cameras(void **state) {
  ds_pinhole k = {0};
  bool found;
  static const char head[] = "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n";
  char text[512];

  ds_vkitti2_camera(375, 1242, &k);
  assert_true(k.fx == 725.0087 && k.fy == 725.0087 && k.cx == 620.5 && k.cy == 187);
  ds_vkitti2_camera(750, 621, &k);
  assert_true(k.fx == 725.0087 / 2 && k.fy == 2 * 725.0087 && k.cx == 310 && k.cy == 374.5);
  check_ok(ds_vkitti2_camera_read(tmpdir_at(state, "none.txt"), 0, &k, &found));
  assert_false(found);
  snprintf(text, sizeof text, "%s0 0 1 2 3 4\n\r\n0 1 725.009 725.009 620.5 187\r\n1 1 9 9 9 9", head);
  check_ok(camera_of(state, text, 0, &k, &found));
  assert_true(found && k.fx == 1 && k.fy == 2 && k.cx == 3 && k.cy == 4);
  check_ok(camera_of(state, text, 1, &k, &found)); /* six digits of the published camera */
  assert_true(found && k.fx == 725.0087 && k.cy == 187);
  snprintf(text, sizeof text, "%s0 0 298.876 250 127.5 91.66\n", head); /* 512 columns; no whole number of them */
  check_ok(camera_of(state, text, 0, &k, &found));
  assert_true(found && k.fx == 725.0087 * 512 / 1242 && k.fy == 250 && k.cx == 127.5 && k.cy == 91.66);
  check_ok(camera_of(state, text, 2, &k, &found));
  assert_false(found);
  snprintf(text, sizeof text, "%s0 0 725 725 620.5\n", head);
  check_fails(E_DATA, "intrinsic.txt:2: wanted frame, cameraID and four numbers", camera_of(state, text, 0, &k, &found));
  snprintf(text, sizeof text, "%s0 0 nan 725 620.5 187\n", head);
  check_fails(E_DATA, "intrinsic.txt:2: a camera of nan", camera_of(state, text, 0, &k, &found));
}

int main(void) {
#define IN_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {cmocka_unit_test(reference_bits),        cmocka_unit_test(golden_codes),
                                     cmocka_unit_test(small_images),          cmocka_unit_test(samples_without_files),
                                     IN_TMPDIR(stored),                       IN_TMPDIR(cameras)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
