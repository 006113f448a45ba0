#include "trainer/bench_groups.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

static float *floats(size_t n) { return malloc(sizeof(float) * n); }

static void fill_normals(rng_key k, int B, size_t px, float *out) {
  rng_normal_f32(&k, out, 3 * px * (size_t)B);
  for (size_t b = 0; b < (size_t)B; b++)
    for (size_t i = 0; i < px; i++) {
      float *v = out + 3 * b * px + i;
      const float size = sqrtf(v[0] * v[0] + v[px] * v[px] + v[2 * px] * v[2 * px]) + 1e-6f;
      for (int c = 0; c < 3; c++) v[(size_t)c * px] /= size;
    }
}

static int make_image(rng_key k, int B, size_t px, float **out) {
  int st = OK;

  NEED((*out = floats(3 * px * (size_t)B)) != NULL, E_NOMEM, "images: %d of %zu pixels", B, px);
  for (size_t i = 0; i < 3 * px * (size_t)B; i++) (*out)[i] = (float)(2 * rng_uniform(&k, i) - 1);
out:
  return st;
}

static int make_truth(cf_task task, uint64_t seed, ds_group *g) {
  int st = OK;
  const size_t px = (size_t)g->H * (size_t)g->W, all = px * (size_t)g->B;
  const rng_key k = rng_stream(seed, "truth", 0, 0), holes = rng_stream(seed, "mask", 0, 0);

  NEED((g->mask = malloc(all)) != NULL && (g->valid = calloc((size_t)g->B, sizeof *g->valid)) != NULL, E_NOMEM, "masks");
  for (size_t i = 0; i < all; i++) {
    g->mask[i] = rng_uniform(&holes, i) > 0.05;
    g->valid[i / px] += g->mask[i];
  }
  if (task == CF_NORMALS) {
    NEED((g->normals = floats(3 * all)) != NULL, E_NOMEM, "normals");
    fill_normals(k, g->B, px, g->normals);
  } else {
    NEED((g->metric = floats(all)) != NULL, E_NOMEM, "depth");
    for (size_t i = 0; i < all; i++) g->metric[i] = (float)(1 + 60 * rng_uniform(&k, i));
  }
out:
  return st;
}

int tr_group_make(const tr_group_size *s, cf_task task, uint64_t seed, ds_group *g) {
  int st = OK;

  *g = (ds_group){.B = s->B, .H = s->H, .W = s->W, .step = 1};
  NEED((g->id = calloc((size_t)s->B, sizeof *g->id)) != NULL, E_NOMEM, "names");
  for (int b = 0; b < s->B; b++) snprintf(g->id[b], sizeof g->id[b], "made-up sample %d", b);
  TRY(make_truth(task, seed, g));
  if (s->images) TRY(make_image(rng_stream(seed, "image", 0, 0), s->B, (size_t)s->H * (size_t)s->W, &g->rgb));
out:
  if (st != OK) tr_group_fini(g);
  return st;
}

void tr_group_fini(ds_group *g) {
  free(g->rgb);
  free(g->metric);
  free(g->normals);
  free(g->mask);
  free(g->valid);
  free(g->id);
  *g = (ds_group){0};
}
