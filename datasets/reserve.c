#include "datasets/reserve.h"

#include "datasets/ring.h"

bool ds_reserve_unknown(const ds_source *s) {
  return ds_source_opts(s)->H == 0 && !ds_source_is_stored(s) && !ds_source_latent(s);
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* With prepared data also for the same group from its files (ds_loader_decode). */
static size_t bytes_of(ds_planes p) {
  const size_t prepared = ds_ring_plane_bytes(&p);

  p.latent = NULL;
  return larger(prepared, ds_ring_plane_bytes(&p));
}

static size_t source_planes(const ds_loader_opts *o, ds_source *s, int64_t reserve) {
  const bool stored = ds_source_is_stored(s);
  ds_planes p = {.B = o->singly ? ds_source_samples_per_item(s) : o->group,
                 .H = 8,
                 .W = (int)(reserve / 8),
                 .need = ds_source_opts(s)->need,
                 .stored = stored,
                 .latent = ds_source_latent(s)};
  size_t most = 0;

  if (ds_reserve_unknown(s)) return bytes_of(p);
  for (int64_t i = 0; i < (stored ? ds_source_count(s) : 1); i++)
    if (ds_source_shape(s, i, &p.H, &p.W) == OK) most = larger(most, bytes_of(p)); /* else reading it will say why */
  return most;
}

size_t ds_reserve_planes(const ds_loader_opts *o, const ds_data *data, int n, int64_t reserve) {
  size_t most = 0;

  for (int i = 0; i < n; i++) most = larger(most, source_planes(o, data[i].source, reserve));
  return most;
}
