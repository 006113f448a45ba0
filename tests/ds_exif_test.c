/* datasets/exif: what the eight orientations mean, and headers in both byte orders, damaged ones too. */
#include "datasets/exif.h"

#include <stdbool.h>
#include <string.h>

#include "tests/support/check.h"

enum { HEADER_MAX = 128 };

/* A JPEG's start: APP0, then APP1 with an Exif header of two entries, the second the orientation. */
static size_t make_header(bool big, int orientation, uint8_t out[HEADER_MAX]) {
  static const uint8_t intel[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 2, 0, /* 2 entries */
                                  0x0f, 0x01, 2, 0, 4, 0, 0, 0, 'a', 'b', 'c', 0, /* the maker's name */
                                  0x12, 0x01, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  static const uint8_t motorola[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 2, 0x01, 0x0f, 0, 2, 0, 0, 0, 4, 'a', 'b', 'c', 0,
                                     0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0};
  static const uint8_t front[] = {0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xe1, 0, 2 + 6 + sizeof intel, 'E', 'x', 'i', 'f', 0, 0};
  const size_t n = sizeof front + sizeof intel;

  assert_int_equal(sizeof intel, sizeof motorola);
  memcpy(out, front, sizeof front);
  memcpy(out + sizeof front, big ? motorola : intel, sizeof intel);
  out[sizeof front + 30 + big] = (uint8_t)orientation;
  memcpy(out + n, (const uint8_t[]){0xff, 0xda, 0, 2}, 4);
  return n + 4;
}

static void both_byte_orders(void **state) {
  (void)state;
  uint8_t b[HEADER_MAX];
  for (int big = 0; big < 2; big++)
    for (int o = 0; o < 12; o++) {
      const size_t n = make_header(big, o, b);
      assert_int_equal(ds_exif_orientation(b, n), o >= 1 && o <= 8 ? o : 1);
    }
}

/* Cut or changed anywhere it says something from 1 to 8, and upright where the header is not whole. */
static void damaged_headers(void **state) {
  (void)state;
  uint8_t b[HEADER_MAX];
  const size_t n = make_header(false, 6, b), end = n - 4;
  for (size_t cut = 0; cut < end; cut++) {
    uint8_t *copy = malloc(cut + 1); /* of its own size: a sanitizer sees what is read behind it */
    memcpy(copy, b, cut);
    assert_int_equal(ds_exif_orientation(copy, cut), 1);
    free(copy);
  }
  for (size_t i = 0; i < n; i++)
    for (int v = 0; v < 256; v++) {
      const uint8_t was = b[i];
      b[i] = (uint8_t)v;
      const int o = ds_exif_orientation(b, n);
      assert_true(o >= 1 && o <= 8);
      b[i] = was;
    }
}

/* An F of 2 columns and 3 rows as cameras may store it; upright: 1 2 / 3 4 / 5 6. */
static void upright_from_each(void **state) {
  static const struct { int h, w; uint8_t pixels[6]; } stored[] = {
      {0, 0, {0}},
      {3, 2, {1, 2, 3, 4, 5, 6}}, {3, 2, {2, 1, 4, 3, 6, 5}}, {3, 2, {6, 5, 4, 3, 2, 1}}, {3, 2, {5, 6, 3, 4, 1, 2}},
      {2, 3, {1, 3, 5, 2, 4, 6}}, {2, 3, {2, 4, 6, 1, 3, 5}}, {2, 3, {6, 4, 2, 5, 3, 1}}, {2, 3, {5, 3, 1, 6, 4, 2}}};

  (void)state;
  for (int o = 1; o <= 8; o++) {
    ds_buf rgb = {0};
    int h = stored[o].h, w = stored[o].w;
    check_ok(ds_buf_need(&rgb, 18));
    uint8_t *p = rgb.p;
    for (int i = 0; i < 18; i++) p[i] = (uint8_t)(stored[o].pixels[i / 3] + 10 * (i % 3));
    check_ok(ds_turn_upright(o, &rgb, &h, &w));
    assert_true(h == 3 && w == 2);
    for (int i = 0; i < 18; i++)
      if (p[i] != 1 + i / 3 + 10 * (i % 3)) fail_msg("orientation %d: pixel %d is %d", o, i / 3, p[i]);
    ds_buf_free(&rgb);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(both_byte_orders), cmocka_unit_test(damaged_headers), cmocka_unit_test(upright_from_each)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
