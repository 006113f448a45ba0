#include "datasets/array.h"

#include <stdio.h>
#include <string.h>

#include "base/half.h"

static const struct { const char *name; size_t size; bool is_float; } elements[DS_ELEMENTS] = {
    [DS_U8] = {"8-bit unsigned integer", 1, false},   [DS_I8] = {"8-bit integer", 1, false},
    [DS_U16] = {"16-bit unsigned integer", 2, false}, [DS_I16] = {"16-bit integer", 2, false},
    [DS_U32] = {"32-bit unsigned integer", 4, false}, [DS_I32] = {"32-bit integer", 4, false},
    [DS_I64] = {"64-bit integer", 8, false},          [DS_F16] = {"16-bit float", 2, true},
    [DS_F32] = {"32-bit float", 4, true},             [DS_F64] = {"64-bit float", 8, true}};

size_t ds_element_size(ds_element t) { return elements[t].size; }
const char *ds_element_name(ds_element t) { return elements[t].name; }
bool ds_element_is_float(ds_element t) { return elements[t].is_float; }

/* ---- images ---- */

static const char *shape_text(const ds_array *a, char text[96]) {
  int n = 0;

  for (int i = 0; i < a->ndim; i++) n += snprintf(text + n, 96 - (size_t)n, "%s%lld", i ? "," : "", (long long)a->shape[i]);
  return text;
}

/* Channels last, or first; false when the shape is no image's. */
static bool find_channels(const ds_array *a, bool *last) {
  const int64_t first = a->shape[0], end = a->shape[a->ndim - 1];

  *last = true;
  if (a->ndim == 2) return true;
  if (a->ndim != 3) return false;
  if (end == 1 || end == 3 || end == 4) return true;
  *last = false;
  return first == 1 || first == 3 || first == 4;
}

int ds_array_size(const ds_array *a, const char *path, int *H, int *W, int *C) {
  int st = OK;
  bool last;
  char text[96] = "";

  NEED(find_channels(a, &last), E_DATA, "%s: an array [%s] is no image: wanted [H,W], [H,W,3] or [3,H,W]", path,
       shape_text(a, text));
  const int64_t h = a->shape[last ? 0 : 1], w = a->shape[last ? 1 : 2];
  const int64_t c = a->ndim == 2 ? 1 : a->shape[last ? 2 : 0];
  TRY(ds_size_check(path, h, w));
  *H = (int)h;
  *W = (int)w;
  *C = c == 1 ? 1 : 3;
out:
  return st;
}

/* Element i of data, which need not be aligned. */
static float element(ds_element t, const char *data, size_t i) {
  const char *at = data + i * elements[t].size;
  uint16_t u16;
  int16_t i16;
  uint32_t u32;
  int32_t i32;
  int64_t i64;
  float f32;
  double f64;

  switch (t) {
  case DS_U8: return (float)*(const uint8_t *)at;
  case DS_I8: return (float)*(const int8_t *)at;
  case DS_U16: return memcpy(&u16, at, 2), (float)u16;
  case DS_I16: return memcpy(&i16, at, 2), (float)i16;
  case DS_U32: return memcpy(&u32, at, 4), (float)u32;
  case DS_I32: return memcpy(&i32, at, 4), (float)i32;
  case DS_I64: return memcpy(&i64, at, 8), (float)i64;
  case DS_F16: return memcpy(&u16, at, 2), half_to_f32(u16);
  case DS_F32: return memcpy(&f32, at, 4), f32;
  case DS_F64: break;
  }
  return memcpy(&f64, at, 8), (float)f64;
}

int ds_array_floats(const ds_array *a, const char *path, float *out) {
  int st = OK, H, W, C;
  bool last;

  TRY(ds_array_size(a, path, &H, &W, &C));
  find_channels(a, &last);
  const size_t n = (size_t)H * (size_t)W, stored = a->ndim == 2 ? 1 : (size_t)a->shape[last ? 2 : 0];
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < (size_t)C; c++) *out++ = element(a->type, a->data, last ? i * stored + c : c * n + i);
out:
  return st;
}
