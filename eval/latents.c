#include "eval/latents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/safetensors.h"

enum { STEPS_MAX = 1000 };

/* What ev_latents points to, in one place to free. */
typedef struct stored {
  ev_latents l;
  char *path;
  float *values[1 + STEPS_MAX]; /* the start, then after each step */
} stored;

static int read_tensor(const st_tensor *t, const char *path, stored *s, int i) {
  int st = OK;
  const size_t n = (size_t)st_numel(t);

  NEED((s->values[i] = malloc(sizeof(float) * n + 1)) != NULL, E_NOMEM, "%s: %s: %zu floats", path, t->name, n);
  TRY_AS(E_CONFIG, st_to_f32(t, s->values[i]), "%s", path);
out:
  return st;
}

static int read_all(const st_file *f, const char *path, stored *s) {
  int st = OK, i = 0;
  char name[16];
  const st_tensor *t = st_find(f, "latents"), *noise;

  NEED(t, E_CONFIG, "%s: wanted a tensor `latents`, found none", path);
  NEED(t->ndim == 4 && st_numel(t) > 0 && t->shape[1] < 1 << 16 && t->shape[2] < 1 << 16 && t->shape[3] < 1 << 16, E_CONFIG,
       "%s: latents: wanted [B,4,h,w], found %s", path, st_shape_text(t->ndim, t->shape));
  s->l = (ev_latents){.path = s->path, .n = t->shape[0], .C = (int)t->shape[1], .h = (int)t->shape[2], .w = (int)t->shape[3]};
  TRY(read_tensor(t, path, s, 0));
  for (; i < STEPS_MAX && (snprintf(name, sizeof name, "noise%d", i), noise = st_find(f, name)); i++) {
    NEED(noise->ndim == 4 && !memcmp(noise->shape, t->shape, 4 * sizeof *t->shape), E_CONFIG, "%s: %s: wanted %s as latents have, found %s",
         path, name, st_shape_text(4, t->shape), st_shape_text(noise->ndim, noise->shape));
    TRY(read_tensor(noise, path, s, 1 + i));
  }
  s->l.noise = s->values[0];
  s->l.step_noise = (const float *const *)s->values + 1;
  s->l.n_step_noise = i;
out:
  return st;
}

int ev_latents_read(const char *path, ev_latents **out) {
  int st = OK;
  st_file *f = NULL;
  stored *s = calloc(1, sizeof *s);
  ev_latents *l = s ? &s->l : NULL;

  NEED(s && (s->path = strdup(path)), E_NOMEM, "%s: latents", path);
  TRY_AS(E_DATA, st_open(path, &f), "latents");
  TRY(read_all(f, path, s));
  *out = l;
  l = NULL;
out:
  st_close(&f);
  ev_latents_free(&l);
  return st;
}

void ev_latents_free(ev_latents **l) {
  stored *s = (stored *)*l;

  if (!s) return;
  for (int i = 0; i <= STEPS_MAX; i++) free(s->values[i]);
  free(s->path);
  free(s);
  *l = NULL;
}
