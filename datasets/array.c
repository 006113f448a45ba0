#include "datasets/array.h"

#include <stdio.h>

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

int ds_array_floats(const ds_array *a, const char *path, float *out) {
  int st = OK, H, W, C;
  bool last;

  TRY(ds_array_size(a, path, &H, &W, &C));
  find_channels(a, &last);
  const size_t n = (size_t)H * (size_t)W, stored = a->ndim == 2 ? 1 : (size_t)a->shape[last ? 2 : 0], size = el_size(a->type);
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < (size_t)C; c++) *out++ = el_f32(a->type, (const char *)a->data + size * (last ? i * stored + c : c * n + i));
out:
  return st;
}
