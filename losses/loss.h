/* losses/loss.h: task losses on the decoded image. Adding one: a file with its ls_kind, one line in kinds.c.
 *
 * A step's loss is the mean over its groups of the mean over a group's valid pixels. Valid counts are known before the
 * step, so a loss works on any part of any groups: sample b contributes weight[b] times the sum over its valid pixels,
 * with weight[b] = 1 / (valid pixels of its group * groups in the step). */
#ifndef LOSSES_LOSS_H
#define LOSSES_LOSS_H
#include "tchc/tchc.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { LS_DEPTH, LS_NORMALS } ls_task;

typedef struct ls_batch {
  const tchc_tensor *decoded; /* [B,3,H,W], the decoder's output, any float type */
  const tchc_tensor *target;  /* metric [B,1,H,W] f32 metres, or normals [B,3,H,W] f32 */
  const tchc_tensor *mask;    /* [B,1,H,W] u8 */
  const tchc_tensor *weight;  /* [B] f32 */
  bool reference;             /* the reference's NaN cases (objective.reference) */
  const struct kn_cuda *cuda; /* kernels for the device where decoded lies (kn_cuda_open); NULL: by way of the host */
} ls_batch;

typedef struct ls_kind {
  const char *name;           /* "affine_l1" */
  ls_task task;
  /* total: scalar f32 with a graph to decoded, sum of weight[b] * sums[b].
   * sums: [B] f32 without a graph, sum of the error over sample b's valid pixels. */
  int (*apply)(const ls_batch *b, tchc_tensor **total, tchc_tensor **sums);
} ls_kind;
/* NULL-ended. */
extern const ls_kind *const ls_kinds[];
const ls_kind *ls_find(const char *name); /* NULL when unknown */
#ifdef __cplusplus
}
#endif
#endif
