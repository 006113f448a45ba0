/* Tone mapping against numpy's restatement of it, on every rendered frame. */
#include "datasets/tonemap.h"

#include <math.h>
#include <stdio.h>
#include <zlib.h>

#include "base/half.h"
#include "datasets/h5.h"
#include "datasets/png.h"
#include "tests/support/golden.h"

enum { N = 192 * 256 };

struct frame {
  ds_buf colour, entity, scratch, rgb;
};

static void frame_free(struct frame *f) {
  ds_buf_free(&f->colour);
  ds_buf_free(&f->entity);
  ds_buf_free(&f->scratch);
  ds_buf_free(&f->rgb);
}

/* id is "ai_001_001/cam_00/0003". */
static void tone_map(const char *id, struct frame *f) {
  char path[IO_PATH_MAX];
  const int scene = (int)(strchr(id, '/') - id);
  ds_h5 h = {0};
  int H, W;

  check_ok(io_path(path, TEST_DATA "/synth/hypersim/raw_data/%.*s/images/scene_cam_00_final_hdf5/frame.%s.color.hdf5",
                   scene, id, strrchr(id, '/') + 1));
  check_ok(ds_h5_read_image(&h, path, EL_F16, 3, &H, &W, &f->colour));
  check_ok(io_path(path,
                   TEST_DATA
                   "/synth/hypersim/raw_data/%.*s/images/scene_cam_00_geometry_hdf5/frame.%s.render_entity_id.hdf5",
                   scene, id, strrchr(id, '/') + 1));
  check_ok(ds_h5_read_image(&h, path, EL_I16, 1, &H, &W, &f->entity));
  assert_int_equal(H * W, N);
  check_ok(ds_buf_need(&f->scratch, N * sizeof(double)));
  check_ok(ds_buf_need(&f->rgb, 3 * N));
  ds_tonemap(f->colour.p, 3 * N, ds_tonemap_scale(f->colour.p, f->entity.p, N, f->scratch.p), f->rgb.p);
  ds_h5_free(&h);
}

/* The same with rounding, as a reader of 1.4 might take it: what it would change. */
static void round_instead(const struct frame *f, uint8_t *out) {
  const double scale = ds_tonemap_scale(f->colour.p, f->entity.p, N, f->scratch.p);
  const uint16_t *in = f->colour.p;

  for (int i = 0; i < 3 * N; i++) {
    const double v = pow(fmax(scale * half_to_f32(in[i]), 0), 1 / 2.2);
    out[i] = (uint8_t)nearbyint(fmin(v, 1) * 255);
  }
}

static uint32_t crc_of(const void *p) { return (uint32_t)crc32(0, p, 3 * N); }

static void as_numpy(void **state) {
  (void)state;
  static uint8_t rounded[3 * N];
  st_file *g = NULL;

  check_ok(st_open(TEST_DATA "/synth/truth/tonemap.safetensors", &g));
  assert_int_equal(st_count(g), 14);
  print_message(
      "frame                   8-bit values that rounding would change (cut, as published, is what is used)\n");
  for (size_t i = 0; i < st_count(g); i++) {
    const char *id = st_at(g, i)->name;
    double *want = golden_f64(g, id, NULL); /* crc of cut, of rounded, values that differ, values */
    struct frame f = {0};
    int differ = 0;
    tone_map(id, &f);
    if (crc_of(f.rgb.p) != want[0]) fail_msg("%s: not numpy's image", id);
    round_instead(&f, rounded);
    if (crc_of(rounded) != want[1]) fail_msg("%s: not numpy's image when rounded", id);
    for (int j = 0; j < 3 * N; j++) {
      const int d = rounded[j] - ((uint8_t *)f.rgb.p)[j];
      assert_in_range(d, 0, 1);
      differ += d;
    }
    assert_int_equal(differ, want[2]);
    print_message("%s  %d of %d (%.1f %%), each by 1\n", id, differ, 3 * N, 100.0 * differ / (3 * N));
    frame_free(&f);
    free(want);
  }
  st_close(&g);
}

static void whole_frames(void **state) {
  (void)state;
  static const char *const scenes[] = {"ai_001_001", "ai_003_001"};
  ds_buf want = {0};
  struct frame f = {0};
  char id[64], path[IO_PATH_MAX];
  int H, W;

  for (int i = 0; i < 2; i++) {
    snprintf(id, sizeof id, "%s/cam_00/0000", scenes[i]);
    check_ok(io_path(path, TEST_DATA "/synth/truth/tonemap_%s.png", scenes[i]));
    check_ok(ds_png_read_rgb8(path, &want, &H, &W));
    tone_map(id, &f);
    assert_memory_equal(f.rgb.p, want.p, 3 * N);
  }
  ds_buf_free(&want);
  frame_free(&f);
}

/* n grey pixels of one value. */
static double scale_of(float v, int16_t entity, int n) {
  uint16_t rgb[3 * 32];
  int16_t entities[32];
  double scratch[32];

  for (int i = 0; i < 3 * n; i++) rgb[i] = half_from_f32(v);
  for (int i = 0; i < n; i++) entities[i] = entity;
  return ds_tonemap_scale(rgb, entities, (size_t)n, scratch);
}

static void special_scales(void **state) {
  (void)state;
  assert_true(scale_of(5, -1, 8) == 1);    /* nothing but background */
  assert_true(scale_of(5e-5f, 3, 8) == 0); /* too dark */
  assert_true(scale_of(NAN, 3, 8) == 0);   /* nothing known */
  assert_true(scale_of(INFINITY, 3, 8) == 0);
  assert_true(fabs(scale_of(1, 3, 1) - 0.612066) < 1e-6); /* 0.8^2.2 */
  assert_true(fabs(scale_of(2, 3, 20) - 0.306033) < 1e-6);
}

/* A pixel with a NaN in one channel counts as none. */
static void nan_is_left_out(void **state) {
  (void)state;
  const float v[] = {2, 2, 2, 2, NAN, 2};
  const int16_t entities[] = {1, 1};
  uint16_t rgb[6];
  double scratch[2];

  for (int i = 0; i < 6; i++) rgb[i] = half_from_f32(v[i]);
  assert_true(fabs(ds_tonemap_scale(rgb, entities, 2, scratch) - 0.306033) < 1e-6);
}

static void special_values(void **state) {
  (void)state;
  const float in[] = {NAN, INFINITY, -INFINITY, -1, 0, 1, 1e4f, 0.5f};
  uint16_t half[8];
  uint8_t out[8];

  for (int i = 0; i < 8; i++) half[i] = half_from_f32(in[i]);
  ds_tonemap(half, 8, 0.612066, out);
  assert_memory_equal(out, ((uint8_t[]){0, 255, 0, 0, 0, 204, 255, 148}), 8);
  ds_tonemap(half, 8, 0, out); /* 0 * inf is NaN */
  for (int i = 0; i < 8; i++) assert_int_equal(out[i], 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(as_numpy), cmocka_unit_test(whole_frames),
                                     cmocka_unit_test(special_scales), cmocka_unit_test(nan_is_left_out), cmocka_unit_test(special_values)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
