/* Samples that are not what they should be, and normal maps in every wrong frame. */
#include "datasets/sample_check.h"

#include <math.h>
#include <stdio.h>

#include "datasets/normals_frame.h"
#include "tests/support/samples.h"

static ds_source *source;
static ds_sample sample;

static int open_frame(void **state) {
  ds_opts o = sample_opts("vkitti2", TEST_DATA "/synth/virtual_kitti_2");

  (void)state;
  source = sample_source(&o);
  sample = sample_read(source, 0, false);
  return 0;
}

static int close_frame(void **state) {
  (void)state;
  sample_free(&sample);
  ds_source_close(&source);
  return 0;
}

static int check_sample(double near_m, double far_m) {
  int64_t valid = sample.valid, domain = 0;
  ds_group g = {.B = 1, .H = sample.H, .W = sample.W, .rgb = sample.rgb, .metric = sample.metric, .normals = sample.normals,
                .mask = sample.mask, .valid = &valid, .domain = &domain, .id = &sample.id};

  return ds_group_check(&g, near_m, far_m);
}

static void good_samples_pass(void **state) {
  (void)state;
  check_ok(check_sample(1e-5, 80));
  check_ok(check_sample(1e-5, INFINITY));
}

static void ranges(void **state) {
  size_t i = 0;

  (void)state;
  sample.rgb[7] = 1.0001f;
  check_fails(E_DATA, "rgb: a value of 1.0001", check_sample(1e-5, 80));
  sample.rgb[7] = NAN;
  check_fails(E_DATA, sample.id, check_sample(1e-5, 80));
  sample.rgb[7] = 0;
  check_fails(E_DATA, "wanted near 20 to far 80", check_sample(20, 80));
  while (!sample.mask[i]) i++;
  sample.metric[i] = INFINITY;
  check_fails(E_DATA, "depth: a valid pixel of inf m", check_sample(1e-5, INFINITY));
}

static void lengths_and_directions(void **state) {
  const size_t n = (size_t)(sample.H * sample.W);
  size_t i = 0;

  (void)state;
  while (!sample.mask[i]) i++;
  sample.normals[i] += 2;
  check_fails(E_DATA, "normals: a valid one of length", check_sample(1e-5, 80));
  free(sample.rgb);
  sample = (ds_sample){.H = sample.H, .W = sample.W, .mask = sample.mask, .valid = (int64_t)n, .rgb = calloc(9 * n, sizeof(float))};
  assert_non_null(sample.rgb);
  sample.normals = sample.rgb + 3 * n; /* no depth to compare with: a wall seen from behind */
  for (i = 0; i < n; i++) sample.normals[2 * n + i] = -1;
  memset(sample.mask, 1, n);
  check_fails(E_DATA, "normals point away from the viewer", check_sample(1e-5, 80));
}

/* Every order and sign of the channels but the right one is refused, and named by how to mend it. */
static void wrong_frames(void **state) {
  static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  const size_t n = (size_t)(sample.H * sample.W);
  float *right = malloc(3 * n * sizeof *right);

  (void)state;
  assert_non_null(right);
  memcpy(right, sample.normals, 3 * n * sizeof *right);
  for (int o = 0; o < 6; o++)
    for (int s = 0; s < 8; s++) {
      ds_frame_found f;
      for (int c = 0; c < 3; c++)
        for (size_t i = 0; i < n; i++) sample.normals[(size_t)orders[o][c] * n + i] = (s >> c & 1 ? -1 : 1) * right[(size_t)c * n + i];
      ds_find_frame(sample.H, sample.W, sample.metric, sample.mask, sample.normals, &f);
      assert_true(f.pixels > 2000 && f.best > 0.9);
      for (int c = 0; c < 3; c++) assert_true(f.from[c] == orders[o][c] && f.sign[c] == (s >> c & 1 ? -1 : 1));
      if (o == 0 && s == 0) assert_true(!ds_frame_is_wrong(&f));
      else check_fails(E_DATA, "another frame than its depth", check_sample(1e-5, 80));
    }
  free(right);
}

/* A tilted plane with LUB normal n, seen by a camera whose focal length is f image widths. */
static ds_sample plane_seen(const double n[3], double f) {
  enum { H = 24, W = 32, N = H * W };
  ds_sample s = sample_room(H, W);
  const double length = sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);

  for (int i = 0; i < N; i++) {
    const double u = i % W + 0.5 - W / 2.0, v = i / W + 0.5 - H / 2.0; /* 1/depth grows along x and y as LUB's do */
    s.metric[i] = (float)(3 * f * W * length / (n[0] * u + n[1] * v + n[2] * f * W));
    s.mask[i] = 1;
    for (int c = 0; c < 3; c++) {
      s.normals[c * N + i] = (float)(n[c] / length);
      s.rgb[c * N + i] = 0;
    }
  }
  s.valid = N;
  snprintf(s.id, sizeof s.id, "plane");
  return s;
}

/* Stored in one of the named frames and read as another: only the right one passes. */
static void planes(void **state) {
  const double focal[] = {0.5, 0.87, 1.4}, n[][3] = {{0.3, 0.4, 1}, {-0.4, 0.3, 1}, {-0.3, -0.5, 1}};

  (void)state;
  for (int k = 0; k < 9; k++)
    for (int is = DS_FRAME_LUB; is <= DS_FRAME_OPENCV; is++)
      for (int taken = DS_FRAME_LUB; taken <= DS_FRAME_OPENCV; taken++) {
        sample = plane_seen(n[k / 3], focal[k % 3]);
        const int pixels = sample.H * sample.W;
        for (int i = 0; i < pixels; i++) {
          float v[3] = {sample.normals[i], sample.normals[pixels + i], sample.normals[2 * pixels + i]};
          ds_normals_to_lub((ds_normals_frame)is, v); /* its own inverse */
          ds_normals_to_lub((ds_normals_frame)taken, v);
          for (int c = 0; c < 3; c++) sample.normals[c * pixels + i] = v[c];
        }
        if (is == taken) check_ok(check_sample(1e-5, 80));
        else check_fails(E_DATA, "plane: the normals are in another frame than its depth", check_sample(1e-5, 80));
        sample_free(&sample);
      }
}

int main(void) {
#define ON_FRAME(f) cmocka_unit_test_setup_teardown(f, open_frame, close_frame)
  const struct CMUnitTest tests[] = {ON_FRAME(good_samples_pass), ON_FRAME(ranges), ON_FRAME(lengths_and_directions), ON_FRAME(wrong_frames),
                                     cmocka_unit_test(planes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
