/* checkpoints/best.h: which checkpoint measured best. RUN/checkpoints/best.json names it, and retention spares it:
 *   {"step": 500, "metric": "depth.abs_rel", "value": 0.052} */
#ifndef CHECKPOINTS_BEST_H
#define CHECKPOINTS_BEST_H
#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ck_best { int64_t step; char metric[64]; double value; } ck_best;
/* Durably, in the place of what was there: after a crash the old mark or the new one is there. The checkpoint of that step
 * must be complete: after ck_save, or ck_background_claim. What was best before goes with the next save, unless it is
 * among the newest. Errors: E_CKPT (no checkpoint of that step, no permission), E_DISK, E_NOMEM. */
int ck_best_mark(const char *run_dir, const ck_best *best);
/* *found false, and OK: nothing was marked, the checkpoint that was is gone, or the mark is damaged (which is reported). */
int ck_best_read(const char *run_dir, ck_best *out, bool *found);
#ifdef __cplusplus
}
#endif
#endif
