/* checkpoints/background.h: saving beside training. The trainer copies its state into buffers that stay still (the
 * snapshot) and goes on; a thread writes them. One save at a time.
 *   ck_background_claim(b)        waits for the save before, and is told how it went
 *   ... fill the snapshot ...
 *   ck_background_start(b, &s)
 *   ck_background_check(b)        once a step: how did it go, if it is done? */
#ifndef CHECKPOINTS_BACKGROUND_H
#define CHECKPOINTS_BACKGROUND_H
#include "checkpoints/state.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ck_background ck_background;
/* before(ctx), when there is one, runs in the thread ahead of each save, and a save that it fails is not made: what must
 * be on the disk before a checkpoint is visible. run_dir and keep: see ck_save. */
int ck_background_open(const char *run_dir, int keep, int (*before)(void *ctx), void *ctx, ck_background **out);
/* Waits for a running save; how it went is lost. Takes NULL. */
void ck_background_close(ck_background **b);
/* Waits until nothing is being saved; from then on the snapshot may be written to. Errors: those of the save that ended,
 * told once. */
int ck_background_claim(ck_background *b);
/* After a claim. s is copied; its buffers, params and config are borrowed until the next claim. Errors: E_NOMEM (no
 * thread). */
int ck_background_start(ck_background *b, const ck_state *s);
/* Never waits. Errors: those of a save that ended, told once. */
int ck_background_check(ck_background *b);
#ifdef __cplusplus
}
#endif
#endif
