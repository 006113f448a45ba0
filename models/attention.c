#include "models/attention.h"

#include <stdarg.h>
#include <stdio.h>

#define NAME_OF(block, fmt)                             \
  do {                                                  \
    va_list ap_;                                        \
    va_start(ap_, fmt);                                 \
    vsnprintf((block)->name, sizeof (block)->name, fmt, ap_); \
    va_end(ap_);                                        \
  } while (0)

int md_attention_build(const md_build *b, int dim, int context, int inner, int heads, bool bias, md_attention *a,
                       const char *name_fmt, ...) {
  int st = OK;
  NAME_OF(a, name_fmt);
  a->heads = heads;
  TRY(md_linear_build(b, dim, inner, bias, &a->to_q, "%s.to_q", a->name));
  TRY(md_linear_build(b, context, inner, bias, &a->to_k, "%s.to_k", a->name));
  TRY(md_linear_build(b, context, inner, bias, &a->to_v, "%s.to_v", a->name));
  TRY(md_linear_build(b, inner, dim, true, &a->to_out, "%s.to_out.0", a->name));
out:
  return st;
}

int md_attention_join(const md_params *p, md_attention *a) {
  int st = OK;
  char name[MD_NAME_MAX + 32];

  snprintf(name, sizeof name, "%s.to_q.weight", a->name);
  const int i = md_params_find(p, name);
  if (tchc_size(a->to_q.w, 1) == tchc_size(a->to_k.w, 1)) TRY(md_params_span(p, i, 3, &a->qkv));
  TRY(md_params_span(p, i + 1, 2, &a->kv));
out:
  return st;
}

void md_attention_fini(md_attention *a) {
  tchc_free(&a->qkv);
  tchc_free(&a->kv);
}

/* One of query, key, value: x [B,n,C] -> [B,heads,n,d], a view of the projection. */
static int project_heads(const md_attention *a, const md_linear *l, const char *leaf, const md_probe *probe,
                         const tchc_tensor *x, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *p = NULL, *split = NULL;

  TRY(md_linear_forward(l, x, &p));
  TRY(md_probe_see(probe, a->name, leaf, p));
  const int64_t shape[4] = {tchc_size(p, 0), tchc_size(p, 1), a->heads, tchc_size(p, 2) / a->heads};
  TRY(tchc_reshape(p, shape, 4, &split));
  TRY(tchc_transpose(split, 1, 2, out));
out:
  tchc_free(&p);
  tchc_free(&split);
  return st;
}

int md_attention_forward(const md_attention *a, const md_probe *probe, const tchc_tensor *x, const tchc_tensor *context,
                         tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *q = NULL, *k = NULL, *v = NULL, *o = NULL, *rows = NULL, *h = NULL;

  TRY(tchc_scope_open(&s));
  if (!context) context = x;
  TRY(project_heads(a, &a->to_q, "to_q", probe, x, &q));
  TRY(project_heads(a, &a->to_k, "to_k", probe, context, &k));
  TRY(project_heads(a, &a->to_v, "to_v", probe, context, &v));
  TRY(tchc_attention(q, k, v, false, &o)); /* [B,heads,n,d] */
  tchc_free(&q);
  tchc_free(&k);
  tchc_free(&v);
  TRY(tchc_transpose(o, 1, 2, &rows));
  TRY(tchc_reshape(rows, (int64_t[]){tchc_size(rows, 0), tchc_size(rows, 1), -1}, 3, &h)); /* [B,n,heads*d] */
  tchc_free(&rows);
  tchc_free(&o);
  TRY(md_linear_forward(&a->to_out, h, &h));
  TRY(md_probe_see(probe, a->name, "to_out.0", h));
  tchc_promote(h);
  *out = h;
out:
  tchc_scope_close(&s);
  return st;
}

static int feed_forward_build(const md_build *b, int dim, md_feed_forward *f, const char *name_fmt, ...) {
  int st = OK;
  NAME_OF(f, name_fmt);
  TRY(md_linear_build(b, dim, 8 * dim, true, &f->proj, "%s.net.0.proj", f->name)); /* value and gate, 4 dim each */
  TRY(md_linear_build(b, 4 * dim, dim, true, &f->out, "%s.net.2", f->name));
out:
  return st;
}

/* x [B,n,dim] -> net.2(value * gelu(gate)), value and gate the halves of net.0.proj(x). */
static int feed_forward(const md_feed_forward *f, const md_probe *probe, const tchc_tensor *x, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *h = NULL, *half[2] = {NULL, NULL}, *g = NULL, *y = NULL;

  TRY(tchc_scope_open(&s));
  TRY(md_linear_forward(&f->proj, x, &h));
  TRY(md_probe_see(probe, f->name, "net.0.proj", h));
  TRY(tchc_chunk(h, 2, -1, half));
  TRY(tchc_gelu(half[1], &g));
  TRY(tchc_mul(half[0], g, &y));
  tchc_free(&half[0]);
  tchc_free(&half[1]);
  tchc_free(&h);
  tchc_free(&g);
  TRY(md_probe_see(probe, f->name, "net.0", y));
  TRY(md_linear_forward(&f->out, y, &y));
  TRY(md_probe_see(probe, f->name, "net.2", y));
  tchc_promote(y);
  *out = y;
out:
  tchc_scope_close(&s);
  return st;
}

int md_transformer_block_build(const md_build *b, int dim, int context, int heads, md_transformer_block *t,
                               const char *name_fmt, ...) {
  int st = OK;
  const double eps = 1e-5; /* torch's LayerNorm default; no config key reaches it */
  NAME_OF(t, name_fmt);
  TRY(md_layer_norm_build(b, dim, eps, &t->norm1, "%s.norm1", t->name));
  TRY(md_attention_build(b, dim, dim, dim, heads, false, &t->attn1, "%s.attn1", t->name));
  TRY(md_layer_norm_build(b, dim, eps, &t->norm2, "%s.norm2", t->name));
  TRY(md_attention_build(b, dim, context, dim, heads, false, &t->attn2, "%s.attn2", t->name));
  TRY(md_layer_norm_build(b, dim, eps, &t->norm3, "%s.norm3", t->name));
  TRY(feed_forward_build(b, dim, &t->ff, "%s.ff", t->name));
out:
  return st;
}

/* h += attn(norm(h), context), h replaced. */
static int attend(const md_transformer_block *t, const md_layer_norm *norm, const char *norm_leaf,
                  const md_attention *attn, const md_probe *probe, const tchc_tensor *context, const tchc_tensor *x,
                  tchc_tensor **h) {
  int st = OK;
  tchc_tensor *n = NULL, *a = NULL;

  TRY(md_layer_norm_forward(norm, x, &n));
  TRY(md_probe_see(probe, t->name, norm_leaf, n));
  TRY(md_attention_forward(attn, probe, n, context, &a));
  TRY(md_probe_see(probe, attn->name, NULL, a));
  TRY(md_add_forward(x, a, h));
out:
  tchc_free(&n);
  tchc_free(&a);
  return st;
}

int md_transformer_block_forward(const md_transformer_block *t, const md_probe *probe, const tchc_tensor *x,
                                 const tchc_tensor *text, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *h = NULL, *n = NULL, *f = NULL;

  TRY(tchc_scope_open(&s));
  TRY(attend(t, &t->norm1, "norm1", &t->attn1, probe, NULL, x, &h));
  TRY(attend(t, &t->norm2, "norm2", &t->attn2, probe, text, h, &h));
  TRY(md_layer_norm_forward(&t->norm3, h, &n));
  TRY(md_probe_see(probe, t->name, "norm3", n));
  TRY(feed_forward(&t->ff, probe, n, &f));
  TRY(md_probe_see(probe, t->ff.name, NULL, f));
  TRY(md_add_forward(h, f, &h));
  TRY(md_probe_see(probe, t->name, NULL, h));
  tchc_promote(h);
out:
  tchc_scope_close(&s);
  return st == OK ? md_settle(OK, x, h, out) : st;
}

int md_pixel_attention_build(const md_build *b, int channels, int groups, double eps, md_pixel_attention *a,
                             const char *name_fmt, ...) {
  int st = OK;
  char name[MD_NAME_MAX];
  va_list ap;

  va_start(ap, name_fmt);
  vsnprintf(name, sizeof name, name_fmt, ap);
  va_end(ap);
  TRY(md_group_norm_build(b, channels, groups, eps, &a->group_norm, "%s.group_norm", name));
  TRY(md_attention_build(b, channels, channels, channels, 1, true, &a->attn, "%s", name));
out:
  return st;
}

static int pixel_attention_body(const md_pixel_attention *a, const md_probe *probe, const tchc_tensor *x,
                                tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *in = NULL, *flat = NULL, *turned = NULL, *rows = NULL, *h = NULL, *back = NULL, *image = NULL;
  const int64_t shape[4] = {tchc_size(x, 0), tchc_size(x, 1), tchc_size(x, 2), tchc_size(x, 3)};

  TRY(tchc_scope_open(&s));
  TRY(md_block_input(x, &in));
  TRY(tchc_reshape(in, (int64_t[]){shape[0], shape[1], shape[2] * shape[3]}, 3, &flat));
  TRY(md_group_norm_forward(&a->group_norm, flat, &flat)); /* [B,C,hw] */
  TRY(md_probe_see(probe, a->attn.name, "group_norm", flat));
  TRY(tchc_transpose(flat, 1, 2, &turned));
  TRY(tchc_contiguous(turned, TCHC_CONTIGUOUS, &rows)); /* [B,hw,C], copied once for three projections */
  tchc_free(&flat);
  tchc_free(&turned);
  TRY(md_attention_forward(&a->attn, probe, rows, NULL, &h));
  TRY(tchc_transpose(h, 1, 2, &back));
  TRY(tchc_reshape(back, shape, 4, &image));
  TRY(md_add_forward(image, in, &image));
  TRY(md_probe_see(probe, a->attn.name, NULL, image));
  tchc_promote(image);
  *out = image;
out:
  tchc_scope_close(&s);
  return st;
}

static int pixel_attention_segment(void *ctx, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  (void)nin;
  (void)nout;
  return pixel_attention_body(ctx, NULL, in[0], out);
}

int md_pixel_attention_forward(const md_pixel_attention *a, const md_run *run, const tchc_tensor *x, tchc_tensor **out) {
  tchc_tensor *y = NULL, *in = (tchc_tensor *)x;
  const int st = run->recompute && !run->probe
                     ? tchc_checkpoint(pixel_attention_segment, (void *)a, NULL, &in, 1, &y, 1)
                     : pixel_attention_body(a, run->probe, x, &y);
  return md_settle(st, x, y, out);
}
