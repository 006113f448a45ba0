#include "models/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 64 << 20, FOUND_MAX = 80 };

/* The value as one line of JSON, shortened. */
static void value_text(const json_t *v, char *out, size_t size) {
  char *s = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
  snprintf(out, size, "%s", v ? s ? s : "?" : "nothing");
  if (s && strlen(s) >= size) memcpy(out + size - 4, "...", 4);
  free(s);
}

int md_json_wrong(const md_json *j, const char *key, const char *wanted_fmt, ...) {
  char wanted[256], found[FOUND_MAX];
  va_list ap;
  va_start(ap, wanted_fmt);
  vsnprintf(wanted, sizeof wanted, wanted_fmt, ap);
  va_end(ap);
  const json_t *v = json_object_get(j->root, key);
  if (!v) return err_set(E_CKPT, __FILE__, __LINE__, "%s: %s: key is missing (wanted %s)", j->path, key, wanted);
  value_text(v, found, sizeof found);
  return err_set(E_CKPT, __FILE__, __LINE__, "%s: %s: wanted %s, found %s", j->path, key, wanted, found);
}

int md_json_open(const char *what, const char *dir, const char *file, size_t flags, md_json *j) {
  int st = OK;
  char *text = NULL;
  size_t n = 0;
  json_error_t e;
  json_t *root = NULL, *asked = NULL;
  char path[IO_PATH_MAX];

  TRY(io_path(path, "%s/%s", dir, file));
  TRY_AS(E_CKPT, io_read_file(path, FILE_MAX, &text, &n), "%s", what);
  root = json_loadb(text, n, JSON_REJECT_DUPLICATES | flags, &e);
  NEED(root, E_CKPT, "%s:%d:%d: %s", path, e.line, e.column, e.text);
  NEED(json_is_object(root), E_CKPT, "%s: wanted a JSON object", path);
  NEED((asked = json_object()) != NULL, E_NOMEM, "%s", path);
  memcpy(j->path, path, sizeof path);
  j->root = root;
  j->asked = asked;
  root = NULL;
out:
  json_decref(root);
  free(text);
  return st;
}

void md_json_close(md_json *j) {
  json_decref(j->root);
  json_decref(j->asked);
  j->root = j->asked = NULL;
}

int md_json_finish(md_json *j) {
  const char *key;
  json_t *v;
  json_object_foreach(j->root, key, v) {
    (void)v;
    if (key[0] != '_' && !json_object_get(j->asked, key))
      return err_set(E_CKPT, __FILE__, __LINE__, "%s: %s: unknown key", j->path, key);
  }
  return OK;
}

json_t *md_json_get(md_json *j, const char *key) {
  json_object_set_new(j->asked, key, json_true());
  return json_object_get(j->root, key);
}

static bool int_in(const json_t *v, int lo, int hi) {
  return json_is_integer(v) && json_integer_value(v) >= lo && json_integer_value(v) <= hi;
}

int md_json_int(md_json *j, const char *key, int otherwise, int lo, int hi, int *out) {
  const json_t *v = md_json_get(j, key);
  if (!v && otherwise != MD_NEEDED) *out = otherwise;
  else if (int_in(v, lo, hi)) *out = (int)json_integer_value(v);
  else return md_json_wrong(j, key, "an integer from %d to %d", lo, hi);
  return OK;
}

int md_json_real(md_json *j, const char *key, double otherwise, double lo, double hi, double *out) {
  const json_t *v = md_json_get(j, key);
  const double x = json_number_value(v);
  if (!v && !isnan(otherwise)) *out = otherwise;
  else if (json_is_number(v) && x >= lo && x <= hi) *out = x;
  else return md_json_wrong(j, key, "a number from %g to %g", lo, hi);
  return OK;
}

int md_json_bool(md_json *j, const char *key, bool otherwise, bool *out) {
  const json_t *v = md_json_get(j, key);
  if (!v) *out = otherwise;
  else if (json_is_boolean(v)) *out = json_is_true(v);
  else return md_json_wrong(j, key, "true or false");
  return OK;
}

static int choice_of(const json_t *v, const char *const *choices) {
  for (int i = 0; json_is_string(v) && choices[i]; i++)
    if (strcmp(json_string_value(v), choices[i]) == 0) return i;
  return -1;
}

static void choices_text(const char *const *choices, char *out, size_t size) {
  size_t at = 0;
  for (int i = 0; choices[i] && at < size; i++) {
    const char *between = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
    at += (size_t)snprintf(out + at, size - at, "%s\"%s\"", between, choices[i]);
  }
}

int md_json_choice(md_json *j, const char *key, int otherwise, const char *const *choices, int *out) {
  const json_t *v = md_json_get(j, key);
  const int i = choice_of(v, choices);
  char wanted[200];
  if (!v && otherwise >= 0) *out = otherwise;
  else if (i >= 0) *out = i;
  else {
    choices_text(choices, wanted, sizeof wanted);
    return md_json_wrong(j, key, "%s", wanted);
  }
  return OK;
}

int md_json_list(md_json *j, const char *key, int max, int lo, int hi, int *out, int *n) {
  const json_t *v = md_json_get(j, key);
  const size_t len = json_array_size(v);
  bool ok = json_is_array(v) && len >= 1 && len <= (size_t)max;
  for (size_t i = 0; ok && i < len; i++) ok = int_in(json_array_get(v, i), lo, hi);
  if (!ok) return md_json_wrong(j, key, "a list of 1 to %d integers from %d to %d", max, lo, hi);
  for (size_t i = 0; i < len; i++) out[i] = (int)json_integer_value(json_array_get(v, i));
  *n = (int)len;
  return OK;
}

int md_json_ints(md_json *j, const char *key, int otherwise, int n, int lo, int hi, int *out) {
  const json_t *v = md_json_get(j, key);
  const bool missing = !v && otherwise != MD_NEEDED;
  bool ok = missing || int_in(v, lo, hi) || (json_is_array(v) && json_array_size(v) == (size_t)n);
  for (int i = 0; ok && json_is_array(v) && i < n; i++) ok = int_in(json_array_get(v, (size_t)i), lo, hi);
  if (!ok) return md_json_wrong(j, key, "an integer from %d to %d, or a list of %d", lo, hi, n);
  for (int i = 0; i < n; i++)
    out[i] = missing ? otherwise : (int)json_integer_value(json_is_array(v) ? json_array_get(v, (size_t)i) : v);
  return OK;
}

int md_json_choices(md_json *j, const char *key, int n, const char *const *choices, int *out) {
  const json_t *v = md_json_get(j, key);
  char wanted[200];
  bool ok = json_is_array(v) && json_array_size(v) == (size_t)n;
  for (int i = 0; ok && i < n; i++) ok = (out[i] = choice_of(json_array_get(v, (size_t)i), choices)) >= 0;
  if (ok) return OK;
  choices_text(choices, wanted, sizeof wanted);
  return md_json_wrong(j, key, "a list of %d, each %s", n, wanted);
}

/* Equal, with 1 and 1.0 the same. */
static bool same_value(const json_t *v, const char *text) {
  json_t *w = json_loads(text, JSON_DECODE_ANY, NULL);
  const bool same = json_is_number(v) && json_is_number(w) ? json_number_value(v) == json_number_value(w)
                                                           : json_equal(v, w) != 0;
  json_decref(w);
  return same;
}

int md_json_want_off(md_json *j, const md_json_off *keys, int n) {
  char found[FOUND_MAX];
  for (int i = 0; i < n; i++) {
    const md_json_off *k = &keys[i];
    const json_t *v = md_json_get(j, k->key);
    if (!v || same_value(v, k->off) || (k->also && same_value(v, k->also))) continue;
    value_text(v, found, sizeof found);
    return err_set(E_CKPT, __FILE__, __LINE__, "%s: %s: %s is not supported (wanted %s%s%s)", j->path, k->key, found,
                   k->off, k->also ? " or " : "", k->also ? k->also : "");
  }
  return OK;
}

void md_json_pass(md_json *j, const char *const *keys) {
  for (; *keys; keys++) md_json_get(j, *keys);
}

int md_json_want_string(md_json *j, const char *key, const char *wanted) {
  const json_t *v = md_json_get(j, key);
  if (!v || (json_is_string(v) && strcmp(json_string_value(v), wanted) == 0)) return OK;
  return md_json_wrong(j, key, "\"%s\"", wanted);
}
