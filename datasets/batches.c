/* Stored groups: *.safetensors in the order of their names, used as they are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/safetensors.h"
#include "datasets/kind.h"

struct item {
  char *name; /* without the suffix */
  int B, H, W;
};

struct list {
  struct item *item;
  int64_t n;
};

static const char suffix[] = ".safetensors";
static const struct item *item_at(const ds_source *s, int64_t i) { return &((const struct list *)s->list)->item[i]; }

static int open_item(ds_source *s, const char *name, st_file **out) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(io_path(path, "%s/%s%s", s->o.root, name, suffix));
  ds_source_reading(s, path);
  TRY(st_open(path, out));
out:
  return st;
}

/* ---- which tensors there are ---- */

struct wanted {
  const char *name;
  st_dtype dtype;
  int ndim;
  int64_t shape[4];
};

static bool dtype_fits(st_dtype found, st_dtype wanted) {
  return found == wanted || (wanted == ST_U8 && found == ST_BOOL);
}

/* The tensor, of exactly this shape and type; a mask may also be BOOL. */
static int find(const st_file *f, const struct wanted *w, const st_tensor **out) {
  int st = OK;
  const st_tensor *t = st_find(f, w->name);

  NEED(t != NULL, E_DATA, "%s: no tensor %s", st_path(f), w->name);
  NEED(t->ndim == w->ndim && memcmp(t->shape, w->shape, (size_t)w->ndim * sizeof *w->shape) == 0, E_DATA,
       "%s: %s: wanted shape %s, found %s", st_path(f), w->name, st_shape_text(w->ndim, w->shape),
       st_shape_text(t->ndim, t->shape));
  NEED(dtype_fits(t->dtype, w->dtype), E_DATA, "%s: %s: wanted %s, found %s", st_path(f), w->name,
       st_dtype_name(w->dtype), st_dtype_name(t->dtype));
  *out = t;
out:
  return st;
}

/* B, H, W of a file, from its rgb. */
static int measure(const ds_source *s, const st_file *f, struct item *it) {
  int st = OK;
  const st_tensor *rgb = st_find(f, "rgb");

  NEED(rgb != NULL, E_DATA, "%s: no tensor rgb", st_path(f));
  NEED(rgb->ndim == 4 && rgb->shape[1] == 3, E_DATA, "%s: rgb: wanted shape [B,3,H,W], found %s", st_path(f),
       st_shape_text(rgb->ndim, rgb->shape));
  NEED(rgb->shape[0] > 0 && rgb->shape[0] <= 65536, E_DATA, "%s: rgb: %lld samples", st_path(f),
       (long long)rgb->shape[0]);
  TRY(ds_size_check(st_path(f), rgb->shape[2], rgb->shape[3]));
  NEED(s->o.group == 0 || rgb->shape[0] == s->o.group, E_DATA, "%s: rgb: %lld samples, wanted optim.group = %d",
       st_path(f), (long long)rgb->shape[0], s->o.group);
  it->B = (int)rgb->shape[0];
  it->H = (int)rgb->shape[2];
  it->W = (int)rgb->shape[3];
out:
  return st;
}

struct tensors {
  const st_tensor *rgb, *mask, *metric, *normals, *depth, *domain; /* NULL when neither needed nor there */
};

/* Looks for a tensor that only `need` makes compulsory. */
static int find_if(const st_file *f, bool needed, const struct wanted *w, const st_tensor **out) {
  *out = NULL;
  return needed ? find(f, w, out) : OK;
}

static int find_tensors(const ds_source *s, const st_file *f, const struct item *it, struct tensors *t) {
  int st = OK;
  const int64_t B = it->B, H = it->H, W = it->W;
  const int need = s->o.need;

  TRY(find(f, &(struct wanted){"rgb", ST_F32, 4, {B, 3, H, W}}, &t->rgb));
  TRY(find(f, &(struct wanted){"mask", ST_U8, 4, {B, 1, H, W}}, &t->mask));
  TRY(find_if(f, need & DS_NEED_METRIC, &(struct wanted){"metric", ST_F32, 4, {B, 1, H, W}}, &t->metric));
  TRY(find_if(f, need & DS_NEED_NORMALS, &(struct wanted){"normals", ST_F32, 4, {B, 3, H, W}}, &t->normals));
  TRY(find_if(f, need & DS_NEED_DEPTH, &(struct wanted){"depth", ST_F32, 4, {B, 1, H, W}}, &t->depth));
  TRY(find_if(f, st_find(f, "domain") && s->o.domain < 0, &(struct wanted){"domain", ST_I64, 1, {B}}, &t->domain));
out:
  return st;
}

/* ---- the list ---- */

static int add_file(ds_source *s, struct list *l, const char *file_name) {
  int st = OK;
  struct item *it = &l->item[l->n];
  st_file *f = NULL;
  struct tensors t;

  NEED((it->name = strdup(file_name)) != NULL, E_NOMEM, "out of memory: names");
  l->n++;
  it->name[strlen(file_name) - strlen(suffix)] = 0;
  TRY(open_item(s, it->name, &f));
  TRY(measure(s, f, it));
  TRY(find_tensors(s, f, it, &t));
  NEED(it->B == l->item[0].B, E_DATA, "%s: rgb: %d samples, but %s%s has %d", st_path(f), it->B, l->item[0].name,
       suffix, l->item[0].B);
out:
  st_close(&f);
  return st;
}

static bool has_suffix(const char *name) {
  const size_t n = strlen(name), m = strlen(suffix);

  return n > m && strcmp(name + n - m, suffix) == 0;
}

static int batches_open(ds_source *s) {
  int st = OK;
  struct list *l;
  char **names = NULL;
  size_t n = 0;

  NEED((s->list = l = calloc(1, sizeof *l)) != NULL, E_NOMEM, "out of memory: list");
  TRY(io_list_dir(s->o.root, &names, &n));
  NEED((l->item = calloc(n + 1, sizeof *l->item)) != NULL, E_NOMEM, "out of memory: %zu files", n);
  for (size_t i = 0; i < n; i++)
    if (has_suffix(names[i])) TRY(add_file(s, l, names[i]));
  NEED(l->n > 0, E_DATA, "%s: no *%s in it", s->o.root, suffix);
  s->count = l->n;
  s->samples_per_item = l->item[0].B;
out:
  io_free_names(&names, n);
  return st;
}

static void batches_close(ds_source *s) {
  struct list *l = s->list;

  if (!l) return;
  for (int64_t i = 0; i < l->n; i++) free(l->item[i].name);
  free(l->item);
  free(l);
}

static void batches_describe(const ds_source *s, int64_t i, char id[DS_ID_MAX]) {
  snprintf(id, DS_ID_MAX, "%s", item_at(s, i)->name);
}

static int batches_size(ds_source *s, int64_t i, int *H, int *W) {
  *H = item_at(s, i)->H;
  *W = item_at(s, i)->W;
  return OK;
}

/* ---- a file ---- */

/* Part b of n elements, as float; nothing when there is no place or no tensor. */
static void copy_part(float *to, const st_tensor *t, int b, size_t n) {
  if (to && t) memcpy(to, (const char *)t->data + (size_t)b * n * sizeof *to, n * sizeof *to);
}

static int64_t copy_mask(uint8_t *to, const st_tensor *t, int b, size_t n) {
  const uint8_t *from = (const uint8_t *)t->data + (size_t)b * n;
  int64_t valid = 0;

  for (size_t i = 0; i < n; i++) valid += to[i] = from[i] != 0;
  return valid;
}

static int copy_sample(const ds_source *s, const struct item *it, const struct tensors *t, int b, ds_sample *out) {
  int st = OK;
  const size_t n = (size_t)it->H * (size_t)it->W;

  NEED(out->H == it->H && out->W == it->W, E_DATA, "%s: %s: [%d, %d] pixels where [%d, %d] were expected", s->o.root,
       it->name, it->H, it->W, out->H, out->W);
  copy_part(out->rgb, t->rgb, b, 3 * n);
  copy_part(out->metric, t->metric, b, n);
  copy_part(out->normals, t->normals, b, 3 * n);
  copy_part(out->depth, t->depth, b, n);
  out->valid = copy_mask(out->mask, t->mask, b, n);
  out->domain = s->o.domain < 0 ? DS_INDOOR : s->o.domain;
  if (t->domain)
    memcpy(&out->domain, (const char *)t->domain->data + (size_t)b * sizeof out->domain, sizeof out->domain);
  NEED(out->domain >= DS_INDOOR && out->domain <= DS_OBJECT, E_DATA, "%s: %s: domain %lld is none of 0, 1, 2",
       s->o.root, it->name, (long long)out->domain);
  snprintf(out->id, sizeof out->id, "%s", it->name);
out:
  return st;
}

static int batches_read(ds_source *s, int64_t i, ds_sample *out) {
  int st = OK;
  const struct item *it = item_at(s, i);
  st_file *f = NULL;
  struct tensors t;

  TRY(open_item(s, it->name, &f)); /* it may have changed since the list was made */
  TRY(find_tensors(s, f, it, &t));
  for (int b = 0; b < it->B; b++) TRY(copy_sample(s, it, &t, b, &out[b]));
out:
  st_close(&f);
  return st;
}

static int batches_read_extra(ds_source *s, int64_t i, ds_extra *out) {
  int st = OK;
  const struct item *it = item_at(s, i);
  st_file *f = NULL;
  const st_tensor *noise = NULL, *timesteps = NULL;
  ds_extra got = *out;

  TRY(open_item(s, it->name, &f));
  got.has_noise = st_find(f, "noise") != NULL;
  got.has_timesteps = st_find(f, "timesteps") != NULL;
  TRY(find_if(f, got.has_noise && got.noise, &(struct wanted){"noise", ST_F32, 4, {it->B, 4, it->H / 8, it->W / 8}},
              &noise));
  TRY(find_if(f, got.has_timesteps && got.timesteps, &(struct wanted){"timesteps", ST_I64, 1, {it->B}}, &timesteps));
  if (noise) memcpy(got.noise, noise->data, noise->nbytes);
  if (timesteps) memcpy(got.timesteps, timesteps->data, timesteps->nbytes);
  *out = got;
out:
  st_close(&f);
  return st;
}

const ds_kind ds_kind_batches = {.name = "batches",
                                 .domain_default = -1, /* what the files say, else indoor */
                                 .open = batches_open,
                                 .close = batches_close,
                                 .describe = batches_describe,
                                 .size = batches_size,
                                 .read = batches_read,
                                 .read_extra = batches_read_extra};
