#include "datasets/mixer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* How many groups of each data set come before group G is counted from the nearest block before it. */
enum { BLOCK = 1024, EPOCHS_KEPT = 2, ATTEMPTS_MAX = 64 };

typedef struct epoch_order {
  int64_t epoch;  /* -1: none yet */
  uint32_t *item; /* [count] */
} epoch_order;

typedef struct entry {
  ds_mix_entry in;
  double upto;                    /* sum of the weights up to this one */
  epoch_order order[EPOCHS_KEPT]; /* at epoch % EPOCHS_KEPT: a group may straddle two */
} entry;

struct ds_mixer {
  uint64_t seed;
  rng_key mix;
  int n, group, groups_per_step;
  entry *entries;
  int64_t *blocks; /* [nblocks][n] groups of each data set before group block * BLOCK */
  int64_t nblocks;
  int64_t *before; /* [n] the same before group `at` */
  int64_t at;
};

static int entries_check(const ds_mix_entry *e, int n, int group) {
  int st = OK;

  for (int i = 0; i < n; i++) {
    NEED(e[i].weight > 0 && e[i].weight < 1e300, E_CONFIG, "data.%d.weight: %g is not a positive number", i,
         e[i].weight);
    NEED(e[i].flip >= 0 && e[i].flip <= 1, E_CONFIG, "data.%d.flip: %g is not in 0 to 1", i, e[i].flip);
    NEED(e[i].count > 0, E_DATA, "data.%d: no samples", i);
    NEED(e[i].count <= UINT32_MAX, E_DATA, "data.%d: %lld items, at most %u are possible", i,
         (long long)e[i].count, UINT32_MAX);
    NEED(e[i].samples_per_item >= 1 && group % e[i].samples_per_item == 0, E_DATA,
         "data.%d: a file of %d samples does not fill groups of %d", i, e[i].samples_per_item, group);
  }
out:
  return st;
}

int ds_mixer_create(uint64_t seed, const ds_mix_entry *entries, int n, int group, int groups_per_step,
                    ds_mixer **out) {
  int st = OK;
  ds_mixer *m = NULL;
  double sum = 0;

  NEED(n >= 1, E_CONFIG, "data: no entries");
  NEED(group >= 1 && groups_per_step >= 1, E_CONFIG, "optim: groups of %d, %d a step", group,
       groups_per_step);
  TRY(entries_check(entries, n, group));
  NEED((m = calloc(1, sizeof *m)) && (m->entries = calloc((size_t)n, sizeof *m->entries)) &&
           (m->before = calloc((size_t)n, sizeof *m->before)),
       E_NOMEM, "mixer of %d data sets", n);
  *m = (ds_mixer){.seed = seed,
                  .mix = rng_stream(seed, "mix", 0, 0),
                  .n = n,
                  .group = group,
                  .groups_per_step = groups_per_step,
                  .entries = m->entries,
                  .before = m->before};
  for (int i = 0; i < n; i++) {
    m->entries[i] = (entry){.in = entries[i], .upto = sum += entries[i].weight};
    for (int k = 0; k < EPOCHS_KEPT; k++) m->entries[i].order[k].epoch = -1;
  }
  *out = m;
  m = NULL;
out:
  ds_mixer_destroy(&m);
  return st;
}

void ds_mixer_destroy(ds_mixer **mp) {
  ds_mixer *m = *mp;

  if (!m) return;
  for (int i = 0; m->entries && i < m->n; i++)
    for (int k = 0; k < EPOCHS_KEPT; k++) free(m->entries[i].order[k].item);
  free(m->entries);
  free(m->blocks);
  free(m->before);
  free(m);
  *mp = NULL;
}

static int dataset_of(const ds_mixer *m, int64_t G) {
  const double u = rng_uniform(&m->mix, (uint64_t)G) * m->entries[m->n - 1].upto;
  int d = 0;

  while (d < m->n - 1 && u >= m->entries[d].upto) d++;
  return d;
}

static void count_on(const ds_mixer *m, int64_t from, int64_t to, int64_t *counts) {
  for (int64_t G = from; G < to; G++) counts[dataset_of(m, G)]++;
}

static int blocks_reach(ds_mixer *m, int64_t block) {
  int st = OK;
  const size_t row = (size_t)m->n * sizeof *m->blocks;

  if (block < m->nblocks) return OK;
  int64_t *grown = realloc(m->blocks, (size_t)(block + 1) * row);
  NEED(grown, E_NOMEM, "mixer: %lld blocks of groups", (long long)block + 1);
  m->blocks = grown;
  for (; m->nblocks <= block; m->nblocks++) {
    int64_t *to = grown + m->nblocks * m->n;
    if (m->nblocks == 0) {
      memset(to, 0, row);
      continue;
    }
    memcpy(to, to - m->n, row);
    count_on(m, (m->nblocks - 1) * BLOCK, m->nblocks * BLOCK, to);
  }
out:
  return st;
}

/* Groups of data set d before group G. */
static int groups_before(ds_mixer *m, int64_t G, int d, int64_t *out) {
  int st = OK;

  if (m->n > 1) {
    if (G < m->at || G - m->at > BLOCK) {
      TRY(blocks_reach(m, G / BLOCK));
      memcpy(m->before, m->blocks + G / BLOCK * m->n, (size_t)m->n * sizeof *m->before);
      m->at = G / BLOCK * BLOCK;
    }
    count_on(m, m->at, G, m->before);
    m->at = G;
  }
  *out = m->n > 1 ? m->before[d] : G;
out:
  return st;
}

/* What stands at `place` of the endless row of epochs. */
static int item_at(ds_mixer *m, int d, int64_t place, int64_t *item, int64_t *epoch) {
  int st = OK;
  entry *e = &m->entries[d];

  *epoch = place / e->in.count;
  *item = place % e->in.count;
  if (!e->in.shuffle) return OK;
  epoch_order *o = &e->order[*epoch % EPOCHS_KEPT];
  if (!o->item) {
    o->item = malloc((size_t)e->in.count * sizeof *o->item);
    NEED(o->item, E_NOMEM, "data.%d: the order of %lld items", d, (long long)e->in.count);
  }
  if (o->epoch != *epoch) {
    const rng_key k = rng_stream(m->seed, "order", (uint64_t)d, (uint64_t)*epoch);
    rng_permutation(&k, o->item, (uint32_t)e->in.count);
    o->epoch = *epoch;
  }
  *item = o->item[*item];
out:
  return st;
}

int ds_mixer_picks(const ds_mixer *m, int dataset) {
  return m->group / m->entries[dataset].in.samples_per_item;
}

int ds_mixer_group(ds_mixer *m, int64_t step, int g, int *dataset, ds_pick *picks) {
  assert(step >= 1 && g >= 0 && g < m->groups_per_step);
  int st = OK;
  const int64_t G = (step - 1) * m->groups_per_step + g;
  const int d = dataset_of(m, G), n = ds_mixer_picks(m, d);
  int64_t before, epoch;

  TRY(groups_before(m, G, d, &before));
  for (int j = 0; j < n; j++) {
    TRY(item_at(m, d, before * n + j, &picks[j].item, &epoch));
    const rng_key k = rng_stream(m->seed, "flip", (uint64_t)epoch, (uint64_t)picks[j].item);
    picks[j].flip = rng_uniform(&k, (uint64_t)d) < m->entries[d].in.flip;
  }
  *dataset = d;
out:
  return st;
}

/* Adds to taken, n ascending items, the r-th item (from 0) that is not among them. */
static int64_t take_free(int64_t *taken, int n, int64_t r) {
  int i = 0;

  while (i < n && taken[i] <= r) i++, r++;
  memmove(taken + i + 1, taken + i, (size_t)(n - i) * sizeof *taken);
  return taken[i] = r;
}

int ds_mixer_replace(ds_mixer *m, int64_t step, int g, int j, int attempt, int dataset, ds_pick *pick) {
  assert(attempt >= 1 && attempt < ATTEMPTS_MAX);
  int st = OK;
  const int64_t G = (step - 1) * m->groups_per_step + g;
  const ds_mix_entry *e = &m->entries[dataset].in;
  const rng_key k = rng_stream(m->seed, "replace", (uint64_t)G, (uint64_t)j);
  int64_t taken[ATTEMPTS_MAX], before, epoch;

  NEED(attempt < e->count, E_DATA, "data.%d: all %lld items were tried", dataset, (long long)e->count);
  TRY(groups_before(m, G, dataset, &before));
  TRY(item_at(m, dataset, before * ds_mixer_picks(m, dataset) + j, &taken[0], &epoch));
  for (int a = 1; a <= attempt; a++)
    pick->item = take_free(taken, a, (int64_t)rng_below(&k, 2 * (uint64_t)a, (uint64_t)(e->count - a)));
  pick->flip = rng_uniform(&k, 2 * (uint64_t)attempt + 1) < e->flip;
out:
  return st;
}
