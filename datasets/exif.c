#include "datasets/exif.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* JPEG markers, and TIFF's tag and type of the orientation. */
enum { START_OF_SCAN = 0xda, END_OF_IMAGE = 0xd9, APP1 = 0xe1, ORIENTATION = 0x0112, SHORT = 3, ENTRY = 12 };

/* TIFF's part of the header: numbers in the byte order that it names itself. */
typedef struct tiff {
  const uint8_t *at;
  size_t n;
  bool big;
} tiff;

static uint32_t number(const tiff *t, size_t at, size_t size) {
  uint32_t v = 0;

  for (size_t i = 0; i < size; i++) v |= (uint32_t)t->at[at + i] << 8 * (t->big ? size - 1 - i : i);
  return v;
}

static int orientation_of(tiff t) {
  if (t.n < 8 || (memcmp(t.at, "II", 2) != 0 && memcmp(t.at, "MM", 2) != 0)) return 1;
  t.big = t.at[0] == 'M';
  const size_t directory = number(&t, 4, 4);
  if (number(&t, 2, 2) != 42 || directory > t.n - 2) return 1;
  const size_t entries = number(&t, directory, 2);
  for (size_t i = 0, at = directory + 2; i < entries && at + ENTRY <= t.n; i++, at += ENTRY) {
    if (number(&t, at, 2) != ORIENTATION || number(&t, at + 2, 2) != SHORT || number(&t, at + 4, 4) != 1) continue;
    const uint32_t found = number(&t, at + 8, 2);
    return found >= 1 && found <= 8 ? (int)found : 1;
  }
  return 1;
}

int ds_exif_orientation(const void *jpeg, size_t n) {
  const uint8_t *b = jpeg;

  for (size_t at = 2, length; at + 4 <= n && b[at] == 0xff; at += 2 + length) {
    while (at + 4 < n && b[at + 1] == 0xff) at++; /* fill bytes */
    length = (size_t)b[at + 2] << 8 | b[at + 3];
    if (b[at + 1] == START_OF_SCAN || b[at + 1] == END_OF_IMAGE || length < 2 || length > n - at - 2) break;
    if (b[at + 1] == APP1 && length >= 8 && memcmp(b + at + 4, "Exif\0", 6) == 0)
      return orientation_of((tiff){b + at + 10, length - 8, false});
  }
  return 1;
}

int ds_turn_upright(int orientation, ds_buf *rgb, int *H, int *W) {
  int st = OK;
  const bool turned = orientation >= 5; /* columns of the file become rows */
  const bool down = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7; /* its rows from the last */
  const bool back = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8; /* its columns from the last */
  const size_t h = (size_t)*H, w = (size_t)*W, to_h = turned ? w : h, to_w = turned ? h : w;
  uint8_t *const stored = malloc(3 * h * w), *to = rgb->p;

  NEED(stored, E_NOMEM, "an image of %d x %d", *H, *W);
  memcpy(stored, rgb->p, 3 * h * w);
  for (size_t y = 0; y < to_h; y++)
    for (size_t x = 0; x < to_w; x++, to += 3) {
      const size_t row = turned ? x : y, column = turned ? y : x;
      memcpy(to, stored + 3 * ((down ? h - 1 - row : row) * w + (back ? w - 1 - column : column)), 3);
    }
  *H = (int)to_h;
  *W = (int)to_w;
out:
  free(stored);
  return st;
}
