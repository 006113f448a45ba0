/* datasets/synth_hypersim.c: rooms in the raw layout of Hypersim. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/half.h"
#include "base/io.h"
#include "datasets/h5_write.h"
#include "datasets/image_write.h"
#include "datasets/synth.h"

enum { VAL_EVERY = 8, FLIPPED_EVERY = 7 };
static const double METRES_PER_UNIT = 0.0254;

int64_t ds_synth_hypersim_count(const ds_synth_opts *o) { return (int64_t)o->rooms * o->room_frames; }

enum { NAME_SIZE = 32 };
static void scene_name(int k, char out[NAME_SIZE]) { snprintf(out, NAME_SIZE, "ai_%03d_%03d", 1 + k / 10, 1 + k % 10); }
static uint64_t scene_seed(const ds_synth_opts *o, int k) { return o->seed * 1000003u + (uint64_t)k; }
/* As in the published set, about half of the scenes have a camera of their own. */
static bool is_tilted(int k) { return k % 2 == 1; }

static void invert3(double a[3][3], double out[3][3]) {
  const double det = a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1]) - a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0]) +
                     a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0]);

  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) {
      const int r0 = (j + 1) % 3, r1 = (j + 2) % 3, c0 = (i + 1) % 3, c1 = (i + 2) % 3;
      out[i][j] = (a[r0][c0] * a[r1][c1] - a[r0][c1] * a[r1][c0]) / det;
    }
}

/* One row: size, standard field of view, M_cam_from_uv, and M_proj, whose rows 0, 1 and 3 are its inverse. */
static int camera_row(const ds_synth_opts *o, int k, char *line, size_t size) {
  char name[NAME_SIZE];
  double inverse[3][3], proj[4][4] = {{0}};
  sc_scene s;
  sc_camera c;
  size_t n;

  scene_name(k, name);
  sc_room(scene_seed(o, k), &s);
  sc_room_camera(&s, 0, is_tilted(k), &c);
  invert3(c.M, inverse);
  for (int j = 0; j < 3; j++) {
    proj[0][j] = inverse[0][j];
    proj[1][j] = inverse[1][j];
    proj[3][j] = inverse[2][j];
  }
  proj[2][2] = -1.002002002002002;
  proj[2][3] = -2.002002002002002;
  n = (size_t)snprintf(line, size, "%s,%d.0,%d.0,%.17g,%s,1.0471975803375244", name, o->room_H, o->room_W, METRES_PER_UNIT,
                       is_tilted(k) ? "True" : "False");
  for (int i = 0; i < 9; i++) n += (size_t)snprintf(line + n, size - n, ",%.17g", c.M[i / 3][i % 3]);
  for (int i = 0; i < 16; i++) n += (size_t)snprintf(line + n, size - n, ",%.17g", proj[i / 4][i % 4]);
  return snprintf(line + n, size - n, "\n") == 1 ? OK : E_FAIL;
}

static int write_camera_csv(const ds_synth_opts *o) {
  int st = OK;
  char path[IO_PATH_MAX], line[2048];
  io_file f = {.fd = -1};
  static const char head[] = "scene_name,settings_output_img_height,settings_output_img_width,settings_units_info_meters_scale,"
                             "use_camera_physical,settings_camera_fov,M_cam_from_uv_00,M_cam_from_uv_01,M_cam_from_uv_02,"
                             "M_cam_from_uv_10,M_cam_from_uv_11,M_cam_from_uv_12,M_cam_from_uv_20,M_cam_from_uv_21,M_cam_from_uv_22,"
                             "M_proj_00,M_proj_01,M_proj_02,M_proj_03,M_proj_10,M_proj_11,M_proj_12,M_proj_13,M_proj_20,M_proj_21,"
                             "M_proj_22,M_proj_23,M_proj_30,M_proj_31,M_proj_32,M_proj_33\n";

  TRY(io_path(path, "%s/hypersim/metadata_camera_parameters.csv", o->out));
  TRY(io_create(path, &f));
  TRY(io_write(&f, head, sizeof head - 1));
  for (int k = 0; k < o->rooms; k++) {
    TRY(camera_row(o, k, line, sizeof line));
    TRY(io_write(&f, line, strlen(line)));
  }
  TRY(io_close(&f));
out:
  io_close(&f);
  return st;
}

static int write_split_csv(const ds_synth_opts *o) {
  int st = OK;
  char path[IO_PATH_MAX], line[128], name[NAME_SIZE];
  io_file f = {.fd = -1};
  static const char head[] = "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name\n";

  TRY(io_path(path, "%s/hypersim/metadata_images_split_scene_v1.csv", o->out));
  TRY(io_create(path, &f));
  TRY(io_write(&f, head, sizeof head - 1));
  for (int k = 0; k < o->rooms; k++) {
    scene_name(k, name);
    for (int frame = 0; frame < o->room_frames; frame++) {
      snprintf(line, sizeof line, "%s,cam_00,%d,True,,%s\n", name, frame, k % VAL_EVERY == VAL_EVERY - 1 ? "val" : "train");
      TRY(io_write(&f, line, strlen(line)));
    }
  }
  TRY(io_close(&f));
out:
  io_close(&f);
  return st;
}

static int write_text(const char *path, const char *text) {
  int st = OK;
  io_file f = {.fd = -1};

  TRY(io_create(path, &f));
  TRY(io_write(&f, text, strlen(text)));
  TRY(io_close(&f));
out:
  io_close(&f);
  return st;
}

/* camera_keyframe_*: where the camera stood, in asset units; Hypersim's world has z up. */
static int write_keyframes(const ds_synth_opts *o, int k, const char *dir) {
  int st = OK;
  const int n = o->room_frames;
  char path[IO_PATH_MAX];
  int64_t index[100], dims[3] = {n, 3, 3};
  double at[100][3], turn[100][3][3];
  sc_scene s;
  sc_camera c;

  sc_room(scene_seed(o, k), &s);
  for (int i = 0; i < n; i++) {
    sc_room_camera(&s, i, is_tilted(k), &c);
    const double p[3] = {c.at.x, -c.at.z, c.at.y};
    index[i] = i;
    for (int r = 0; r < 3; r++) {
      at[i][r] = p[r] / METRES_PER_UNIT;
      turn[i][0][r] = c.R[0][r];
      turn[i][1][r] = -c.R[2][r];
      turn[i][2][r] = c.R[1][r];
    }
  }
  TRY(io_path(path, "%s/camera_keyframe_frame_indices.hdf5", dir));
  TRY(ds_h5_write(path, EL_I64, 1, dims, index));
  TRY(io_path(path, "%s/camera_keyframe_positions.hdf5", dir));
  TRY(ds_h5_write(path, EL_F64, 2, dims, at));
  TRY(io_path(path, "%s/camera_keyframe_orientations.hdf5", dir));
  TRY(ds_h5_write(path, EL_F64, 3, dims, turn));
out:
  return st;
}

static int begin_scene(const ds_synth_opts *o, int k) {
  int st = OK;
  char root[IO_PATH_MAX], path[IO_PATH_MAX], name[NAME_SIZE], text[96];
  static const char *const dirs[] = {"_detail/cam_00", "images/scene_cam_00_final_hdf5", "images/scene_cam_00_geometry_hdf5",
                                     "images/scene_cam_00_geometry_preview"};

  scene_name(k, name);
  TRY(io_path(root, "%s/hypersim/raw_data/%s", o->out, name));
  for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
    TRY(io_path(path, "%s/%s", root, dirs[i]));
    TRY(io_make_dirs(path));
  }
  TRY(io_path(path, "%s/_detail/metadata_cameras.csv", root));
  TRY(write_text(path, "camera_name\ncam_00\n"));
  snprintf(text, sizeof text, "parameter_name,parameter_value\nmeters_per_asset_unit,%.17g\n", METRES_PER_UNIT);
  TRY(io_path(path, "%s/_detail/metadata_scene.csv", root));
  TRY(write_text(path, text));
  TRY(io_path(path, "%s/_detail/cam_00", root));
  TRY(write_keyframes(o, k, path));
out:
  return st;
}

int ds_synth_hypersim_begin(const ds_synth_opts *o) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(io_path(path, "%s/hypersim/raw_data", o->out));
  TRY(io_make_dirs(path));
  TRY(write_split_csv(o));
  TRY(write_camera_csv(o));
  for (int k = 0; k < o->rooms; k++) TRY(begin_scene(o, k));
out:
  return st;
}

/* Stored normals: NaN where nothing is; some objects' point away from the viewer, as in the published set. */
static void stored_normals(const sc_image *im, float *out) {
  const size_t n = (size_t)im->W * (size_t)im->H;

  for (size_t i = 0; i < n; i++) {
    const int e = im->entity[i];
    const float sign = e > 0 && e % FLIPPED_EVERY == 0 ? -1.0f : 1.0f;
    for (size_t k = 0; k < 3; k++) out[3 * i + k] = e > 0 ? sign * im->normal[3 * i + k] : NAN;
  }
}

static int write_halves(const char *dir, int frame, const char *what, const sc_image *im, int channels, const float *data, uint16_t *bits) {
  int st = OK;
  const int64_t dims[3] = {im->H, im->W, channels};
  char path[IO_PATH_MAX];

  half_from_f32_n(data, bits, (size_t)(dims[0] * dims[1] * channels));
  TRY(io_path(path, "%s/frame.%04d.%s.hdf5", dir, frame, what));
  TRY(ds_h5_write(path, EL_F16, channels > 1 ? 3 : 2, dims, bits));
out:
  return st;
}

/* geometry_preview: clip((n+1)/2) * 255 truncated, RGBA, NaN as 0. */
static int write_preview(const char *path, const sc_image *im, const float *normals, uint8_t *rgba) {
  const size_t n = (size_t)im->W * (size_t)im->H;

  for (size_t i = 0; i < n; i++) {
    for (size_t k = 0; k < 3; k++) {
      const double v = ((double)normals[3 * i + k] + 1) / 2;
      rgba[4 * i + k] = isnan(v) ? 0 : (uint8_t)(255 * fmin(1, fmax(0, v)));
    }
    rgba[4 * i + 3] = 255;
  }
  return ds_png_write8(path, im->W, im->H, 4, rgba);
}

static int write_geometry(const char *images, int frame, ds_synth_frame *f) {
  int st = OK;
  const sc_image *im = &f->image;
  const size_t n = (size_t)im->W * (size_t)im->H;
  const int64_t dims[2] = {im->H, im->W};
  char dir[IO_PATH_MAX], path[IO_PATH_MAX];

  TRY(io_path(dir, "%s/scene_cam_00_geometry_hdf5", images));
  for (size_t i = 0; i < n; i++) f->half_floats[i] = im->entity[i] > 0 ? im->distance[i] : NAN;
  TRY(write_halves(dir, frame, "depth_meters", im, 1, f->half_floats, f->bytes));
  TRY(io_path(path, "%s/frame.%04d.render_entity_id.hdf5", dir, frame));
  TRY(ds_h5_write(path, EL_I16, 2, dims, im->entity));
  stored_normals(im, f->half_floats);
  TRY(write_halves(dir, frame, "normal_cam", im, 3, f->half_floats, f->bytes));
  TRY(io_path(path, "%s/scene_cam_00_geometry_preview/frame.%04d.normal_cam.png", images, frame));
  TRY(write_preview(path, im, f->half_floats, f->bytes));
out:
  return st;
}

int ds_synth_hypersim_frame(const ds_synth_opts *o, int64_t i, ds_synth_frame *f) {
  int st = OK;
  const int k = (int)(i / o->room_frames), frame = (int)(i % o->room_frames);
  char images[IO_PATH_MAX], dir[IO_PATH_MAX], name[NAME_SIZE], full[96];
  sc_scene s;
  sc_camera c;

  scene_name(k, name);
  sc_room(scene_seed(o, k), &s);
  sc_room_camera(&s, frame, is_tilted(k), &c);
  f->image.W = o->room_W;
  f->image.H = o->room_H;
  sc_render(&s, &c, o->samples, &f->image);
  TRY(io_path(images, "%s/hypersim/raw_data/%s/images", o->out, name));
  TRY(io_path(dir, "%s/scene_cam_00_final_hdf5", images));
  TRY(write_halves(dir, frame, "color", &f->image, 3, f->image.rgb, f->bytes));
  TRY(write_geometry(images, frame, f));
  snprintf(full, sizeof full, "hypersim__%s__cam_00__%04d", name, frame);
  if (o->truth) TRY(ds_synth_truth(o, full, &s, &c, f));
out:
  return st;
}
