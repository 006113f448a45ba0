/* checkpoints/rundir.h: the run folder: its lock, its metrics file, whether the run is finished. */
#ifndef CHECKPOINTS_RUNDIR_H
#define CHECKPOINTS_RUNDIR_H
#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ck_rundir ck_rundir;
/* Makes the folder and takes its lock (fcntl: children do not inherit it). Errors: E_CKPT: locked by another trainer
 * (its pid), not a folder; E_DISK: read-only or full. */
int ck_rundir_open(const char *path, ck_rundir **out);
void ck_rundir_close(ck_rundir **r);
const char *ck_rundir_path(const ck_rundir *r);
/* Has it been used: a config.yaml, metrics or checkpoints from a run? */
bool ck_rundir_used(const ck_rundir *r);
/* model/ complete. */
bool ck_rundir_finished(const ck_rundir *r);
/* Removes what a run left, all but the lock. */
int ck_rundir_clear(ck_rundir *r);

/* metrics.jsonl: cut back to the lines of steps <= step (a torn last line goes too), then opened for appending. */
int ck_metrics_open(ck_rundir *r, int64_t step, io_file *f);
#ifdef __cplusplus
}
#endif
#endif
