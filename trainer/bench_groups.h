/* trainer/bench_groups.h: groups of made-up samples, as a loader would give them. */
#ifndef TRAINER_BENCH_GROUPS_H
#define TRAINER_BENCH_GROUPS_H
#include "configs/config.h"
#include "datasets/loader.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_group_size {
  int B, H, W;
  bool images; /* RGB too, else none */
} tr_group_size;
/* A function of seed and size: metres or normals, one pixel in 20 masked, images of noise. Errors: E_NOMEM. */
int tr_group_make(const tr_group_size *s, cf_task task, uint64_t seed, ds_group *g);
void tr_group_fini(ds_group *g);
#ifdef __cplusplus
}
#endif
#endif
