/* Hypersim: which frames there are. Raw as published, or as Marigold's scripts preprocess it. */
#include "datasets/hypersim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static ds_hypersim_list *list_of(const ds_source *s) { return s->list; }
const ds_hypersim_item *ds_hypersim_at(const ds_source *s, int64_t i) { return &list_of(s)->item[i]; }

/* ---- which layout, which lists ---- */

static int choose_layout(const ds_source *s, ds_layout *out) {
  int st = OK;
  const char *root = s->o.root, *split = s->o.split;
  char raw[IO_PATH_MAX], processed[IO_PATH_MAX];

  NEED(io_is_dir(root), E_DATA, "%s: no such folder", root);
  TRY(io_path(raw, "%s/raw_data", root));
  TRY(io_path(processed, "%s/%s", root, split));
  if (s->o.layout != DS_LAYOUT_AUTO) *out = s->o.layout;
  else *out = !io_is_dir(raw) && io_is_dir(processed) ? DS_LAYOUT_MARIGOLD : DS_LAYOUT_RAW;
  NEED(io_is_dir(*out == DS_LAYOUT_RAW ? raw : processed), E_DATA,
       "%s: no folder raw_data (Hypersim as published) and no %s (as Marigold's scripts write it)", root, split);
out:
  return st;
}

static int split_csv_path(const ds_source *s, ds_layout layout, char out[IO_PATH_MAX]) {
  const ds_opts *o = &s->o;

  if (o->split_csv) return io_path(out, "%s", o->split_csv);
  if (layout == DS_LAYOUT_RAW) return io_path(out, "%s/metadata_images_split_scene_v1.csv", o->root);
  return io_path(out, "%s/%s/filename_meta_%s.csv", o->root, o->split, o->split);
}

static int open_cameras(const ds_source *s, ds_hypersim_list *l) {
  int st = OK;
  char path[IO_PATH_MAX];

  if (l->layout != DS_LAYOUT_RAW || s->o.intrinsics != DS_PER_SCENE || s->o.as_reference) goto out;
  if (s->o.camera_csv) TRY(io_path(path, "%s", s->o.camera_csv));
  else TRY(io_path_beside(path, ds_csv_path(l->csv), "metadata_camera_parameters.csv"));
  NEED(io_exists(path), E_DATA,
       "%s: missing; intrinsics: per_scene needs it (camera_csv says where it is, intrinsics: fixed does without)",
       path);
  TRY(ds_cameras_open(path, &l->cameras));
out:
  return st;
}

/* ---- rows ---- */

enum { STATS = 5 };
static const char *const stat_names[STATS] = {"rgb_min", "rgb_max", "depth_min", "depth_max", "invalid_ratio"};

struct columns {
  int scene, camera, frame, included, split, rgb, depth, stats[STATS];
};

/* Rows that are not taken, by reason. */
struct left_out {
  int64_t excluded, broken, filtered, unlisted;
};

static int find_columns(const ds_source *s, const ds_hypersim_list *l, struct columns *c) {
  int st = OK;

  TRY(ds_csv_column(l->csv, "scene_name", &c->scene));
  TRY(ds_csv_column(l->csv, "camera_name", &c->camera));
  TRY(ds_csv_column(l->csv, "frame_id", &c->frame));
  TRY(ds_csv_column(l->csv, "included_in_public_release", &c->included));
  TRY(ds_csv_column(l->csv, "split_partition_name", &c->split));
  if (l->layout == DS_LAYOUT_RAW) goto out;
  TRY(ds_csv_column(l->csv, "rgb_path", &c->rgb));
  TRY(ds_csv_column(l->csv, "depth_path", &c->depth));
  if (s->o.filter == DS_FILTER_MARIGOLD)
    for (int i = 0; i < STATS; i++) TRY(ds_csv_column(l->csv, stat_names[i], &c->stats[i]));
out:
  return st;
}

static bool one_of(const char *text, const char *const *known) {
  while (*known && strcmp(*known, text)) known++;
  return *known != NULL;
}

static const char *const splits[] = {"train", "val", "test", NULL};
static const char *const truths[] = {"True", "False", NULL};

static bool is_name(const char *text) { return *text && !strchr(text, '/'); }

/* The row as an item; *wanted false when it is none of the split's. */
static int read_row(const ds_source *s, const ds_hypersim_list *l, const struct columns *c, char **f,
                    ds_hypersim_item *it, bool *wanted) {
  int st = OK;
  const char *path = ds_csv_path(l->csv);
  const int line = ds_csv_line(l->csv);
  char *end;
  long frame;

  NEED(one_of(f[c->included], truths), E_DATA,
       "%s:%d: included_in_public_release: wanted True or False, found '%.40s'", path, line, f[c->included]);
  /* rows left out of the release have no split */
  NEED(one_of(f[c->split], splits) || (strcmp(f[c->included], "False") == 0 && !*f[c->split]), E_DATA,
       "%s:%d: split_partition_name: wanted train, val or test, found '%.40s'", path, line, f[c->split]);
  *wanted = strcmp(f[c->included], "True") == 0 && strcmp(f[c->split], s->o.split) == 0;
  if (!*wanted) goto out;
  NEED(is_name(f[c->scene]) && is_name(f[c->camera]), E_DATA, "%s:%d: scene_name '%.40s', camera_name '%.40s'", path,
       line, f[c->scene], f[c->camera]);
  frame = strtol(f[c->frame], &end, 10);
  NEED(end != f[c->frame] && *end == 0 && frame >= 0 && frame <= 9999, E_DATA,
       "%s:%d: frame_id: wanted a number from 0 to 9999, found '%.40s'", path, line, f[c->frame]);
  *it = (ds_hypersim_item){.scene = f[c->scene], .camera = f[c->camera], .frame = (int)frame};
  if (l->layout == DS_LAYOUT_MARIGOLD) {
    it->rgb = f[c->rgb];
    it->depth = f[c->depth];
  }
  if (!l->cameras) goto out;
  NEED((it->per_scene = ds_cameras_find(l->cameras, it->scene)) != NULL, E_DATA,
       "%s:%d: scene %s has no row in the camera CSV (intrinsics: fixed does without)", path, line, it->scene);
out:
  return st;
}

static int read_stats(const ds_hypersim_list *l, const struct columns *c, char **f, ds_hypersim_stats *t) {
  int st = OK;
  double *const to[STATS] = {&t->rgb_min, &t->rgb_max, &t->depth_min, &t->depth_max, &t->invalid_ratio};
  char *end;

  for (int i = 0; i < STATS; i++) {
    const char *text = f[c->stats[i]];
    *to[i] = strtod(text, &end);
    NEED(end != text && *end == 0, E_DATA, "%s:%d: %s: wanted a number, found '%.40s'", ds_csv_path(l->csv),
         ds_csv_line(l->csv), stat_names[i], text);
  }
out:
  return st;
}

/* Of a frame of the split: is it to be used? Raw frames have to be decoded for the filter. */
static int judge_row(const ds_source *s, const ds_hypersim_list *l, const struct columns *c, char **f,
                     const ds_hypersim_item *it, struct left_out *n, bool *wanted) {
  int st = OK;
  ds_hypersim_stats t;
  char why[64];
  int64_t *reason = NULL;

  if (l->names && !ds_hypersim_names_have(l->names, it)) reason = &n->unlisted;
  else if (!s->o.keep_broken && !s->o.as_reference && ds_hypersim_is_broken(it->scene, it->camera)) reason = &n->broken;
  else if (l->layout == DS_LAYOUT_MARIGOLD && s->o.filter == DS_FILTER_MARIGOLD) {
    TRY(read_stats(l, c, f, &t));
    if (ds_hypersim_fails(&t, why, sizeof why)) reason = &n->filtered;
  }
  if (reason) ++*reason;
  *wanted = !reason;
out:
  return st;
}

static int add_item(ds_hypersim_list *l, const ds_hypersim_item *it) {
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

static void say_left_out(const ds_source *s, const ds_hypersim_list *l, const struct left_out *n) {
  const struct {
    int64_t n;
    const char *why;
  } parts[] = {{n->excluded, "not in the public release"},
               {n->broken, "of broken renders (keep_broken: true keeps them)"},
               {n->filtered, "by filter: marigold"},
               {n->unlisted, "not in frame_list"}};
  char text[256] = "";

  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    const size_t at = strlen(text);
    if (parts[i].n)
      snprintf(text + at, sizeof text - at, "%s %lld %s", at ? "," : "", (long long)parts[i].n, parts[i].why);
  }
  if (*text) log_info("%s: %lld frames of split %s; left out:%s", s->o.root, (long long)l->n, s->o.split, text);
}

static int read_rows(const ds_source *s, ds_hypersim_list *l) {
  int st = OK;
  struct columns c;
  struct left_out out = {0};
  ds_hypersim_item it;
  char **fields;
  bool wanted;

  TRY(find_columns(s, l, &c));
  for (;;) {
    TRY(ds_csv_next(l->csv, &fields));
    if (!fields) break;
    TRY(read_row(s, l, &c, fields, &it, &wanted));
    out.excluded += strcmp(fields[c.included], "False") == 0;
    if (wanted) TRY(judge_row(s, l, &c, fields, &it, &out, &wanted));
    if (wanted) TRY(add_item(l, &it));
  }
  say_left_out(s, l, &out);
  NEED(l->n > 0, E_DATA, "%s: no row has included_in_public_release True and split_partition_name %s%s",
       ds_csv_path(l->csv), s->o.split,
       out.broken + out.filtered + out.unlisted ? " and is not left out as broken, filtered or not in the list" : "");
out:
  return st;
}

/* ---- what is on the disk ---- */

/* The i-th file of an item; out "" behind the last. The reference asks for normals whatever the task. */
static int file_of(const ds_source *s, ds_layout layout, const ds_hypersim_item *it, int i, char out[IO_PATH_MAX]) {
  static const char *const raw[][2] = {{"final_hdf5", "color.hdf5"},
                                       {"geometry_hdf5", "depth_meters.hdf5"},
                                       {"geometry_hdf5", "render_entity_id.hdf5"},
                                       {"geometry_hdf5", "normal_cam.hdf5"},
                                       {"geometry_preview", "normal_cam.png"}};
  const bool normals = s->o.as_reference || (s->o.need & DS_NEED_NORMALS);
  const int last = (layout == DS_LAYOUT_RAW ? 3 : 2) + normals;

  if (i >= last) return io_path(out, "%s", "");
  if (layout == DS_LAYOUT_RAW) {
    if (i == 3 && s->o.as_reference) i = 4;
    return ds_hypersim_raw_path(s, it, raw[i][0], raw[i][1], out);
  }
  return i == 2 ? ds_hypersim_marigold_normals(s, it, out)
                : ds_hypersim_marigold_path(s, i ? it->depth : it->rgb, out);
}

/* The first of an item's files that is not there, "" when all are. */
static int first_missing(const ds_source *s, ds_layout layout, const ds_hypersim_item *it, char out[IO_PATH_MAX]) {
  int st = OK;

  for (int i = 0;; i++) {
    TRY(file_of(s, layout, it, i, out));
    if (!*out || !io_exists(out)) break;
  }
out:
  return st;
}

/* At least one frame must be complete. As the reference does, as_reference leaves the others out; otherwise reading
 * them fails. */
static int check_files(const ds_source *s, ds_hypersim_list *l) {
  int st = OK;
  int64_t kept = 0;
  char first[IO_PATH_MAX] = "", path[IO_PATH_MAX];

  for (int64_t i = 0; i < l->n; i++) {
    TRY(first_missing(s, l->layout, &l->item[i], path));
    if (*path && !*first) memcpy(first, path, sizeof first);
    if (*path) continue;
    if (!s->o.as_reference) goto out;
    l->item[kept++] = l->item[i];
  }
  NEED(kept > 0, E_DATA, "%s: missing, as is at least one file of each of the %lld frames of split %s in %s", first,
       (long long)l->n, s->o.split, ds_csv_path(l->csv));
  if (kept < l->n)
    log_info("%s: %lld of %lld frames left out, they lack a file (the first: %s)", s->o.root,
             (long long)(l->n - kept), (long long)l->n, first);
  l->n = kept;
out:
  return st;
}

/* ---- the kind ---- */

static int hypersim_open(ds_source *s) {
  int st = OK;
  ds_hypersim_list *l;
  char path[IO_PATH_MAX];

  NEED(one_of(s->o.split, splits), E_DATA, "%s: split '%s': Hypersim has train, val and test", s->o.root, s->o.split);
  NEED((s->list = l = calloc(1, sizeof *l)) != NULL, E_NOMEM, "out of memory: frames");
  TRY(choose_layout(s, &l->layout));
  s->o.layout = l->layout; /* what auto came to */
  TRY(split_csv_path(s, l->layout, path));
  TRY(ds_csv_open(path, &l->csv));
  TRY(open_cameras(s, l));
  if (s->o.frame_list) TRY(ds_hypersim_names_open(s->o.frame_list, &l->names));
  TRY(read_rows(s, l));
  TRY(check_files(s, l));
  s->count = l->n;
out:
  return st;
}

static void hypersim_close(ds_source *s) {
  ds_hypersim_list *l = list_of(s);

  if (!l) return;
  ds_csv_close(&l->csv);
  ds_cameras_close(&l->cameras);
  ds_hypersim_names_close(&l->names);
  free(l->item);
  free(l);
}

static void hypersim_describe(const ds_source *s, int64_t i, char id[DS_ID_MAX]) {
  const ds_hypersim_item *it = ds_hypersim_at(s, i);

  snprintf(id, DS_ID_MAX, "%s/%s/%04d", it->scene, it->camera, it->frame);
}

/* Its camera, or the files that the list names. */
static void hypersim_fingerprint(const ds_source *s, int64_t i, ds_hasher *h) {
  const ds_hypersim_item *it = ds_hypersim_at(s, i);

  if (it->per_scene) ds_hasher_add(h, it->per_scene, sizeof *it->per_scene);
  if (it->rgb) ds_hasher_add(h, it->rgb, strlen(it->rgb) + 1);
  if (it->depth) ds_hasher_add(h, it->depth, strlen(it->depth) + 1);
}

static int hypersim_size(ds_source *s, int64_t i, int *H, int *W) {
  const ds_hypersim_item *it = ds_hypersim_at(s, i);

  return list_of(s)->layout == DS_LAYOUT_RAW ? ds_hypersim_raw_size(s, it, H, W)
                                             : ds_hypersim_marigold_size(s, it, H, W);
}

static int hypersim_decode(ds_source *s, int64_t i) {
  const ds_hypersim_item *it = ds_hypersim_at(s, i);

  return list_of(s)->layout == DS_LAYOUT_RAW ? ds_hypersim_raw_decode(s, it) : ds_hypersim_marigold_decode(s, it);
}

const ds_kind ds_kind_hypersim = {.name = "hypersim",
                                  .far_default = 65,
                                  .domain_default = DS_INDOOR,
                                  .has_filter = true,
                                  .H = 480,
                                  .W = 640,
                                  .open = hypersim_open,
                                  .close = hypersim_close,
                                  .describe = hypersim_describe,
                                  .fingerprint = hypersim_fingerprint,
                                  .size = hypersim_size,
                                  .decode = hypersim_decode};
