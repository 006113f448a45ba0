#include "models/resnet.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

int md_resnet_build(const md_build *b, int in, int out, int temb, int groups, double eps, md_resnet *r,
                    const char *name_fmt, ...) {
  int st = OK;
  va_list ap;

  va_start(ap, name_fmt);
  vsnprintf(r->name, sizeof r->name, name_fmt, ap);
  va_end(ap);
  r->timed = temb > 0;
  r->shortcut = in != out;
  TRY(md_group_norm_build(b, in, groups, eps, &r->norm1, "%s.norm1", r->name));
  TRY(md_conv_build(b, in, out, 3, 1, 1, &r->conv1, "%s.conv1", r->name));
  if (r->timed) TRY(md_linear_build(b, temb, out, true, &r->time_emb_proj, "%s.time_emb_proj", r->name));
  TRY(md_group_norm_build(b, out, groups, eps, &r->norm2, "%s.norm2", r->name));
  TRY(md_conv_build(b, out, out, 3, 1, 1, &r->conv2, "%s.conv2", r->name));
  if (r->shortcut) TRY(md_conv_build(b, in, out, 1, 1, 0, &r->conv_shortcut, "%s.conv_shortcut", r->name));
out:
  return st;
}

/* h + time_emb_proj(temb) on every pixel. */
static int add_time(const md_resnet *r, const tchc_tensor *temb, tchc_tensor **h) {
  int st = OK;
  tchc_tensor *t = NULL, *t3 = NULL, *t4 = NULL;
  TRY(md_linear_forward(&r->time_emb_proj, temb, &t)); /* [B,out] */
  TRY(tchc_unsqueeze(t, 2, &t3));
  TRY(tchc_unsqueeze(t3, 3, &t4)); /* [B,out,1,1] */
  TRY(md_add_forward(*h, t4, h));
out:
  tchc_free(&t);
  tchc_free(&t3);
  tchc_free(&t4);
  return st;
}

static int resnet_body(const md_resnet *r, const md_probe *probe, const tchc_tensor *x, const tchc_tensor *skip,
                       const tchc_tensor *temb, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *in = NULL, *h = NULL, *side = NULL;

  TRY(tchc_scope_open(&s));
  if (skip) TRY(tchc_cat((const tchc_tensor *const[]){x, skip}, 2, 1, &in));
  else TRY(md_block_input(x, &in));
  TRY(md_group_norm_silu_forward(&r->norm1, in, &h));
  TRY(md_conv_forward(&r->conv1, h, &h));
  if (r->timed) TRY(add_time(r, temb, &h));
  TRY(md_group_norm_silu_forward(&r->norm2, h, &h));
  TRY(md_conv_forward(&r->conv2, h, &h));
  if (r->shortcut) TRY(md_conv_forward(&r->conv_shortcut, in, &side));
  TRY(md_add_forward(h, side ? side : in, &h));
  TRY(md_probe_see(probe, r->name, NULL, h));
  tchc_promote(h);
  *out = h;
out:
  tchc_scope_close(&s);
  return st;
}

/* in: x, then temb where the block is timed, then skip where there is one. */
static int resnet_segment(void *ctx, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  const md_resnet *r = ctx;
  const int skip = r->timed ? 2 : 1;
  assert(nout == 1);
  (void)nout;
  return resnet_body(r, NULL, in[0], nin > skip ? in[skip] : NULL, r->timed ? in[1] : NULL, out);
}

int md_resnet_forward(const md_resnet *r, const md_run *run, const tchc_tensor *x, const tchc_tensor *skip,
                      const tchc_tensor *temb, tchc_tensor **out) {
  tchc_tensor *y = NULL, *in[3] = {(tchc_tensor *)x};
  int st = OK, nin = 1;

  if (run->recompute && !run->probe) {
    if (r->timed) in[nin++] = (tchc_tensor *)temb;
    if (skip) in[nin++] = (tchc_tensor *)skip;
    st = tchc_checkpoint(resnet_segment, (void *)r, NULL, in, nin, &y, 1);
  } else {
    st = resnet_body(r, run->probe, x, skip, temb, &y);
  }
  return md_settle(st, x, y, out);
}
