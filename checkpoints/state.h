/* checkpoints/state.h: what a run needs to go on as if it had not stopped.
 * checkpoints/step-NNNNNN/: weights.safetensors (fp32 masters), adam_m.safetensors, adam_v.safetensors, ema.safetensors
 * (when kept), config.yaml, and manifest.json, written last: format version, step, counters, and for every file its
 * size and XXH3-128, for every tensor its XXH3-128, and the hash of itself. Written into step-NNNNNN.tmp, files synced,
 * renamed, folder synced, read back; older ones are removed only after that. What a killed run leaves (.tmp, .del) is removed by
 * the next save and by ck_rundir_open. Steps of more than six digits get more. */
#ifndef CHECKPOINTS_STATE_H
#define CHECKPOINTS_STATE_H
#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { CK_FORMAT = 1 };
typedef struct ck_param { const char *name; int ndim; int64_t shape[4]; int64_t offset, numel; } ck_param;

typedef struct ck_state {
  int64_t step;            /* steps done */
  int64_t adam_t;          /* updates done (skipped steps do not count) */
  int64_t nonfinite_row;   /* skipped steps in a row */
  uint64_t seed;
  int nparams;
  const ck_param *params;  /* names, shapes and places in the flat buffers */
  int64_t numel;
  float *weights, *m, *v, *ema; /* [numel] host; ema NULL when not kept */
  const char *config;      /* merged config, YAML text */
} ck_state;

/* Saves RUN_DIR/checkpoints/step-NNNNNN (in the place of one of that step), then removes those of later steps, which
 * belong to a history that was given up, and the oldest so that the newest `keep` are left (0 keeps all) and the one that
 * ck_best_mark named. Removing warns, never fails. The caller has put the step's line of metrics.jsonl on the disk.
 * Errors: E_DISK (also when it reads back otherwise than it was written: it is removed then), E_CKPT (no permission),
 * E_NOMEM, E_NUMERIC (a value is not finite); what was there before is intact. */
int ck_save(const char *run_dir, const ck_state *s, int keep);
/* Removes the checkpoints of steps after `step`: for a run that goes on from an older one, before metrics.jsonl is cut
 * back, so that a later --resume=auto does not take up what was given up. Errors: E_DISK, E_CKPT, E_NOMEM. */
int ck_drop_after(const char *run_dir, int64_t step);
/* Newest checkpoint that verifies; damaged ones are reported and passed over. *found false, and OK, when there is none.
 * Errors: E_CKPT (no list to be had), E_NOMEM. */
int ck_latest(const char *run_dir, char path[IO_PATH_MAX], bool *found);
/* Verifies every hash and fills s->weights, m, v (ema when s->ema is set), which the caller allocated for s->params;
 * step, adam_t, nonfinite_row, seed. config (from malloc) when not NULL. ema in the file alone is ignored, in s alone an
 * error. After a failure the buffers hold anything, the rest of s is untouched. Errors: E_CKPT naming file and tensor,
 * E_NOMEM. */
int ck_load(const char *path, ck_state *s, char **config);
/* Step of a checkpoint folder, from its manifest. Errors: E_CKPT. */
int ck_step(const char *path, int64_t *step);
#ifdef __cplusplus
}
#endif
#endif
