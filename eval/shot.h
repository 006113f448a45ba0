/* eval/shot.h: the best and the worst images of an evaluation, kept small while it runs. */
#ifndef EVAL_SHOT_H
#define EVAL_SHOT_H
#include "eval/evaluate.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Takes the image into the list, most extreme first, if score is among the EV_SHOTS lowest (or highest) so far.
 * scores [EV_SHOTS] are the list's. pred: aligned. Errors: E_NOMEM. */
int ev_shots_offer(ev_shot *shots, double *scores, bool lowest, double score, int64_t image, const ev_item *item,
                   const float *pred, int channels);
void ev_shots_free(ev_shot *shots);
#ifdef __cplusplus
}
#endif
#endif
