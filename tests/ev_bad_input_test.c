/* e2eft eval on sets and predictions that something is wrong with: one message that names the file, the rest is measured,
 * failures are counted in the report and in the exit status. */
#include <jansson.h>
#include <math.h>

#include "base/npy.h"
#include "datasets/image_write.h"
#include "tests/support/program.h"
#include "tests/support/tmpdir.h"

enum { H = 60, W = 80, N = H * W, IMAGES = 4 };

/* A set in ScanNet's layout, predictions under the images' paths. */
static void put_image(void **state, int i) {
  uint8_t rgb[3 * N];
  uint16_t depth[N];
  float pred[N];

  for (int k = 0; k < N; k++) {
    depth[k] = (uint16_t)(1000 + 40 * (k % W) + 13 * (k / W) + 100 * i);
    pred[k] = (float)depth[k] / 9000.f + 0.01f * (float)(k % 7) * (float)(i + 1);
    for (int c = 0; c < 3; c++) rgb[3 * k + c] = (uint8_t)(depth[k] / 20 + 10 * c);
  }
  check_ok(io_make_dirs(tmpdir_at(state, "set/scene%04d_00/color", i)));
  check_ok(io_make_dirs(tmpdir_at(state, "set/scene%04d_00/depth", i)));
  check_ok(io_make_dirs(tmpdir_at(state, "pred/scene%04d_00/color", i)));
  check_ok(ds_jpeg_write(tmpdir_at(state, "set/scene%04d_00/color/000100.jpg", i), W, H, rgb, 80));
  check_ok(ds_png_write16(tmpdir_at(state, "set/scene%04d_00/depth/000100.png", i), W, H, 1, depth));
  check_ok(npy_save_f32(tmpdir_at(state, "pred/scene%04d_00/color/000100.npy", i), 2, (int64_t[]){H, W}, pred));
}

static int setup(void **state) {
  if (tmpdir_setup(state)) return -1;
  for (int i = 0; i < IMAGES; i++) put_image(state, i);
  return 0;
}

static program evaluate(void **state, const char *data, const char *key_value) {
  const char *args[] = {"eval",   "--predictions",           tmpdir_at(state, "pred"),       "--data", data,
                        "--json", tmpdir_at(state, "e.json"), "--csv", tmpdir_at(state, "e.csv"), "--html",
                        tmpdir_at(state, "e.html"), key_value ? "--set" : NULL, key_value, NULL};
  program p = program_start_v(args);
  program_wait(&p, 60);
  return p;
}

/* Exit status 3 with one error; `bad` images failed with `part` in the first failure's text and in stderr, the others have
 * a finite metric. */
static void check_counted(void **state, const char *data, const char *key_value, int measured, int bad, const char *part) {
  program p = evaluate(state, data, key_value);
  json_error_t error;
  char csv[32];

  snprintf(csv, sizeof csv, "%d image%s could", bad, bad == 1 ? "" : "s");
  program_expect_error(&p, 3, csv);
  if (!strstr(p.err, part)) fail_msg("no \"%s\" in %s", part, p.err);
  json_t *j = json_load_file(tmpdir_at(state, "e.json"), 0, &error);
  assert_non_null(j);
  assert_int_equal(json_integer_value(json_object_get(j, "images")), measured);
  assert_int_equal(json_integer_value(json_object_get(j, "failed")), bad);
  const json_t *failures = json_object_get(j, "failures");
  assert_int_equal(json_array_size(failures), bad);
  const char *problem = json_string_value(json_object_get(json_array_get(failures, 0), "problem"));
  if (!problem || !strstr(problem, part)) fail_msg("no \"%s\" in %s", part, problem);
  if (measured) assert_true(json_real_value(json_object_get(j, "abs_rel")) > 0);
  else assert_true(json_is_null(json_object_get(j, "abs_rel")));
  assert_true(io_exists(tmpdir_at(state, "e.csv")) && io_exists(tmpdir_at(state, "e.html")));
  json_decref(j);
  program_free(&p);
}

/* The set, or with rest a folder of it. */
static const char *scannet(void **state, const char *rest) {
  static char text[IO_PATH_MAX];

  check_ok(io_path(text, "scannet:%s%s%s", tmpdir_at(state, "set"), rest[0] ? "/" : "", rest));
  return text;
}

static void nothing_wrong(void **state) {
  program p = evaluate(state, scannet(state, ""), NULL);

  program_expect(&p, 0);
  assert_non_null(strstr(p.out, "abs_rel"));
  program_free(&p);
}

static void cut_file(const char *path, size_t keep) {
  char *data = NULL;
  size_t n;

  check_ok(io_read_file(path, 1 << 24, &data, &n));
  tmpdir_put(path, data, keep < n ? keep : n);
  free(data);
}

static void broken_image(void **state) {
  cut_file(tmpdir_at(state, "set/scene0001_00/color/000100.jpg"), 500);
  check_counted(state, scannet(state, ""), NULL, IMAGES - 1, 1, "scene0001_00/color/000100.jpg");
}

static void broken_truth(void **state) {
  cut_file(tmpdir_at(state, "set/scene0001_00/depth/000100.png"), 150);
  check_counted(state, scannet(state, ""), NULL, IMAGES - 1, 1, "truncated at row");
}

static void missing_truth(void **state) {
  remove(tmpdir_at(state, "set/scene0002_00/depth/000100.png"));
  check_counted(state, scannet(state, ""), NULL, IMAGES - 1, 1, "scene0002_00/depth/000100.png: no such file");
}

static void truth_of_another_size(void **state) {
  const uint16_t depth[4] = {1000, 2000, 3000, 4000};

  check_ok(ds_png_write16(tmpdir_at(state, "set/scene0002_00/depth/000100.png"), 2, 2, 1, depth));
  check_counted(state, scannet(state, ""), NULL, IMAGES - 1, 1, "2x2 pixels (width x height), but scene0002_00");
}

static void no_valid_pixel(void **state) {
  static const uint16_t depth[N];

  check_ok(ds_png_write16(tmpdir_at(state, "set/scene0000_00/depth/000100.png"), W, H, 1, depth));
  check_counted(state, scannet(state, ""), NULL, IMAGES - 1, 1, "no valid pixel");
}

static void no_valid_pixel_anywhere(void **state) {
  check_counted(state, scannet(state, ""), "near=9", 0, IMAGES, "no valid pixel");
}

static void wrong_size_of_prediction(void **state) {
  static const float pred[N];

  check_ok(npy_save_f32(tmpdir_at(state, "pred/scene0003_00/color/000100.npy"), 2, (int64_t[]){W, H}, pred));
  check_counted(state, scannet(state, ""), NULL, IMAGES - 1, 1, "a prediction of [80,60], the truth has 60 rows and 80");
}

static void missing_prediction(void **state) {
  remove(tmpdir_at(state, "pred/scene0003_00/color/000100.npy"));
  check_counted(state, scannet(state, ""), NULL, IMAGES - 1, 1, "no prediction scene0003_00/color/000100.npy or .png");
}

static void broken_prediction(void **state) {
  cut_file(tmpdir_at(state, "pred/scene0003_00/color/000100.npy"), 3000);
  check_counted(state, scannet(state, ""), NULL, IMAGES - 1, 1, "the header wants 19200");
}

static void prediction_not_finite(void **state) {
  float pred[N];

  for (int k = 0; k < N; k++) pred[k] = k == N / 2 ? NAN : (float)k;
  check_ok(npy_save_f32(tmpdir_at(state, "pred/scene0003_00/color/000100.npy"), 2, (int64_t[]){H, W}, pred));
  check_counted(state, scannet(state, ""), NULL, IMAGES - 1, 1, "not finite");
}

static void list_line_of_wrong_form(void **state) {
  const char text[] = "scene0000_00/color/000100.jpg scene0000_00/depth/000100.png\n\nscene0001_00/color/000100.jpg\n"
                      "scene0002_00/color/000100.jpg scene0002_00/depth/000100.png 7\r\n";
  char key[IO_PATH_MAX];

  tmpdir_put(tmpdir_at(state, "list.txt"), text, sizeof text - 1);
  check_ok(io_path(key, "list=%s", tmpdir_at(state, "list.txt")));
  check_counted(state, scannet(state, ""), key, 2, 1, "list.txt:3: wanted 2 paths, found 1");
}

static void refused(void **state, int status, const char *data, const char *key_value, const char *part) {
  program p = evaluate(state, data, key_value);

  program_expect_error(&p, status, part);
  assert_false(io_exists(tmpdir_at(state, "e.json")));
  program_free(&p);
}

static void what_is_no_set(void **state) {
  char key[IO_PATH_MAX];

  refused(state, 3, scannet(state, "none"), NULL, "no such file or folder");
  refused(state, 3, "kitti:pred-and-set-of-nothing", NULL, "no such file or folder");
  refused(state, 3, scannet(state, "scene0000_00"), NULL, "published layout");
  refused(state, 2, "nyu:/tmp", NULL, "no set is called 'nyu'");
  refused(state, 2, "/tmp/set", NULL, "wanted SET:PATH");
  refused(state, 2, scannet(state, ""), "mask=square", "'square' is none of its values");
  refused(state, 2, scannet(state, ""), "masc=garg", "unknown key 'masc'");
  refused(state, 2, scannet(state, ""), "far", "wanted key=value");
  refused(state, 2, scannet(state, ""), "far=ten", "wanted metres");
  check_ok(io_path(key, "list=%s", tmpdir_at(state, "none.txt")));
  refused(state, 3, scannet(state, ""), key, "none.txt");
  tmpdir_put(tmpdir_at(state, "none.txt"), "\n \n", 3);
  refused(state, 3, scannet(state, ""), key, "lists no image");
}

/* ---- archives ---- */

static void make_tar(void **state, const char *options) {
  char command[3 * IO_PATH_MAX];

  snprintf(command, sizeof command, "tar %s -cf '%s' -C '%s' .", options, tmpdir_at(state, "set.tar"), tmpdir_at(state, "set"));
  assert_int_equal(system(command), 0);
}

static const char *tar_spec(void **state) {
  static char text[IO_PATH_MAX];

  check_ok(io_path(text, "scannet:%s", tmpdir_at(state, "set.tar")));
  return text;
}

static void archive_formats(void **state) {
  const char *const formats[] = {"--format=ustar", "--format=gnu", "--format=pax"};

  for (int i = 0; i < 3; i++) {
    make_tar(state, formats[i]);
    program p = evaluate(state, tar_spec(state), NULL);
    program_expect(&p, 0);
    program_free(&p);
  }
}

static int64_t size_of(const char *path) {
  struct stat info;

  assert_int_equal(stat(path, &info), 0);
  return info.st_size;
}

/* Every image whose members are whole is measured. */
static void cut_archive(void **state) {
  make_tar(state, "--sort=name --format=gnu");
  cut_file(tmpdir_at(state, "set.tar"), (size_t)size_of(tmpdir_at(state, "set.tar")) * 2 / 5);
  program p = evaluate(state, tar_spec(state), NULL);
  if (!strstr(p.err, "the archive")) fail_msg("no word of the archive's end: %s", p.err);
  program_free(&p);
}

/* With the published list beside it, what the archive lacks is counted. */
static void cut_archive_with_list(void **state) {
  char text[1024] = "";

  for (int i = 0; i < IMAGES; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text),
             "scene%04d_00/color/000100.jpg scene%04d_00/depth/000100.png\n", i, i);
  tmpdir_put(tmpdir_at(state, "scannet_val_sampled_list_800_1.txt"), text, strlen(text));
  make_tar(state, "--sort=name --format=gnu");
  cut_file(tmpdir_at(state, "set.tar"), (size_t)size_of(tmpdir_at(state, "set.tar")) * 3 / 4);
  check_counted(state, tar_spec(state), NULL, IMAGES - 1, 1, "no such member");
}

static void what_is_no_archive(void **state) {
  make_tar(state, "-z");
  refused(state, 3, tar_spec(state), NULL, "a compressed one must be unpacked first");
  tmpdir_put(tmpdir_at(state, "set.tar"), "no archive at all", 17);
  refused(state, 3, tar_spec(state), NULL, "set.tar: not a tar archive");
  tmpdir_put(tmpdir_at(state, "set.tar"), "", 0);
  refused(state, 3, tar_spec(state), NULL, "set.tar");
}

/* ---- others ---- */

static void stems_that_are_not_unique(void **state) {
  const char *from = tmpdir_at(state, "pred/scene0003_00/color/000100.npy");

  check_ok(io_copy_file(from, tmpdir_at(state, "pred/000100.npy")));
  remove(from);
  check_counted(state, scannet(state, ""), NULL, IMAGES - 1, 1, "no prediction scene0003_00");
}

/* One image a scene: predictions may lie flat when no two images share a name. */
static void flat_predictions(void **state) {
  const char text[] = "scene0000_00/color/000100.jpg scene0000_00/depth/000100.png\n";
  char key[IO_PATH_MAX];
  const char *from = tmpdir_at(state, "pred/scene0000_00/color/000100.npy");

  tmpdir_put(tmpdir_at(state, "list.txt"), text, sizeof text - 1);
  check_ok(io_path(key, "list=%s", tmpdir_at(state, "list.txt")));
  check_ok(io_copy_file(from, tmpdir_at(state, "pred/000100.npy")));
  remove(from);
  program p = evaluate(state, scannet(state, ""), key);
  program_expect(&p, 0);
  program_free(&p);
}

/* 16-bit PNG predictions differ from .npy by their rounding alone. */
static void png_predictions(void **state) {
  json_error_t error;
  double abs_rel[2];

  for (int pass = 0; pass < 2; pass++) {
    program p = evaluate(state, scannet(state, ""), NULL);
    program_expect(&p, 0);
    program_free(&p);
    json_t *j = json_load_file(tmpdir_at(state, "e.json"), 0, &error);
    abs_rel[pass] = json_real_value(json_object_get(j, "abs_rel"));
    json_decref(j);
    for (int i = 0; i < IMAGES && !pass; i++) {
      const char *npy = tmpdir_at(state, "pred/scene%04d_00/color/000100.npy", i);
      int ndim;
      int64_t shape[8];
      float *v = NULL;
      uint16_t coded[N];
      check_ok(npy_load_f32(npy, &ndim, shape, &v));
      for (int k = 0; k < N; k++) coded[k] = (uint16_t)lrintf(v[k] * 65535);
      check_ok(ds_png_write16(tmpdir_at(state, "pred/scene%04d_00/color/000100.png", i), W, H, 1, coded));
      remove(npy);
      free(v);
    }
  }
  assert_true(abs_rel[0] > 0 && fabs(abs_rel[0] - abs_rel[1]) < 1e-4);
}

static void normals_to_be_converted(void **state) {
  static const uint8_t rgb[3 * N];
  char text[IO_PATH_MAX];

  check_ok(io_make_dirs(tmpdir_at(state, "ibims/ibims")));
  check_ok(ds_png_write8(tmpdir_at(state, "ibims/ibims/corridor_01_img.png"), W, H, 3, rgb));
  tmpdir_put(tmpdir_at(state, "ibims/ibims/corridor_01_normal.exr"), "exr", 3);
  check_ok(io_path(text, "ibims:%s", tmpdir_at(state, "ibims")));
  program p = evaluate(state, text, NULL);
  program_expect_error(&p, 3, "1 image could not be measured");
  if (!strstr(p.err, "scripts/convert_normals.py")) fail_msg("no way out: %s", p.err);
  program_free(&p);
}

static void missing_arguments(void **state) {
  (void)state;
  program p = program_run(30, "eval", "--data", "nyuv2:/tmp", NULL);
  program_expect_error(&p, 2, "--model DIR or --predictions DIR is missing");
  program_free(&p);
  p = program_run(30, "eval", "--predictions", "/tmp", NULL);
  program_expect_error(&p, 2, "--data SET:PATH is missing");
  program_free(&p);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {
      TEST(nothing_wrong), TEST(broken_image), TEST(broken_truth), TEST(missing_truth), TEST(truth_of_another_size),
      TEST(no_valid_pixel), TEST(no_valid_pixel_anywhere), TEST(wrong_size_of_prediction), TEST(missing_prediction),
      TEST(broken_prediction), TEST(prediction_not_finite), TEST(list_line_of_wrong_form), TEST(what_is_no_set),
      TEST(archive_formats), TEST(cut_archive), TEST(cut_archive_with_list), TEST(what_is_no_archive),
      TEST(stems_that_are_not_unique), TEST(flat_predictions), TEST(png_predictions), TEST(normals_to_be_converted),
      TEST(missing_arguments)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
