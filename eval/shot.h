/* eval/shot.h: images of an evaluation as a page shows them: small copies, and their pictures. */
#ifndef EVAL_SHOT_H
#define EVAL_SHOT_H
#include "eval/evaluate.h"
#include "eval/page.h"
#ifdef __cplusplus
extern "C" {
#endif
/* pred [channels,H,W] of the item's size: aligned metres, or normals. Errors: E_NOMEM. */
int ev_shot_make(const ev_item *item, const float *pred, int64_t image, ev_shot *out);
void ev_shot_free(ev_shot *s);
/* Takes the image into the list, most extreme first, if score is among the EV_SHOTS lowest (or highest) so far.
 * scores [EV_SHOTS] are the list's. pred: aligned. Errors: E_NOMEM. */
int ev_shots_offer(ev_shot *shots, double *scores, bool lowest, double score, int64_t image, const ev_item *item,
                   const float *pred);
void ev_shots_free(ev_shot *shots);

/* ---- pictures, within a page's row; what is not counted is grey in truth and error. Errors: E_NOMEM, E_FAIL (libpng) ---- */
/* Depth in the colours of the truth's range, so that predictions of one image can be compared. */
int ev_shot_prediction(ev_page *p, const ev_shot *s, const char *caption);
int ev_shot_truth(ev_page *p, const ev_shot *s);
/* Depth: relative error, darkest at `most`; normals: the angle, darkest at 60 degrees. */
int ev_shot_error(ev_page *p, const ev_shot *s, double most, const char *caption);
#ifdef __cplusplus
}
#endif
#endif
