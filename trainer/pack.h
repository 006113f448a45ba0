/* trainer/pack.h: which groups of a step are computed together. */
#ifndef TRAINER_PACK_H
#define TRAINER_PACK_H
#include <stdbool.h>

#include "datasets/loader.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Valid pixels of a group: 0 means that it takes part only in the count of groups. */
int64_t tr_group_valid(const ds_group *g);
/* Chooses the next micro-batch of a step: the first group that is not `done` and all later ones of its shape, in order,
 * up to `max` groups. picked [max] gets their indices. Returns how many, 0 when all are done. */
int tr_pack_next(ds_group *const *groups, int n, const bool *done, int max, int *picked);
#ifdef __cplusplus
}
#endif
#endif
