/* Cameras; their table is in ds_csv_test.c, whole frames in ds_hypersim_test.c. */
#include "datasets/camera.h"

#include <math.h>

#include "base/half.h"
#include "base/rng.h"
#include "tests/support/check.h"

static int near_by(double a, double b) { return fabs(a - b) < 1e-12; }

/* The fixed camera of 1024 x 768 at 886.81 pixels has Hypersim's standard 60 degrees to five digits. */
static void fixed_camera(void **state) {
  (void)state;
  ds_camera c;
  double ray[3];

  ds_camera_fixed(768, 1024, 886.81, &c);
  assert_true(fabs(c.M[0][0] - 0.57735027) < 1e-6 && fabs(c.M[1][1] - 0.43301270) < 1e-6 && c.M[2][2] == -1);
  ds_camera_ray(&c, 768, 1024, 0, 0, ray);
  assert_true(near_by(ray[0], -511.5 / 886.81) && near_by(ray[1], 383.5 / 886.81) && ray[2] == -1);
  ds_camera_ray(&c, 768, 1024, 767, 1023, ray);
  assert_true(near_by(ray[0], 511.5 / 886.81) && near_by(ray[1], -383.5 / 886.81));
  ds_camera_fixed(1, 1, 1, &c); /* one pixel looks straight ahead */
  ds_camera_ray(&c, 1, 1, 0, 0, ray);
  assert_true(ray[0] == 0 && ray[1] == 0 && ray[2] == -1);
}

static void planar_depth(void **state) {
  (void)state;
  assert_true(ds_camera_planar((double[]){0, 0, -1}, 7) == 7);
  assert_true(near_by(ds_camera_planar((double[]){3, 0, -4}, 10), 8));
  assert_true(near_by(ds_camera_planar((double[]){0.3, 0, -0.4}, 10), 8)); /* the ray's length is of no matter */
  assert_true(isnan(ds_camera_planar((double[]){0, 0, -1}, NAN)));
}

static void check_turn(const double n[3], float x, float y, float z) {
  float out[3];

  ds_camera_turn((double[]){0.1, 0.2, -1}, n, out);
  if (!(fabsf(out[0] - x) < 1e-6f && fabsf(out[1] - y) < 1e-6f && fabsf(out[2] - z) < 1e-6f))
    fail_msg("(%g %g %g) gives (%g %g %g)", n[0], n[1], n[2], (double)out[0], (double)out[1], (double)out[2]);
}

/* x right, y up, z back -> x left, y up, z back, towards the viewer. */
static void turns(void **state) {
  (void)state;
  check_turn((double[]){0, 0, 1}, 0, 0, 1);
  check_turn((double[]){0, 0, -2}, 0, 0, 1);
  check_turn((double[]){-3, 0, 4}, 0.6f, 0, 0.8f);
  check_turn((double[]){3, 0, -4}, 0.6f, 0, 0.8f);
  check_turn((double[]){0, -0.1, 0}, 0, -1, 0);
  check_turn((double[]){0, 0, 0}, 0, 0, 0);
  check_turn((double[]){0, 0.009, 0}, 0, 0, 0); /* too short to mean anything */
  check_turn((double[]){NAN, 0, 1}, 0, 0, 0);
  check_turn((double[]){0, INFINITY, 1}, 0, 0, 0);
}

/* What the row functions are made of: halves of all sorts, a third of them no numbers or too short. */
static float any_half(uint64_t i) {
  static const rng_key key = {{1, 2}, {0, 0}};
  const uint16_t bits = (uint16_t)rng_below(&key, i, 1 << 16);
  const float f = half_to_f32(bits);

  return i % 7 == 0 ? 0 : i % 11 == 0 ? 1e-3f * f : f;
}

static void rows(void **state) {
  (void)state;
  const ds_camera cameras[] = {{{{0.577, 0, 0}, {0, 0.433, 0}, {0, 0, -1}}},
                               {{{0.5796, 0.01, -0.0696}, {0.02, 0.4347, 0.0927}, {0.003, 0.0041, -1.0039}}}};
  enum { MOST = 70 };
  float n[3 * MOST], distance[MOST], got[3 * MOST], want[3 * MOST];
  double z[MOST], ray[3];
  uint64_t at = 0;

  for (int k = 0; k < 2; k++)
    for (int W = 1; W <= MOST; W += k + 1) {
      const int H = 1 + W % 5, row = W % H;
      for (int i = 0; i < 3 * W; i++) n[i] = any_half(at++);
      for (int i = 0; i < W; i++) distance[i] = any_half(at++);
      ds_camera_planar_row(&cameras[k], H, W, row, distance, z);
      ds_camera_turn_row(&cameras[k], H, W, row, n, got);
      for (int col = 0; col < W; col++) {
        const double planar = (ds_camera_ray(&cameras[k], H, W, row, col, ray), ds_camera_planar(ray, distance[col]));
        assert_true(isnan(planar) ? isnan(z[col]) : planar == z[col]);
        ds_camera_turn(ray, (double[]){n[3 * col], n[3 * col + 1], n[3 * col + 2]}, want + 3 * col);
      }
      assert_memory_equal(got, want, 3 * (size_t)W * sizeof *got);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(fixed_camera), cmocka_unit_test(planar_depth),
                                     cmocka_unit_test(turns), cmocka_unit_test(rows)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
