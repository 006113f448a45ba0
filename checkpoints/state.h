/* checkpoints/state.h: what a run needs to go on as if it had not stopped.
 * checkpoints/step-NNNNNN/: weights.safetensors (fp32 masters), adam_m.safetensors, adam_v.safetensors, ema.safetensors
 * (when kept), config.yaml, and manifest.json, written last: format version, step, counters, and for every file its
 * size and XXH3-128, for every tensor its XXH3-128. Written into step-NNNNNN.tmp, files synced, renamed, folder synced;
 * older ones are removed only after that. */
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

/* Saves RUN_DIR/checkpoints/step-NNNNNN, then removes the oldest so that `keep` are left (0 keeps all).
 * Errors: E_DISK, E_IO, E_NOMEM; what was there before is intact. */
int ck_save(const char *run_dir, const ck_state *s, int keep);
/* Newest checkpoint that verifies; damaged ones are reported and passed over. *found false, and OK, when there is none. */
int ck_latest(const char *run_dir, char path[IO_PATH_MAX], bool *found);
/* Verifies every hash and fills s->weights, m, v (ema when s->ema is set), which the caller allocated for s->params;
 * step, adam_t, nonfinite_row, seed. config (from malloc) when not NULL. Errors: E_CKPT naming file and tensor. */
int ck_load(const char *path, ck_state *s, char **config);
/* Step of a checkpoint folder, from its manifest. Errors: E_CKPT. */
int ck_step(const char *path, int64_t *step);
#ifdef __cplusplus
}
#endif
#endif
