#include "datasets/frame.h"

#include <string.h>

#include "base/clones.h"
#include "datasets/target.h"

void ds_frame_free(ds_frame *f) {
  ds_buf_free(&f->rgb);
  ds_buf_free(&f->depth);
  ds_buf_free(&f->normals);
  ds_buf_free(&f->resized);
  ds_buf_free(&f->scratch);
  ds_resizer_free(&f->resizer);
}

static size_t normal_bytes(const ds_frame *f) { return f->normals_are_images ? 3 : 3 * sizeof(float); }

static int copy(const ds_buf *from, size_t n, ds_buf *to) {
  int st = OK;

  TRY(ds_buf_need(to, n));
  memcpy(to->p, from->p, n);
out:
  return st;
}

int ds_frame_copy(const ds_frame *from, bool with_normals, ds_frame *to) {
  int st = OK;
  const size_t n = (size_t)from->H * (size_t)from->W;

  TRY(copy(&from->rgb, 3 * n, &to->rgb));
  TRY(copy(&from->depth, n * sizeof(float), &to->depth));
  if (with_normals) TRY(copy(&from->normals, n * normal_bytes(from), &to->normals));
  to->H = from->H;
  to->W = from->W;
  to->normals_are_images = from->normals_are_images;
  to->no_depth = from->no_depth;
out:
  return st;
}

void ds_frame_hash(const ds_frame *f, bool with_normals, ds_hasher *h) {
  const size_t n = (size_t)f->H * (size_t)f->W;

  ds_hasher_add(h, (const int32_t[]){f->H, f->W}, 2 * sizeof(int32_t));
  ds_hasher_add(h, f->rgb.p, 3 * n);
  ds_hasher_add(h, f->depth.p, n * sizeof(float));
  if (with_normals) ds_hasher_add(h, f->normals.p, n * normal_bytes(f));
}

/* ---- flip and crop, in place ---- */

static void mirror(void *image, int H, int W, size_t pixel) {
  char t[3 * sizeof(float)], *row = image;

  for (int y = 0; y < H; y++, row += (size_t)W * pixel)
    for (char *a = row, *b = row + (size_t)(W - 1) * pixel; a < b; a += pixel, b -= pixel) {
      memcpy(t, a, pixel);
      memcpy(a, b, pixel);
      memcpy(b, t, pixel);
    }
}

/* A mirrored surface faces the other way along x. */
static void negate_x(const ds_frame *f) {
  const size_t n = 3 * (size_t)f->H * (size_t)f->W;
  uint8_t *image = f->normals.p;
  float *vector = f->normals.p;

  for (size_t i = 0; i < n; i += 3) {
    if (f->normals_are_images) image[i] = (uint8_t)(255 - image[i]);
    else vector[i] = -vector[i];
  }
}

static void flip(const ds_frame *f, bool with_normals) {
  mirror(f->rgb.p, f->H, f->W, 3);
  mirror(f->depth.p, f->H, f->W, sizeof(float));
  if (!with_normals) return;
  mirror(f->normals.p, f->H, f->W, normal_bytes(f));
  negate_x(f);
}

static void cut(void *image, int W, const ds_window *w, size_t pixel) {
  for (int y = 0; y < w->H; y++)
    memmove((char *)image + (size_t)y * (size_t)w->W * pixel,
            (char *)image + ((size_t)(w->top + y) * (size_t)W + (size_t)w->left) * pixel, (size_t)w->W * pixel);
}

static void crop(ds_frame *f, const ds_window *w, bool with_normals) {
  if (w->H == f->H && w->W == f->W) return;
  cut(f->rgb.p, f->W, w, 3);
  cut(f->depth.p, f->W, w, sizeof(float));
  if (with_normals) cut(f->normals.p, f->W, w, normal_bytes(f));
  f->H = w->H;
  f->W = w->W;
}

/* ---- resize, and pixels to planes ---- */

/* 8-bit values to [-1,1]: v / 255 * 2 - 1 in float32. */
BASE_CLONES static void bytes_to_planes(const uint8_t *in, size_t n, float *out) {
  float value[256];

  for (int v = 0; v < 256; v++) value[v] = (float)v / 255.f * 2 - 1;
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < 3; c++) out[c * n + i] = value[in[3 * i + c]];
}

BASE_CLONES static void vectors_to_planes(const float *in, size_t n, float *out) {
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < 3; c++) out[c * n + i] = in[3 * i + c];
}

static int emit_image(ds_frame *f, const uint8_t *image, const ds_sample *s, float *out) {
  int st = OK;
  const size_t n = (size_t)s->H * (size_t)s->W;

  if (s->H != f->H || s->W != f->W) {
    TRY(ds_buf_need(&f->resized, 3 * n));
    TRY(ds_resize_rgb8(&f->resizer, image, f->H, f->W, f->resized.p, s->H, s->W));
    image = f->resized.p;
  }
  bytes_to_planes(image, n, out);
out:
  return st;
}

static int emit_vectors(ds_frame *f, const float *vectors, const ds_sample *s, float *out) {
  int st = OK;
  const size_t n = (size_t)s->H * (size_t)s->W;

  if (s->H != f->H || s->W != f->W) {
    TRY(ds_buf_need(&f->resized, 3 * n * sizeof(float)));
    TRY(ds_resize_rgbf(&f->resizer, vectors, f->H, f->W, f->resized.p, s->H, s->W));
    vectors = f->resized.p;
  }
  vectors_to_planes(vectors, n, out);
out:
  return st;
}

static int64_t emit_counted(const float *counts, size_t n, const ds_sample *s) {
  int64_t valid = 0;

  for (size_t i = 0; i < n; i++) valid += s->mask[i] = counts[i] > 0;
  if (s->metric) memset(s->metric, 0, n * sizeof *s->metric);
  if (s->depth) memset(s->depth, 0, n * sizeof *s->depth);
  return valid;
}

static int emit_depth(ds_frame *f, const ds_view *v, ds_sample *s) {
  int st = OK;
  const size_t n = (size_t)s->H * (size_t)s->W;
  const float *depth = f->depth.p;

  if (s->H != f->H || s->W != f->W) {
    TRY(ds_buf_need(&f->resized, n * sizeof(float)));
    TRY(ds_resize_nearest(&f->resizer, depth, f->H, f->W, f->resized.p, s->H, s->W, v->as_reference));
    depth = f->resized.p;
  }
  if (f->no_depth) {
    s->valid = emit_counted(depth, n, s);
    goto out;
  }
  if (v->whole_depth) {
    s->valid = ds_target_whole(depth, n, v->near_m, v->far_m, s->mask, s->metric);
    goto out;
  }
  TRY(ds_buf_need(&f->scratch, n * sizeof(float)));
  s->valid = ds_target_depth(depth, n, v->near_m, v->far_m, f->scratch.p, s->mask, s->metric, s->depth);
out:
  return st;
}

int ds_frame_emit(ds_frame *f, const ds_view *v, ds_sample *s) {
  int st = OK;
  const size_t n = (size_t)s->H * (size_t)s->W;
  const bool with_normals = s->normals != NULL;

  if (v->flip) flip(f, with_normals);
  crop(f, &v->window, with_normals);
  TRY(emit_image(f, f->rgb.p, s, s->rgb));
  TRY(emit_depth(f, v, s));
  if (!with_normals) goto out;
  if (f->normals_are_images) TRY(emit_image(f, f->normals.p, s, s->normals));
  else TRY(emit_vectors(f, f->normals.p, s, s->normals));
  if (!v->as_reference) s->valid = ds_target_drop_unknown(s->normals, n, s->mask);
  ds_target_normals(s->normals, n, s->mask);
out:
  return st;
}
