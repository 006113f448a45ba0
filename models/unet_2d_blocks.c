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

int md_unet_block_fuse(const md_params *p, bool frozen, md_unet_block *k) {
  int st = OK;

  for (int i = 0; i < k->n_attentions; i++) TRY(md_transformer_2d_join(p, &k->attentions[i]));
  if (!k->has_upsample) goto out;
  TRY(md_fused_upsample_spread(k->upsample.conv.w, &k->upsample.spread));
  tchc_keep(k->upsample.spread);
  if (!frozen) goto out;
  TRY(md_fused_upsample_kernel(k->upsample.conv.w, k->upsample.spread, &k->upsample.kernel));
  tchc_keep(k->upsample.kernel);
  tchc_free(&k->upsample.spread);
out:
  return st;
}

void md_unet_block_fini(md_unet_block *k) {
  /* a transformer whose building failed is not counted, but may hold its blocks */
  for (int i = 0; k->attentions && i <= k->n_attentions; i++) md_transformer_2d_fini(&k->attentions[i]);
  tchc_free(&k->upsample.kernel);
  tchc_free(&k->upsample.spread);
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

/* ---- fused ---- */

int md_image_share(const md_image *i, md_image *out) {
  int st = OK;

  *out = (md_image){NULL, NULL};
  TRY(tchc_share(i->t, &out->t));
  if (i->part) TRY(tchc_share(i->part, &out->part));
out:
  return st;
}

/* *h = y, the handles on the old one end. */
static void replace(md_image *h, const md_image *y) {
  md_image_free(h);
  *h = *y;
}

static void push(md_image_stack *s, const md_image *i) {
  assert(s->n < MD_MAX_SKIPS);
  s->at[s->n++] = *i;
}

int md_fused_down_block(const md_fused_run *run, const md_unet_block *k, const md_condition *c, md_image_stack *skips) {
  int st = OK;
  md_image h, y;

  for (int i = 0; i < k->layers; i++) {
    TRY(md_fused_resnet(run, &k->resnets[i], &skips->at[skips->n - 1], NULL, c->temb, &h));
    if (k->n_attentions) {
      TRY(md_fused_transformer(run, &k->attentions[i], &h, c->text, &y));
      replace(&h, &y);
    }
    push(skips, &h);
  }
  if (k->has_downsample) {
    TRY(md_fused_downsample(run->k, &k->downsample, &skips->at[skips->n - 1], &h));
    push(skips, &h);
  }
out:
  return st;
}

int md_fused_mid_block(const md_fused_run *run, const md_unet_block *k, const md_condition *c, md_image *h) {
  int st = OK;
  md_image y;

  for (int i = 0; i < k->layers; i++) {
    if (i > 0) {
      TRY(md_fused_transformer(run, &k->attentions[i - 1], h, c->text, &y));
      replace(h, &y);
    }
    TRY(md_fused_resnet(run, &k->resnets[i], h, NULL, c->temb, &y));
    replace(h, &y);
  }
out:
  return st;
}

int md_fused_up_block(const md_fused_run *run, const md_unet_block *k, const md_condition *c, md_image_stack *skips,
                      md_image *h) {
  int st = OK;
  md_image y;

  for (int i = 0; i < k->layers; i++) {
    md_image *skip = &skips->at[--skips->n];
    TRY(md_fused_resnet(run, &k->resnets[i], h, skip, c->temb, &y));
    md_image_free(skip);
    replace(h, &y);
    if (!k->n_attentions) continue;
    TRY(md_fused_transformer(run, &k->attentions[i], h, c->text, &y));
    replace(h, &y);
  }
  if (k->has_upsample) {
    const tchc_tensor *next = skips->at[skips->n - 1].t;
    TRY(md_fused_upsample(run->k, &k->upsample, h, tchc_size(next, 2), tchc_size(next, 3), &y));
    replace(h, &y);
  }
out:
  return st;
}
