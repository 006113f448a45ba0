/* eval/ensemble.h: several predictions of one image become one. */
#ifndef EVAL_ENSEMBLE_H
#define EVAL_ENSEMBLE_H
#include <stdbool.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { EV_MEDIAN, EV_MEAN, EV_CLOSEST } ev_reduction;
typedef struct ev_ensemble_opts {
  ev_reduction depth;          /* EV_MEDIAN or EV_MEAN */
  ev_reduction normals;        /* EV_CLOSEST or EV_MEAN */
  double regularizer;          /* weight of how far the result is from spanning [0,1] */
  int max_iterations;          /* of the alignment */
  double tolerance;            /* of its gradient */
  int max_resolution;          /* alignment on a smaller image when it is larger; 0: as it is */
} ev_ensemble_opts;
void ev_ensemble_opts_default(ev_ensemble_opts *o);

/* depth [n,H,W] in [0,1], aligned by scale and shift to each other, reduced pixel by pixel, and stretched to [0,1].
 * The alignment is Marigold's: BFGS from the scale and shift that stretch each member to [0,1], on the cost
 *   sum over pairs of rms(difference) + regularizer (|min| + |1 - max|) of the reduced image,
 * as_reference: one rms over all pairs instead of the sum. There scales and shifts are rounded to f32 in the cost, while
 * its gradient is taken by differences of 1.5e-8, so that its rounding decides the way; here every number is rounded as
 * torch rounds it on the same processor, and the result is the same to the bit (40 of 40 random ensembles;
 * 37 of 40 of the reference's).
 * shift false: scale alone; scale false too: no alignment and no stretching. out [H,W], uncertainty [H,W] (may be NULL):
 * median or standard deviation of what is left.
 * depth is overwritten by the aligned members. Errors: E_NOMEM.
 * Sources: diffusers pipeline_marigold_depth.py ensemble_depth; the reference's Marigold/marigold/util/ensemble.py. */
int ev_ensemble_depth(const ev_ensemble_opts *o, bool as_reference, bool scale, bool shift, float *depth, int n, int H,
                      int W, float *out, float *uncertainty);
/* normals [n,3,H,W]. diffusers: the mean direction, or at each pixel the member closest to it; uncertainty is the mean
 * angle to it over pi. as_reference: the one member closest to the mean of the angles; it gives no uncertainty. */
int ev_ensemble_normals(const ev_ensemble_opts *o, bool as_reference, const float *normals, int n, int H, int W,
                        float *out, float *uncertainty);
#ifdef __cplusplus
}
#endif
#endif
