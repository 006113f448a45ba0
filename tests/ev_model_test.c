/* e2eft eval with a model: what it measures are the predictions of e2eft predict, and of its own stored ones. */
#include <jansson.h>

#include "base/npy.h"
#include "datasets/image_write.h"
#include "tests/support/program.h"
#include "tests/support/tmpdir.h"

enum { H = 44, W = 61, N = H * W, IMAGES = 2 };
#define MODEL TEST_DATA "/golden/models/tiny-marigold"

/* ScanNet's layout for depth, DSINE's for normals. */
static void put_image(void **state, int i) {
  uint8_t rgb[3 * N], normals[3 * N];
  uint16_t depth[N];

  for (int k = 0; k < N; k++) {
    depth[k] = (uint16_t)(1000 + 40 * (k % W) + 13 * (k / W) + 100 * i);
    for (int c = 0; c < 3; c++) {
      rgb[3 * k + c] = (uint8_t)(depth[k] / 20 + 10 * c + k % 13);
      normals[3 * k + c] = c == 2 ? 250 : (uint8_t)(100 + k % 50);
    }
  }
  check_ok(io_make_dirs(tmpdir_at(state, "depth/s%d/color", i)));
  check_ok(io_make_dirs(tmpdir_at(state, "depth/s%d/depth", i)));
  check_ok(io_make_dirs(tmpdir_at(state, "normals/test")));
  check_ok(ds_jpeg_write(tmpdir_at(state, "depth/s%d/color/1.jpg", i), W, H, rgb, 90));
  check_ok(ds_png_write16(tmpdir_at(state, "depth/s%d/depth/1.png", i), W, H, 1, depth));
  check_ok(ds_png_write8(tmpdir_at(state, "normals/test/%d_img.png", i), W, H, 3, rgb));
  check_ok(ds_png_write8(tmpdir_at(state, "normals/test/%d_normal.png", i), W, H, 3, normals));
}

static int setup(void **state) {
  if (tmpdir_setup(state)) return -1;
  for (int i = 0; i < IMAGES; i++) put_image(state, i);
  return 0;
}

static char *spec_of(void **state, const char *set, const char *folder) {
  static char text[IO_PATH_MAX];

  check_ok(io_path(text, "%s:%s", set, tmpdir_at(state, "%s", folder)));
  return text;
}

/* Runs with --json and gives the object; more: NULL-ended. */
static json_t *evaluated(void **state, const char *spec, const char *const *more) {
  const char *args[24] = {"eval", "--data", spec, "--json", tmpdir_at(state, "e.json")};
  int n = 5;
  json_error_t error;

  while (*more) args[n++] = *more++;
  program p = program_start_v(args);
  program_wait(&p, 120);
  program_expect(&p, 0);
  program_free(&p);
  json_t *j = json_load_file(tmpdir_at(state, "e.json"), 0, &error);
  if (!j) fail_msg("%s", error.text);
  return j;
}

static void same_metrics(const json_t *a, const json_t *b, const char *const *keys) {
  for (; *keys; keys++) {
    const json_t *x = json_object_get(a, *keys), *y = json_object_get(b, *keys);
    if (!json_is_number(x) || !json_equal(x, y)) fail_msg("%s: %g and %g", *keys, json_number_value(x), json_number_value(y));
  }
}

static void same_array(const char *a, const char *b) {
  char *x = NULL, *y = NULL;
  size_t n, m;

  check_ok(io_read_file(a, 1 << 24, &x, &n));
  check_ok(io_read_file(b, 1 << 24, &y, &m));
  assert_int_equal(n, m);
  assert_memory_equal(x, y, n);
  free(x);
  free(y);
}

static void depth_of_a_model(void **state) {
  static const char *const keys[] = {"abs_rel", "rmse", "silog", "delta1", "images", "failed", NULL};
  const char *store = tmpdir_at(state, "store"), *spec = spec_of(state, "scannet", "depth");
  json_t *model = evaluated(state, spec, (const char *const[]){"--model", MODEL, "--store", store, NULL});
  json_t *stored = evaluated(state, spec, (const char *const[]){"--predictions", store, NULL});

  same_metrics(model, stored, keys);
  assert_int_equal(json_integer_value(json_object_get(model, "images")), IMAGES);
  assert_non_null(strstr(json_string_value(json_object_get(model, "how")), "1 step, ddim, trailing, noise zeros"));
  program p = program_run(120, "predict", "--model", MODEL, "--pipeline", "reference", "--resolution", "0", "--steps", "1", "-o",
                          tmpdir_at(state, "predicted"), tmpdir_at(state, "depth/s1/color/1.jpg"), NULL);
  program_expect(&p, 0);
  program_free(&p);
  same_array(tmpdir_at(state, "predicted/1.npy"), tmpdir_at(state, "store/s1/color/1.npy"));
  json_decref(model);
  json_decref(stored);
}

/* The image reaches the model stretched unless image=plain; the frame of predictions can be mirrored. */
static void normals_of_a_model(void **state) {
  static const char *const keys[] = {"mean", "median", "below_30", "images", NULL};
  const char *store = tmpdir_at(state, "store"), *spec = spec_of(state, "nyuv2", "normals");
  json_t *model = evaluated(state, spec, (const char *const[]){"--model", MODEL, "--task", "normals", "--store", store, NULL});
  json_t *stored = evaluated(state, spec, (const char *const[]){"--predictions", store, "--task", "normals", NULL});
  json_t *plain = evaluated(state, spec, (const char *const[]){"--model", MODEL, "--task", "normals", "-s", "image=plain", NULL});
  json_t *right = evaluated(state, spec, (const char *const[]){"--predictions", store, "--task", "normals", "-s", "frame=right", NULL});

  same_metrics(model, stored, keys);
  assert_string_equal(json_string_value(json_object_get(model, "image")), "dsine");
  assert_false(json_equal(json_object_get(model, "mean"), json_object_get(plain, "mean")));
  assert_false(json_equal(json_object_get(model, "mean"), json_object_get(right, "mean")));
  json_decref(model);
  json_decref(stored);
  json_decref(plain);
  json_decref(right);
}

/* Every preset on every set, in the paper's form and in the report. */
static void presets_beside_published_numbers(void **state) {
  const char *file = tmpdir_at(state, "e.json");
  program p = program_run(120, "eval", "--model", MODEL, "--preset", "one-step,leading", "--data", spec_of(state, "scannet", "depth"),
                          "--json", file, NULL);
  json_error_t error;

  program_expect(&p, 0);
  if (!strstr(p.out, "1 step, leading, gaussian") || !strstr(p.out, "5.8 /  96.5")) fail_msg("%s", p.out);
  program_free(&p);
  json_t *j = json_load_file(file, 0, &error);
  const json_t *sets = json_object_get(j, "sets");
  assert_int_equal(json_array_size(sets), 2);
  const char *how = json_string_value(json_object_get(json_array_get(sets, 1), "how"));
  assert_non_null(strstr(how, "leading, noise gaussian"));
  json_decref(j);
  p = program_run(60, "eval", "--model", MODEL, "--preset", "one-step,two", "--data", spec_of(state, "scannet", "depth"), NULL);
  program_expect_error(&p, 2, "found 'two'");
  program_free(&p);
}

static void what_does_not_fit(void **state) {
  program p = program_run(60, "eval", "--model", MODEL, "--data", spec_of(state, "nyuv2_normals", "normals"), NULL);
  program_expect_error(&p, 2, "predicts depth, but");
  program_free(&p);
  p = program_run(60, "eval", "--model", MODEL, "--predictions", "x", "--data", spec_of(state, "scannet", "depth"), NULL);
  program_expect_error(&p, 2, "not both");
  program_free(&p);
  p = program_run(60, "eval", "--model", tmpdir_at(state, "none"), "--data", spec_of(state, "scannet", "depth"), NULL);
  program_expect(&p, 4);
  program_free(&p);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(depth_of_a_model), TEST(normals_of_a_model), TEST(presets_beside_published_numbers), TEST(what_does_not_fit)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
