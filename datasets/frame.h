/* datasets/frame.h: a decoded frame at its native size, and its way through flip, crop and resize to a sample. */
#ifndef DATASETS_FRAME_H
#define DATASETS_FRAME_H
#include "datasets/hash.h"
#include "datasets/resize.h"
#include "datasets/sample.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Buffers are reused from frame to frame. Starts as {0}. */
typedef struct ds_frame {
  int H, W;
  ds_buf rgb;     /* u8 [H,W,3] */
  ds_buf depth;   /* f32 [H,W] planar metres; NaN, 0 or less where unknown */
  ds_buf normals; /* f32 [H,W,3] LUB, 0 where unknown; or images, u8 [H,W,3] as the reference handles them */
  bool normals_are_images;
  bool no_depth;  /* depth was never measured: it only says which pixels count, by 1 and 0 */
  ds_resizer resizer;
  ds_buf resized, scratch;
} ds_frame;
void ds_frame_free(ds_frame *f);
/* Pixels alone. Errors: E_NOMEM. */
int ds_frame_copy(const ds_frame *from, bool with_normals, ds_frame *to);
/* Size, colours, depth and, with_normals, normals. */
void ds_frame_hash(const ds_frame *f, bool with_normals, ds_hasher *h);

typedef struct ds_window {
  int top, left, H, W;
} ds_window;

/* What ds_frame_emit does on the way. */
typedef struct ds_view {
  bool flip;        /* mirror, before the crop */
  ds_window window; /* part that is kept, before the resize */
  float near_m, far_m;
  bool as_reference;
  bool whole_depth; /* metric as it is, 0 where invalid */
} ds_view;

/* Fills s's planes, mask and valid at s->H x s->W. normals are made when s->normals is there. Spoils the frame.
 * Errors: E_NOMEM. */
int ds_frame_emit(ds_frame *f, const ds_view *v, ds_sample *s);
#ifdef __cplusplus
}
#endif
#endif
