/* datasets/mixer.h: which samples make up which group. A pure function of (seed, step, group): no state that a resume
 * could lose, no dependence on workers. What is kept inside only saves time.
 * Group G = (step-1) * groups_per_step + g belongs to the data set that stream "mix" draws at counter G. A data set's
 * groups take consecutive places of an endless row of epochs, each a permutation of its items ("order", data set,
 * epoch) or the list itself; a group may run over an epoch's end. A flip is drawn by (epoch, item, data set). */
#ifndef DATASETS_MIXER_H
#define DATASETS_MIXER_H
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ds_mix_entry {
  double weight;     /* > 0; chances are weight over the sum of weights */
  int64_t count;     /* items in the source */
  int samples_per_item;
  bool shuffle;
  double flip;       /* probability of a mirrored sample */
} ds_mix_entry;

typedef struct ds_mixer ds_mixer;
/* group: samples in a group. groups_per_step = batch / group.
 * Errors: E_CONFIG: a weight that is not positive, a flip outside [0,1]; E_DATA: no items, items that do not fill
 * groups; both name the entry as data[i]. E_NOMEM. */
int ds_mixer_create(uint64_t seed, const ds_mix_entry *entries, int n, int group, int groups_per_step, ds_mixer **out);
void ds_mixer_destroy(ds_mixer **m);

typedef struct ds_pick { int64_t item; bool flip; } ds_pick;
/* Group g (from 0) of step (from 1): its data set and `group` picks (one pick when the source is stored).
 * A data set is drawn by weight; its samples follow one another through shuffled epochs, each sample once an epoch.
 * attempt > 0 gives the replacement, drawn at random, for pick j of a group whose file turned out bad; the attempts of
 * one pick are different items, none of them the one replaced. Errors: E_NOMEM; E_DATA: no items are left to try. */
int ds_mixer_group(ds_mixer *m, int64_t step, int g, int *dataset, ds_pick *picks);
int ds_mixer_replace(ds_mixer *m, int64_t step, int g, int j, int attempt, int dataset, ds_pick *pick);
/* Picks that a group of this data set has: group / samples_per_item. */
int ds_mixer_picks(const ds_mixer *m, int dataset);
#ifdef __cplusplus
}
#endif
#endif
