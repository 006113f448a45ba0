/* The config as text: for people, for the run folder, and what differs between two. */
#include <stdlib.h>
#include <string.h>

#include "configs/schema.h"

/* What an unset key of a data set stands for. */
static const char *data_default(const cf_data *d, const char *leaf) {
  const bool hypersim = d->kind == CF_KIND_HYPERSIM, vkitti2 = d->kind == CF_KIND_VKITTI2;
  const bool manifest = d->kind == CF_KIND_MANIFEST;

  if (strcmp(leaf, "size") == 0) return hypersim ? "[480, 640]" : vkitti2 || manifest ? "native" : NULL;
  if (strcmp(leaf, "crop") == 0) return vkitti2 && !d->size_set ? "[352, 1216]" : NULL;
  if (strcmp(leaf, "far") == 0) return hypersim ? "65" : vkitti2 ? "80" : NULL;
  return NULL;
}

/* What an unset key stands for, or "null". */
static const char *unset_text(const cf_config *c, const cf_key *k, int entry) {
  const char *text = NULL;

  if (entry >= 0) text = data_default(&c->data[entry], cf_key_leaf(k));
  if (strcmp(k->name, "objective.loss") == 0) text = c->model.task == CF_NORMALS ? "angular" : "affine_l1";
  return text ? text : "null";
}

/* Value of one key, from malloc. *unset: nobody gave it, and what is shown follows from other keys. */
static int value_text(const cf_config *c, int key, int entry, bool absolute, bool *unset, char **out) {
  int st = OK;
  const cf_key *k = &cf_keys[key];
  const bool run_dir = strcmp(k->name, "run.dir") == 0; /* filled in though unset */
  const void *base = entry >= 0 ? (const void *)&c->data[entry] : (const void *)c;

  *unset = !k->def && !cf_origin_of(c, key, entry)->set && !run_dir;
  if (*unset) NEED(*out = strdup(unset_text(c, k, entry)), E_NOMEM, "no memory");
  else TRY(cf_value_text(k, base, absolute, out));
out:
  return st;
}

static bool applies(const cf_config *c, const cf_key *k, int entry) {
  if (cf_key_is_data(k) != (entry >= 0)) return false;
  return entry < 0 || c->data[entry].kind != CF_KIND_BATCHES || !(k->flags & CF_NOT_STORED);
}

static void print_origin(FILE *f, const cf_origin *o) {
  if (!o->set) fputs("default", f);
  else if (o->at.line) fprintf(f, "%s:%d:%d", o->at.file, o->at.line, o->at.col);
  else fputs(o->at.file, f);
}

static int print_one(const cf_config *c, int key, int entry, FILE *f) {
  int st = OK;
  bool unset;
  char *text = NULL, name[64];

  TRY(value_text(c, key, entry, false, &unset, &text));
  if (entry < 0) snprintf(name, sizeof name, "%s", cf_keys[key].name);
  else snprintf(name, sizeof name, "data.%d.%s", entry, cf_key_leaf(&cf_keys[key]));
  fprintf(f, "%s: %s    # ", name, text);
  print_origin(f, cf_origin_of(c, key, entry));
  fputc('\n', f);
out:
  free(text);
  return st;
}

int cf_print(const cf_config *c, FILE *f) {
  int st = OK;
  const int n = (int)cf_nkeys, first = cf_key_index("data.kind");

  for (int key = 0; key < first; key++) TRY(print_one(c, key, -1, f));
  for (int entry = 0; entry < (int)c->ndata; entry++)
    for (int key = first; key < n; key++)
      if (applies(c, &cf_keys[key], entry)) TRY(print_one(c, key, entry, f));
  for (int key = first; key < n; key++)
    if (!cf_key_is_data(&cf_keys[key])) TRY(print_one(c, key, -1, f));
out:
  return st;
}

/* ---- the merged file ---- */

/* One line; an unset key is null with its meaning as a comment, so that reading it again leaves it unset. */
static int yaml_one(const cf_config *c, int key, int entry, const char *indent, FILE *f) {
  int st = OK;
  bool unset;
  char *text = NULL;

  TRY(value_text(c, key, entry, true, &unset, &text));
  fprintf(f, "%s%s: %s", indent, cf_key_leaf(&cf_keys[key]), unset ? "null" : text);
  if (unset && strcmp(text, "null") != 0) fprintf(f, "  # %s", text);
  fputc('\n', f);
out:
  free(text);
  return st;
}

static int yaml_data(const cf_config *c, FILE *f) {
  int st = OK;

  fputs("data:\n", f);
  for (int entry = 0; entry < (int)c->ndata; entry++) {
    const char *indent = "  - ";
    for (int key = 0; key < (int)cf_nkeys; key++) {
      if (!applies(c, &cf_keys[key], entry)) continue;
      TRY(yaml_one(c, key, entry, indent, f));
      indent = "    ";
    }
  }
out:
  return st;
}

static int yaml_all(const cf_config *c, FILE *f) {
  int st = OK;
  size_t same = 0; /* letters of the section that the last key was in */
  const char *last = NULL;

  for (int key = 0; key < (int)cf_nkeys; key++) {
    const char *name = cf_keys[key].name;
    const size_t n = strcspn(name, ".");
    const bool fresh = !last || n != same || strncmp(name, last, n) != 0;
    last = name;
    same = n;
    if (cf_key_is_data(&cf_keys[key])) {
      if (fresh) TRY(yaml_data(c, f));
      continue;
    }
    if (fresh) fprintf(f, "%.*s:\n", (int)n, name);
    TRY(yaml_one(c, key, -1, "  ", f));
  }
out:
  return st;
}

int cf_to_yaml(const cf_config *c, char **text) {
  int st = OK;
  char *all = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&all, &n);

  NEED(f, E_NOMEM, "no memory");
  st = yaml_all(c, f);
  if (fclose(f) != 0 && st == OK) st = err_set(E_NOMEM, __FILE__, __LINE__, "no memory");
  if (st != OK) goto out;
  *text = all;
  all = NULL;
out:
  free(all);
  return st;
}

/* ---- what differs ---- */

static int64_t decay_steps(const cf_config *c) { return c->optim.decay_steps ? c->optim.decay_steps : c->optim.steps; }

static int diff_one(const cf_config *was, const cf_config *now, int key, int entry, FILE *f, bool *meaning) {
  int st = OK;
  bool unset;
  char *a = NULL, *b = NULL;
  const cf_key *k = &cf_keys[key];

  TRY(value_text(was, key, entry, true, &unset, &a));
  TRY(value_text(now, key, entry, true, &unset, &b));
  if (strcmp(a, b) == 0) goto out;
  if (entry < 0) fprintf(f, "%s: %s -> %s\n", k->name, a, b);
  else fprintf(f, "data.%d.%s: %s -> %s\n", entry, cf_key_leaf(k), a, b);
  *meaning = *meaning || !(k->flags & CF_FREE);
out:
  free(a);
  free(b);
  return st;
}

static int diff_all(const cf_config *was, const cf_config *now, FILE *f, bool *meaning) {
  int st = OK;
  const size_t both = was->ndata < now->ndata ? was->ndata : now->ndata;

  for (int key = 0; key < (int)cf_nkeys; key++)
    if (!cf_key_is_data(&cf_keys[key])) TRY(diff_one(was, now, key, -1, f, meaning));
  if (was->optim.schedule == CF_EXPONENTIAL && decay_steps(was) != decay_steps(now) && was->optim.decay_steps == now->optim.decay_steps) {
    fprintf(f, "optim.decay_steps: %lld -> %lld (it follows optim.steps)\n", (long long)decay_steps(was), (long long)decay_steps(now));
    *meaning = true;
  }
  if (was->ndata != now->ndata) {
    fprintf(f, "data sets: %zu -> %zu\n", was->ndata, now->ndata);
    *meaning = true;
  }
  for (int entry = 0; entry < (int)both; entry++)
    for (int key = 0; key < (int)cf_nkeys; key++)
      if (applies(was, &cf_keys[key], entry) && applies(now, &cf_keys[key], entry))
        TRY(diff_one(was, now, key, entry, f, meaning));
out:
  return st;
}

int cf_diff(const cf_config *was, const cf_config *now, char **lines, bool *changes_meaning) {
  int st = OK;
  bool meaning = false;
  char *all = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&all, &n);

  NEED(f, E_NOMEM, "no memory");
  st = diff_all(was, now, f, &meaning);
  if (fclose(f) != 0 && st == OK) st = err_set(E_NOMEM, __FILE__, __LINE__, "no memory");
  if (st != OK) goto out;
  *lines = all;
  *changes_meaning = meaning;
  all = NULL;
out:
  free(all);
  return st;
}

/* ---- the README's table ---- */

int cf_print_keys(FILE *f) {
  int st = OK;
  char *type = NULL;

  fputs("| key | value | default | what it is |\n|---|---|---|---|\n", f);
  for (size_t i = 0; i < cf_nkeys; i++) {
    const cf_key *k = &cf_keys[i];
    NEED(type = cf_key_type_text(k), E_NOMEM, "no memory");
    fprintf(f, "| `%s` | %s | %s | %s |\n", k->name, type, k->def ? k->def : "unset", k->help);
    free(type);
    type = NULL;
  }
out:
  free(type);
  return st;
}
