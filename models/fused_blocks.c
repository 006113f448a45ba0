#include "models/fused_blocks.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "models/fused_call.h"

/* ---- convolutions ---- */

int md_fused_conv(const md_conv *c, const tchc_tensor *x, tchc_tensor **out) {
  if (tchc_requires_grad(x) && !tchc_requires_grad(c->w))
    return md_fused_frozen_conv(c->w, c->stride, c->pad, false, x, out);
  return tchc_conv2d(x, c->w, NULL, c->stride, c->pad, out);
}

int md_fused_conv_image(const kn_cuda *k, const md_conv *c, const tchc_tensor *x, md_image *out) {
  int st = OK;
  tchc_tensor *h = NULL;

  TRY(md_fused_conv(c, x, &h));
  TRY(md_fused_add(k, h, NULL, &c->bias, NULL, out));
out:
  tchc_free(&h);
  return st;
}

int md_fused_downsample(const kn_cuda *k, const md_downsample *d, const md_image *x, md_image *out) {
  int st = OK;
  tchc_tensor *padded = NULL;

  if (d->one_sided) TRY(tchc_pad(x->t, 0, 1, 0, 1, &padded));
  TRY(md_fused_conv_image(k, &d->conv, padded ? padded : x->t, out));
out:
  tchc_free(&padded);
  return st;
}

/* x -> upsampled by 2 and convolved, without bias. */
static int transposed_conv(const md_upsample *u, const tchc_tensor *x, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *kernel = NULL;

  if (u->kernel) return md_fused_frozen_conv(u->kernel, 2, 1, true, x, out);
  TRY(md_fused_upsample_kernel(u->conv.w, u->spread, &kernel));
  TRY(tchc_conv_transpose2d(x, kernel, NULL, 2, 1, out));
out:
  tchc_free(&kernel);
  return st;
}

int md_fused_upsample(const kn_cuda *k, const md_upsample *u, const md_image *x, int64_t to_h, int64_t to_w,
                      md_image *out) {
  int st = OK;
  tchc_tensor *large = NULL, *h = NULL;

  if (to_h == 2 * tchc_size(x->t, 2) && to_w == 2 * tchc_size(x->t, 3)) {
    TRY(transposed_conv(u, x->t, &h));
  } else {
    TRY(tchc_upsample_nearest(x->t, to_h, to_w, &large));
    TRY(md_fused_conv(&u->conv, large, &h));
  }
  TRY(md_fused_add(k, h, NULL, &u->conv.bias, NULL, out));
out:
  tchc_free(&large);
  tchc_free(&h);
  return st;
}

/* ---- images and rows ---- */

/* [B,C,h,w], channels last -> [B h w,C], the same memory */
static int to_rows(const tchc_tensor *image, tchc_tensor **rows) {
  int st = OK;
  tchc_tensor *last = NULL;

  TRY(tchc_permute(image, (int64_t[]){0, 2, 3, 1}, 4, &last));
  TRY(tchc_reshape(last, (int64_t[]){-1, tchc_size(image, 1)}, 2, rows));
out:
  tchc_free(&last);
  return st;
}

/* [B h w,C] -> [B,C,h,w] of like's size, channels last, the same memory */
static int to_image(const tchc_tensor *rows, const tchc_tensor *like, tchc_tensor **image) {
  int st = OK;
  tchc_tensor *last = NULL;

  TRY(tchc_reshape(rows, (int64_t[]){tchc_size(like, 0), tchc_size(like, 2), tchc_size(like, 3), tchc_size(rows, 1)}, 4, &last));
  TRY(tchc_permute(last, (int64_t[]){0, 3, 1, 2}, 4, image));
out:
  tchc_free(&last);
  return st;
}

/* A 1x1 convolution's kernel as a matrix. */
static int matrix_of(const tchc_tensor *w, tchc_tensor **out) {
  return tchc_reshape(w, (int64_t[]){tchc_size(w, 0), -1}, 2, out);
}

/* ---- resnet ---- */

/* Columns [c0, c0 + channels of x) of matrix w on x's pixels. */
static int shortcut_part(const tchc_tensor *w, int64_t c0, const tchc_tensor *x, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *rows = NULL, *columns = NULL;

  TRY(to_rows(x, &rows));
  TRY(tchc_narrow(w, 1, c0, tchc_size(x, 1), &columns));
  TRY(tchc_linear(rows, columns, NULL, out));
out:
  tchc_free(&rows);
  tchc_free(&columns);
  return st;
}

/* conv_shortcut of cat(pass[0], pass[1]) without bias. */
static int shortcut(const md_resnet *r, tchc_tensor *const pass[2], tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *w = NULL, *rows = NULL, *more = NULL, *image = NULL;

  TRY(tchc_scope_open(&s));
  TRY(matrix_of(r->conv_shortcut.w, &w));
  TRY(shortcut_part(w, 0, pass[0], &rows));
  if (pass[1]) {
    TRY(shortcut_part(w, tchc_size(pass[0], 1), pass[1], &more));
    TRY(tchc_add(rows, more, 1, &rows));
  }
  TRY(to_image(rows, pass[0], &image));
  tchc_promote(image);
  *out = image;
out:
  tchc_scope_close(&s);
  return st;
}

/* time_emb_proj(temb) as [B,out] f32 */
static int time_shift(const md_resnet *r, const tchc_tensor *temb, int64_t batch, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *t = NULL, *wide = NULL, *all = NULL;

  TRY(tchc_scope_open(&s));
  TRY(md_linear_forward(&r->time_emb_proj, temb, &t));
  TRY(tchc_to_type(t, TCHC_F32, &wide));
  TRY(tchc_expand(wide, (int64_t[]){batch, tchc_size(t, 1)}, 2, &all));
  tchc_promote(all);
  *out = all;
out:
  tchc_scope_close(&s);
  return st;
}

static int resnet_body(const kn_cuda *k, const md_resnet *r, const md_image *x, const md_image *skip,
                       const tchc_tensor *temb, md_image *out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *y = NULL, *h = NULL, *pass[2] = {NULL}, *shift = NULL, *side = NULL;

  TRY(tchc_scope_open(&s));
  TRY(md_fused_norm(k, &r->norm1, true, x, skip, &y, pass));
  TRY(md_fused_conv(&r->conv1, y, &h));
  tchc_free(&y);
  if (r->timed) TRY(time_shift(r, temb, tchc_size(h, 0), &shift));
  TRY(md_fused_shifted_norm(k, &r->norm2, h, &r->conv1.bias, shift, &y));
  tchc_free(&h);
  TRY(md_fused_conv(&r->conv2, y, &h));
  tchc_free(&y);
  if (r->shortcut) TRY(shortcut(r, pass, &side));
  TRY(md_fused_add(k, h, side ? side : pass[0], &r->conv2.bias, r->shortcut ? &r->conv_shortcut.bias : NULL, out));
  md_image_promote(out);
out:
  tchc_scope_close(&s);
  return st;
}

/* What a block needs that runs again in backward. */
typedef struct resnet_again {
  const kn_cuda *k;
  const md_resnet *r;
} resnet_again;
enum { X, X_PART, SKIP, SKIP_PART, TEMB, RESNET_INPUTS };

static int resnet_segment(void *ctx, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  int st = OK;
  const resnet_again *a = ctx;
  md_image y;

  assert(nin == RESNET_INPUTS && nout == 2);
  (void)nin, (void)nout;
  TRY(resnet_body(a->k, a->r, &(md_image){in[X], in[X_PART]}, &(md_image){in[SKIP], in[SKIP_PART]}, in[TEMB], &y));
  out[0] = y.t;
  out[1] = y.part;
out:
  return st;
}

int md_fused_resnet(const md_fused_run *run, const md_resnet *r, const md_image *x, const md_image *skip,
                    const tchc_tensor *temb, md_image *out) {
  int st = OK;
  resnet_again *a = NULL;
  tchc_tensor *in[RESNET_INPUTS] = {x->t, x->part, skip ? skip->t : NULL, skip ? skip->part : NULL, (tchc_tensor *)temb};
  tchc_tensor *y[2] = {NULL};

  if (!run->recompute) return resnet_body(run->k, r, x, skip, temb, out);
  NEED((a = malloc(sizeof *a)) != NULL, E_NOMEM, "%s", r->name);
  *a = (resnet_again){run->k, r};
  TRY(tchc_checkpoint(resnet_segment, a, free, in, RESNET_INPUTS, y, 2));
  *out = (md_image){y[0], y[1]};
out:
  return st;
}

/* ---- attention ---- */

/* rows [B n,C] -> [B,heads,n,C/heads], a view */
static int split_heads(const tchc_tensor *rows, int64_t batch, int heads, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *split = NULL;
  const int64_t C = tchc_size(rows, -1);

  TRY(tchc_reshape(rows, (int64_t[]){batch, -1, heads, C / heads}, 4, &split));
  TRY(tchc_transpose(split, 1, 2, out));
out:
  tchc_free(&split);
  return st;
}

/* q, k, v [B,heads,n,d] -> [B n,heads d] */
static int attend(const tchc_tensor *q, const tchc_tensor *k, const tchc_tensor *v, tchc_attention_kernel kind,
                  tchc_tensor **out) {
  int st = OK;
  tchc_tensor *o = NULL, *turned = NULL;

  TRY(tchc_attention_by(kind, q, k, v, &o));
  TRY(tchc_transpose(o, 1, 2, &turned));
  TRY(tchc_reshape(turned, (int64_t[]){-1, tchc_size(q, 1) * tchc_size(q, 3)}, 2, out));
out:
  tchc_free(&o);
  tchc_free(&turned);
  return st;
}

/* y [B n,C] attends to itself; without to_out. */
static int self_attention(const md_attention *a, const tchc_tensor *y, int64_t batch, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *qkv = NULL, *part[3] = {NULL}, *head[3] = {NULL}, *o = NULL;

  TRY(tchc_scope_open(&s));
  TRY(tchc_linear(y, a->qkv, NULL, &qkv));
  TRY(tchc_chunk(qkv, 3, -1, part));
  for (int i = 0; i < 3; i++) TRY(split_heads(part[i], batch, a->heads, &head[i]));
  TRY(attend(head[0], head[1], head[2], TCHC_ATTENTION_AUTO, &o));
  tchc_promote(o);
  *out = o;
out:
  tchc_scope_close(&s);
  return st;
}

/* Keys and values of the text for all samples: [B,heads,T,d], of one text the same memory for each. */
static int text_heads(const md_attention *a, const tchc_tensor *text, int64_t batch, tchc_tensor *kv[2]) {
  int st = OK;
  tchc_tensor *rows = NULL, *both = NULL, *part[2] = {NULL}, *head = NULL;
  const int64_t texts = tchc_size(text, 0), T = tchc_size(text, 1);

  TRY(tchc_reshape(text, (int64_t[]){texts * T, tchc_size(text, 2)}, 2, &rows));
  TRY(tchc_linear(rows, a->kv, NULL, &both));
  TRY(tchc_chunk(both, 2, -1, part));
  for (int i = 0; i < 2; i++) {
    TRY(split_heads(part[i], texts, a->heads, &head));
    TRY(tchc_expand(head, (int64_t[]){batch, a->heads, T, tchc_size(head, 3)}, 4, &kv[i]));
    tchc_free(&head);
  }
out:
  return st; /* handles of the caller's scope */
}

static int cross_attention(const md_attention *a, const tchc_tensor *y, const tchc_tensor *text, int64_t batch,
                           tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *rows = NULL, *q = NULL, *kv[2] = {NULL}, *o = NULL;

  TRY(tchc_scope_open(&s));
  TRY(tchc_linear(y, a->to_q.w, NULL, &rows));
  TRY(split_heads(rows, batch, a->heads, &q));
  TRY(text_heads(a, text, batch, kv));
  TRY(attend(q, kv[0], kv[1], TCHC_ATTENTION_FLASH, &o)); /* cuDNN's is slow for so few keys */
  tchc_promote(o);
  *out = o;
out:
  tchc_scope_close(&s);
  return st;
}

/* ---- transformer ---- */

/* The residual stream between blocks: t + h + bias, not yet added. */
typedef struct stream_state {
  tchc_tensor *t, *h;
  const md_vector *bias;
} stream_state;

/* The sum by a norm, after which h is what comes next. */
static int norm_stream(const kn_cuda *k, const md_layer_norm *n, stream_state *s, tchc_tensor **y) {
  int st = OK;
  tchc_tensor *sum = NULL;

  TRY(md_fused_layer_norm(k, n, s->t, s->h, s->bias, &sum, y));
  tchc_free(&s->t);
  tchc_free(&s->h);
  s->t = sum;
  s->bias = NULL;
out:
  return st;
}

/* h = to_out(o) without bias; o's handle ends. */
static int project(const md_linear *l, tchc_tensor **o, stream_state *s) {
  int st = OK;

  TRY(tchc_linear(*o, l->w, NULL, &s->h));
  s->bias = &l->bias;
out:
  tchc_free(o);
  return st;
}

static int feed_forward(const kn_cuda *k, const md_feed_forward *f, const tchc_tensor *y, stream_state *s) {
  int st = OK;
  tchc_tensor *bias = NULL, *p = NULL;

  TRY(tchc_detach(f->proj.b, &bias)); /* its gradient comes with the gate's */
  TRY(tchc_linear(y, f->proj.w, bias, &p));
  TRY(md_fused_geglu_linear(k, p, &f->proj.bias, f->out.w, &s->h));
  s->bias = &f->out.bias;
out:
  tchc_free(&bias);
  tchc_free(&p);
  return st;
}

static int transformer_block(const kn_cuda *k, const md_transformer_block *b, const tchc_tensor *text, int64_t batch,
                             stream_state *s) {
  int st = OK;
  tchc_tensor *y = NULL, *o = NULL;

  TRY(norm_stream(k, &b->norm1, s, &y));
  TRY(self_attention(&b->attn1, y, batch, &o));
  tchc_free(&y);
  TRY(project(&b->attn1.to_out, &o, s));
  TRY(norm_stream(k, &b->norm2, s, &y));
  TRY(cross_attention(&b->attn2, y, text, batch, &o));
  tchc_free(&y);
  TRY(project(&b->attn2.to_out, &o, s));
  TRY(norm_stream(k, &b->norm3, s, &y));
  TRY(feed_forward(k, &b->ff, y, s));
out:
  tchc_free(&y);
  tchc_free(&o);
  return st;
}

/* proj_in or proj_out as a matrix, whichever kind of layer it is. */
static int projection(bool linear, const md_linear *l, const md_conv *c, tchc_tensor **w, const md_vector **bias) {
  *bias = linear ? &l->bias : &c->bias;
  return linear ? tchc_share(l->w, w) : matrix_of(c->w, w);
}

static int transformer_body(const kn_cuda *k, const md_transformer_2d *t, const md_image *x, const tchc_tensor *text,
                            md_image *out) {
  int st = OK;
  tchc_scope *scope = NULL;
  tchc_tensor *y = NULL, *rows = NULL, *pass[2] = {NULL}, *w_in = NULL, *w_out = NULL, *h = NULL, *image = NULL;
  const md_vector *bias_out;
  stream_state s = {NULL};
  md_image last;

  TRY(tchc_scope_open(&scope));
  TRY(md_fused_norm(k, &t->norm, false, x, NULL, &y, pass));
  TRY(to_rows(y, &rows));
  tchc_free(&y);
  TRY(projection(t->linear, &t->proj_in, &t->conv_in, &w_in, &s.bias));
  TRY(tchc_linear(rows, w_in, NULL, &s.t));
  tchc_free(&rows);
  for (int i = 0; i < t->layers; i++) TRY(transformer_block(k, &t->blocks[i], text, tchc_size(x->t, 0), &s));
  TRY(md_fused_add(k, s.h, s.t, s.bias, NULL, &last));
  tchc_free(&s.h);
  tchc_free(&s.t);
  TRY(projection(t->linear, &t->proj_out, &t->conv_out, &w_out, &bias_out));
  TRY(tchc_linear(last.t, w_out, NULL, &h));
  md_image_free(&last);
  TRY(to_image(h, x->t, &image));
  tchc_free(&h);
  TRY(md_fused_add(k, image, pass[0], bias_out, NULL, out));
  md_image_promote(out);
out:
  tchc_scope_close(&scope);
  return st;
}

typedef struct transformer_again {
  const kn_cuda *k;
  const md_transformer_2d *t;
} transformer_again;

static int transformer_segment(void *ctx, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  int st = OK;
  const transformer_again *a = ctx;
  md_image y;

  assert(nin == 3 && nout == 2);
  (void)nin, (void)nout;
  TRY(transformer_body(a->k, a->t, &(md_image){in[0], in[1]}, in[2], &y));
  out[0] = y.t;
  out[1] = y.part;
out:
  return st;
}

int md_fused_transformer(const md_fused_run *run, const md_transformer_2d *t, const md_image *x, const tchc_tensor *text,
                         md_image *out) {
  int st = OK;
  transformer_again *a = NULL;
  tchc_tensor *in[3] = {x->t, x->part, (tchc_tensor *)text}, *y[2] = {NULL};

  if (!run->recompute) return transformer_body(run->k, t, x, text, out);
  NEED((a = malloc(sizeof *a)) != NULL, E_NOMEM, "%s", t->name);
  *a = (transformer_again){run->k, t};
  TRY(tchc_checkpoint(transformer_segment, a, free, in, 3, y, 2));
  *out = (md_image){y[0], y[1]};
out:
  return st;
}

/* ---- attention over pixels ---- */

/* One of query, key, value: rows [B n,C] -> [B,n,C] */
static int pixel_projection(const md_linear *l, const tchc_tensor *rows, int64_t batch, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *p = NULL;

  TRY(tchc_linear(rows, l->w, l->b, &p));
  TRY(tchc_reshape(p, (int64_t[]){batch, -1, tchc_size(p, 1)}, 3, out));
out:
  tchc_free(&p);
  return st;
}

/* rows [B n,C] -> softmax(q k^T / sqrt(C)) v, [B n,C] */
static int pixel_scores(const kn_cuda *k, const md_attention *a, const tchc_tensor *rows, int64_t batch,
                        tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *q = NULL, *key = NULL, *v = NULL, *turned = NULL, *scores = NULL, *p = NULL, *o = NULL, *flat = NULL;

  TRY(tchc_scope_open(&s));
  TRY(pixel_projection(&a->to_q, rows, batch, &q));
  TRY(pixel_projection(&a->to_k, rows, batch, &key));
  TRY(pixel_projection(&a->to_v, rows, batch, &v));
  TRY(tchc_transpose(key, 1, 2, &turned));
  TRY(tchc_matmul(q, turned, &scores)); /* [B,n,n] */
  TRY(md_fused_softmax(k, 1 / sqrt((double)tchc_size(q, 2)), scores, &p));
  tchc_free(&scores);
  TRY(tchc_matmul(p, v, &o));
  TRY(tchc_reshape(o, (int64_t[]){-1, tchc_size(o, 2)}, 2, &flat));
  tchc_promote(flat);
  *out = flat;
out:
  tchc_scope_close(&s);
  return st;
}

int md_fused_pixel_attention(const kn_cuda *k, const md_pixel_attention *a, const md_image *x, md_image *out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *y = NULL, *pass[2] = {NULL}, *rows = NULL, *o = NULL, *h = NULL, *image = NULL;

  TRY(tchc_scope_open(&s));
  TRY(md_fused_norm(k, &a->group_norm, false, x, NULL, &y, pass));
  TRY(to_rows(y, &rows));
  TRY(pixel_scores(k, &a->attn, rows, tchc_size(x->t, 0), &o));
  TRY(tchc_linear(o, a->attn.to_out.w, NULL, &h));
  TRY(to_image(h, x->t, &image));
  TRY(md_fused_add(k, image, pass[0], &a->attn.to_out.bias, NULL, out));
  md_image_promote(out);
out:
  tchc_scope_close(&s);
  return st;
}
