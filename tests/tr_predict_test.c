/* e2eft predict as users run it: the files it writes, and mistakes. */
#define _GNU_SOURCE /* unshare */
#include <stdio.h>

#include "base/npy.h"
#include "tests/support/predict.h"
#include "tests/support/tmpfs.h"

/* ---- files ---- */

static void png_size(const char *path, unsigned *W, unsigned *H, unsigned *bits, unsigned *channels) {
  unsigned char head[26];
  FILE *f = fopen(path, "rb");

  if (!f) fail_msg("%s: not there", path);
  assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
  fclose(f);
  *W = (unsigned)head[18] << 8 | head[19];
  *H = (unsigned)head[22] << 8 | head[23];
  *bits = head[24];
  *channels = head[25] == 2 ? 3 : 1;
}

static void expect_png(void **state, const char *name, unsigned W, unsigned H, unsigned bits, unsigned channels) {
  unsigned got[4];

  png_size(tmpdir_at(state, "out/%s", name), &got[0], &got[1], &got[2], &got[3]);
  if (got[0] != W || got[1] != H || got[2] != bits || got[3] != channels)
    fail_msg("%s is %u x %u, %u bits, %u channels", name, got[0], got[1], got[2], got[3]);
}

static void copy_image(void **state, const char *to) {
  check_ok(io_make_dirs(tmpdir_at(state, "in/sub")));
  check_ok(io_copy_file(PREDICT_IMAGE, tmpdir_at(state, "in/%s", to)));
}

/* A folder, a file of the same name, a name that is another's result, a hidden file, a text: what is written for each. */
static void what_is_written(void **state) {
  copy_image(state, "a.png");
  copy_image(state, "a_colour.png");
  copy_image(state, "sub/b.PNG");
  copy_image(state, ".hidden.png");
  tmpdir_put(tmpdir_at(state, "in/notes.txt"), "no image", 8);
  program p = PREDICT(tmpdir_at(state, "in"), PREDICT_IMAGE, tmpdir_at(state, "in/a.png"), "--resolution", "0", "--sheet");
  program_expect(&p, 0);
  char want[IO_PATH_MAX * 2];
  const char *out = tmpdir_at(state, "out");
  snprintf(want, sizeof want, "%.900s/a.npy\n%.900s/a_colour-2.npy\n%.900s/sub/b.npy\n%.900s/image.npy\n%.900s/a-2.npy\n", out, out, out, out, out);
  assert_string_equal(p.out, want);
  program_free(&p);
  expect_png(state, "a.png", 70, 50, 16, 1);
  expect_png(state, "a_colour.png", 70, 50, 8, 3);
  expect_png(state, "a_sheet.png", 140, 50, 8, 3);
  expect_png(state, "sub/b_colour.png", 70, 50, 8, 3);
  p = PREDICT(PREDICT_IMAGE, "--task", "normals", "--colour", "none");
  program_expect(&p, 0);
  program_free(&p);
  expect_png(state, "image.png", 70, 50, 16, 3);
}

static float at(void **state, const char *name, int x, int y) {
  int64_t shape[8];
  int ndim;
  float *v = NULL;

  check_ok(npy_load_f32(tmpdir_at(state, "out/%s.npy", name), &ndim, shape, &v));
  assert_true(ndim == 2 && x < shape[1] && y < shape[0]);
  const float value = v[y * shape[1] + x];
  free(v);
  return value;
}

/* Two points decide scale and shift: metric depth passes through both. */
static void metric_depth(void **state) {
  const char points[] = "x,depth,y\n3,2.5,4\n60.9,7,40\n10,0,10\n";

  check_ok(io_make_dirs(tmpdir_at(state, "points")));
  tmpdir_put(tmpdir_at(state, "points/image.csv"), points, strlen(points));
  tmpdir_put(tmpdir_at(state, "one.csv"), points, 18);
  predict_ok(state, PREDICT_IMAGE, (const char *const[]){"--points", tmpdir_at(state, "points"), NULL});
  assert_true(fabs(at(state, "image_metric", 3, 4) - 2.5) < 1e-4 && fabs(at(state, "image_metric", 60, 40) - 7) < 1e-4);
  const float a = at(state, "image", 3, 4), b = at(state, "image", 60, 40), c = at(state, "image", 30, 20);
  const float want = fmaxf(2.5f + (7 - 2.5f) * (c - a) / (b - a), 1e-6f);
  assert_true(fabs(at(state, "image_metric", 30, 20) - want) < 1e-3 * (1 + want));
  program p = PREDICT(PREDICT_IMAGE, "--points", tmpdir_at(state, "one.csv"));
  program_expect_error(&p, 3, "1 of 1 images failed");
  assert_non_null(strstr(p.err, "one.csv: 1 point with a depth, two are wanted"));
  program_free(&p);
}

static void expect_error(program p, int status, const char *part) {
  program_expect_error(&p, status, part);
  program_free(&p);
}

static void points_that_do_not_fit(void **state) {
  tmpdir_put(tmpdir_at(state, "far.csv"), "x,y,depth\n1,1,1\n70,1,2\n", 23);
  program p = PREDICT(PREDICT_IMAGE, "--points", tmpdir_at(state, "far.csv"));
  program_expect(&p, 3);
  assert_non_null(strstr(p.err, "far.csv:3: (70, 1) lies outside the image of 70 x 50"));
  program_free(&p);
  expect_error(PREDICT(PREDICT_IMAGE, "--points", "/nowhere"), 3, "/nowhere: no such file or folder");
  expect_error(PREDICT(PREDICT_IMAGE, "--points", PREDICT_IMAGE, "--task", "normals"), 2, "predicts normals");
  expect_error(PREDICT(PREDICT_IMAGE, "--align", "disparity"), 2, "there are no --points");
  expect_error(PREDICT(PREDICT_IMAGE, PREDICT_IMAGE, "--points", PREDICT_IMAGE), 2, "one file for 2 images");
}

/* What was written before is no input when the results' folder lies in the images'. */
static void results_among_the_images(void **state) {
  char out[IO_PATH_MAX];

  copy_image(state, "a.png");
  snprintf(out, sizeof out, "%s", tmpdir_at(state, "in/out"));
  for (int i = 0; i < 2; i++) {
    program p = program_run(PREDICT_LIMIT_S, "predict", "-m", PREDICT_MODEL, "-o", out, tmpdir_at(state, "in"), NULL);
    program_expect(&p, 0);
    assert_non_null(strstr(p.out, "/a.npy\n"));
    assert_null(strstr(p.out, "out/out"));
    program_free(&p);
  }
}

/* ---- mistakes ---- */

/* The others are predicted, the bad ones named and counted. */
static void bad_images_among_good_ones(void **state) {
  char *bytes;
  size_t n;

  copy_image(state, "a.png");
  copy_image(state, "d.png");
  check_ok(io_read_file(PREDICT_IMAGE, 1 << 20, &bytes, &n));
  tmpdir_put(tmpdir_at(state, "in/b.png"), bytes, n / 2);
  tmpdir_put(tmpdir_at(state, "in/c.jpg"), "not a picture", 13);
  tmpdir_put(tmpdir_at(state, "in/e.jpg"), "", 0);
  free(bytes);
  program p = PREDICT(tmpdir_at(state, "in"), "--batch", "8");
  program_expect_error(&p, 3, "3 of 5 images failed");
  assert_non_null(strstr(p.err, "b.png: truncated at row"));
  assert_non_null(strstr(p.err, "c.jpg: neither a PNG nor a JPEG file"));
  assert_non_null(strstr(p.err, "e.jpg: neither a PNG nor a JPEG file"));
  program_free(&p);
  assert_true(io_exists(tmpdir_at(state, "out/a.npy")) && io_exists(tmpdir_at(state, "out/d_colour.png")));
  assert_false(io_exists(tmpdir_at(state, "out/b.npy")));
}

static void nothing_to_predict(void **state) {
  check_ok(io_make_dirs(tmpdir_at(state, "empty")));
  expect_error(PREDICT(tmpdir_at(state, "empty"), NULL), 3, "no .png, .jpg or .jpeg in it");
  expect_error(PREDICT("/nowhere/x.png", NULL), 3, "/nowhere/x.png: no such file or folder");
  expect_error(program_run(PREDICT_LIMIT_S, "predict", "-m", PREDICT_MODEL, "-o", tmpdir_at(state, "out"), NULL), 2, "IMAGE... is missing");
  expect_error(program_run(PREDICT_LIMIT_S, "predict", "-m", PREDICT_MODEL, PREDICT_IMAGE, NULL), 2, "--output DIR is missing");
  expect_error(program_run(PREDICT_LIMIT_S, "predict", "-o", tmpdir_at(state, "out"), PREDICT_IMAGE, NULL), 2, "--model DIR is missing");
}

static void wrong_model_folders(void **state) {
  const char *out = tmpdir_at(state, "out"), *copy = tmpdir_at(state, "model");

  check_ok(io_make_dirs(tmpdir_at(state, "empty")));
  expect_error(program_run(PREDICT_LIMIT_S, "predict", "-m", "/nowhere", "-o", out, PREDICT_IMAGE, NULL), 4, "/nowhere: no such folder");
  expect_error(program_run(PREDICT_LIMIT_S, "predict", "-m", tmpdir_at(state, "empty"), "-o", out, PREDICT_IMAGE, NULL), 4, "no unet/ in it");
  expect_error(program_run(PREDICT_LIMIT_S, "predict", "-m", TEST_DATA "/golden/models/tiny-sd2", "-o", out, PREDICT_IMAGE, NULL), 2,
               "does not say whether it predicts depth or normals: add --task");
  check_ok(io_copy_tree(PREDICT_MODEL, copy));
  tmpdir_put(tmpdir_at(state, "model/unet/diffusion_pytorch_model.safetensors"), "x", 1);
  expect_error(program_run(PREDICT_LIMIT_S, "predict", "-m", copy, "-o", out, PREDICT_IMAGE, NULL), 4, "diffusion_pytorch_model.safetensors");
  tmpdir_put(tmpdir_at(state, "model/model_index.json"), "{", 1);
  expect_error(program_run(PREDICT_LIMIT_S, "predict", "-m", copy, "-o", out, PREDICT_IMAGE, NULL), 4, "model_index.json:1");
}

static void latents_that_do_not_fit(void **state) {
  st_file *g = golden_open("pipeline/diffusers_marigold.safetensors");
  const char *path = latents_file(state, g, (const char *const[]){"depth.resized.latents"}, (const char *const[]){"latents"}, 1);

  expect_error(PREDICT(PREDICT_IMAGE, "--resolution", "0", "--latents", path), 2, "latents are [1,4,6,8], wanted [1,4,7,9] for an image of 70 x 50");
  expect_error(PREDICT(PREDICT_IMAGE, "--ensemble", "2", "--latents", path), 2, "latents: 1 of them; wanted 2");
  path = latents_file(state, g, (const char *const[]){"depth.resized.latents"}, (const char *const[]){"noise"}, 1);
  expect_error(PREDICT(PREDICT_IMAGE, "--latents", path), 2, "wanted a tensor `latents`");
  path = latents_file(state, g, (const char *const[]){"depth.resized.latents", "depth.native.latents"},
                      (const char *const[]){"latents", "noise0"}, 2);
  expect_error(PREDICT(PREDICT_IMAGE, "--latents", path), 2, "noise0: wanted [1,4,6,8] as latents have, found [1,4,7,9]");
  tmpdir_put(tmpdir_at(state, "cut.safetensors"), "abc", 3);
  expect_error(PREDICT(PREDICT_IMAGE, "--latents", tmpdir_at(state, "cut.safetensors")), 3, "cut.safetensors");
  expect_error(PREDICT(PREDICT_IMAGE, "--latents", "/nowhere/l"), 3, "/nowhere/l");
  st_close(&g);
}

static void wrong_words(void **state) {
  expect_error(PREDICT(PREDICT_IMAGE, "--spacing", "trialing"), 2, "wanted trailing, leading or linspace, found 'trialing'; did you mean 'trailing'?");
  expect_error(PREDICT(PREDICT_IMAGE, "--steps", "1001"), 2, "steps: wanted 1 to 1000");
  expect_error(PREDICT(PREDICT_IMAGE, "--steps", "51", "--scheduler", "lcm"), 2, "LCM");
  expect_error(PREDICT(PREDICT_IMAGE, "--resolution", "30"), 2, "multiple of 8");
  expect_error(PREDICT(PREDICT_IMAGE, "--resolution", "many"), 2, "--resolution");
  expect_error(PREDICT(PREDICT_IMAGE, "--ensemble-reduction", "closest"), 2, "closest is not for depth");
  expect_error(PREDICT(PREDICT_IMAGE, "--ensemble-tolerance", "-1"), 2, "--ensemble-tolerance");
  expect_error(PREDICT(PREDICT_IMAGE, "--device", "cuda"), 6, "--device cuda");
  expect_error(PREDICT(PREDICT_IMAGE, "--colour", "blue"), 2, "spectral, grey or none");
}

static void places_that_cannot_be_written(void **state) {
  const tmpfs locked = {tmpdir_at(state, "locked"), "", MS_RDONLY}, small = {tmpdir_at(state, "small"), "size=16k", 0};
  const tmpfs *const places[] = {&locked, &small};

  copy_image(state, "a.png");
  tmpdir_put(tmpdir_at(state, "file"), "x", 1);
  expect_error(program_run(PREDICT_LIMIT_S, "predict", "-m", PREDICT_MODEL, "-o", tmpdir_at(state, "in"), tmpdir_at(state, "in"), NULL), 2,
               "a.png is one of the images and would be overwritten");
  program p = program_run(PREDICT_LIMIT_S, "predict", "-m", PREDICT_MODEL, "-o", tmpdir_at(state, "file/x"), PREDICT_IMAGE, NULL);
  assert_int_not_equal(p.status, 0);
  assert_non_null(strstr(p.err, "file"));
  program_free(&p);
  for (int i = 0; i < 2; i++) {
    check_ok(io_make_dirs(places[i]->at));
    p = program_start_in(tmpfs_mount, places[i], (const char *const[]){"predict", "-m", PREDICT_MODEL, "-o", places[i]->at, PREDICT_IMAGE, NULL});
    program_wait(&p, PREDICT_LIMIT_S);
    const bool unprepared = p.status == PROGRAM_UNPREPARED;
    if (!unprepared) program_expect_error(&p, 5, places[i]->at);
    program_free(&p);
    if (unprepared) skip();
  }
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      IN_FOLDER(what_is_written), IN_FOLDER(metric_depth), IN_FOLDER(points_that_do_not_fit),
      IN_FOLDER(results_among_the_images), IN_FOLDER(bad_images_among_good_ones),
      IN_FOLDER(nothing_to_predict),  IN_FOLDER(wrong_model_folders),      IN_FOLDER(latents_that_do_not_fit),
      IN_FOLDER(wrong_words),         IN_FOLDER(places_that_cannot_be_written)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
