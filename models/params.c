#include "models/params.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { NAME_MAX_BYTES = 512, PACK = 8 };

struct md_params {
  char what[64];
  md_param *items;
  tchc_tensor **tensors; /* views of flat; NULL until allocated */
  int n, capacity;
  int64_t numel, room; /* room: elements of flat, gaps included */
  bool channels_last, aligned;
  tchc_tensor *flat, *grads; /* grads: while trained */
};

int md_params_create(const char *what, md_params **out) {
  int st = OK;
  md_params *p = calloc(1, sizeof *p);
  NEED(p, E_NOMEM, "%s: parameters", what);
  snprintf(p->what, sizeof p->what, "%s", what);
  *out = p;
out:
  return st;
}

static void release(md_params *p) {
  for (int i = 0; p->tensors && i < p->n; i++) tchc_free(&p->tensors[i]);
  free(p->tensors);
  p->tensors = NULL;
  tchc_free(&p->flat);
  tchc_free(&p->grads);
}

void md_params_destroy(md_params **p) {
  if (!p || !*p) return;
  release(*p);
  for (int i = 0; i < (*p)->n; i++) free((*p)->items[i].name);
  free((*p)->items);
  free(*p);
  *p = NULL;
}

static int grow(md_params *p) {
  int st = OK;
  if (p->n < p->capacity) return OK;
  const int capacity = p->capacity ? 2 * p->capacity : 64;
  md_param *items = realloc(p->items, (size_t)capacity * sizeof *items);
  NEED(items, E_NOMEM, "%s: %d parameters", p->what, capacity);
  p->items = items;
  p->capacity = capacity;
out:
  return st;
}

int md_params_declare(md_params *p, int ndim, const int64_t *shape, const char *name_fmt, ...) {
  int st = OK;
  char name[NAME_MAX_BYTES];
  md_param item = {.ndim = ndim, .numel = 1, .offset = p->aligned ? (p->room + PACK - 1) / PACK * PACK : p->room};
  va_list ap;

  va_start(ap, name_fmt);
  vsnprintf(name, sizeof name, name_fmt, ap);
  va_end(ap);
  assert(!p->flat && ndim >= 0 && ndim <= 4);
  NEED(md_params_find(p, name) < 0, E_FAIL, "%s: %s: declared twice", p->what, name);
  for (int d = 0; d < ndim; d++) {
    item.shape[d] = shape[d];
    item.numel *= shape[d];
  }
  TRY(grow(p));
  NEED((item.name = strdup(name)) != NULL, E_NOMEM, "%s: %s", p->what, name);
  p->items[p->n++] = item;
  p->numel += item.numel;
  p->room = item.offset + item.numel;
out:
  return st;
}

void md_params_align(md_params *p) {
  assert(p->n == 0);
  p->aligned = true;
}

void md_params_channels_last(md_params *p) {
  assert(!p->flat);
  p->channels_last = true;
}

bool md_params_is_plain(const md_params *p) { return !p->channels_last; }

/* [O,I,kh,kw] of memory that lies [O,kh,kw,I] */
static int channels_last_view(const md_param *m, const tchc_tensor *part, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *last = NULL;
  TRY(tchc_reshape(part, (int64_t[]){m->shape[0], m->shape[2], m->shape[3], m->shape[1]}, 4, &last));
  TRY(tchc_permute(last, (int64_t[]){0, 3, 1, 2}, 4, out));
out:
  tchc_free(&last);
  return st;
}

/* The one place that knows how a parameter lies in memory. */
int md_params_view(const md_params *p, int i, const tchc_tensor *flat, tchc_tensor **out) {
  int st = OK;
  const md_param *m = md_params_at(p, i);
  tchc_tensor *part = NULL, *view = NULL;
  TRY(tchc_narrow(flat, 0, m->offset, m->numel, &part));
  if (p->channels_last && m->ndim == 4) TRY(channels_last_view(m, part, &view));
  else TRY(tchc_reshape(part, m->shape, m->ndim, &view));
  tchc_keep(view);
  *out = view;
out:
  tchc_free(&part);
  return st;
}

int md_params_allocate(md_params *p, tchc_dtype dt, tchc_device d) {
  int st = OK;
  release(p);
  NEED((p->tensors = calloc((size_t)p->n + 1, sizeof *p->tensors)) != NULL, E_NOMEM, "%s: parameters", p->what);
  TRY(tchc_full((int64_t[]){p->room}, 1, 0, dt, d, &p->flat));
  tchc_keep(p->flat);
  for (int i = 0; i < p->n; i++) TRY(md_params_view(p, i, p->flat, &p->tensors[i]));
out:
  if (st != OK) release(p);
  return st;
}

int md_params_clone(const md_params *p, tchc_dtype dt, md_params **out) {
  int st = OK;
  md_params *q = NULL;

  assert(p->flat);
  TRY(md_params_create(p->what, &q));
  q->aligned = p->aligned;
  for (int i = 0; i < p->n; i++) TRY(md_params_declare(q, p->items[i].ndim, p->items[i].shape, "%s", p->items[i].name));
  q->channels_last = p->channels_last;
  TRY(md_params_allocate(q, dt, tchc_where(p->flat)));
  TRY(md_params_copy(q, p));
  *out = q;
  q = NULL;
out:
  md_params_destroy(&q);
  return st;
}

int md_params_copy(md_params *dst, const md_params *src) {
  int st = OK;
  assert(dst->n == src->n && dst->channels_last == src->channels_last && dst->aligned == src->aligned);
  NEED(dst->room == src->room, E_SHAPE, "%s: %lld elements into %lld", dst->what, (long long)src->room, (long long)dst->room);
  TRY(tchc_copy(dst->flat, src->flat, false));
out:
  return st;
}

int md_params_count(const md_params *p) { return p->n; }
int64_t md_params_numel(const md_params *p) { return p->numel; }
const char *md_params_what(const md_params *p) { return p->what; }

const md_param *md_params_at(const md_params *p, int i) {
  assert(i >= 0 && i < p->n);
  return &p->items[i];
}

int md_params_find(const md_params *p, const char *name) {
  for (int i = 0; i < p->n; i++)
    if (strcmp(p->items[i].name, name) == 0) return i;
  return -1;
}

tchc_tensor *md_params_tensor(const md_params *p, int i) {
  assert(p->tensors && i >= 0 && i < p->n);
  return p->tensors[i];
}

tchc_tensor *md_params_get(const md_params *p, const char *name_fmt, ...) {
  char name[NAME_MAX_BYTES];
  va_list ap;
  va_start(ap, name_fmt);
  vsnprintf(name, sizeof name, name_fmt, ap);
  va_end(ap);
  return md_params_tensor(p, md_params_find(p, name));
}

tchc_tensor *md_params_flat(const md_params *p) { return p->flat; }

int md_params_train(md_params *p, tchc_tensor *grads) {
  int st = OK;
  tchc_tensor *part = NULL;

  assert(!p->aligned);
  NEED(!grads || tchc_numel(grads) == p->numel, E_SHAPE, "%s: gradients: wanted [%lld], found %s", p->what,
       (long long)p->numel, tchc_text(grads));
  tchc_free(&p->grads);
  if (grads) TRY(tchc_share(grads, &p->grads));
  if (grads) tchc_keep(p->grads);
  for (int i = 0; i < p->n; i++) {
    TRY(tchc_requires_grad_(p->tensors[i], grads != NULL));
    if (grads) TRY(md_params_view(p, i, grads, &part));
    TRY(tchc_set_grad(p->tensors[i], part));
    tchc_free(&part);
  }
out:
  tchc_free(&part);
  return st;
}

static int span_view(const md_param *first, int64_t rows, const tchc_tensor *flat, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *part = NULL;
  TRY(tchc_narrow(flat, 0, first->offset, rows * first->shape[1], &part));
  TRY(tchc_reshape(part, (int64_t[]){rows, first->shape[1]}, 2, out));
out:
  tchc_free(&part);
  return st;
}

int md_params_span(const md_params *p, int i, int n, tchc_tensor **out) {
  int st = OK;
  int64_t rows = 0;
  const md_param *first = md_params_at(p, i);
  tchc_tensor *view = NULL, *grad = NULL, *leaf = NULL;

  for (int j = i; j < i + n; j++) {
    const md_param *m = md_params_at(p, j);
    NEED(m->ndim == 2 && m->shape[1] == first->shape[1] && m->offset == first->offset + rows * first->shape[1], E_SHAPE,
         "%s: %s and %s cannot be one matrix", p->what, first->name, m->name);
    rows += m->shape[0];
  }
  TRY(span_view(first, rows, p->flat, &view));
  TRY(p->grads ? tchc_leaf(view, &leaf) : tchc_share(view, &leaf));
  if (p->grads) TRY(span_view(first, rows, p->grads, &grad));
  if (p->grads) TRY(tchc_set_grad(leaf, grad));
  tchc_keep(leaf);
  *out = leaf;
  leaf = NULL;
out:
  tchc_free(&leaf);
  tchc_free(&view);
  tchc_free(&grad);
  return st;
}

/* True for the scale of a norm: a vector "weight". Other vectors are biases. */
static bool is_norm_scale(const md_param *m) {
  const size_t n = strlen(m->name), k = strlen(".weight");
  return m->ndim == 1 && n >= k && strcmp(m->name + n - k, ".weight") == 0;
}

/* In stretches with streams of their own, so that a billion numbers take seconds and any number of threads draws the same. */
static void draw_normal(uint64_t seed, const char *name, int64_t n, float std, float *out) {
  const int64_t stretch = 1 << 16, stretches = (n + stretch - 1) / stretch;
#pragma omp parallel for schedule(static)
  for (int64_t s = 0; s < stretches; s++) {
    const rng_key key = rng_stream(seed, name, (uint64_t)s, 0);
    const int64_t first = s * stretch, count = n - first < stretch ? n - first : stretch;
    rng_normal_f32(&key, out + first, (size_t)count);
    for (int64_t j = first; j < first + count; j++) out[j] *= std;
  }
}

int md_params_randomise(md_params *p, uint64_t seed) {
  int st = OK;
  float *values = NULL;

  for (int i = 0; i < p->n; i++) {
    const md_param *m = &p->items[i];
    const float std = m->ndim > 1 ? (float)(1 / sqrt((double)m->numel / (double)m->shape[0])) : 0;
    NEED((values = malloc((size_t)m->numel * sizeof *values)) != NULL, E_NOMEM, "%s: %s", p->what, m->name);
    draw_normal(seed, m->name, m->numel, std, values);
    for (int64_t j = 0; is_norm_scale(m) && j < m->numel; j++) values[j] = 1;
    TRY(md_params_put(p, i, values));
    free(values);
    values = NULL;
  }
out:
  free(values);
  return st;
}

int md_params_put(md_params *p, int i, const float *values) {
  int st = OK;
  tchc_tensor *host = NULL;
  const md_param *m = md_params_at(p, i);
  TRY(tchc_from_blob((void *)values, m->shape, m->ndim, TCHC_F32, NULL, NULL, &host));
  TRY(tchc_copy(md_params_tensor(p, i), host, false));
out:
  tchc_free(&host);
  return st;
}
