/* eval/set.h: a set of images with their truth, to evaluate on: a published set under its name, or any data set of the
 * config's kinds. */
#ifndef EVAL_SET_H
#define EVAL_SET_H
#include "datasets/source.h"
#include "eval/settings.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ev_set ev_set;

/* One image. Buffers are the set's and last until its next ev_set_read. */
typedef struct ev_item {
  const char *id;        /* path of the image in the set, or a sample's id */
  int H, W;
  const uint8_t *rgb;    /* [H,W,3] */
  const uint8_t *image;  /* [H,W,3] what a model is to see: rgb, or stretched as in DSINE's code */
  size_t channels;       /* 1: depth, 3: normals */
  const float *truth;    /* [channels,H,W] metres, or normals (x left, y up, z back) */
  const uint8_t *mask;   /* [H,W] 1 = counts */
  size_t valid;
} ev_item;

/* spec: PROTOCOL:PATH ("nyuv2:/data/nyu_labeled_extracted.tar") or KIND:PATH with a config's data kind (native size); normals: what
 * "nyuv2:" and "scannet:" mean, and which truth of a data set. sets: n key=value, see ev_settings_set. A data set's files
 * are decoded by another process: open it before the first torch call. Errors: E_CONFIG (spec, key), E_DATA (missing, no
 * image, list), E_NOMEM, E_FAIL. */
int ev_set_open(const char *spec, bool normals, const char *const *sets, size_t n, ev_set **out);
/* The same for an entry of a config's data list; name is for the report. o->need is set here; flips are not done, files in
 * list order. */
int ev_set_open_source(const ds_opts *o, const char *name, bool normals, const char *const *sets, size_t n, ev_set **out);
void ev_set_close(ev_set **s);
const char *ev_set_name(const ev_set *s);
ev_task ev_set_task(const ev_set *s);
/* NULL for a data set of the config's kinds. */
const ev_protocol *ev_set_protocol(const ev_set *s);
const ev_settings *ev_set_settings(const ev_set *s);
int64_t ev_set_count(const ev_set *s);
/* Path of image i in the set: also names stored predictions. Lent until ev_set_close. */
const char *ev_set_id(const ev_set *s, int64_t i);
/* Errors: E_DATA naming the file and what is wrong with it: the others can still be read. E_NOMEM. */
int ev_set_read(ev_set *s, int64_t i, ev_item *out);

/* in, out [n,3]: ImageNet mean and deviation, then one stretch of all channels to 0..255, truncated.
 * Source: diffusion-e2e-ft DSINE/projects/dsine/test.py. */
void ev_dsine_image(const uint8_t *in, size_t n, uint8_t *out);
#ifdef __cplusplus
}
#endif
#endif
