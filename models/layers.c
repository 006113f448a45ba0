#include "models/layers.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

static int name_format(char out[MD_NAME_MAX], const char *fmt, va_list ap) {
  const int n = vsnprintf(out, MD_NAME_MAX, fmt, ap);
  if (n < 0 || n >= MD_NAME_MAX) return err_set(E_FAIL, __FILE__, __LINE__, "%s...: name too long", out);
  return OK;
}

int md_name(char out[MD_NAME_MAX], const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const int st = name_format(out, fmt, ap);
  va_end(ap);
  return st;
}

/* Declares NAME.LEAF, or finds it and checks its shape. */
static int build_tensor(const md_build *b, int ndim, const int64_t *shape, const char *name, const char *leaf,
                        const tchc_tensor **t) {
  int st = OK;
  char full[2 * MD_NAME_MAX];

  *t = NULL;
  if (b->declare) {
    TRY(md_params_declare(b->declare, ndim, shape, "%s.%s", name, leaf));
  } else {
    snprintf(full, sizeof full, "%s.%s", name, leaf);
    const int i = md_params_find(b->bind, full);
    NEED(i >= 0, E_FAIL, "%s: not among the parameters", full);
    const md_param *p = md_params_at(b->bind, i);
    bool same = p->ndim == ndim;
    for (int d = 0; same && d < ndim; d++) same = p->shape[d] == shape[d];
    NEED(same, E_SHAPE, "%s: wanted %s, found %s", full, st_shape_text(ndim, shape), st_shape_text(p->ndim, p->shape));
    *t = md_params_tensor(b->bind, i);
  }
out:
  return st;
}

/* Declares NAME.LEAF [n], or finds it both ways. */
static int build_vector(const md_build *b, int64_t n, const char *name, const char *leaf, const tchc_tensor **t,
                        md_vector *v) {
  int st = OK;
  char full[2 * MD_NAME_MAX];

  *v = (md_vector){NULL, NULL};
  TRY(build_tensor(b, 1, &n, name, leaf, t));
  if (!b->wide) goto out;
  snprintf(full, sizeof full, "%s.%s", name, leaf);
  const md_param *p = md_params_at(b->wide, md_params_find(b->wide, full));
  v->value = (const float *)tchc_data(md_params_flat(b->wide)) + p->offset;
  if (b->grads) v->grad = (float *)tchc_data(b->grads) + p->offset;
out:
  return st;
}

#define NAME_FROM_ARGS(name, fmt)               \
  do {                                          \
    va_list ap_;                                \
    va_start(ap_, fmt);                         \
    const int st_ = name_format(name, fmt, ap_); \
    va_end(ap_);                                \
    TRY(st_);                                   \
  } while (0)

int md_conv_build(const md_build *b, int in, int out, int kernel, int stride, int pad, md_conv *c,
                  const char *name_fmt, ...) {
  int st = OK;
  char name[MD_NAME_MAX];

  NAME_FROM_ARGS(name, name_fmt);
  TRY(build_tensor(b, 4, (int64_t[]){out, in, kernel, kernel}, name, "weight", &c->w));
  TRY(build_vector(b, out, name, "bias", &c->b, &c->bias));
  c->stride = stride;
  c->pad = pad;
out:
  return st;
}

int md_linear_build(const md_build *b, int in, int out, bool bias, md_linear *l, const char *name_fmt, ...) {
  int st = OK;
  char name[MD_NAME_MAX];

  NAME_FROM_ARGS(name, name_fmt);
  l->b = NULL;
  l->bias = (md_vector){NULL, NULL};
  TRY(build_tensor(b, 2, (int64_t[]){out, in}, name, "weight", &l->w));
  if (bias) TRY(build_vector(b, out, name, "bias", &l->b, &l->bias));
out:
  return st;
}

int md_group_norm_build(const md_build *b, int channels, int groups, double eps, md_group_norm *n,
                        const char *name_fmt, ...) {
  int st = OK;
  char name[MD_NAME_MAX];

  NAME_FROM_ARGS(name, name_fmt);
  TRY(build_vector(b, channels, name, "weight", &n->w, &n->scale));
  TRY(build_vector(b, channels, name, "bias", &n->b, &n->shift));
  n->groups = groups;
  n->eps = eps;
out:
  return st;
}

int md_layer_norm_build(const md_build *b, int channels, double eps, md_layer_norm *n, const char *name_fmt, ...) {
  int st = OK;
  char name[MD_NAME_MAX];

  NAME_FROM_ARGS(name, name_fmt);
  TRY(build_vector(b, channels, name, "weight", &n->w, &n->scale));
  TRY(build_vector(b, channels, name, "bias", &n->b, &n->shift));
  n->eps = eps;
out:
  return st;
}

int md_table_build(const md_build *b, int rows, int width, const tchc_tensor **w, const char *name_fmt, ...) {
  int st = OK;
  char name[MD_NAME_MAX];

  NAME_FROM_ARGS(name, name_fmt);
  TRY(build_tensor(b, 2, (int64_t[]){rows, width}, name, "weight", w));
out:
  return st;
}

int md_settle(int st, const tchc_tensor *x, tchc_tensor *y, tchc_tensor **out) {
  if (st != OK) return st;
  assert(!*out || *out == x);
  (void)x;
  tchc_free(out);
  *out = y;
  return OK;
}

int md_conv_forward(const md_conv *c, const tchc_tensor *x, tchc_tensor **out) {
  tchc_tensor *y = NULL;
  const int st = tchc_conv2d(x, c->w, c->b, c->stride, c->pad, &y);
  return md_settle(st, x, y, out);
}

/* Rows [B,n,C] go through as one matrix. Given three dimensions ATen multiplies one way with a graph and another without,
 * which rounds differently; a block that is run again in backward has to give the same bits. */
static int linear_rows(const md_linear *l, const tchc_tensor *x, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *rows = NULL, *y = NULL;
  TRY(tchc_reshape(x, (int64_t[]){tchc_size(x, 0) * tchc_size(x, 1), tchc_size(x, 2)}, 2, &rows));
  TRY(tchc_linear(rows, l->w, l->b, &y));
  TRY(tchc_reshape(y, (int64_t[]){tchc_size(x, 0), tchc_size(x, 1), tchc_size(y, 1)}, 3, out));
out:
  tchc_free(&rows);
  tchc_free(&y);
  return st;
}

int md_linear_forward(const md_linear *l, const tchc_tensor *x, tchc_tensor **out) {
  tchc_tensor *y = NULL;
  const int st = tchc_ndim(x) == 3 ? linear_rows(l, x, &y) : tchc_linear(x, l->w, l->b, &y);
  return md_settle(st, x, y, out);
}

int md_group_norm_forward(const md_group_norm *n, const tchc_tensor *x, tchc_tensor **out) {
  tchc_tensor *y = NULL;
  const int st = tchc_group_norm(x, n->groups, n->w, n->b, n->eps, &y);
  return md_settle(st, x, y, out);
}

int md_layer_norm_forward(const md_layer_norm *n, const tchc_tensor *x, tchc_tensor **out) {
  tchc_tensor *y = NULL;
  const int st = tchc_layer_norm(x, n->w, n->b, n->eps, &y);
  return md_settle(st, x, y, out);
}

int md_silu_forward(const tchc_tensor *x, tchc_tensor **out) {
  tchc_tensor *y = NULL;
  const int st = tchc_silu(x, &y);
  return md_settle(st, x, y, out);
}

int md_group_norm_silu_forward(const md_group_norm *n, const tchc_tensor *x, tchc_tensor **out) {
  int st = OK;
  TRY(md_group_norm_forward(n, x, out));
  TRY(md_silu_forward(*out, out));
out:
  return st;
}

int md_add_forward(const tchc_tensor *x, const tchc_tensor *y, tchc_tensor **out) {
  tchc_tensor *sum = NULL;
  const int st = tchc_add(x, y, 1.0, &sum);
  return md_settle(st, x, sum, out);
}

int md_block_input(const tchc_tensor *x, tchc_tensor **out) {
  int64_t shape[8];
  const int ndim = tchc_ndim(x);
  assert(ndim >= 0 && ndim <= 8);
  for (int i = 0; i < ndim; i++) shape[i] = tchc_size(x, i);
  return tchc_reshape(x, shape, ndim, out);
}
