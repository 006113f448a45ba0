/* datasets/source.h: a data set as a list of samples that can be decoded by index.
 * Adding a kind: one file that fills a ds_kind (kind.h), one line in kinds.c. */
#ifndef DATASETS_SOURCE_H
#define DATASETS_SOURCE_H
#include "datasets/cache.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Goes up whenever the same files and options come to give other samples. */
enum { DS_DECODING_VERSION = 1 };
enum { DS_NEED_METRIC = 1, DS_NEED_NORMALS = 2, DS_NEED_DEPTH = 4 };
typedef enum { DS_LAYOUT_AUTO, DS_LAYOUT_RAW, DS_LAYOUT_MARIGOLD } ds_layout;
typedef enum { DS_PER_SCENE, DS_FIXED } ds_intrinsics;
/* Axes of stored normals: ours (x left, y up, z back), Marigold's (x right, y up, z back), OpenCV's camera axes
 * (x right, y down, z forward). All face the viewer. */
typedef enum { DS_FRAME_LUB, DS_FRAME_MARIGOLD, DS_FRAME_OPENCV } ds_normals_frame;
typedef enum { DS_FILTER_NONE, DS_FILTER_MARIGOLD } ds_filter;
typedef enum { DS_NORMALS_AUTO, DS_NORMALS_FILES, DS_NORMALS_DEPTH } ds_normals;

/* One entry of the config's `data` list, with the defaults of design.md. Strings are borrowed until ds_source_open returns. */
typedef struct ds_opts {
  const char *kind;       /* "hypersim", "vkitti2", "manifest", "batches" */
  const char *root;
  ds_layout layout;
  const char *split;      /* "train" */
  bool size_set;          /* the config gave `size`: then no default crop */
  int H, W;               /* 0,0 = native, or the kind's default when size_set is false */
  int crop_H, crop_W;     /* 0,0 = none given; a crop keeps the bottom rows and the middle columns, as KITTI's benchmark crop */
  double near_m, far_m;   /* valid: near_m < depth < far_m, metres; far_m 0 = the kind's default */
  double flip;            /* probability */
  bool shuffle;
  ds_intrinsics intrinsics;
  ds_filter filter;
  bool skip_bad_files;
  bool mm_wrap;           /* depths pass through 16-bit millimetres that wrap, as the reference's preprocessing */
  bool as_reference;
  ds_normals normals;     /* vkitti2: stored, or made from depth; auto: stored when their folder is there */
  double depth_unit;      /* manifest: metres per stored unit; 0 = millimetres for integers, metres for floats */
  bool euclidean;         /* manifest: depth is the distance to the camera's centre, not planar */
  ds_normals_frame normals_frame; /* of stored normals: manifest, vkitti2 */
  bool whole_depth;       /* for evaluation: metric is not clamped to percentiles, and 0 where invalid */
  int domain;             /* -1 = the kind's default */
  const char *split_csv, *camera_csv; /* NULL = beside the data */
  const char *frame_list; /* hypersim: only frames of this list, as Marigold's filename_list_*_filtered.txt; NULL = all */
  bool keep_broken;       /* hypersim: renders known to be broken are used, as with as_reference */
  int need;               /* DS_NEED_* */
  int group;              /* kind batches: samples that every file must hold; 0 = any */
} ds_opts;
void ds_opts_default(ds_opts *o);

typedef struct ds_source ds_source;

/* Scans lists and folders; no image is decoded. Errors: E_DATA with the path, E_CONFIG (kind, filter, sizes). */
int ds_source_open(const ds_opts *o, ds_source **out);
void ds_source_close(ds_source **s);
/* Items in list order: samples, or for kind batches, files of `samples_per_item` samples. */
int64_t ds_source_count(const ds_source *s);
/* 1, or for kind batches, the samples in one file. */
int ds_source_samples_per_item(const ds_source *s);
/* Kind batches replays its files in order and takes no flip. */
bool ds_source_is_stored(const ds_source *s);
/* The options with the kind's defaults in place. */
const ds_opts *ds_source_opts(const ds_source *s);
/* Height and width of item i as it comes out of ds_source_read. Reads a header when the size is native. Errors: E_DATA. */
int ds_source_shape(ds_source *s, int64_t i, int *H, int *W);
/* Item i as text, for messages. */
int ds_source_describe(const ds_source *s, int64_t i, char id[DS_ID_MAX]);
/* Decodes item i into out[0..samples_per_item-1], whose planes the caller placed for the item's shape. rgb and mask must be
 * there; metric and depth are filled where they are, normals when they are needed too. Where a needed normal is unknown the
 * mask is cleared (not with as_reference, where the mask is that of the depth). A flip is refused by stored kinds.
 * Errors: E_DATA naming the file and what is wrong with it. Not thread-safe on one source (it has scratch buffers). */
int ds_source_read(ds_source *s, int64_t i, bool flip, ds_sample *out);
/* The same from the files, where ds_source_read takes prepared data: with rgb. */
int ds_source_read_files(ds_source *s, int64_t i, bool flip, ds_sample *out);
/* Why o.filter leaves out the item that ds_source_read last read, whose planes are then not filled; NULL: it does not.
 * A function of the item's files alone. (Where the verdict is known beforehand the item is not in the list.) */
const char *ds_source_left_out(const ds_source *s);
/* Kind vkitti2: makes item i's normals from its depth and stores them as the reference does, as 16-bit PNG under
 * root/vkitti_DAG_normals; a file that is there stays. Written beside and renamed. Errors: E_CONFIG for other kinds;
 * E_DATA, E_DISK, E_IO, E_NOMEM. */
int ds_source_store_normals(ds_source *s, int64_t i, const char *root);
/* Decodes item i once and gives it plain and mirrored, in sizes as above; frame: the hash of what was decoded. Not for stored
 * kinds. Reads files, whatever was prepared. */
int ds_source_read_both(ds_source *s, int64_t i, ds_sample out[2], ds_hash *frame);

/* ---- prepared data ---- */
/* Adds what determines item by item what is decoded; `samples`: also what becomes of it. Errors: E_NOMEM. */
int ds_source_key(const ds_source *s, bool samples, ds_key *k);
/* From now on items come from the cache where it has samples: with a latent, without rgb, at its size. Otherwise every
 * decoded frame must have the hash that the cache has. Taken over, closed with the source. */
void ds_source_use_cache(ds_source *s, ds_cache *c);
/* What a latent looks like; NULL: rgb comes. */
const ds_latent_form *ds_source_latent(const ds_source *s);

/* path (size bytes of the caller's, or NULL) always names the file being read, for the report when a decoder dies in it; ""
 * when none is. */
void ds_source_watch(ds_source *s, char *path, size_t size);
/* Kind batches: extra tensors of a file. The caller supplies the memory, NULL for what it does not want; has_* say what the
 * file holds. Other kinds hold neither. */
typedef struct ds_extra {
  float *noise;       /* [B,4,H/8,W/8] */
  int64_t *timesteps; /* [B] */
  bool has_noise, has_timesteps;
} ds_extra;
int ds_source_read_extra(ds_source *s, int64_t i, ds_extra *out);

#ifdef __cplusplus
}
#endif
#endif
