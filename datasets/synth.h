/* datasets/synth.h: rendered scenes in the raw layouts of Hypersim and Virtual KITTI 2, for tests, for the demo, and for
 * trying everything before 2 TB are downloaded. What is written depends on the options alone, not on threads. */
#ifndef DATASETS_SYNTH_H
#define DATASETS_SYNTH_H
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "datasets/scene.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ds_synth_opts {
  const char *out;      /* OUT/hypersim and OUT/virtual_kitti_2, OUT/truth */
  uint64_t seed;
  int rooms;            /* Hypersim scenes; every eighth is in split val. 0 = none */
  int room_frames;      /* frames a scene, 1..100 */
  int room_W, room_H;
  int streets;          /* Virtual KITTI 2 scenes, 0..5 */
  int street_frames;    /* frames a scene, weather and camera */
  int street_W, street_H;
  int weathers;         /* 1..SC_WEATHERS, in the order of sc_weather_name */
  int samples;          /* rays a pixel: 1, 4, 9 */
  int threads;
  bool truth;           /* exact planar depth and normals of every frame as OUT/truth/<frame>.safetensors, its scene as .json */
} ds_synth_opts;
void ds_synth_opts_default(ds_synth_opts *o);
/* Called after each frame, from any thread but one at a time. */
typedef void (*ds_synth_progress)(void *ctx, int64_t done, int64_t total);
/* Errors: E_CONFIG (an option out of range), E_DISK, E_IO, E_NOMEM. */
int ds_synth(const ds_synth_opts *o, ds_synth_progress progress, void *ctx);

/* ---- for the two layouts ---- */
typedef struct ds_synth_frame {
  sc_image image;
  float *half_floats;   /* scratch [H,W,3] */
  void *bytes;          /* scratch [H,W,4] of 16 bit */
} ds_synth_frame;
/* Number of frames, the work before any frame (folders, lists, cameras), and frame i. */
int64_t ds_synth_hypersim_count(const ds_synth_opts *o);
int ds_synth_hypersim_begin(const ds_synth_opts *o);
int ds_synth_hypersim_frame(const ds_synth_opts *o, int64_t i, ds_synth_frame *f);
int64_t ds_synth_vkitti2_count(const ds_synth_opts *o);
int ds_synth_vkitti2_begin(const ds_synth_opts *o);
int ds_synth_vkitti2_frame(const ds_synth_opts *o, int64_t i, ds_synth_frame *f);
/* OUT/truth/NAME.safetensors: z f32 [H,W] metres (0 = nothing), n_cv f32 [H,W,3] x right, y down, z forward, valid u8.
 * OUT/truth/NAME.json: the camera (at; world_from_camera, camera_from_uv row by row) and the shapes. */
int ds_synth_truth(const ds_synth_opts *o, const char *name, const sc_scene *s, const sc_camera *c, ds_synth_frame *f);
#ifdef __cplusplus
}
#endif
#endif
