/* Baselines that do not look at the image, and a comparison of two predictors beside them: numbers, files, page. */
#include <jansson.h>
#include <math.h>

#include "base/npy.h"
#include "eval/comparison.h"
#include "tests/support/tmpdir.h"

/* A manifest of two 2x4 images: depth in metres, 0 unknown. The last place is never known. */
static ev_set *two_images(void **state) {
  const float depth[2][8] = {{1, 2, 3, 4, 5, 6, 7, 0}, {3, 4, 0, 8, 5, 6, 9, 0}};
  const float rgb[24] = {0, 0.5f, 1};
  const char table[] = "rgb,depth\nrgb.npy,0.npy\nrgb.npy,1.npy\n";
  char spec[IO_PATH_MAX];
  ev_set *s = NULL;

  check_ok(npy_save_f32(tmpdir_at(state, "rgb.npy"), 3, (int64_t[]){2, 4, 3}, rgb));
  for (int i = 0; i < 2; i++) check_ok(npy_save_f32(tmpdir_at(state, "%d.npy", i), 2, (int64_t[]){2, 4}, depth[i]));
  tmpdir_put(tmpdir_at(state, "manifest.csv"), table, strlen(table));
  check_ok(io_path(spec, "manifest:%s", (const char *)*state));
  check_ok(ev_set_open(spec, false, NULL, 0, &s));
  return s;
}

static void mean_of_what_is_known(void **state) {
  ev_set *s = two_images(state);
  ev_mean_map m = {0};
  const float rest = 63.f / 13; /* of all 13 known depths */
  const float want[8] = {2, 3, 3, 6, 5, 6, 8, rest};

  check_ok(ev_mean_map_make(&(ev_training_set){s, 3}, 1, &m));
  assert_int_equal(m.C, 1);
  assert_int_equal(m.H, 2);
  assert_int_equal(m.W, 4);
  for (int i = 0; i < 8; i++) assert_float_equal(m.values[i], want[i], 1e-6);
  ev_mean_map_free(&m);
  ev_set_close(&s);
}

/* Sets count by their shares, whatever their sizes: here the second has only the second image. */
static void sets_by_their_shares(void **state) {
  ev_set *both = two_images(state), *one = NULL;
  const char table[] = "rgb,depth\nrgb.npy,1.npy\n";
  ev_mean_map m = {0};
  char spec[IO_PATH_MAX];

  tmpdir_put(tmpdir_at(state, "one.csv"), table, strlen(table));
  check_ok(io_path(spec, "manifest:%s", tmpdir_at(state, "one.csv")));
  check_ok(ev_set_open(spec, false, NULL, 0, &one));
  check_ok(ev_mean_map_make((ev_training_set[]){{both, 3}, {one, 1}}, 2, &m));
  assert_float_equal(m.values[0], 0.75 * 2 + 0.25 * 3, 1e-6);
  assert_float_equal(m.values[2], 3, 1e-6); /* known in the first image alone */
  ev_mean_map_free(&m);
  ev_set_close(&one);
  ev_set_close(&both);
}

/* Twice as large: each place becomes a block. Half as large: the places nearest to the pixels' centres. */
static void another_size_takes_the_nearest_place(void **state) {
  float map[8] = {0, 1, 2, 3, 4, 5, 6, 7}, out[32];
  ev_mean_map m = {1, 2, 4, map};
  const ev_item large = {.H = 4, .W = 8, .channels = 1}, small = {.H = 1, .W = 2, .channels = 1};

  (void)state;
  check_ok(ev_mean_map_predict(&m, 0, &large, out));
  for (int y = 0; y < 4; y++)
    for (int x = 0; x < 8; x++) assert_true(out[8 * y + x] == map[4 * (y / 2) + x / 2]);
  check_ok(ev_mean_map_predict(&m, 0, &small, out));
  assert_true(out[0] == 5 && out[1] == 7);
}

static void nothing_to_average(void **state) {
  ev_set *s = two_images(state);
  ev_mean_map m = {0};

  for (int i = 0; i < 2; i++) tmpdir_put(tmpdir_at(state, "%d.npy", i), "x", 1);
  assert_int_equal(ev_mean_map_make(&(ev_training_set){s, 1}, 1, &m), E_DATA);
  assert_non_null(strstr(err_text(), "no image of the training data can be read"));
  err_clear();
  assert_null(m.values);
  ev_set_close(&s);
}

static void constants(void **state) {
  float out[12];
  const ev_item depth = {.H = 2, .W = 2, .channels = 1}, normals = {.H = 2, .W = 2, .channels = 3};

  (void)state;
  check_ok(ev_constant_predict(NULL, 0, &depth, out));
  for (int i = 0; i < 4; i++) assert_true(out[i] == 1);
  check_ok(ev_constant_predict(NULL, 0, &normals, out));
  for (int i = 0; i < 12; i++) assert_true(out[i] == (i >= 8));
}

/* ---- comparison ---- */

/* The truth upside down, and the truth in other units. */
static int inverted(void *ctx, int64_t i, const ev_item *item, float *out) {
  (void)ctx, (void)i;
  for (int p = 0; p < item->H * item->W; p++) out[p] = 1 - 0.1f * item->truth[p];
  return OK;
}

static int exact(void *ctx, int64_t i, const ev_item *item, float *out) {
  const int64_t *fails = ctx;
  int st = OK;

  NEED(!fails || *fails != i, E_DATA, "no prediction");
  for (int p = 0; p < item->H * item->W; p++) out[p] = 0.1f * item->truth[p];
out:
  return st;
}

static ev_comparison measured(void **state, ev_set *s, int64_t *fails) {
  static char folder[IO_PATH_MAX];
  ev_comparison c = {.name = "two", .set = s, .folder = folder};

  check_ok(io_path(folder, "%s", tmpdir_at(state, "heldout")));
  check_ok(io_make_dirs(folder));
  check_ok(ev_comparison_measure(&c, EV_BEFORE, &(ev_predictor){inverted, NULL}));
  check_ok(ev_comparison_measure(&c, EV_AFTER, &(ev_predictor){exact, fails}));
  check_ok(ev_comparison_measure(&c, EV_CONSTANT, &(ev_predictor){ev_constant_predict, NULL}));
  ev_mean_map m = {0};
  check_ok(ev_mean_map_make(&(ev_training_set){s, 1}, 1, &m));
  check_ok(ev_comparison_measure(&c, EV_MEAN_MAP, &(ev_predictor){ev_mean_map_predict, &m}));
  ev_mean_map_free(&m);
  return c;
}

static double told(const json_t *j, const char *who, const char *metric) {
  const json_t *set = json_object_get(json_object_get(j, who), "two");
  assert_int_equal(json_object_size(set), 2);
  return json_number_value(json_object_get(set, metric));
}

static void numbers(void **state) {
  ev_set *s = two_images(state);
  ev_comparison c = measured(state, s, NULL);
  const char *path = tmpdir_at(state, "report.json");

  assert_int_equal(ev_comparison_inverted(&c, EV_BEFORE), 2);
  assert_int_equal(ev_comparison_inverted(&c, EV_AFTER), 0);
  check_ok(ev_comparison_json(&c, 1, path));
  json_t *j = json_load_file(path, 0, NULL);
  assert_int_equal(json_object_size(j), 4);
  assert_true(told(j, "before", "abs_rel") < 1e-5 && told(j, "after", "delta1") == 1);
  assert_true(told(j, "constant", "abs_rel") > 0.3 && told(j, "mean_map", "abs_rel") > 0.01);
  assert_true(told(j, "mean_map", "abs_rel") < told(j, "constant", "abs_rel"));
  json_decref(j);
  ev_comparison_free(&c);
  ev_set_close(&s);
}

static void kept_plane(void **state, const char *name, int64_t H, int64_t W, float first) {
  int64_t shape[8];
  int ndim = 0;
  float *v = NULL;

  check_ok(npy_load_f32(tmpdir_at(state, "heldout/%s", name), &ndim, shape, &v));
  assert_true(ndim == 2 && shape[0] == H && shape[1] == W);
  assert_float_equal(v[0], first, 1e-6);
  free(v);
}

static void files(void **state) {
  ev_set *s = two_images(state);
  ev_comparison c = measured(state, s, NULL);
  char *mask = NULL;
  size_t n;

  kept_plane(state, "two-001.truth.npy", 2, 4, 3);
  kept_plane(state, "two-001.before.npy", 2, 4, 0.7f);
  kept_plane(state, "two-001.after.npy", 2, 4, 0.3f);
  kept_plane(state, "two-001.mask.npy", 2, 4, 1);
  check_ok(io_read_file(tmpdir_at(state, "heldout/two-000.mask.npy"), 1000, &mask, &n));
  assert_non_null(strstr(mask + 10, "'descr': '|b1'"));
  assert_memory_equal(mask + n - 8, "\1\1\1\1\1\1\1\0", 8);
  free(mask);
  assert_true(io_exists(tmpdir_at(state, "heldout/two-000.rgb.png")));
  ev_comparison_free(&c);
  ev_set_close(&s);
}

static void page(void **state) {
  ev_set *s = two_images(state);
  int64_t fails = 0;
  ev_comparison c = measured(state, s, &fails);
  char *text = NULL;
  size_t n, pictures = 0;
  const double step[2] = {1, 2}, loss[2] = {3, NAN};
  const ev_line line = {"each update", step, loss, 2};
  const ev_story story = {.title = "A <run>", .about = "about it", .next = "go on",
                          .loss = {.title = "loss", .x_label = "update", .lines = &line, .n = 1}};

  assert_int_equal(c.results[EV_AFTER].failed, 1);
  check_ok(ev_comparison_html(&c, 1, &story, tmpdir_at(state, "report.html")));
  check_ok(io_read_file(tmpdir_at(state, "report.html"), 1 << 20, &text, &n));
  for (const char *p = text; (p = strstr(p, "data:image/png;base64,")); p++) pictures++;
  assert_int_equal(pictures, 5); /* of the one image that has both predictions */
  const char *const holds[] = {"A &lt;run&gt;", "about it", "<pre>go on</pre>", "two-001", "inverted", "<svg", "the model, after training"};
  for (size_t i = 0; i < sizeof holds / sizeof *holds; i++)
    if (!strstr(text, holds[i])) fail_msg("no '%s'", holds[i]);
  assert_null(strstr(text, "http://e")); /* nothing is fetched */
  assert_null(strstr(text, "src=\"h"));
  free(text);
  ev_comparison_free(&c);
  ev_set_close(&s);
}

static void a_changed_prediction(void **state) {
  ev_set *s = two_images(state);
  ev_comparison c = measured(state, s, NULL);

  check_ok(npy_save_f32(tmpdir_at(state, "heldout/two-000.after.npy"), 1, (int64_t[]){1}, (float[]){1}));
  assert_int_equal(ev_comparison_html(&c, 1, &(ev_story){0}, tmpdir_at(state, "report.html")), E_FORMAT);
  assert_non_null(strstr(err_text(), "two-000.after.npy"));
  err_clear();
  ev_comparison_free(&c);
  ev_set_close(&s);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(mean_of_what_is_known), TEST(sets_by_their_shares),
                                     TEST(another_size_takes_the_nearest_place), TEST(nothing_to_average),
                                     TEST(constants), TEST(numbers), TEST(files), TEST(page), TEST(a_changed_prediction)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
