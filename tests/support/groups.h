/* tests/support/groups.h: what comes out of a loader as one number, to compare runs by. */
#ifndef TESTS_SUPPORT_GROUPS_H
#define TESTS_SUPPORT_GROUPS_H
#include "datasets/loader.h"
#include "tests/support/check.h"

static inline uint64_t group_mix(uint64_t h, const void *data, size_t n) {
  const unsigned char *p = data;
  for (size_t i = 0; data && i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
  return h;
}

/* All that the trainer sees of a group. */
static inline uint64_t group_hash(const ds_group *g) {
  const size_t px = (size_t)(g->B * g->H * g->W);
  uint64_t h = 0xcbf29ce484222325u;
  h = group_mix(h, &g->step, sizeof g->step);
  h = group_mix(h, (int[]){g->g, g->dataset, g->B, g->H, g->W}, 5 * sizeof(int));
  h = group_mix(h, g->rgb, 12 * px);
  h = group_mix(h, g->metric, 4 * px);
  h = group_mix(h, g->depth, 4 * px);
  h = group_mix(h, g->normals, 12 * px);
  h = group_mix(h, g->mask, px);
  h = group_mix(h, g->timesteps, 8 * (size_t)g->B);
  h = group_mix(h, g->valid, 8 * (size_t)g->B);
  h = group_mix(h, g->domain, 8 * (size_t)g->B);
  for (int b = 0; b < g->B; b++) h = group_mix(h, g->id[b], strlen(g->id[b]));
  return h;
}

static inline uint64_t group_next_hash(ds_loader *l) {
  ds_group *g = NULL;
  check_ok(ds_loader_next(l, &g));
  const uint64_t h = group_hash(g);
  ds_loader_release(l, g);
  return h;
}
#endif
