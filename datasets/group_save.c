#include <stdio.h>
#include <stdlib.h>

#include "base/safetensors.h"
#include "datasets/loader.h"

enum { TENSORS_MAX = 8 };

typedef struct tensors {
  st_tensor t[TENSORS_MAX];
  size_t n;
} tensors;

static void add(tensors *ts, const char *name, st_dtype dtype, int C, const ds_group *g, int down,
                const void *data) {
  if (!data) return;
  st_tensor *t = &ts->t[ts->n++];
  *t = (st_tensor){.name = name,
                   .dtype = dtype,
                   .ndim = C ? 4 : 1,
                   .shape = {g->B, C, g->H / down, g->W / down},
                   .data = data};
  t->nbytes = (size_t)st_numel(t) * st_dtype_size(dtype);
}

/* "id\nid", from malloc. */
static char *ids_text(const ds_group *g) {
  char *text = malloc((size_t)g->B * (DS_ID_MAX + 1));

  for (int b = 0, at = 0; text && b < g->B; b++)
    at += snprintf(text + at, DS_ID_MAX + 1, "%s%s", b ? "\n" : "", g->id[b]);
  return text;
}

int ds_group_save(const ds_group *g, const char *path) {
  int st = OK;
  tensors ts = {.n = 0};
  char *ids = ids_text(g);

  NEED(ids, E_NOMEM, "%s: %d ids", path, g->B);
  add(&ts, "rgb", ST_F32, 3, g, 1, g->rgb);
  add(&ts, "metric", ST_F32, 1, g, 1, g->metric);
  add(&ts, "depth", ST_F32, 1, g, 1, g->depth);
  add(&ts, "normals", ST_F32, 3, g, 1, g->normals);
  add(&ts, "mask", ST_U8, 1, g, 1, g->mask);
  add(&ts, "noise", ST_F32, 4, g, 8, g->noise);
  add(&ts, "timesteps", ST_I64, 0, g, 1, g->timesteps);
  add(&ts, "domain", ST_I64, 0, g, 1, g->domain);
  TRY(st_write(path, ts.t, ts.n, (const char *[]){"ids", ids}, 1));
out:
  free(ids);
  return st;
}
