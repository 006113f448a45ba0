/* eval/protocol.h: the published evaluation sets: where their files lie, how the truth is stored, what counts as valid.
 * Depth: Marigold's five sets as E2E-FT evaluates them (prs-eth/Marigold src/dataset); normals: DSINE's five
 * (baegwangbin/DSINE data/datasets). A set is one line of the table in protocol.c. */
#ifndef EVAL_PROTOCOL_H
#define EVAL_PROTOCOL_H
#include <stdbool.h>
#include <stddef.h>

#include "eval/align.h"
#include "eval/task.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { EV_NAME_MAX = 512 };
/* How the truth is stored. */
typedef enum {
  EV_U16_DEPTH,      /* 16-bit grey PNG, `unit` steps a metre, 0 = unknown */
  EV_RAW_DEPTH,      /* little-endian float32 as large as the image, infinity = unknown */
  EV_NPY_DEPTH,      /* .npy, with a second .npy that is 1 where valid */
  EV_PNG_NORMALS,    /* 8 or 16-bit RGB PNG, v/max*2-1, (0,0,0) = unknown */
  EV_VECTOR_NORMALS, /* .npy [H,W,3] (or PNG), converted from .exr: valid where longer than 0.5 */
  EV_REGION_NORMALS  /* the same, converted from OASIS' .pkl: valid where not zero */
} ev_truth;
/* Rows and columns that count, beside the range of depth. */
typedef enum { EV_BOX_NONE, EV_BOX_NYU, EV_BOX_EIGEN, EV_BOX_GARG } ev_box;
extern const char *const ev_box_names[4]; /* "none", "nyu", "eigen", "garg" */

/* Paths in the set that belong to one image. */
typedef struct ev_names {
  char rgb[EV_NAME_MAX], truth[EV_NAME_MAX], mask[EV_NAME_MAX]; /* mask "" when the set has none */
} ev_names;

typedef struct ev_protocol {
  const char *name, *title;
  ev_task task;
  const char *list;        /* file name of the published list */
  int columns;             /* that a line of it needs at least */
  int images;              /* that are evaluated of the published list */
  ev_truth truth;
  float unit;
  float near_m, far_m;     /* valid: near < depth < far, and what predictions are clipped to */
  ev_box box;
  bool benchmark_crop;     /* KITTI's 352x1216, bottom centre, of image and truth */
  int align_max_res;       /* 0 = none */
  int processing_res;      /* Marigold's own for this set; 0 = native. E2E-FT evaluates all at native size */
  bool all_in_range;       /* the mask file alone says what is valid */
  int domain;              /* DS_INDOOR, DS_OUTDOOR */
  /* Is rgb an image of this set? Then the other names. */
  bool (*names_of)(const char *rgb, ev_names *out);
} ev_protocol;

/* NULL when there is none; normals: "nyuv2" means nyuv2_normals. */
const ev_protocol *ev_protocol_find(const char *name, bool normals);
const ev_protocol *ev_protocol_at(size_t i); /* NULL behind the last */
/* The name under which Marigold's infer.py stores a prediction: "pred_0001" beside "rgb_0001.png". false: the set's
 * predictions have the image's own name. */
bool ev_protocol_pred_name(const ev_protocol *p, const char *rgb, char out[EV_NAME_MAX]);
/* [top,bottom) x [left,right) that counts in H x W pixels. */
typedef struct ev_bounds { int top, bottom, left, right; } ev_bounds;
ev_bounds ev_box_bounds(ev_box box, int H, int W);
#ifdef __cplusplus
}
#endif
#endif
