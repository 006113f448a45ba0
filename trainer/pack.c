#include "trainer/pack.h"

int64_t tr_group_valid(const ds_group *g) {
  int64_t n = 0;
  for (int b = 0; b < g->B; b++) n += g->valid[b];
  return n;
}

int tr_pack_next(ds_group *const *groups, int n, const bool *done, int max, int *picked) {
  int k = 0;

  for (int g = 0; g < n && k < max; g++) {
    if (done[g]) continue;
    if (k && (groups[g]->H != groups[picked[0]]->H || groups[g]->W != groups[picked[0]]->W)) continue;
    picked[k++] = g;
  }
  return k;
}
