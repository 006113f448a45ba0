#include "models/transformer_2d.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int md_transformer_2d_build(const md_build *b, const md_transformer_shape *shape, md_transformer_2d *t,
                            const char *name_fmt, ...) {
  int st = OK;
  const int inner = shape->heads * (shape->channels / shape->heads);
  va_list ap;

  va_start(ap, name_fmt);
  vsnprintf(t->name, sizeof t->name, name_fmt, ap);
  va_end(ap);
  t->linear = shape->linear;
  t->layers = 0;
  NEED((t->blocks = calloc((size_t)shape->layers, sizeof *t->blocks)) != NULL, E_NOMEM, "%s", t->name);
  TRY(md_group_norm_build(b, shape->channels, shape->groups, 1e-6, &t->norm, "%s.norm", t->name));
  if (t->linear) TRY(md_linear_build(b, shape->channels, inner, true, &t->proj_in, "%s.proj_in", t->name));
  else TRY(md_conv_build(b, shape->channels, inner, 1, 1, 0, &t->conv_in, "%s.proj_in", t->name));
  for (; t->layers < shape->layers; t->layers++)
    TRY(md_transformer_block_build(b, inner, shape->context, shape->heads, &t->blocks[t->layers],
                                   "%s.transformer_blocks.%d", t->name, t->layers));
  if (t->linear) TRY(md_linear_build(b, inner, shape->channels, true, &t->proj_out, "%s.proj_out", t->name));
  else TRY(md_conv_build(b, inner, shape->channels, 1, 1, 0, &t->conv_out, "%s.proj_out", t->name));
out:
  return st;
}

int md_transformer_2d_join(const md_params *p, md_transformer_2d *t) {
  int st = OK;
  for (int i = 0; i < t->layers; i++) {
    TRY(md_attention_join(p, &t->blocks[i].attn1));
    TRY(md_attention_join(p, &t->blocks[i].attn2));
  }
out:
  return st;
}

void md_transformer_2d_fini(md_transformer_2d *t) {
  for (int i = 0; i < t->layers; i++) {
    md_attention_fini(&t->blocks[i].attn1);
    md_attention_fini(&t->blocks[i].attn2);
  }
  free(t->blocks);
  t->blocks = NULL;
}

/* [B,C,h,w] -> [B,hw,C] */
static int to_rows(tchc_tensor **h) {
  int st = OK;
  tchc_tensor *last = NULL, *rows = NULL;
  TRY(tchc_permute(*h, (int64_t[]){0, 2, 3, 1}, 4, &last));
  TRY(tchc_reshape(last, (int64_t[]){tchc_size(last, 0), tchc_size(last, 1) * tchc_size(last, 2), tchc_size(last, 3)}, 3,
                   &rows));
  tchc_free(h);
  *h = rows;
out:
  tchc_free(&last);
  return st;
}

/* [B,hw,C] -> [B,C,h,w], laid out as x */
static int to_image(const tchc_tensor *x, tchc_tensor **h) {
  int st = OK;
  tchc_tensor *last = NULL, *first = NULL, *image = NULL;
  TRY(tchc_reshape(*h, (int64_t[]){tchc_size(x, 0), tchc_size(x, 2), tchc_size(x, 3), tchc_size(*h, 2)}, 4, &last));
  TRY(tchc_permute(last, (int64_t[]){0, 3, 1, 2}, 4, &first));
  TRY(tchc_contiguous(first, tchc_is_format(x, TCHC_CONTIGUOUS) ? TCHC_CONTIGUOUS : TCHC_CHANNELS_LAST, &image));
  tchc_free(h);
  *h = image;
out:
  tchc_free(&last);
  tchc_free(&first);
  return st;
}

static int transformer_body(const md_transformer_2d *t, const md_probe *probe, const tchc_tensor *x,
                            const tchc_tensor *text, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *in = NULL, *h = NULL;

  TRY(tchc_scope_open(&s));
  TRY(md_block_input(x, &in));
  TRY(md_group_norm_forward(&t->norm, in, &h));
  TRY(md_probe_see(probe, t->name, "norm", h));
  if (!t->linear) TRY(md_conv_forward(&t->conv_in, h, &h));
  if (!t->linear) TRY(md_probe_see(probe, t->name, "proj_in", h));
  TRY(to_rows(&h));
  if (t->linear) TRY(md_linear_forward(&t->proj_in, h, &h));
  if (t->linear) TRY(md_probe_see(probe, t->name, "proj_in", h));
  for (int i = 0; i < t->layers; i++) TRY(md_transformer_block_forward(&t->blocks[i], probe, h, text, &h));
  if (t->linear) TRY(md_linear_forward(&t->proj_out, h, &h));
  if (t->linear) TRY(md_probe_see(probe, t->name, "proj_out", h));
  TRY(to_image(in, &h));
  if (!t->linear) TRY(md_conv_forward(&t->conv_out, h, &h));
  if (!t->linear) TRY(md_probe_see(probe, t->name, "proj_out", h));
  TRY(md_add_forward(h, in, &h));
  TRY(md_probe_see(probe, t->name, NULL, h));
  tchc_promote(h);
  *out = h;
out:
  tchc_scope_close(&s);
  return st;
}

static int transformer_segment(void *ctx, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  (void)nin;
  (void)nout;
  return transformer_body(ctx, NULL, in[0], in[1], out);
}

int md_transformer_2d_forward(const md_transformer_2d *t, const md_run *run, const tchc_tensor *x,
                              const tchc_tensor *text, tchc_tensor **out) {
  tchc_tensor *y = NULL, *in[2] = {(tchc_tensor *)x, (tchc_tensor *)text};
  const int st = run->recompute && !run->probe
                     ? tchc_checkpoint(transformer_segment, (void *)t, NULL, in, 2, &y, 1)
                     : transformer_body(t, run->probe, x, text, &y);
  return md_settle(st, x, y, out);
}
