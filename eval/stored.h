/* eval/stored.h: predictions that some program has stored, found by the image's name.
 * For image a/rgb_0001.png: DIR/a/rgb_0001.{npy,png}, DIR/a/pred_0001.{npy,png} (Marigold's infer.py), or, where no two
 * images of the set share a stem, DIR/rgb_0001.{npy,png}. */
#ifndef EVAL_STORED_H
#define EVAL_STORED_H
#include "eval/set.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ev_stored ev_stored;
/* path: folder or tar archive. The set is borrowed. Errors: E_DATA, E_NOMEM. */
int ev_stored_open(const char *path, const ev_set *set, ev_stored **out);
void ev_stored_close(ev_stored **s);
/* Prediction for image i into out, as large as the item. Depth [H,W]: .npy of float16, 32 or 64 with axes of size 1 allowed,
 * or 16-bit grey PNG / 65535. Normals [3,H,W]: .npy [3,H,W] or [H,W,3], or 8 or 16-bit RGB PNG, v/max*2-1.
 * Errors: E_DATA: missing, unreadable, another size than the item's. */
int ev_stored_read(void *stored, int64_t i, const ev_item *item, float *out);
#ifdef __cplusplus
}
#endif
#endif
