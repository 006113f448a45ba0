/* Virtual KITTI 2: JPEG colour, 16-bit PNG depth in centimetres (planar), and normals made from it: stored as 16-bit
 * PNGs, or made on the way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "datasets/image_write.h"
#include "datasets/jpeg.h"
#include "datasets/kind.h"
#include "datasets/normals_frame.h"
#include "datasets/png.h"
#include "datasets/vkitti2_camera.h"

/* All there are, in the order of the list. */
static const char *const scenes[] = {"Scene01", "Scene02", "Scene06", "Scene18", "Scene20"};
static const char *const variations[] = {"15-deg-left", "15-deg-right", "30-deg-left", "30-deg-right", "clone",
                                         "fog",         "morning",      "overcast",    "rain",         "sunset"};
enum { SCENES = 5, VARIATIONS = 10, CAMERAS = 2 };

/* The data set has no splits of its own. A letter for each scene and variation above: x = it is in. */
static const struct split {
  const char *name, *scenes, *variations;
} splits[] = {{"train", "xxxxx", ".....xxxxx"}, /* what E2E-FT trains on */
              {"marigold_train", ".xxxx", "xx..x.xx.x"},
              {"marigold_val", "x....", "xx..x.xx.x"},
              {"all", "xxxxx", "xxxxxxxxxx"}};
enum { SPLITS = sizeof splits / sizeof *splits };

struct item {
  uint8_t scene, variation, camera;
  int frame;
};

struct list {
  struct item *item;
  int64_t n, room;
  bool normals_from_depth;
  struct {
    bool known;
    ds_pinhole k;
  } camera[SCENES][VARIATIONS][CAMERAS]; /* as textgt has it */
  ds_d2nt filter;
};

typedef enum { RGB, DEPTH, NORMAL } file_kind;
static const struct {
  const char *top, *folder, *suffix;
} files[] = {{"vkitti_2.0.3_rgb", "rgb", "jpg"},
             {"vkitti_2.0.3_depth", "depth", "png"},
             {"vkitti_DAG_normals", "normal", "png"}};

static struct list *list_of(const ds_source *s) { return s->list; }
static const struct item *item_at(const ds_source *s, int64_t i) { return &list_of(s)->item[i]; }
static bool needs_normals(const ds_source *s) { return s->o.need & DS_NEED_NORMALS; }

static int folder_path(const ds_source *s, const struct item *it, file_kind k, char out[IO_PATH_MAX]) {
  return io_path(out, "%s/%s/%s/%s/frames/%s/Camera_%d", s->o.root, files[k].top, scenes[it->scene],
                 variations[it->variation], files[k].folder, it->camera);
}

static int file_path_under(const char *root, const struct item *it, file_kind k, char out[IO_PATH_MAX]) {
  return io_path(out, "%s/%s/%s/%s/frames/%s/Camera_%d/%s_%05d.%s", root, files[k].top, scenes[it->scene],
                 variations[it->variation], files[k].folder, it->camera, files[k].folder, it->frame, files[k].suffix);
}

static int file_path(const ds_source *s, const struct item *it, file_kind k, char out[IO_PATH_MAX]) {
  return file_path_under(s->o.root, it, k, out);
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
out:
  return st;
}

static int choose_normals(const ds_source *s, struct list *l) {
  int st = OK;
  char path[IO_PATH_MAX];

  if (!needs_normals(s)) goto out;
  TRY(io_path(path, "%s/%s", s->o.root, files[NORMAL].top));
  l->normals_from_depth = s->o.normals == DS_NORMALS_DEPTH || (s->o.normals == DS_NORMALS_AUTO && !io_is_dir(path));
  NEED(l->normals_from_depth || io_is_dir(path), E_DATA,
       "%s: no such folder; Virtual KITTI 2 comes without normals, normals: depth makes them on the way", path);
out:
  return st;
}

static int read_cameras(const ds_source *s, struct list *l, const struct item *it) {
  char path[IO_PATH_MAX];
  int st = OK;

  TRY(io_path(path, "%s/vkitti_2.0.3_textgt/%s/%s/intrinsic.txt", s->o.root, scenes[it->scene],
              variations[it->variation]));
  TRY(ds_vkitti2_camera_read(path, it->camera, &l->camera[it->scene][it->variation][it->camera].k,
                             &l->camera[it->scene][it->variation][it->camera].known));
out:
  return st;
}

/* At least one frame must be complete; reading the others fails. */
static int check_files(const ds_source *s, const struct list *l) {
  int st = OK;
  char first[IO_PATH_MAX] = "", path[IO_PATH_MAX];
  const file_kind last = needs_normals(s) && !l->normals_from_depth ? NORMAL : DEPTH;

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

/* A split by name, or by folder: "Scene20", "Scene20/clone", "Scene20/clone/Camera_1". */
static bool is_in(const char *split, const struct item *it) {
  const size_t n = strlen(split);
  char folder[64];

  for (int i = 0; i < SPLITS; i++)
    if (strcmp(splits[i].name, split) == 0)
      return splits[i].scenes[it->scene] == 'x' && splits[i].variations[it->variation] == 'x';
  snprintf(folder, sizeof folder, "%s/%s/Camera_%d/", scenes[it->scene], variations[it->variation], it->camera);
  return n > 0 && strncmp(folder, split, n) == 0 && folder[n] == '/';
}

static int add_split(const ds_source *s, struct list *l) {
  int st = OK, first = -1;

  for (int i = 0; i < SCENES * VARIATIONS * CAMERAS; i++) {
    const struct item it = {(uint8_t)(i / CAMERAS / VARIATIONS), (uint8_t)(i / CAMERAS % VARIATIONS),
                            (uint8_t)(i % CAMERAS), 0};
    const int64_t before = l->n;
    if (!is_in(s->o.split, &it)) continue;
    if (first < 0) first = i;
    TRY(add_camera(s, l, it));
    if (l->n > before && l->normals_from_depth) TRY(read_cameras(s, l, &it));
  }
  NEED(first >= 0, E_DATA,
       "%s: split '%s': Virtual KITTI 2 has none of its own; train is what E2E-FT trains on (all scenes, five weathers), "
       "marigold_train and marigold_val are Marigold's, all is everything, Scene20/clone/Camera_0 and the like a part",
       s->o.root, s->o.split);
  NEED(l->n > 0, E_DATA, "%s/%s: no %s/%s/frames/rgb/Camera_%d/rgb_00000.jpg or the like that has depth too",
       s->o.root, files[RGB].top, scenes[first / CAMERAS / VARIATIONS], variations[first / CAMERAS % VARIATIONS],
       first % CAMERAS);
out:
  return st;
}

static int vkitti2_open(ds_source *s) {
  int st = OK;
  struct list *l;

  NEED(!s->o.as_reference || s->o.normals_frame == DS_FRAME_LUB, E_CONFIG,
       "%s: as_reference knows no normals_frame but lub", s->o.root);
  TRY(need_folders(s));
  NEED((s->list = l = calloc(1, sizeof *l)) != NULL, E_NOMEM, "out of memory: frames");
  TRY(choose_normals(s, l));
  TRY(add_split(s, l));
  TRY(check_files(s, l));
  s->count = l->n;
out:
  return st;
}

static void vkitti2_close(ds_source *s) {
  struct list *l = s->list;

  if (!l) return;
  ds_d2nt_free(&l->filter);
  free(l->item);
  free(l);
}

static void vkitti2_describe(const ds_source *s, int64_t i, char id[DS_ID_MAX]) {
  const struct item *it = item_at(s, i);

  snprintf(id, DS_ID_MAX, "%s/%s/Camera_%d/%05d", scenes[it->scene], variations[it->variation], it->camera,
           it->frame);
}

/* Where its normals come from. */
static void vkitti2_fingerprint(const ds_source *s, int64_t i, ds_hasher *h) {
  const struct list *l = list_of(s);
  const struct item *it = item_at(s, i);
  const ds_pinhole *k = &l->camera[it->scene][it->variation][it->camera].k;

  if (!needs_normals(s)) return;
  ds_hasher_add(h, &l->normals_from_depth, sizeof l->normals_from_depth);
  if (l->normals_from_depth && l->camera[it->scene][it->variation][it->camera].known) ds_hasher_add(h, k, sizeof *k);
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

static int read_cm(ds_source *s, const struct item *it, int *H, int *W) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(file_path(s, it, DEPTH, path));
  ds_source_reading(s, path);
  TRY(ds_png_read_grey16(path, &s->distance, H, W));
out:
  return st;
}

static int read_depth(ds_source *s, const struct item *it, const char *rgb_path) {
  int st = OK;
  char path[IO_PATH_MAX];
  const uint16_t *cm;
  float *depth;
  int H, W;

  TRY(read_cm(s, it, &H, &W));
  TRY(file_path(s, it, DEPTH, path));
  TRY(ds_same_size(path, H, W, rgb_path, s->frame.H, s->frame.W));
  TRY(ds_buf_need(&s->frame.depth, (size_t)H * (size_t)W * sizeof *depth));
  depth = s->frame.depth.p;
  cm = s->distance.p;
  for (size_t i = 0; i < (size_t)H * (size_t)W; i++) depth[i] = (float)cm[i] / 100.f;
out:
  return st;
}

/* From s->distance to 16-bit codes [H,W,3] in s->vectors. */
static int make_normals(ds_source *s, const struct item *it, int H, int W) {
  int st = OK;
  struct list *l = list_of(s);
  const size_t n = (size_t)H * (size_t)W;
  const uint16_t *cm = s->distance.p;
  ds_pinhole k = l->camera[it->scene][it->variation][it->camera].k;
  float *z;

  if (!l->camera[it->scene][it->variation][it->camera].known) ds_vkitti2_camera(H, W, &k);
  TRY(ds_buf_need(&s->colour, n * sizeof *z));
  TRY(ds_buf_need(&s->vectors, 3 * n * sizeof(uint16_t)));
  z = s->colour.p;
  for (size_t i = 0; i < n; i++) z[i] = ds_d2nt_cm(cm[i]);
  TRY(ds_d2nt_normals(&l->filter, z, H, W, &k, s->vectors.p));
out:
  return st;
}

/* The high bytes of s->vectors as 8-bit image [H,W,3], in place. */
static void keep_high_bytes(ds_source *s, size_t n) {
  const uint16_t *codes = s->vectors.p;
  uint8_t *image = s->vectors.p;

  for (size_t i = 0; i < n; i++) image[i] = (uint8_t)(codes[i] >> 8);
}

static int load_normals(ds_source *s, const struct item *it, const char *rgb_path) {
  int st = OK;
  char path[IO_PATH_MAX];
  int H, W;

  TRY(file_path(s, it, NORMAL, path));
  ds_source_reading(s, path);
  TRY(ds_png_read_rgb8(path, &s->vectors, &H, &W));
  TRY(ds_same_size(path, H, W, rgb_path, s->frame.H, s->frame.W));
out:
  return st;
}

/* Stored or made, of the 16 bits the high byte counts, as for the reference: its loader converts to 8. They face the
 * viewer; the reference's and those made here are LUB. */
static int add_normals(ds_source *s, const struct item *it, const char *rgb_path) {
  int st = OK;
  const size_t n = 3 * (size_t)s->frame.H * (size_t)s->frame.W;
  const uint8_t *in;
  float *out;

  if (list_of(s)->normals_from_depth) {
    TRY(make_normals(s, it, s->frame.H, s->frame.W));
    keep_high_bytes(s, n);
  } else {
    TRY(load_normals(s, it, rgb_path));
  }
  in = s->vectors.p;
  s->frame.normals_are_images = s->o.as_reference;
  TRY(ds_buf_need(&s->frame.normals, n * (s->o.as_reference ? 1 : sizeof *out)));
  out = s->frame.normals.p;
  if (s->o.as_reference) {
    memcpy(out, in, n);
    goto out;
  }
  for (size_t i = 0; i < n; i++) out[i] = (float)in[i] / 255.f * 2 - 1;
  if (!list_of(s)->normals_from_depth)
    for (size_t i = 0; i < n; i += 3) ds_normals_to_lub(s->o.normals_frame, out + i);
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
  if (needs_normals(s)) TRY(add_normals(s, it, path));
out:
  return st;
}

static int vkitti2_store_normals(ds_source *s, int64_t i, const char *root) {
  int st = OK;
  const struct item *it = item_at(s, i);
  char path[IO_PATH_MAX], part[IO_PATH_MAX];
  int H, W;

  TRY(file_path_under(root, it, NORMAL, path));
  if (io_exists(path)) goto out;
  TRY(io_path_beside(part, path, "."));
  TRY(io_make_dirs(part));
  TRY(read_cm(s, it, &H, &W));
  TRY(make_normals(s, it, H, W));
  TRY(io_path(part, "%s.part", path));
  TRY(ds_png_write16(part, W, H, 3, s->vectors.p));
  TRY(io_rename(part, path));
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
                                 .fingerprint = vkitti2_fingerprint,
                                 .size = vkitti2_size,
                                 .decode = vkitti2_decode,
                                 .store_normals = vkitti2_store_normals};
