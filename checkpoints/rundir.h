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
/* Makes the folder, takes its lock (fcntl on RUN/lock, which holds the pid: children do not inherit it) and removes what
 * a killed run left of its checkpoints. One process opens a folder once: fcntl does not see a second time.
 * Errors: E_CKPT: locked by another trainer (its pid), not a folder, no permission; E_DISK: read-only or full. */
int ck_rundir_open(const char *path, ck_rundir **out);
void ck_rundir_close(ck_rundir **r);
const char *ck_rundir_path(const ck_rundir *r);
/* Has it been used: a config.yaml, run.json, metrics, weights or checkpoints from a run? */
bool ck_rundir_used(const ck_rundir *r);
/* model/ is there, with its U-Net, and no export is half-way (*.tmp beside it). A run that makes more than one folder
 * makes model/ last. */
bool ck_rundir_finished(const ck_rundir *r);
/* Removes what a run left, torn or whole: its files and folders by name, never the lock or what others put there.
 * Before log_open_file: log.txt goes too. Errors: E_DISK, E_CKPT. */
int ck_rundir_clear(ck_rundir *r);

/* metrics.jsonl: cut back to the lines of steps <= step, each step once (a torn last line goes too), then opened for
 * appending. Errors: E_DISK, E_CKPT, E_NOMEM. */
int ck_metrics_open(ck_rundir *r, int64_t step, io_file *f);
/* The same for another file of the run folder that has one line a step, or fewer. */
int ck_lines_open(ck_rundir *r, const char *name, int64_t step, io_file *f);
#ifdef __cplusplus
}
#endif
#endif
