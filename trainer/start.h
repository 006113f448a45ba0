/* trainer/start.h: what a run folder's state means for this call: begin, go on from a checkpoint, or nothing to do. */
#ifndef TRAINER_START_H
#define TRAINER_START_H
#include "base/io.h"
#include "checkpoints/rundir.h"
#include "configs/config.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_start {
  bool finished;                  /* steps done and weights exported */
  bool leftovers;                 /* what a killed run left is to be removed first */
  bool named;                     /* the checkpoint was asked for: newer ones are given up */
  int64_t step;                   /* steps done, 0 = from the beginning */
  char checkpoint[IO_PATH_MAX];   /* "" = none */
} tr_start;

/* resume: NULL, "auto" (the newest checkpoint, or a fresh start without one), or a checkpoint or run folder.
 * force: go on although the config's meaning changed. Changes nothing on disk.
 * Errors: E_CKPT: a used folder without --resume, no such checkpoint, one of another run while this folder is used;
 * E_CONFIG: keys that change the meaning differ from the checkpoint's config. */
int tr_start_decide(const cf_config *c, const ck_rundir *dir, const char *resume, bool force, tr_start *out);
/* Removes what contradicts the decision: leftovers, or checkpoints newer than the one to go on from and model/. */
int tr_start_prepare(const tr_start *s, ck_rundir *dir);
#ifdef __cplusplus
}
#endif
#endif
