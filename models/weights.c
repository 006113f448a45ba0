/* Reading weights into parameters: one safetensors file, or shards with an index. */
#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "models/json.h"
#include "models/params.h"

enum { NAMED_MAX = 8, KEY_MAX = 512 }; /* names in one message, bytes of a key */

typedef struct weights {
  st_file **files;
  int n;
  bool no_prefix; /* no key has the optional prefix */
} weights;

/* What the file has for one parameter. */
typedef struct found {
  const st_tensor *tensor;
  const st_file *file;
} found;

static void weights_close(weights *w) {
  for (int i = 0; i < w->n; i++) st_close(&w->files[i]);
  free(w->files);
  *w = (weights){0};
}

static int add_file(const char *what, const char *path, weights *w, st_file **out) {
  int st = OK;
  st_file *f = NULL;
  st_file **files = realloc(w->files, (size_t)(w->n + 1) * sizeof(st_file *));

  NEED(files, E_NOMEM, "%s", path);
  w->files = files;
  TRY_AS(E_CKPT, st_open(path, &f), "%s weights", what);
  *out = w->files[w->n++] = f;
out:
  return st;
}

/* The shard an index entry names, opened once. */
static int open_shard(const char *what, const char *index, const char *name, const char *shard, weights *w,
                      st_file **out) {
  int st = OK;
  char path[IO_PATH_MAX];

  NEED(shard && shard[0] && !strchr(shard, '/'), E_CKPT, "%s: weight_map: %s: wanted a file's name", index, name);
  TRY(io_path_beside(path, index, shard));
  for (int i = 0; i < w->n; i++)
    if (strcmp(st_path(w->files[i]), path) == 0) return *out = w->files[i], OK;
  NEED(io_exists(path), E_CKPT, "%s: %s is in shard %s, which is missing", index, name, shard);
  TRY(add_file(what, path, w, out));
out:
  return st;
}

static int open_index(const char *what, const char *dir, const char *file, weights *w) {
  int st = OK;
  md_json j = {.root = NULL};
  const char *name;
  json_t *shard;
  st_file *f = NULL;

  TRY(md_json_open(what, dir, file, 0, &j));
  json_t *map = md_json_get(&j, "weight_map");
  NEED(json_is_object(map) && json_object_size(map), E_CKPT, "%s: weight_map: wanted an object of names and files", j.path);
  json_object_foreach(map, name, shard) {
    TRY(open_shard(what, j.path, name, json_string_value(shard), w, &f));
    NEED(st_find(f, name), E_CKPT, "%s: %s is not in shard %s", j.path, name, json_string_value(shard));
  }
out:
  md_json_close(&j);
  return st;
}

/* Opens the first that is there of the names that diffusers gives to weights. */
static int weights_open(const char *what, const md_load_opts *o, weights *w) {
  static const struct { const char *suffix; bool index, variant; } names[] = {
      {".safetensors", false, false}, {".safetensors.index.json", true, false},
      {".fp16.safetensors", false, true}, {".safetensors.index.fp16.json", true, true}};
  int st = OK;
  st_file *f = NULL;
  char path[IO_PATH_MAX], file[KEY_MAX];

  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(file, sizeof file, "%s%s", o->stem, names[i].suffix);
    TRY(io_path(path, "%s/%s", o->dir, file));
    if (!io_exists(path)) continue;
    if (names[i].variant) log_info("%s: no %s.safetensors, reading the variant %s", o->dir, o->stem, file);
    return names[i].index ? open_index(what, o->dir, file, w) : add_file(what, path, w, &f);
  }
  TRY(io_path(path, "%s/%s.bin", o->dir, o->stem));
  const bool pickled = io_exists(path);
  TRY(io_path(path, "%s/pytorch_model.bin", o->dir));
  FAIL(E_CKPT, "%s: no %s.safetensors and no %s.safetensors.index.json%s", o->dir, o->stem, o->stem,
       pickled || io_exists(path) ? " (weights in .bin files are not read: save them as safetensors)" : "");
out:
  return st;
}

static bool has_prefix(const char *s, const char *prefix) { return strncmp(s, prefix, strlen(prefix)) == 0; }

static bool any_key_has(const weights *w, const char *prefix) {
  for (int i = 0; i < w->n; i++)
    for (size_t k = 0; k < st_count(w->files[i]); k++)
      if (has_prefix(st_at(w->files[i], k)->name, prefix)) return true;
  return false;
}

static bool find_key(const weights *w, const char *key, found *out) {
  for (int i = 0; i < w->n; i++) {
    const st_tensor *t = st_find(w->files[i], key);
    if (t) return *out = (found){t, w->files[i]}, true;
  }
  return false;
}

/* The parameter's tensor under its name, or with one part spelled as it was before. */
static bool find_param(const weights *w, const md_load_opts *o, const char *name, found *out) {
  char old[KEY_MAX];

  *out = (found){0};
  if (w->no_prefix && has_prefix(name, o->optional_prefix)) name += strlen(o->optional_prefix);
  if (find_key(w, name, out)) return true;
  for (const md_spelling *s = o->spellings; s && s->now; s++) {
    const char *at = strstr(name, s->now);
    if (!at) continue;
    snprintf(old, sizeof old, "%.*s%s%s", (int)(at - name), name, s->before, at + strlen(s->now));
    if (find_key(w, old, out)) return true;
  }
  return false;
}

/* "a, b, c and 4 more" */
typedef struct name_list {
  char text[1024];
  size_t at;
  int n;
} name_list;

static void list_add(name_list *l, const char *name) {
  if (l->n++ >= NAMED_MAX || l->at >= sizeof l->text) return;
  l->at += (size_t)snprintf(l->text + l->at, sizeof l->text - l->at, "%s%s", l->n > 1 ? ", " : "", name);
}

static const char *list_text(name_list *l) {
  if (l->n > NAMED_MAX && l->at < sizeof l->text)
    snprintf(l->text + l->at, sizeof l->text - l->at, " and %d more", l->n - NAMED_MAX);
  return l->text;
}

static int resolve(const md_params *p, const md_load_opts *o, const weights *w, found *f) {
  name_list missing = {.n = 0};
  for (int i = 0; i < md_params_count(p); i++)
    if (!find_param(w, o, md_params_at(p, i)->name, &f[i])) list_add(&missing, md_params_at(p, i)->name);
  if (!missing.n) return OK;
  return err_set(E_CKPT, __FILE__, __LINE__, "%s%s: missing %s: %s", st_path(w->files[0]),
                 w->n > 1 ? " and its other shards" : "", missing.n > 1 ? "tensors" : "tensor", list_text(&missing));
}

static bool ignored(const md_load_opts *o, const char *name) {
  for (const char *const *p = o->ignore; p && *p; p++) {
    const bool prefix = (*p)[strlen(*p) - 1] == '.';
    if (prefix ? has_prefix(name, *p) : strcmp(name, *p) == 0) return true;
  }
  return false;
}

static bool used(const md_params *p, const found *f, const st_tensor *t) {
  for (int i = 0; i < md_params_count(p); i++)
    if (f[i].tensor == t) return true;
  return false;
}

static int check_unexpected(const md_params *p, const md_load_opts *o, const weights *w, const found *f) {
  for (int i = 0; i < w->n; i++) {
    name_list extra = {.n = 0};
    for (size_t k = 0; k < st_count(w->files[i]); k++) {
      const st_tensor *t = st_at(w->files[i], k);
      if (!used(p, f, t) && !ignored(o, t->name)) list_add(&extra, t->name);
    }
    if (extra.n)
      return err_set(E_CKPT, __FILE__, __LINE__, "%s: unexpected %s, which config.json gives no place: %s",
                     st_path(w->files[i]), extra.n > 1 ? "tensors" : "tensor", list_text(&extra));
  }
  return OK;
}

static bool same_shape(const md_param *m, const st_tensor *t) {
  bool same = m->ndim == t->ndim;
  for (int d = 0; same && d < m->ndim; d++) same = m->shape[d] == t->shape[d];
  return same;
}

static int load_one(md_params *p, int i, const md_load_opts *o, const found *f) {
  int st = OK;
  const bool check_only = !md_params_flat(p);
  const md_param *m = md_params_at(p, i);
  const st_tensor *t = f->tensor;
  const char *path = st_path(f->file);
  float *values = NULL;

  NEED(t->dtype == ST_F32 || t->dtype == ST_F16 || t->dtype == ST_BF16, E_CKPT, "%s: %s: wanted F32, F16 or BF16, found %s",
       path, t->name, st_dtype_name(t->dtype));
  if (check_only && same_shape(m, t)) goto out;
  NEED((values = malloc((size_t)m->numel * sizeof *values + 1)) != NULL, E_NOMEM, "%s: %s", path, t->name);
  if (same_shape(m, t)) TRY_AS(E_CKPT, st_to_f32(t, values), "%s", path);
  else
    NEED(o->adapt && o->adapt(o->adapt_ctx, m, t, values), E_CKPT, "%s: %s: wanted %s, found %s", path, t->name,
         st_shape_text(m->ndim, m->shape), st_shape_text(t->ndim, t->shape));
  if (!check_only) TRY(md_params_put(p, i, values));
out:
  free(values);
  return st;
}

int md_params_load(md_params *p, const md_load_opts *o) {
  int st = OK;
  weights w = {0};
  found *f = calloc((size_t)md_params_count(p) + 1, sizeof *f);

  NEED(f, E_NOMEM, "%s", o->dir);
  TRY(weights_open(md_params_what(p), o, &w));
  w.no_prefix = o->optional_prefix && !any_key_has(&w, o->optional_prefix);
  TRY(resolve(p, o, &w, f));
  TRY(check_unexpected(p, o, &w, f));
  for (int i = 0; i < md_params_count(p); i++) TRY(load_one(p, i, o, &f[i]));
out:
  weights_close(&w);
  free(f);
  return st;
}
