#include "models/unet_2d_blocks.h"

#include <assert.h>
#include <stdlib.h>

/* Channels into resnet i: the block's own, and those of the skip that is concatenated. */
static int resnet_in(const md_block_shape *s, int i) {
  const int own = i == 0 ? s->in : s->out;
  return own + (i == s->layers - 1 ? s->last_skip : s->skip);
}

int md_unet_block_build(const md_build *b, const md_block_shape *s, md_unet_block *k) {
  int st = OK;

  k->layers = s->layers;
  NEED((k->resnets = calloc((size_t)s->layers, sizeof *k->resnets)) != NULL, E_NOMEM, "%s", k->name);
  NEED((k->attentions = calloc((size_t)s->n_attentions + 1, sizeof *k->attentions)) != NULL, E_NOMEM, "%s", k->name);
  for (; k->n_attentions < s->n_attentions; k->n_attentions++)
    TRY(md_transformer_2d_build(b, &s->attention, &k->attentions[k->n_attentions], "%s.attentions.%d", k->name,
                                k->n_attentions));
  for (int i = 0; i < s->layers; i++)
    TRY(md_resnet_build(b, resnet_in(s, i), s->out, s->temb, s->groups, s->eps, &k->resnets[i], "%s.resnets.%d", k->name, i));
  if (k->has_downsample) TRY(md_downsample_build(b, s->out, s->one_sided, &k->downsample, "%s.downsamplers.0", k->name));
  if (k->has_upsample) TRY(md_upsample_build(b, s->out, &k->upsample, "%s.upsamplers.0", k->name));
out:
  return st;
}

void md_unet_block_fini(md_unet_block *k) {
  /* a transformer whose building failed is not counted, but may hold its blocks */
  for (int i = 0; k->attentions && i <= k->n_attentions; i++) md_transformer_2d_fini(&k->attentions[i]);
  free(k->attentions);
  free(k->resnets);
  k->attentions = NULL;
  k->resnets = NULL;
}

void md_skips_push(md_skips *s, tchc_tensor *t) {
  assert(s->n < MD_MAX_SKIPS);
  s->t[s->n++] = t;
}

tchc_tensor *md_skips_pop(md_skips *s) {
  assert(s->n > 0);
  return s->t[--s->n];
}

const tchc_tensor *md_skips_top(const md_skips *s) {
  assert(s->n > 0);
  return s->t[s->n - 1];
}

int md_down_block_forward(const md_unet_block *k, const md_run *run, const md_condition *c, md_skips *skips) {
  int st = OK;
  tchc_tensor *h = NULL;

  for (int i = 0; i < k->layers; i++) {
    h = NULL;
    TRY(md_resnet_forward(&k->resnets[i], run, md_skips_top(skips), NULL, c->temb, &h));
    if (k->n_attentions) TRY(md_transformer_2d_forward(&k->attentions[i], run, h, c->text, &h));
    md_skips_push(skips, h);
  }
  if (k->has_downsample) {
    h = NULL;
    TRY(md_downsample_forward(&k->downsample, run->probe, md_skips_top(skips), &h));
    md_skips_push(skips, h);
  }
out:
  return st;
}

int md_mid_block_forward(const md_unet_block *k, const md_run *run, const md_condition *c, tchc_tensor **h) {
  int st = OK;
  for (int i = 0; i < k->layers; i++) {
    if (i > 0) TRY(md_transformer_2d_forward(&k->attentions[i - 1], run, *h, c->text, h));
    TRY(md_resnet_forward(&k->resnets[i], run, *h, NULL, c->temb, h));
  }
  TRY(md_probe_see(run->probe, k->name, NULL, *h));
out:
  return st;
}

int md_up_block_forward(const md_unet_block *k, const md_run *run, const md_condition *c, md_skips *skips,
                        tchc_tensor **h) {
  int st = OK;
  for (int i = 0; i < k->layers; i++) {
    tchc_tensor *skip = md_skips_pop(skips);
    st = md_resnet_forward(&k->resnets[i], run, *h, skip, c->temb, h);
    tchc_free(&skip);
    TRY(st);
    if (k->n_attentions) TRY(md_transformer_2d_forward(&k->attentions[i], run, *h, c->text, h));
  }
  if (k->has_upsample) {
    const tchc_tensor *next = md_skips_top(skips);
    TRY(md_upsample_forward(&k->upsample, run->probe, *h, tchc_size(next, 2), tchc_size(next, 3), h));
  }
out:
  return st;
}
