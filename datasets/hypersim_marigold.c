/* A frame of Hypersim as Marigold's scripts preprocess it: PNGs of tone-mapped colour, planar depth in millimetres
 * and Hypersim's previews of its normals. */
#include <string.h>

#include "datasets/hypersim.h"
#include "datasets/png.h"
#include "datasets/reference.h"

int ds_hypersim_marigold_path(const ds_source *s, const char *from_csv, char out[IO_PATH_MAX]) {
  return io_path(out, "%s/%s/%s", s->o.root, s->o.split, from_csv);
}

int ds_hypersim_marigold_normals(const ds_source *s, const ds_hypersim_item *it, char out[IO_PATH_MAX]) {
  return io_path(out, "%s/normals/%s/images/scene_%s_geometry_preview/frame.%04d.normal_cam.png", s->o.root,
                 it->scene, it->camera, it->frame);
}

int ds_hypersim_marigold_size(ds_source *s, const ds_hypersim_item *it, int *H, int *W) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(ds_hypersim_marigold_path(s, it->rgb, path));
  ds_source_reading(s, path);
  TRY(ds_png_size(path, H, W));
out:
  return st;
}

static int read_depth(ds_source *s, const ds_hypersim_item *it, const char *rgb_path) {
  int st = OK;
  char path[IO_PATH_MAX];
  const uint16_t *mm;
  float *depth;
  int H, W;

  TRY(ds_hypersim_marigold_path(s, it->depth, path));
  ds_source_reading(s, path);
  TRY(ds_png_read_grey16(path, &s->distance, &H, &W));
  TRY(ds_same_size(path, H, W, rgb_path, s->frame.H, s->frame.W));
  TRY(ds_buf_need(&s->frame.depth, (size_t)H * (size_t)W * sizeof *depth));
  depth = s->frame.depth.p;
  mm = s->distance.p;
  for (size_t i = 0; i < (size_t)H * (size_t)W; i++) depth[i] = ds_reference_metres(mm[i]);
out:
  return st;
}

/* A preview pixel as vector, the middle of the numbers that are cut to its code. 0 when it holds no unit vector:
 * previews are black where the normal is NaN. */
static void decode_normal(const uint8_t *rgb, double n[3]) {
  double length = 0;

  for (int c = 0; c < 3; c++) {
    n[c] = (rgb[c] + 0.5) / 255.0 * 2 - 1;
    length += n[c] * n[c];
  }
  if (length < 0.25 || length > 2.25) memset(n, 0, 3 * sizeof *n);
}

static int turn_normals(ds_source *s) {
  int st = OK;
  const int H = s->frame.H, W = s->frame.W;
  const uint8_t *in = s->vectors.p;
  ds_camera camera;
  double ray[3], n[3];
  float *out;

  TRY(ds_buf_need(&s->frame.normals, 3 * (size_t)H * (size_t)W * sizeof *out));
  out = s->frame.normals.p;
  ds_camera_fixed(H, W, DS_REFERENCE_FOCAL * W / 1024, &camera);
  for (int row = 0; row < H; row++)
    for (int col = 0; col < W; col++, in += 3, out += 3) {
      ds_camera_ray(&camera, H, W, row, col, ray);
      decode_normal(in, n);
      ds_camera_turn(ray, n, out);
    }
out:
  return st;
}

static int read_normals(ds_source *s, const ds_hypersim_item *it, const char *rgb_path) {
  int st = OK;
  const bool as_reference = s->o.as_reference;
  char path[IO_PATH_MAX];
  int H, W;

  TRY(ds_hypersim_marigold_normals(s, it, path));
  ds_source_reading(s, path);
  TRY(ds_png_read_rgb8(path, as_reference ? &s->frame.normals : &s->vectors, &H, &W));
  TRY(ds_same_size(path, H, W, rgb_path, s->frame.H, s->frame.W));
  s->frame.normals_are_images = as_reference;
  if (as_reference) ds_reference_align(s->frame.normals.p, s->frame.depth.p, H, W);
  else TRY(turn_normals(s));
out:
  return st;
}

int ds_hypersim_marigold_decode(ds_source *s, const ds_hypersim_item *it) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(ds_hypersim_marigold_path(s, it->rgb, path));
  ds_source_reading(s, path);
  TRY(ds_png_read_rgb8(path, &s->frame.rgb, &s->frame.H, &s->frame.W));
  TRY(read_depth(s, it, path));
  if (s->o.need & DS_NEED_NORMALS) TRY(read_normals(s, it, path));
out:
  return st;
}
