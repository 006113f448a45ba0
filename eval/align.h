/* eval/align.h: the scale and shift that bring an affine-invariant prediction to metres, by least squares over the
 * valid pixels of one image. */
#ifndef EVAL_ALIGN_H
#define EVAL_ALIGN_H
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
/* The space in which prediction and truth are linear functions of each other; EV_ALIGN_NONE: metres as they are. */
typedef enum { EV_ALIGN_DEPTH, EV_ALIGN_DISPARITY, EV_ALIGN_SQRT_DISPARITY, EV_ALIGN_NONE, EV_ALIGNMENTS } ev_alignment;
/* "depth", "disparity", "sqrt_disparity", "none". */
extern const char *const ev_alignment_names[EV_ALIGNMENTS];

typedef struct ev_align_opts {
  ev_alignment space;
  int max_res;     /* > 0: the fit sees fewer pixels, see ev_fit */
  float near_m, far_m; /* what the aligned depth is clipped to; far_m may be INFINITY */
} ev_align_opts;

typedef struct ev_fit_result { float scale, shift; } ev_fit_result;

/* scale and shift minimising the sum of (scale*pred + shift - target)^2 where mask is 1; planes are [H,W]. Where the valid
 * pixels do not determine both (one pixel, a constant prediction), the pair of least norm, as numpy.linalg.lstsq.
 * max_res > 0 and smaller than the longer side: only the columns floor(x * longer/max_res) are seen, and every row. That
 * is what the reference does, whose nearest-neighbour Upsample takes a [1,H,W] array for a batch of 1-D signals.
 * Errors: E_DATA: no valid pixel among those seen, or a prediction that is not finite at one.
 * Source: prs-eth/Marigold src/util/alignment.py. */
int ev_fit(const float *pred, const float *target, const uint8_t *mask, int H, int W, int max_res, ev_fit_result *out);

/* pred [H,W] affine-invariant (metres for EV_ALIGN_NONE), truth [H,W] metres -> out [H,W] metres, clipped to near_m..far_m
 * and to at least 1e-6 m. In (square-root) disparity only pixels where prediction and truth are positive are fitted and
 * the aligned disparity is at least 1e-3. fit may be NULL; it is 1, 0 for EV_ALIGN_NONE. Errors: as ev_fit, E_NOMEM.
 * Source: Marigold's eval.py; for the square root indu1ge/DepthMaster evaluate.py. */
int ev_align(const ev_align_opts *o, const float *pred, const float *truth, const uint8_t *mask, int H, int W, float *out,
             ev_fit_result *fit);
#ifdef __cplusplus
}
#endif
#endif
