/* trainer/loss_curve.h: a run's losses, from its metrics.jsonl. */
#ifndef TRAINER_LOSS_CURVE_H
#define TRAINER_LOSS_CURVE_H
#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_loss_curve {
  double *step, *loss, *mean; /* [n]; mean: of the last `over` losses that were finite, NaN where there is none */
  int n, over;
} tr_loss_curve;
/* Errors: E_CKPT: missing, too large, or a line that is not one of metrics.jsonl (its number is named); E_NOMEM. A last line without
 * its end, as a killed run may leave it, is left out. */
int tr_loss_curve_read(const char *path, tr_loss_curve *out);
void tr_loss_curve_free(tr_loss_curve *c);
#ifdef __cplusplus
}
#endif
#endif
