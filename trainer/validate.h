/* trainer/validate.h: how good the model is between two steps, measured with the training's own networks. What training does
 * afterwards is not changed by a bit. */
#ifndef TRAINER_VALIDATE_H
#define TRAINER_VALIDATE_H
#include "checkpoints/best.h"
#include "checkpoints/rundir.h"
#include "trainer/board.h"
#include "trainer/optimizer.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_validator tr_validator;
/* Opens the sets of validate.sets and checks validate.best. Sets may fork: before the first torch call. *out NULL, and OK,
 * when validate.every is 0. Errors: E_CONFIG naming the key; as ev_set_open, the set's number in front. */
int tr_validator_open(const cf_config *c, tr_validator **out);
/* net and o are borrowed. step: steps done before: what a killed run measured later is measured again.
 * Errors: E_DISK, E_CKPT, E_NOMEM. */
int tr_validator_attach(tr_validator *v, const tr_network *net, tr_optimizer *o, ck_rundir *dir, int64_t step);
void tr_validator_close(tr_validator **v);
/* Is it due after `step`? */
bool tr_validator_due(const tr_validator *v, int64_t step);
/* Measures every set: a line of RUN/validation/metrics.jsonl (on the disk when this returns), pictures in
 * RUN/validation/step-NNNNNN/, both on the board unless it is NULL. *best: validate.best is better than ever before; the
 * caller saves the state and then calls tr_validator_mark. An image that cannot be read is warned of and counted.
 * Errors: E_DISK, E_IO, E_NOMEM, E_DEVICE. */
int tr_validator_run(tr_validator *v, int64_t step, tr_board *board, bool *best);
/* The checkpoint of that step is complete: it is the best. Errors: as ck_best_mark. */
int tr_validator_mark(tr_validator *v);
#ifdef __cplusplus
}
#endif
#endif
