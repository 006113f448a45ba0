/* datasets/kind.h: what a kind of data set has to supply, and the source that it works on. For the kinds alone. */
#ifndef DATASETS_KIND_H
#define DATASETS_KIND_H
#include "datasets/frame.h"
#include "datasets/h5.h"
#include "datasets/source.h"
#ifdef __cplusplus
extern "C" {
#endif
/* A kind decodes frames (size and decode) or replays samples as they are stored (size, read and read_extra). */
typedef struct ds_kind {
  const char *name;
  double far_default;
  int domain_default;
  bool has_filter;    /* knows what o.filter means */
  int H, W;           /* size when the config gives none; 0,0 = native */
  int crop_H, crop_W; /* crop when it gives neither size nor crop, for frames that are large enough; 0,0 = none */
  int (*open)(ds_source *s);   /* sets s->list, s->count */
  void (*close)(ds_source *s); /* takes a list that open left unfinished, or none */
  void (*describe)(const ds_source *s, int64_t i, char id[DS_ID_MAX]);
  int (*size)(ds_source *s, int64_t i, int *H, int *W); /* native */
  int (*decode)(ds_source *s, int64_t i);               /* into s->frame; or says in s->left_out why not */
  int (*domain)(const ds_source *s, int64_t i);         /* the item's own, -1 = the options'; NULL: there are none */
  /* What else than its id and the options determines item i: its camera, its units. NULL: nothing does. */
  void (*fingerprint)(const ds_source *s, int64_t i, ds_hasher *h);
  int (*read)(ds_source *s, int64_t i, ds_sample *out);
  int (*read_extra)(ds_source *s, int64_t i, ds_extra *out);
  int (*store_normals)(ds_source *s, int64_t i, const char *root); /* NULL: its data come with normals */
} ds_kind;
/* NULL-ended. */
extern const ds_kind *const ds_kinds[];

struct ds_source {
  const ds_kind *kind;
  ds_opts o;          /* with the kind's defaults in place; owns its strings */
  bool crop_must_fit; /* the crop was asked for, it is not the kind's own */
  int64_t count;
  int samples_per_item;
  void *list; /* the kind's own */
  ds_frame frame, kept; /* kept: the frame before it was emitted, to emit it again */
  ds_cache *cache;      /* prepared data, or NULL */
  ds_hasher *hasher;
  int item_domain; /* of the item that decode read, which sets it; -1: the options' */
  ds_h5 h5;
  ds_buf file, colour, distance, entity, vectors; /* scratch of decoders */
  char *watch;                                    /* the caller's, for the path being read */
  size_t watch_size;
  char left_out[64];                              /* ds_source_left_out, "" = it is not */
};

/* Says which file is being read, from now on. */
void ds_source_reading(ds_source *s, const char *path);
/* E_DATA unless both sizes are the same. */
int ds_same_size(const char *path, int H, int W, const char *first_path, int first_H, int first_W);
#ifdef __cplusplus
}
#endif
#endif
