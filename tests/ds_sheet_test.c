/* Contact sheets and depth histograms, from rendered frames. */
#include "datasets/sheet.h"

#include <math.h>

#include "datasets/colour_map.h"
#include "datasets/png.h"
#include "tests/support/samples.h"
#include "tests/support/tmpdir.h"

enum { W = 1224, ROW = 184 };

static void depths_are_counted_where_they_lie(void **state) {
  const float metric[] = {0.05f, 0.1f, 0.19f, 3, 4, 1000, 5000, 7};
  const uint8_t mask[] = {1, 1, 1, 1, 1, 1, 1, 0};
  ds_depth_histogram h = {0};
  char *text = NULL;
  size_t n;

  (void)state;
  ds_depth_histogram_add(&h, metric, mask, 8);
  assert_true(h.total == 7 && h.count[0] == 1 && h.count[1] == 2 && h.count[5] == 2 && h.count[DS_DEPTH_BINS - 1] == 2);
  assert_true(h.lo == (double)0.05f && h.hi == 5000);
  FILE *f = open_memstream(&text, &n);
  assert_non_null(f);
  ds_depth_histogram_print(&h, "  ", f);
  fclose(f);
  assert_non_null(strstr(text, "  0.1 to 0.2 m      28.6 % ###########\n"));
  assert_non_null(strstr(text, "1000 m and more"));
  free(text);
}

static const uint8_t *pixel(const ds_buf *b, int row, int panel, int y, int x) {
  return (const uint8_t *)b->p + 3 * ((size_t)(row * ROW + 4 + y) * W + (size_t)(panel * 244 + 4 + x));
}

static void draw(void **state, int need, ds_buf *out) {
  const char *path = tmpdir_at(state, "sheet.png");
  ds_opts o = sample_opts("vkitti2", TEST_DATA "/synth/virtual_kitti_2");
  const ds_loader_opts lo = {.seed = 3, .group = 2, .groups_per_step = 2, .workers = 1};
  char *text = NULL;
  size_t n;
  int h, w;

  o.need = need;
  o.H = 90;
  o.W = 120; /* half a panel */
  ds_data data = {.source = sample_source(&o), .weight = 1};
  FILE *f = open_memstream(&text, &n);
  check_ok(ds_sheet(f, &lo, &data, 1, 3, path));
  fclose(f);
  assert_non_null(strstr(text, "row 3: data.0 Scene"));
  check_ok(ds_png_read_rgb8(path, out, &h, &w));
  assert_true(w == W && h == 3 * ROW + 4);
  check_fails(E_CONFIG, "a sheet of 201 rows", ds_sheet(stdout, &lo, &data, 1, 201, path));
  free(text);
  ds_source_close(&data.source);
}

static void panels_show_the_planes(void **state) {
  const uint8_t black[3] = {0}, white[3] = {255, 255, 255}, up[3] = {128, 255, 128};
  ds_buf image = {0};
  uint8_t red[3];

  draw(state, DS_NEED_METRIC | DS_NEED_NORMALS, &image);
  ds_colour_spectral(0, red);
  for (int row = 0; row < 3; row++) {
    assert_memory_equal(pixel(&image, row, 1, 179, 120), red, 3); /* the street below is near */
    for (int c = 0; c < 3; c++) assert_true(abs(pixel(&image, row, 2, 150, 120)[c] - up[c]) <= 6);
    assert_memory_equal(pixel(&image, row, 3, 179, 120), white, 3);
    assert_memory_equal(pixel(&image, row, 1, 2, 120), black, 3); /* the sky is nowhere */
    assert_memory_equal(pixel(&image, row, 3, 2, 120), black, 3);
    assert_memory_equal(pixel(&image, row, 4, 0, 120), black, 3);
  }
  draw(state, DS_NEED_METRIC, &image);
  assert_memory_equal(pixel(&image, 0, 2, 179, 120), black, 3);
  ds_buf_free(&image);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(depths_are_counted_where_they_lie),
                                     cmocka_unit_test_setup_teardown(panels_show_the_planes, tmpdir_setup, tmpdir_teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
