#include "datasets/colour_map.h"

#include <math.h>
#include <stdio.h>

#include "tests/support/check.h"

/* spectral.txt: matplotlib 3.11.2's colormaps['Spectral'](level, bytes=True), one level a line. */
static void spectral_is_matplotlibs(void **state) {
  FILE *f = fopen(TEST_DATA "/spectral.txt", "r");
  uint8_t got[3];
  int want[3];

  (void)state;
  assert_non_null(f);
  for (int i = 0; i < 256; i++) {
    assert_int_equal(fscanf(f, "%d %d %d", &want[0], &want[1], &want[2]), 3);
    ds_colour_spectral(((float)i + 0.5f) / 256, got);
    for (int c = 0; c < 3; c++) assert_int_equal(got[c], want[c]);
  }
  fclose(f);
}

static void ends_and_unknown(void **state) {
  const uint8_t red[3] = {158, 1, 66}, violet[3] = {94, 79, 162}, black[3] = {0};
  uint8_t got[3];

  (void)state;
  for (int i = 0; i < 3; i++) {
    ds_colour_spectral((float[]){0, -3, -INFINITY}[i], got);
    assert_memory_equal(got, red, 3);
    ds_colour_spectral((float[]){1, 7, INFINITY}[i], got);
    assert_memory_equal(got, violet, 3);
  }
  ds_colour_spectral(NAN, got);
  assert_memory_equal(got, black, 3);
}

static void whole_maps(void **state) {
  const float depth[4] = {2, 6, 4, 4}, planes[6] = {0, 1, -1, 0, 1, NAN};
  const uint8_t mask[4] = {1, 1, 1, 0};
  uint8_t got[12], middle[3];

  (void)state;
  ds_colour_depth(depth, mask, 4, 2, 6, got);
  ds_colour_spectral(0.5f, middle);
  assert_memory_equal(got, ((uint8_t[]){158, 1, 66, 94, 79, 162}), 6);
  assert_memory_equal(got + 6, middle, 3);
  assert_memory_equal(got + 9, ((uint8_t[3]){0}), 3);
  ds_colour_depth(depth, NULL, 1, 2, 2, got);
  assert_memory_equal(got, ((uint8_t[]){158, 1, 66}), 3);
  ds_colour_signed((float[]){0, 1, 0, -1, 1, NAN}, NULL, 2, got);
  assert_memory_equal(got, ((uint8_t[]){128, 128, 255, 255, 0, 0}), 6);
  ds_colour_signed(planes, mask + 2, 2, got);
  assert_memory_equal(got + 3, ((uint8_t[3]){0}), 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(spectral_is_matplotlibs), cmocka_unit_test(ends_and_unknown),
                                     cmocka_unit_test(whole_maps)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
