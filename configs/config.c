#include "configs/config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "configs/schema.h"

enum { MAX_CHAIN = 16, MAX_DATA = 1000 };

typedef struct loader {
  cf_config *c;
  cf_arena *a;
  cf_errors errors;
  cf_node *root;           /* the merged tree; CF_BROKEN after a syntax error */
  struct stat chain[MAX_CHAIN];
  int nchain;
} loader;

/* ---- files and what they inherit ---- */

static int merge(cf_arena *a, cf_node *into, const cf_node *from) {
  int st = OK;

  for (size_t i = 0; i < from->n; i++) {
    const cf_item *x = &from->items[i];
    cf_item *y = cf_node_find(into, x->key);
    if (!y) TRY(cf_node_add(a, into, x->key, x->at, x->value));
    else if (y->value->kind == CF_MAP && x->value->kind == CF_MAP) TRY(merge(a, y->value, x->value));
    else if (y->value->kind == CF_MAP && cf_node_is_null(x->value)) continue; /* a section with nothing in it */
    else *y = *x;
  }
out:
  return st;
}

static void remove_item(cf_node *map, cf_item *x) {
  memmove(x, x + 1, sizeof *x * (size_t)(map->items + map->n - (x + 1)));
  map->n--;
}

static int read_chain(loader *l, const char *path, cf_node **out);

/* The tree that `map` of file `path` inherits from, with map merged over it. */
static int read_base(loader *l, const char *path, cf_item base, cf_node *map, cf_node **out) {
  int st = OK;
  cf_node *below = NULL;
  const cf_node *v = base.value;
  const char *slash = strrchr(path, '/');

  *out = map;
  if (v->kind != CF_SCALAR || !*v->text || cf_node_is_null(v)) {
    if (v->kind != CF_BROKEN) cf_report(&l->errors, v->at, "base", "wants the path of a config file");
    goto out;
  }
  const int n = slash && *v->text != '/' ? (int)(slash - path) + 1 : 0;
  const char *name = cf_arena_format(l->a, "%.*s%s", n, path, v->text);
  NEED(name, E_NOMEM, "%s: no memory", path);
  st = read_chain(l, name, &below);
  if (st == E_CONFIG) {
    cf_report(&l->errors, v->at, "base", "%s", err_text());
    st = OK;
    goto out;
  }
  TRY(st);
  if (below->kind == CF_BROKEN) map->kind = CF_BROKEN;
  if (map->kind == CF_BROKEN) goto out;
  TRY(merge(l->a, below, map));
  *out = below;
out:
  return st;
}

/* Errors: E_CONFIG when the file cannot be read or inherits from itself. */
static int read_chain(loader *l, const char *path, cf_node **out) {
  int st = OK;
  struct stat s;
  cf_node *map = NULL;

  NEED(l->nchain < MAX_CHAIN, E_CONFIG, "more than %d files inherit from each other", MAX_CHAIN);
  if (stat(path, &s) == 0) { /* what is wrong with it otherwise is said by the reader */
    for (int i = 0; i < l->nchain; i++)
      NEED(l->chain[i].st_dev != s.st_dev || l->chain[i].st_ino != s.st_ino, E_CONFIG, "%s inherits from itself", path);
    l->chain[l->nchain++] = s;
  }
  TRY(cf_read_file(l->a, path, &l->errors, &map));
  cf_item *base = map->kind == CF_MAP ? cf_node_find(map, "base") : NULL;
  if (base) {
    const cf_item found = *base;
    remove_item(map, base);
    TRY(read_base(l, path, found, map, &map));
  }
  *out = map;
out:
  return st;
}

/* ---- overrides ---- */

static bool is_index(const char *s, size_t n) {
  if (n == 0 || n > 4) return false;
  for (size_t i = 0; i < n; i++)
    if (!isdigit((unsigned char)s[i])) return false;
  return true;
}

/* The value under one step of the path, made when it is not there; NULL after a report. */
static int step_into(loader *l, cf_node *at, const char *part, size_t n, cf_place place, const char *name, cf_item **out) {
  int st = OK;
  cf_item *x = NULL;
  cf_node *fresh = NULL;
  const char *key = cf_arena_format(l->a, "%.*s", (int)n, part);

  NEED(key, E_NOMEM, "no memory");
  *out = NULL;
  if (at->kind == CF_LIST) {
    const size_t i = strtoul(key, NULL, 10);
    if (i > at->n) {
      cf_report(&l->errors, place, name, "beyond the list, which holds %zu", at->n);
      goto out;
    }
    if (i < at->n) x = &at->items[i];
  } else {
    x = cf_node_find(at, key);
  }
  if (!x) {
    NEED(fresh = cf_node_new(l->a, CF_SCALAR, place), E_NOMEM, "no memory");
    fresh->text = "";
    TRY(cf_node_add(l->a, at, at->kind == CF_LIST ? NULL : key, place, fresh));
    x = &at->items[at->n - 1];
  }
  *out = x;
out:
  return st;
}

/* Puts value where the dotted name says, over what is there. */
static int put(loader *l, const char *name, cf_place place, cf_node *value) {
  int st = OK;
  cf_node *at = l->root;
  cf_item *x = NULL;

  for (const char *part = name;;) {
    const size_t n = strcspn(part, ".");
    if (n == 0) {
      cf_report(&l->errors, place, NULL, "wants key=value, such as optim.lr=1e-5");
      goto out;
    }
    TRY(step_into(l, at, part, n, place, name, &x));
    if (!x || !part[n]) break;
    part += n + 1;
    const bool list = is_index(part, strcspn(part, "."));
    if (x->value->kind != (list ? CF_LIST : CF_MAP)) {
      NEED(x->value = cf_node_new(l->a, list ? CF_LIST : CF_MAP, place), E_NOMEM, "no memory");
      x->at = place;
    }
    at = x->value;
  }
  if (!x) goto out;
  if (x->value->kind == CF_MAP && value->kind == CF_MAP) {
    TRY(merge(l->a, x->value, value));
  } else {
    x->value = value;
    x->at = place;
  }
out:
  return st;
}

static int apply_override(loader *l, const char *text) {
  int st = OK;
  cf_node *value = NULL;
  const char *equals = strchr(text, '=');
  const cf_place place = {cf_arena_format(l->a, "-s %s", text), 0, 0};

  NEED(place.file, E_NOMEM, "no memory");
  if (!equals || equals == text) {
    cf_report(&l->errors, place, NULL, "wants key=value, such as optim.lr=1e-5");
    goto out;
  }
  if (strncmp(text, "base=", 5) == 0) {
    cf_report(&l->errors, place, "base", "belongs in a config file; it is read before overrides");
    goto out;
  }
  const char *name = cf_arena_format(l->a, "%.*s", (int)(equals - text), text);
  const char *rest = cf_arena_format(l->a, "%s", equals + 1);
  NEED(name && rest, E_NOMEM, "no memory");
  TRY(cf_read_value(l->a, rest, place.file, &l->errors, &value));
  if (value->kind == CF_BROKEN || l->root->kind != CF_MAP) goto out;
  TRY(put(l, name, place, value));
out:
  return st;
}

/* ---- from the tree to the struct ---- */

static cf_origin *origin(const cf_config *c, int key, int entry) { return &c->origins->of[(size_t)(entry + 1) * cf_nkeys + (size_t)key]; }
const cf_origin *cf_origin_of(const cf_config *c, int key, int entry) { return origin(c, key, entry); }

static void unknown_key(loader *l, const cf_item *x, const char *name, const char *suggestion) {
  cf_report(&l->errors, x->at, name, "unknown key%s%s", suggestion ? "; did you mean " : "", suggestion ? suggestion : "");
}

/* One given value. */
static int set_key(loader *l, int key, int entry, const char *name, const cf_item *x, void *base) {
  int st = OK;
  bool good = true;
  const cf_key *k = &cf_keys[key];
  cf_origin *o = origin(l->c, key, entry);

  if (!k->def && !(k->flags & CF_REQUIRED) && cf_node_is_null(x->value)) goto out; /* unset, as it is by default */
  *o = (cf_origin){x->value->at, true, false};
  TRY(cf_value_set(l->a, &l->errors, k, name, x->value, base, &good));
  o->bad = !good;
out:
  return st;
}

/* The keys of one section, or of one data set (entry >= 0). */
static int set_section(loader *l, const char *section, int entry, const cf_node *map, void *base) {
  int st = OK;
  char name[256], index[16] = "";

  if (entry >= 0) snprintf(index, sizeof index, ".%d", entry);
  for (size_t i = 0; i < map->n; i++) {
    const cf_item *x = &map->items[i];
    snprintf(name, sizeof name, "%s.%s", section, x->key);
    const int key = cf_key_index(name);
    snprintf(name, sizeof name, "%s%s.%s", section, index, x->key);
    if (key < 0) unknown_key(l, x, name, cf_suggest_key(section, x->key));
    else TRY(set_key(l, key, entry, name, x, base));
  }
out:
  return st;
}

static int set_defaults(loader *l, int entry, void *base) {
  int st = OK;
  const cf_place nowhere = {"default", 0, 0};

  for (size_t i = 0; i < cf_nkeys; i++) {
    const cf_key *k = &cf_keys[i];
    bool good = true;
    cf_node *v = NULL;
    *origin(l->c, (int)i, entry) = (cf_origin){nowhere, false, false};
    if (cf_key_is_data(k) != (entry >= 0) || !k->def) continue;
    TRY(cf_read_value(l->a, k->def, nowhere.file, &l->errors, &v));
    TRY(cf_value_set(l->a, &l->errors, k, k->name, v, base, &good));
  }
out:
  return st;
}

/* A section is a map or nothing; a NULL means that it was reported. */
static const cf_node *map_of(loader *l, const cf_item *x, const char *name) {
  static const cf_node empty = {.kind = CF_MAP};

  if (x->value->kind == CF_MAP) return x->value;
  if (cf_node_is_null(x->value)) return &empty;
  if (x->value->kind != CF_BROKEN)
    cf_report(&l->errors, x->value->at, name, "wants keys below it, found %s", x->value->kind == CF_LIST ? "a list" : "a single value");
  return NULL;
}

static int set_data(loader *l, const cf_node *list) {
  int st = OK;
  char name[32];

  for (size_t i = 0; i < l->c->ndata; i++) {
    const cf_item *x = &list->items[i];
    const int e = (int)i;
    snprintf(name, sizeof name, "data.%d", e);
    TRY(set_defaults(l, e, &l->c->data[i]));
    const cf_node *map = map_of(l, x, name);
    if (map) TRY(set_section(l, "data", e, map, &l->c->data[i]));
    l->c->data[i].size_set = origin(l->c, cf_key_index("data.size"), e)->set;
    l->c->data[i].crop_set = origin(l->c, cf_key_index("data.crop"), e)->set;
    cf_origin *root = origin(l->c, cf_key_index("data.root"), e);
    if (map && !root->set) cf_report(&l->errors, x->at, NULL, "data.%d.root: missing; wants the data set's folder", e);
  }
out:
  return st;
}

/* Room for the data sets and for every key's origin. */
static int allocate(loader *l, const cf_item *data, const cf_node **list) {
  int st = OK;
  cf_config *c = l->c;

  *list = NULL;
  if (data && data->value->kind == CF_LIST) {
    *list = data->value;
    if (data->value->n > MAX_DATA) cf_report(&l->errors, data->at, "data", "more than %d data sets", MAX_DATA);
    c->ndata = data->value->n > MAX_DATA ? MAX_DATA : data->value->n;
  } else if (data && data->value->kind != CF_BROKEN && !cf_node_is_null(data->value)) {
    cf_report(&l->errors, data->value->at, "data", "wants a list of data sets, each `- {kind: ..., root: ...}`");
  }
  NEED(c->data = cf_arena_alloc(l->a, sizeof *c->data * (c->ndata + 1)), E_NOMEM, "no memory");
  NEED(c->origins->of = cf_arena_alloc(l->a, sizeof *c->origins->of * cf_nkeys * (c->ndata + 1)), E_NOMEM, "no memory");
  if (c->ndata == 0 && !(data && data->value->kind == CF_BROKEN) && l->errors.count == 0)
    cf_report(&l->errors, (cf_place){c->origins->file, 0, 0}, "data", "no data set is given");
out:
  return st;
}

static int fill(loader *l) {
  int st = OK;
  const cf_node *list;

  TRY(allocate(l, cf_node_find(l->root, "data"), &list));
  TRY(set_defaults(l, -1, l->c));
  for (size_t i = 0; i < l->root->n; i++) {
    const cf_item *x = &l->root->items[i];
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%.60s.", x->key);
    bool known = false;
    for (size_t k = 0; k < cf_nkeys && !known; k++) known = strncmp(cf_keys[k].name, prefix, strlen(prefix)) == 0;
    if (!known) {
      unknown_key(l, x, x->key, cf_suggest_section(x->key));
    } else if (strcmp(x->key, "data") == 0) {
      if (list) TRY(set_data(l, list));
    } else {
      const cf_node *map = map_of(l, x, x->key);
      if (map) TRY(set_section(l, x->key, -1, map, l->c));
    }
  }
out:
  return st;
}

/* runs/NAME for .../NAME.yaml */
static int default_run_dir(loader *l, const char *path) {
  int st = OK;
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');

  if (l->c->run.dir) goto out;
  const int n = dot && dot > name ? (int)(dot - name) : (int)strlen(name);
  NEED(l->c->run.dir = cf_arena_format(l->a, "runs/%.*s", n, name), E_NOMEM, "no memory");
out:
  return st;
}

int cf_load(const char *path, const char *const *overrides, size_t n, bool require_model, cf_config **out) {
  int st = OK;
  loader l = {0};

  NEED(l.c = calloc(1, sizeof *l.c), E_NOMEM, "no memory");
  NEED(l.c->origins = calloc(1, sizeof *l.c->origins), E_NOMEM, "no memory");
  l.a = &l.c->origins->arena;
  NEED(l.c->origins->file = cf_arena_format(l.a, "%s", path), E_NOMEM, "no memory");
  TRY(read_chain(&l, path, &l.root));
  for (size_t i = 0; i < n; i++) TRY(apply_override(&l, overrides[i]));
  if (l.root->kind == CF_MAP) {
    TRY(fill(&l));
    TRY(default_run_dir(&l, path));
    cf_check(l.c, require_model, &l.errors);
  }
  NEED(!l.errors.no_memory, E_NOMEM, "no memory");
  NEED(l.errors.hidden == 0, E_CONFIG, "%s\n... and %zu more", l.errors.text, l.errors.hidden);
  NEED(l.errors.count == 0, E_CONFIG, "%s", l.errors.text);
  *out = l.c;
  l.c = NULL;
out:
  cf_errors_fini(&l.errors);
  cf_free(&l.c);
  return st;
}

void cf_free(cf_config **c) {
  if (!*c) return;
  if ((*c)->origins) {
    cf_arena arena = (*c)->origins->arena;
    free((*c)->origins);
    cf_arena_fini(&arena);
  }
  free(*c);
  *c = NULL;
}

const char *cf_kind_name(cf_kind k) {
  switch (k) {
  case CF_KIND_HYPERSIM: return "hypersim";
  case CF_KIND_VKITTI2: return "vkitti2";
  case CF_KIND_MANIFEST: return "manifest";
  case CF_KIND_BATCHES: return "batches";
  }
  return "?";
}
