/* A frame of Hypersim as published: HDF5 files of linear colour, distance, entities and normals. */
#include "base/half.h"
#include "datasets/hypersim.h"
#include "datasets/png.h"
#include "datasets/reference.h"
#include "datasets/tonemap.h"

int ds_hypersim_raw_path(const ds_source *s, const ds_hypersim_item *it, const char *folder, const char *what,
                         char out[IO_PATH_MAX]) {
  return io_path(out, "%s/raw_data/%s/images/scene_%s_%s/frame.%04d.%s", s->o.root, it->scene, it->camera, folder,
                 it->frame, what);
}

int ds_hypersim_raw_size(ds_source *s, const ds_hypersim_item *it, int *H, int *W) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(ds_hypersim_raw_path(s, it, "geometry_hdf5", "depth_meters.hdf5", path));
  ds_source_reading(s, path);
  TRY(ds_h5_image_size(path, 1, H, W));
out:
  return st;
}

/* One HDF5 image of the frame; all must have the size of the first, the colour. */
static int read_h5(ds_source *s, const ds_hypersim_item *it, const char *what, el_type type, int channels,
                   ds_buf *out) {
  int st = OK;
  const bool first = out == &s->colour;
  char path[IO_PATH_MAX];
  int H, W;

  TRY(ds_hypersim_raw_path(s, it, first ? "final_hdf5" : "geometry_hdf5", what, path));
  ds_source_reading(s, path);
  TRY(ds_h5_read_image(&s->h5, path, type, channels, &H, &W, out));
  if (!first) TRY(ds_same_size(path, H, W, "color.hdf5", s->frame.H, s->frame.W));
  s->frame.H = H;
  s->frame.W = W;
out:
  return st;
}

/* The source asserts that no pixel has entity 0 (it becomes -1 when the file is written). */
static int check_entities(ds_source *s, const ds_hypersim_item *it) {
  int st = OK;
  const int W = s->frame.W;
  const int16_t *entity = s->entity.p;
  char path[IO_PATH_MAX];

  for (int64_t i = 0; i < (int64_t)s->frame.H * W; i++) {
    if (entity[i] != 0) continue;
    TRY(ds_hypersim_raw_path(s, it, "geometry_hdf5", "render_entity_id.hdf5", path));
    FAIL(E_DATA, "%s: entity 0 at row %d, column %d; an entity is positive, or -1 where nothing was hit", path,
         (int)(i / W), (int)(i % W));
  }
out:
  return st;
}

static int tone_map(ds_source *s) {
  int st = OK;
  const size_t n = (size_t)s->frame.H * (size_t)s->frame.W;
  double scale;

  TRY(ds_buf_need(&s->frame.scratch, n * sizeof(double)));
  TRY(ds_buf_need(&s->frame.rgb, 3 * n));
  scale = ds_tonemap_scale(s->colour.p, s->entity.p, n, s->frame.scratch.p);
  ds_tonemap(s->colour.p, 3 * n, scale, s->frame.rgb.p);
out:
  return st;
}

/* ---- depth ---- */

/* Planar depth of one row, in double; z [W] out. */
static void planar_row(const ds_source *s, const ds_camera *c, int row, const float *distance, double *z) {
  const int H = s->frame.H, W = s->frame.W;

  if (!s->o.as_reference) {
    ds_camera_planar_row(c, H, W, row, distance, z);
    return;
  }
  for (int col = 0; col < W; col++) z[col] = ds_reference_planar(DS_REFERENCE_FOCAL, H, W, row, col, distance[col]);
}

static int make_depth(ds_source *s, const ds_camera *c) {
  int st = OK;
  const int H = s->frame.H, W = s->frame.W;
  const size_t w = (size_t)W;
  const bool wrap = s->o.as_reference || s->o.mm_wrap;
  const int16_t *entity = s->entity.p;
  float *depth, *distance;
  double *z;

  TRY(ds_buf_need(&s->frame.depth, (size_t)H * w * sizeof *depth));
  TRY(ds_buf_need(&s->frame.scratch, w * (sizeof *z + sizeof *distance)));
  depth = s->frame.depth.p;
  z = s->frame.scratch.p;
  distance = (float *)(z + w);
  for (int row = 0; row < H; row++, depth += w, entity += w) {
    half_to_f32_n((const uint16_t *)s->distance.p + (size_t)row * w, distance, w);
    planar_row(s, c, row, distance, z);
    for (size_t x = 0; x < w; x++) z[x] = entity[x] == -1 ? 0 : z[x];
    if (wrap)
      for (size_t x = 0; x < w; x++) depth[x] = ds_reference_metres(ds_reference_mm(z[x]));
    else
      for (size_t x = 0; x < w; x++) depth[x] = (float)z[x];
  }
out:
  return st;
}

/* ---- the filter ---- */

/* Millimetres as Marigold's preprocessing writes them, which ignores the scene's camera and wraps. A wider range than
 * half a metre settles it. */
static void depth_range(const ds_source *s, ds_hypersim_stats *t) {
  enum { ENOUGH_MM = 1000 };
  const int H = s->frame.H, W = s->frame.W;
  const double focal = s->o.as_reference ? DS_REFERENCE_FOCAL : DS_REFERENCE_FOCAL * W / 1024;
  const uint16_t *distance = s->distance.p;
  const int16_t *entity = s->entity.p;
  int lo = UINT16_MAX, hi = 0;

  for (int row = 0; row < H && hi - lo < ENOUGH_MM; row++)
    for (int col = 0; col < W; col++, distance++, entity++) {
      const bool hit = *entity != -1;
      const int mm = hit ? ds_reference_mm(ds_reference_planar(focal, H, W, row, col, half_to_f32(*distance))) : 0;
      lo = mm < lo ? mm : lo;
      hi = mm > hi ? mm : hi;
    }
  t->depth_min = lo / 1000.0;
  t->depth_max = hi / 1000.0;
}

static void judge(ds_source *s) {
  const size_t n = (size_t)s->frame.H * (size_t)s->frame.W;
  ds_hypersim_stats t = {.invalid_ratio = ds_hypersim_invalid_ratio(s->entity.p, n)};

  ds_hypersim_rgb_range(s->frame.rgb.p, 3 * n, &t);
  depth_range(s, &t);
  if (!ds_hypersim_fails(&t, s->left_out, sizeof s->left_out)) *s->left_out = 0;
}

/* ---- normals ---- */

static int make_normals(ds_source *s, const ds_camera *c) {
  int st = OK;
  const int H = s->frame.H, W = s->frame.W;
  const size_t n = 3 * (size_t)W;
  float *out, *in;

  TRY(ds_buf_need(&s->frame.normals, (size_t)H * n * sizeof *out));
  TRY(ds_buf_need(&s->frame.scratch, n * sizeof *in));
  out = s->frame.normals.p;
  in = s->frame.scratch.p;
  for (int row = 0; row < H; row++) {
    half_to_f32_n((const uint16_t *)s->vectors.p + (size_t)row * n, in, n);
    ds_camera_turn_row(c, H, W, row, in, out + (size_t)row * n);
  }
  s->frame.normals_are_images = false;
out:
  return st;
}

static int make_reference_normals(ds_source *s, const ds_hypersim_item *it) {
  int st = OK;
  char path[IO_PATH_MAX];
  int H, W;

  TRY(ds_hypersim_raw_path(s, it, "geometry_preview", "normal_cam.png", path));
  ds_source_reading(s, path);
  TRY(ds_png_read_rgb8(path, &s->frame.normals, &H, &W));
  TRY(ds_same_size(path, H, W, "color.hdf5", s->frame.H, s->frame.W));
  ds_reference_align(s->frame.normals.p, s->frame.depth.p, H, W);
  s->frame.normals_are_images = true;
out:
  return st;
}

int ds_hypersim_raw_decode(ds_source *s, const ds_hypersim_item *it) {
  int st = OK;
  ds_camera camera;

  TRY(read_h5(s, it, "color.hdf5", EL_F16, 3, &s->colour));
  TRY(read_h5(s, it, "render_entity_id.hdf5", EL_I16, 1, &s->entity));
  TRY(read_h5(s, it, "depth_meters.hdf5", EL_F16, 1, &s->distance));
  TRY(check_entities(s, it));
  if (it->per_scene) camera = *it->per_scene;
  else ds_camera_fixed(s->frame.H, s->frame.W, DS_REFERENCE_FOCAL * s->frame.W / 1024, &camera);
  TRY(tone_map(s));
  if (s->o.filter == DS_FILTER_MARIGOLD) judge(s);
  if (*s->left_out) goto out;
  TRY(make_depth(s, &camera));
  if (!(s->o.need & DS_NEED_NORMALS)) goto out;
  if (s->o.as_reference) {
    TRY(make_reference_normals(s, it));
    goto out;
  }
  TRY(read_h5(s, it, "normal_cam.hdf5", EL_F16, 3, &s->vectors));
  TRY(make_normals(s, &camera));
out:
  return st;
}
