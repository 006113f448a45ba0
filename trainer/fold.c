#include "trainer/fold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/embeddings.h"

int tr_fold_factor(const md_schedule *s, int t, double *factor) {
  int st = OK;
  const double a = (double)s->alphas_cumprod[t], rest = (double)(1.0f - s->alphas_cumprod[t]);

  switch (s->prediction) {
  case MD_SAMPLE: *factor = 1; break;
  case MD_V_PREDICTION: *factor = -sqrt(rest); break;
  case MD_EPSILON:
    NEED(a > 0, E_CKPT, "prediction_type epsilon says nothing of the clean latent at timestep %d", t);
    *factor = -sqrt(rest / a);
    break;
  }
out:
  return st;
}

static st_tensor *find(tr_folded *f, const char *name) {
  for (size_t i = 0; i < f->n; i++)
    if (!strcmp(f->tensors[i].name, name)) return &f->tensors[i];
  return NULL;
}

/* Tensor `name` with memory of its own, zeros; was: what it held. */
static int renew(tr_folded *f, int slot, const char *name, size_t numel, st_tensor **t, const float **was) {
  int st = OK;

  NEED((*t = find(f, name)) != NULL, E_CKPT, "the U-Net has no %s", name);
  NEED((f->owned[slot] = calloc(numel, sizeof(float))) != NULL, E_NOMEM, "%s", name);
  *was = (*t)->data;
  (*t)->data = f->owned[slot];
  (*t)->nbytes = sizeof(float) * numel;
out:
  return st;
}

static int64_t numel_of(tr_folded *f, const char *name) {
  const st_tensor *t = find(f, name);
  return t ? st_numel(t) : 0;
}

static int fold_conv_in(const md_unet_config *c, tr_folded *f) {
  int st = OK;
  st_tensor *t;
  const float *was;
  const int rgb = c->out_channels, from = c->in_channels, to = 2 * rgb; /* the RGB latent comes first */
  const size_t area = 9, rows = (size_t)c->block_out_channels[0];

  TRY(renew(f, 0, "conv_in.weight", rows * (size_t)to * area, &t, &was));
  for (size_t r = 0; r < rows; r++)
    memcpy(f->owned[0] + r * (size_t)to * area, was + r * (size_t)from * area, sizeof(float) * (size_t)rgb * area);
  t->shape[1] = to;
out:
  return st;
}

static int scale(tr_folded *f, int slot, const char *name, double factor) {
  int st = OK;
  st_tensor *t;
  const float *was;
  const int64_t n = numel_of(f, name);

  TRY(renew(f, slot, name, (size_t)n, &t, &was));
  for (int64_t i = 0; i < n; i++) f->owned[slot][i] = (float)(factor * (double)was[i]);
out:
  return st;
}

static int freeze_time(const md_unet_config *c, int timestep, tr_folded *f) {
  int st = OK;
  st_tensor *t;
  const float *weight, *bias;
  const int width = c->block_out_channels[0];

  TRY(renew(f, 3, "time_embedding.linear_1.weight", (size_t)numel_of(f, "time_embedding.linear_1.weight"), &t, &weight));
  TRY(renew(f, 4, "time_embedding.linear_1.bias", (size_t)numel_of(f, "time_embedding.linear_1.bias"), &t, &bias));
  TRY(md_time_embedding_at(width, c->flip_sin_to_cos, c->freq_shift, timestep, weight, bias, f->owned[4]));
out:
  return st;
}

int tr_fold(const md_unet_config *c, const md_schedule *s, int t, const st_tensor *tensors, size_t n, tr_folded *out) {
  int st = OK;
  double factor;
  tr_folded f = {.n = n};

  TRY(tr_fold_factor(s, t, &factor));
  NEED((f.tensors = malloc((n + 1) * sizeof *f.tensors)) != NULL, E_NOMEM, "%zu tensors", n);
  memcpy(f.tensors, tensors, n * sizeof *f.tensors);
  TRY(fold_conv_in(c, &f));
  TRY(scale(&f, 1, "conv_out.weight", factor));
  TRY(scale(&f, 2, "conv_out.bias", factor));
  TRY(freeze_time(c, t, &f));
  *out = f;
  memset(&f, 0, sizeof f);
out:
  tr_folded_fini(&f);
  return st;
}

void tr_folded_fini(tr_folded *f) {
  for (int i = 0; i < TR_FOLDED; i++) free(f->owned[i]);
  free(f->tensors);
  memset(f, 0, sizeof *f);
}
