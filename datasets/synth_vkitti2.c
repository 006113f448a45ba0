/* datasets/synth_vkitti2.c: streets in the layout of Virtual KITTI 2. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "datasets/image_write.h"
#include "datasets/synth.h"

static const char *const scene_name[5] = {"Scene01", "Scene02", "Scene06", "Scene18", "Scene20"};
enum { CAMERAS = 2, STRETCH = 4, JPEG_QUALITY = 95 }; /* a new stretch of road every STRETCH frames */
static const double SKY_CM = 65535;

typedef struct place { int scene, weather, camera, frame; } place;

int64_t ds_synth_vkitti2_count(const ds_synth_opts *o) {
  return (int64_t)o->streets * o->weathers * CAMERAS * o->street_frames;
}

static place where(const ds_synth_opts *o, int64_t i) {
  place p;

  p.frame = (int)(i % o->street_frames);
  i /= o->street_frames;
  p.camera = (int)(i % CAMERAS);
  i /= CAMERAS;
  p.weather = (int)(i % o->weathers);
  p.scene = (int)(i / o->weathers);
  return p;
}

static int write_cameras(const ds_synth_opts *o, int scene, int weather) {
  int st = OK;
  char path[IO_PATH_MAX], line[256];
  io_file in = {.fd = -1}, ex = {.fd = -1};
  const double f = 725.0087 * o->street_W / 1242;
  const char *const in_head = "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n";
  const char *const ex_head = "frame cameraID r1,1 r1,2 r1,3 t1 r2,1 r2,2 r2,3 t2 r3,1 r3,2 r3,3 t3 0 0 0 1\n";

  TRY(io_path(path, "%s/virtual_kitti_2/vkitti_2.0.3_textgt/%s/%s", o->out, scene_name[scene], sc_weather_name[weather]));
  TRY(io_make_dirs(path));
  TRY(io_path(path, "%s/virtual_kitti_2/vkitti_2.0.3_textgt/%s/%s/intrinsic.txt", o->out, scene_name[scene], sc_weather_name[weather]));
  TRY(io_create(path, &in));
  TRY(io_path(path, "%s/virtual_kitti_2/vkitti_2.0.3_textgt/%s/%s/extrinsic.txt", o->out, scene_name[scene], sc_weather_name[weather]));
  TRY(io_create(path, &ex));
  TRY(io_write(&in, in_head, strlen(in_head)));
  TRY(io_write(&ex, ex_head, strlen(ex_head)));
  for (int frame = 0; frame < o->street_frames; frame++)
    for (int camera = 0; camera < CAMERAS; camera++) {
      snprintf(line, sizeof line, "%d %d %.6g %.6g %.6g %.6g\n", frame, camera, f, f, (o->street_W - 1) / 2.0, (o->street_H - 1) / 2.0);
      TRY(io_write(&in, line, strlen(line)));
      snprintf(line, sizeof line, "%d %d 1 0 0 %.6g 0 1 0 0 0 0 1 0 0 0 0 1\n", frame, camera, camera ? -0.532725 : 0.0);
      TRY(io_write(&ex, line, strlen(line)));
    }
  TRY(io_close(&in));
  TRY(io_close(&ex));
out:
  io_close(&in);
  io_close(&ex);
  return st;
}

static int make_frame_dirs(const ds_synth_opts *o, int scene, int weather) {
  int st = OK;
  char path[IO_PATH_MAX];

  for (int camera = 0; camera < CAMERAS; camera++)
    for (int depth = 0; depth < 2; depth++) {
      const char *const what = depth ? "depth" : "rgb";
      TRY(io_path(path, "%s/virtual_kitti_2/vkitti_2.0.3_%s/%s/%s/frames/%s/Camera_%d", o->out, what, scene_name[scene],
                  sc_weather_name[weather], what, camera));
      TRY(io_make_dirs(path));
    }
out:
  return st;
}

int ds_synth_vkitti2_begin(const ds_synth_opts *o) {
  int st = OK;

  for (int scene = 0; scene < o->streets; scene++)
    for (int weather = 0; weather < o->weathers; weather++) {
      TRY(write_cameras(o, scene, weather));
      TRY(make_frame_dirs(o, scene, weather));
    }
out:
  return st;
}

static void to_bytes(const sc_image *im, uint8_t *out) {
  const size_t n = 3 * (size_t)im->W * (size_t)im->H;

  for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(255 * fmin(1, pow(fmax(0, (double)im->rgb[i]), 1 / 2.2)) + 0.5);
}

static void to_centimetres(const sc_image *im, uint16_t *out) {
  const size_t n = (size_t)im->W * (size_t)im->H;

  for (size_t i = 0; i < n; i++) {
    const double cm = 100 * (double)im->planar[i];
    out[i] = (uint16_t)(im->entity[i] < 0 ? SKY_CM : fmin(cm + 0.5, SKY_CM));
  }
}

int ds_synth_vkitti2_frame(const ds_synth_opts *o, int64_t i, ds_synth_frame *f) {
  int st = OK;
  const place p = where(o, i);
  const char *const scene = scene_name[p.scene], *const weather = sc_weather_name[p.weather];
  char path[IO_PATH_MAX], name[128];
  sc_scene s;
  sc_camera c;

  sc_street(o->seed * 1000003u + (uint64_t)(p.scene * 4096 + p.frame / STRETCH), (sc_weather)p.weather, &s);
  sc_street_camera(&s, p.frame % STRETCH, p.camera, o->street_W, o->street_H, &c);
  f->image.W = o->street_W;
  f->image.H = o->street_H;
  sc_render(&s, &c, o->samples, &f->image);
  TRY(io_path(path, "%s/virtual_kitti_2/vkitti_2.0.3_rgb/%s/%s/frames/rgb/Camera_%d/rgb_%05d.jpg", o->out, scene, weather, p.camera, p.frame));
  to_bytes(&f->image, f->bytes);
  TRY(ds_jpeg_write(path, f->image.W, f->image.H, f->bytes, JPEG_QUALITY));
  TRY(io_path(path, "%s/virtual_kitti_2/vkitti_2.0.3_depth/%s/%s/frames/depth/Camera_%d/depth_%05d.png", o->out, scene, weather, p.camera,
              p.frame));
  to_centimetres(&f->image, f->bytes);
  TRY(ds_png_write16(path, f->image.W, f->image.H, 1, f->bytes));
  snprintf(name, sizeof name, "vkitti__%s__%s__Camera_%d__%05d", scene, weather, p.camera, p.frame);
  if (o->truth) TRY(ds_synth_truth(o, name, &s, &c, f));
out:
  return st;
}
