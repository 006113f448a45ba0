/* datasets/hypersim.h: the list of Hypersim's frames, shared by its two layouts. For the hypersim files alone. */
#ifndef DATASETS_HYPERSIM_H
#define DATASETS_HYPERSIM_H
#include "base/io.h"
#include "datasets/camera.h"
#include "datasets/csv.h"
#include "datasets/kind.h"
#ifdef __cplusplus
extern "C" {
#endif
/* One row of the split CSV that belongs to the split. Texts are lent by the list's CSV. */
typedef struct ds_hypersim_item {
  const char *scene, *camera; /* "ai_001_001", "cam_00" */
  int frame;
  const ds_camera *per_scene; /* raw layout with intrinsics: per_scene */
  const char *rgb, *depth;    /* marigold layout: paths from the split's folder */
} ds_hypersim_item;

typedef struct ds_hypersim_list {
  ds_layout layout;
  ds_csv *csv;
  ds_cameras *cameras;
  struct ds_hypersim_names *names; /* NULL: all */
  ds_hypersim_item *item;
  int64_t n, room;
} ds_hypersim_list;

/* ---- which frames are left out (hypersim_filter.c) ---- */

/* Of a frame as Marigold's preprocessing writes it, over all pixels; depth in metres is 0 where nothing was hit. */
typedef struct ds_hypersim_stats {
  double rgb_min, rgb_max, depth_min, depth_max, invalid_ratio;
} ds_hypersim_stats;
/* Does Marigold's list leave it out? Kept: depth range >= 0.5 m, RGB range >= 10, invalid <= 3 %. why: "depth range 0.2 m"
 * and the like. */
bool ds_hypersim_fails(const ds_hypersim_stats *t, char *why, size_t size);
void ds_hypersim_rgb_range(const uint8_t *rgb, size_t n, ds_hypersim_stats *t);
double ds_hypersim_invalid_ratio(const int16_t *entity, size_t n);
bool ds_hypersim_is_broken(const char *scene, const char *camera);

/* A list of frames: lines that start as those of Marigold's filename_list_*_filtered.txt. */
typedef struct ds_hypersim_names ds_hypersim_names;
/* Errors: E_IO, E_DATA "path:line: wanted ...", E_NOMEM. */
int ds_hypersim_names_open(const char *path, ds_hypersim_names **out);
void ds_hypersim_names_close(ds_hypersim_names **l);
bool ds_hypersim_names_have(const ds_hypersim_names *l, const ds_hypersim_item *it);

const ds_hypersim_item *ds_hypersim_at(const ds_source *s, int64_t i);

/* Raw layout: raw_data/<scene>/images/scene_<camera>_<folder>/frame.<frame>.<what>. */
int ds_hypersim_raw_path(const ds_source *s, const ds_hypersim_item *it, const char *folder, const char *what,
                         char out[IO_PATH_MAX]);
int ds_hypersim_raw_size(ds_source *s, const ds_hypersim_item *it, int *H, int *W);
int ds_hypersim_raw_decode(ds_source *s, const ds_hypersim_item *it);

/* Marigold's layout: <split>/<path of the CSV>. */
int ds_hypersim_marigold_path(const ds_source *s, const char *from_csv, char out[IO_PATH_MAX]);
int ds_hypersim_marigold_normals(const ds_source *s, const ds_hypersim_item *it, char out[IO_PATH_MAX]);
int ds_hypersim_marigold_size(ds_source *s, const ds_hypersim_item *it, int *H, int *W);
int ds_hypersim_marigold_decode(ds_source *s, const ds_hypersim_item *it);
#ifdef __cplusplus
}
#endif
#endif
