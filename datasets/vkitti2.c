/* Virtual KITTI 2: JPEG colour, 16-bit PNG depth in centimetres (planar), and normals made from it, 16-bit
 * PNG. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "datasets/jpeg.h"
#include "datasets/kind.h"
#include "datasets/png.h"

/* What the reference trains on, in the order of the list. */
static const char *const scenes[] = {"Scene01", "Scene02", "Scene06", "Scene18", "Scene20"};
static const char *const variations[] = {"fog", "morning", "overcast", "rain", "sunset"};
enum { SCENES = 5, VARIATIONS = 5, CAMERAS = 2 };

struct item {
  uint8_t scene, variation, camera;
  int frame;
};

struct list {
  struct item *item;
  int64_t n, room;
};

typedef enum { RGB, DEPTH, NORMAL } file_kind;
static const struct {
  const char *top, *folder, *suffix;
} files[] = {{"vkitti_2.0.3_rgb", "rgb", "jpg"},
             {"vkitti_2.0.3_depth", "depth", "png"},
             {"vkitti_DAG_normals", "normal", "png"}};

static const struct item *item_at(const ds_source *s, int64_t i) { return &((const struct list *)s->list)->item[i]; }

static int folder_path(const ds_source *s, const struct item *it, file_kind k, char out[IO_PATH_MAX]) {
  return io_path(out, "%s/%s/%s/%s/frames/%s/Camera_%d", s->o.root, files[k].top, scenes[it->scene],
                 variations[it->variation], files[k].folder, it->camera);
}

static int file_path(const ds_source *s, const struct item *it, file_kind k, char out[IO_PATH_MAX]) {
  return io_path(out, "%s/%s/%s/%s/frames/%s/Camera_%d/%s_%05d.%s", s->o.root, files[k].top, scenes[it->scene],
                 variations[it->variation], files[k].folder, it->camera, files[k].folder, it->frame, files[k].suffix);
}

/* ---- the list ---- */

/* "rgb_00012.jpg" -> 12; other names -> -1. */
static int frame_of(const char *name) {
  if (strncmp(name, "rgb_", 4) || strspn(name + 4, "0123456789") != 5 || strcmp(name + 9, ".jpg")) return -1;
  return atoi(name + 4);
}

static int add_item(struct list *l, const struct item *it) {
  int st = OK;

  if (l->n == l->room) {
    const int64_t room = 2 * l->room + 1024;
    void *p = realloc(l->item, (size_t)room * sizeof *l->item);
    NEED(p != NULL, E_NOMEM, "out of memory: %lld frames", (long long)room);
    l->item = p;
    l->room = room;
  }
  l->item[l->n++] = *it;
out:
  return st;
}

/* The frames of one camera, in the order of their numbers; none when it is not there. */
static int add_camera(const ds_source *s, struct list *l, struct item it) {
  int st = OK;
  char rgb[IO_PATH_MAX], depth[IO_PATH_MAX], **names = NULL;
  size_t n = 0;

  TRY(folder_path(s, &it, RGB, rgb));
  TRY(folder_path(s, &it, DEPTH, depth));
  if (!io_is_dir(rgb) || !io_is_dir(depth)) goto out;
  TRY(io_list_dir(rgb, &names, &n));
  for (size_t i = 0; i < n; i++) {
    if ((it.frame = frame_of(names[i])) < 0) continue;
    TRY(add_item(l, &it));
  }
out:
  io_free_names(&names, n);
  return st;
}

static int need_folders(const ds_source *s) {
  int st = OK;
  char path[IO_PATH_MAX];

  NEED(io_is_dir(s->o.root), E_DATA, "%s: no such folder", s->o.root);
  for (int k = RGB; k <= DEPTH; k++) {
    TRY(io_path(path, "%s/%s", s->o.root, files[k].top));
    NEED(io_is_dir(path), E_DATA, "%s: no such folder; it holds the scenes of Virtual KITTI 2's %s archive", path,
         files[k].folder);
  }
  if (!(s->o.need & DS_NEED_NORMALS)) goto out;
  TRY(io_path(path, "%s/%s", s->o.root, files[NORMAL].top));
  NEED(io_is_dir(path), E_DATA,
       "%s: no such folder; Virtual KITTI 2 comes without normals, they have to be made from its depth", path);
out:
  return st;
}

/* At least one frame must be complete; reading the others fails. */
static int check_files(const ds_source *s, const struct list *l) {
  int st = OK;
  char first[IO_PATH_MAX] = "", path[IO_PATH_MAX];
  const file_kind last = s->o.need & DS_NEED_NORMALS ? NORMAL : DEPTH;

  for (int64_t i = 0; i < l->n; i++) {
    bool complete = true;
    for (int k = DEPTH; k <= (int)last && complete; k++) {
      TRY(file_path(s, &l->item[i], (file_kind)k, path));
      complete = io_exists(path);
    }
    if (complete) goto out;
    if (!*first) memcpy(first, path, sizeof first);
  }
  FAIL(E_DATA, "%s: missing, as is at least one file of each of the %lld frames under %s", first, (long long)l->n,
       s->o.root);
out:
  return st;
}

static int vkitti2_open(ds_source *s) {
  int st = OK;
  struct list *l;

  NEED(strcmp(s->o.split, "train") == 0, E_DATA,
       "%s: split '%s': Virtual KITTI 2 has no split of its own; train is all five scenes as the reference "
       "trains on "
       "them",
       s->o.root, s->o.split);
  TRY(need_folders(s));
  NEED((s->list = l = calloc(1, sizeof *l)) != NULL, E_NOMEM, "out of memory: frames");
  for (int scene = 0; scene < SCENES; scene++)
    for (int variation = 0; variation < VARIATIONS; variation++)
      for (int camera = 0; camera < CAMERAS; camera++)
        TRY(add_camera(s, l, (struct item){(uint8_t)scene, (uint8_t)variation, (uint8_t)camera, 0}));
  NEED(l->n > 0, E_DATA, "%s/%s: no %s/%s/frames/rgb/Camera_0/rgb_00000.jpg or the like that has depth too",
       s->o.root, files[RGB].top, scenes[0], variations[0]);
  TRY(check_files(s, l));
  s->count = l->n;
out:
  return st;
}

static void vkitti2_close(ds_source *s) {
  struct list *l = s->list;

  if (!l) return;
  free(l->item);
  free(l);
}

static void vkitti2_describe(const ds_source *s, int64_t i, char id[DS_ID_MAX]) {
  const struct item *it = item_at(s, i);

  snprintf(id, DS_ID_MAX, "%s/%s/Camera_%d/%05d", scenes[it->scene], variations[it->variation], it->camera,
           it->frame);
}

/* ---- a frame ---- */

static int vkitti2_size(ds_source *s, int64_t i, int *H, int *W) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(file_path(s, item_at(s, i), DEPTH, path));
  ds_source_reading(s, path);
  TRY(ds_png_size(path, H, W));
out:
  return st;
}

static int read_depth(ds_source *s, const struct item *it, const char *rgb_path) {
  int st = OK;
  char path[IO_PATH_MAX];
  const uint16_t *cm;
  float *depth;
  int H, W;

  TRY(file_path(s, it, DEPTH, path));
  ds_source_reading(s, path);
  TRY(ds_png_read_grey16(path, &s->distance, &H, &W));
  TRY(ds_same_size(path, H, W, rgb_path, s->frame.H, s->frame.W));
  TRY(ds_buf_need(&s->frame.depth, (size_t)H * (size_t)W * sizeof *depth));
  depth = s->frame.depth.p;
  cm = s->distance.p;
  for (size_t i = 0; i < (size_t)H * (size_t)W; i++) depth[i] = (float)cm[i] / 100.f;
out:
  return st;
}

/* Of the 16 bits the high byte counts, as for the reference: its loader converts to 8. They are LUB and face
 * the viewer. */
static int read_normals(ds_source *s, const struct item *it, const char *rgb_path) {
  int st = OK;
  const bool as_reference = s->o.as_reference;
  char path[IO_PATH_MAX];
  const uint8_t *in;
  float *out;
  int H, W;

  TRY(file_path(s, it, NORMAL, path));
  ds_source_reading(s, path);
  TRY(ds_png_read_rgb8(path, as_reference ? &s->frame.normals : &s->vectors, &H, &W));
  TRY(ds_same_size(path, H, W, rgb_path, s->frame.H, s->frame.W));
  s->frame.normals_are_images = as_reference;
  if (as_reference) goto out;
  TRY(ds_buf_need(&s->frame.normals, 3 * (size_t)H * (size_t)W * sizeof *out));
  in = s->vectors.p;
  out = s->frame.normals.p;
  for (size_t i = 0; i < 3 * (size_t)H * (size_t)W; i++) out[i] = (float)in[i] / 255.f * 2 - 1;
out:
  return st;
}

static int vkitti2_decode(ds_source *s, int64_t i) {
  int st = OK;
  const struct item *it = item_at(s, i);
  char path[IO_PATH_MAX];

  TRY(file_path(s, it, RGB, path));
  ds_source_reading(s, path);
  TRY(ds_jpeg_read_rgb8(path, &s->file, &s->frame.rgb, &s->frame.H, &s->frame.W));
  TRY(read_depth(s, it, path));
  if (s->o.need & DS_NEED_NORMALS) TRY(read_normals(s, it, path));
out:
  return st;
}

const ds_kind ds_kind_vkitti2 = {.name = "vkitti2",
                                 .far_default = 80,
                                 .domain_default = DS_OUTDOOR,
                                 .crop_H = 352,
                                 .crop_W = 1216,
                                 .open = vkitti2_open,
                                 .close = vkitti2_close,
                                 .describe = vkitti2_describe,
                                 .size = vkitti2_size,
                                 .decode = vkitti2_decode};
