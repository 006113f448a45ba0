/* trainer/saver.h: checkpoints of a run: snapshot of the state, written beside training (checkpoints/background.h). With
 * checkpoint.background false there is no snapshot, and training waits for the disk. */
#ifndef TRAINER_SAVER_H
#define TRAINER_SAVER_H
#include "trainer/optimizer.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_saver tr_saver;
/* All but c is borrowed until the end; the snapshot's memory is taken and touched now. Each save syncs metrics, which
 * holds the lines of the steps so far, before its checkpoint becomes visible. Errors: E_NOMEM, E_DEVICE. */
int tr_saver_create(const cf_config *c, const char *run_dir, const char *config_text, tr_optimizer *o, io_file *metrics,
                    tr_saver **out);
/* Waits for a save that is under way; how it went is lost. Takes NULL. */
void tr_saver_destroy(tr_saver **s);
/* Copies the state after `step` and begins to write it; waits for the save before. Errors: those of ck_save, of either. */
int tr_saver_save(tr_saver *s, int64_t step, int64_t nonfinite_row);
/* Never waits. Errors: those of a save that ended since. */
int tr_saver_check(tr_saver *s);
/* Until all is on the disk. */
int tr_saver_wait(tr_saver *s);
/* Seconds that the calls above took since this was last asked. */
double tr_saver_stalled(tr_saver *s);
#ifdef __cplusplus
}
#endif
#endif
