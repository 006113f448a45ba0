/* One value of the config: from a node of the YAML tree to its field, and back to text. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "configs/schema.h"

enum { SHOWN = 60 }; /* letters of a wrong value in a message */

typedef struct target {
  cf_arena *a;
  cf_errors *errors;
  const cf_key *k;
  const char *name;
  bool *good;
} target;

#define WRONG(t, v, ...) (*(t)->good = false, cf_report((t)->errors, (v)->at, (t)->name, __VA_ARGS__))

static const char *kind_of(const cf_node *v) { return v->kind == CF_MAP ? "a section" : v->kind == CF_LIST ? "a list" : "nothing"; }

/* Says that v is no `what`: a wrong kind of node, nothing, a quoted number, or another text. */
static void wrong_type(const target *t, const cf_node *v, const char *what) {
  if (v->kind == CF_BROKEN) *t->good = false;
  else if (v->kind != CF_SCALAR || cf_node_is_null(v)) WRONG(t, v, "wants %s, found %s", what, kind_of(v));
  else if (v->quoted) WRONG(t, v, "wants %s, found the text \"%.*s\"; without the quotes?", what, SHOWN, v->text);
  else WRONG(t, v, "wants %s, found %.*s", what, SHOWN, v->text);
}

/* ---- numbers ---- */

/* Digits with an optional point and exponent: what YAML 1.2 calls a float or an int. libyaml leaves the meaning to us,
 * and strtod alone would take "inf", "0x10" and "1e5abc". */
static bool is_decimal(const char *s) {
  int digits = 0;

  s += *s == '-' || *s == '+';
  for (; isdigit((unsigned char)*s); s++) digits++;
  if (*s == '.')
    for (s++; isdigit((unsigned char)*s); s++) digits++;
  if (digits == 0) return false;
  if (*s == 'e' || *s == 'E') {
    s++;
    s += *s == '-' || *s == '+';
    if (!isdigit((unsigned char)*s)) return false;
    while (isdigit((unsigned char)*s)) s++;
  }
  return *s == 0;
}

static bool in_range(const target *t, const cf_node *v, double x) {
  const cf_key *k = t->k;
  const bool low = x < k->lo || (x == k->lo && k->flags & CF_OPEN_LO);
  const bool high = x > k->hi || (x == k->hi && k->flags & CF_OPEN_HI);

  if (!low && !high && isfinite(x)) return true;
  WRONG(t, v, "%.*s is out of range: wants %s%.15g to %s%.15g", SHOWN, v->text, k->flags & CF_OPEN_LO ? "above " : "", k->lo,
        k->flags & CF_OPEN_HI ? "below " : "", k->hi);
  return false;
}

static bool read_real(const target *t, const cf_node *v, double *out) {
  if (v->kind != CF_SCALAR || v->quoted || !is_decimal(v->text)) {
    wrong_type(t, v, "a number");
    return false;
  }
  const double x = strtod(v->text, NULL);
  if (!in_range(t, v, x)) return false;
  *out = x;
  return true;
}

static bool read_int(const target *t, const cf_node *v, int64_t *out) {
  double x;

  if (v->kind != CF_SCALAR || v->quoted || !is_decimal(v->text)) {
    wrong_type(t, v, "an integer");
    return false;
  }
  x = strtod(v->text, NULL);
  if (x != floor(x)) {
    wrong_type(t, v, "an integer");
    return false;
  }
  if (!in_range(t, v, x)) return false; /* ranges end far below 2^53 */
  *out = (int64_t)x;
  return true;
}

static void set_seed(const target *t, const cf_node *v, uint64_t *out) {
  const char *s = v->kind == CF_SCALAR && !v->quoted ? v->text : "";
  char *end;

  if (!isdigit((unsigned char)*s) || strspn(s, "0123456789") != strlen(s)) {
    wrong_type(t, v, "an integer, 0 or more");
    return;
  }
  errno = 0;
  const unsigned long long x = strtoull(s, &end, 10);
  if (errno) WRONG(t, v, "%.*s is out of range: wants 0 to %" PRIu64, SHOWN, s, UINT64_MAX);
  else *out = x;
}

static bool is_word(const cf_node *v, const char *words, int i) {
  size_t n;
  const char *w = cf_word(words, i, &n);

  return w && v->kind == CF_SCALAR && strlen(v->text) == n && strncmp(v->text, w, n) == 0;
}

static void set_int(const target *t, const cf_node *v, int64_t *out) {
  if (t->k->words && is_word(v, t->k->words, 0)) *out = 0;
  else (void)read_int(t, v, out);
}

/* Two numbers; `each` reads one. */
static bool is_pair(const target *t, const cf_node *v, const char *what) {
  if (v->kind == CF_LIST && v->n == 2) return true;
  if (v->kind == CF_LIST) WRONG(t, v, "wants %s, found a list of %zu", what, v->n);
  else wrong_type(t, v, what);
  return false;
}

static void set_pair(const target *t, const cf_node *v, double *out) {
  double x[2];

  if (!is_pair(t, v, "two numbers, [a, b]")) return;
  const bool first = read_real(t, v->items[0].value, &x[0]), second = read_real(t, v->items[1].value, &x[1]);
  if (first && second) memcpy(out, x, sizeof x);
}

static void set_size(const target *t, const cf_node *v, int64_t *out) {
  int64_t x[2] = {0, 0};

  if (!(t->k->words && is_word(v, t->k->words, 0))) {
    if (!is_pair(t, v, t->k->words ? "[H, W] or native" : "[H, W]")) return;
    const bool first = read_int(t, v->items[0].value, &x[0]), second = read_int(t, v->items[1].value, &x[1]);
    if (!first || !second) return;
  }
  memcpy(out, x, sizeof x);
}

/* ---- words and texts ---- */

static void set_bool(const target *t, const cf_node *v, bool *out) {
  static const char *const yes[] = {"yes", "Yes", "YES", "on", "On", "ON", "True", "TRUE", "y", NULL};
  static const char *const no[] = {"no", "No", "NO", "off", "Off", "OFF", "False", "FALSE", "n", NULL};
  const char *s = v->kind == CF_SCALAR && !v->quoted ? v->text : "", *meant = NULL;

  if (strcmp(s, "true") == 0 || strcmp(s, "false") == 0) {
    *out = *s == 't';
    return;
  }
  for (int i = 0; yes[i]; i++) meant = strcmp(s, yes[i]) == 0 ? "true" : meant;
  for (int i = 0; no[i]; i++) meant = strcmp(s, no[i]) == 0 ? "false" : meant;
  if (meant) WRONG(t, v, "wants true or false, found %s; did you mean %s", s, meant);
  else wrong_type(t, v, "true or false");
}

/* Position in k->words, or -1 after a report. */
static int read_word(const target *t, const cf_node *v) {
  const char *w;
  char list[160] = "", near[32] = "", one[32];
  size_t n, used = 0;

  if (v->kind != CF_SCALAR || cf_node_is_null(v)) {
    char what[200];
    char *type = cf_key_type_text(t->k);
    snprintf(what, sizeof what, "%s", type ? type : "a word");
    free(type);
    wrong_type(t, v, what);
    return -1;
  }
  for (int i = 0; (w = cf_word(t->k->words, i, &n)) != NULL; i++) {
    if (is_word(v, t->k->words, i)) return i;
    used += (size_t)snprintf(list + used, sizeof list - used, "%s%.*s", i ? ", " : "", (int)n, w);
    snprintf(one, sizeof one, "%.*s", (int)n, w);
    if (!*near && cf_is_near(v->text, one)) memcpy(near, one, sizeof near);
  }
  WRONG(t, v, "%.*s is none of %s%s%s", SHOWN, v->text, list, *near ? "; did you mean " : "", near);
  return -1;
}

static void set_enum(const target *t, const cf_node *v, void *out) {
  const int i = read_word(t, v);
  if (i >= 0) memcpy(out, &i, sizeof i); /* enums are as large as int */
}

/* The text of v with its file's folder before what follows the first `prefix` bytes; what comes from the command line and
 * absolute paths stay. */
static char *path_beside_file(const target *t, const cf_node *v, size_t prefix) {
  const char *path = v->text + prefix, *slash = v->at.line > 0 && *path && *path != '/' ? strrchr(v->at.file, '/') : NULL;
  const int n = slash ? (int)(slash - v->at.file) + 1 : 0;

  return cf_arena_format(t->a, "%.*s%.*s%s", (int)prefix, v->text, n, v->at.file, path);
}

/* Bytes of "NAME:" before the path of a set; all of a text that is none. */
static size_t set_prefix(const char *text) {
  const char *colon = strchr(text, ':');
  return colon ? (size_t)(colon - text) + 1 : strlen(text);
}

static int set_text(const target *t, const cf_node *v, char **out) {
  int st = OK;
  char *copy = NULL;

  if (v->kind != CF_SCALAR || (cf_node_is_null(v) && !v->quoted)) {
    wrong_type(t, v, t->k->type == CF_T_PATH ? "a path" : "a text");
    goto out;
  }
  if (!*v->text) {
    WRONG(t, v, "is empty");
    goto out;
  }
  if (t->k->words && read_word(t, v) < 0) goto out;
  if (t->k->type == CF_T_PATH) copy = path_beside_file(t, v, 0);
  else if (t->k->type == CF_T_SETS) copy = path_beside_file(t, v, set_prefix(v->text));
  else copy = cf_arena_format(t->a, "%s", v->text);
  NEED(copy, E_NOMEM, "%s: no memory", t->name);
  *out = copy;
out:
  return st;
}

static int set_sets(const target *t, const cf_node *v, char ***out) {
  int st = OK;
  char **list = NULL;

  if (v->kind != CF_LIST) {
    wrong_type(t, v, "a list of sets");
    goto out;
  }
  NEED(list = cf_arena_alloc(t->a, sizeof *list * (v->n + 1)), E_NOMEM, "%s: no memory", t->name);
  for (size_t i = 0; i < v->n; i++) TRY(set_text(t, v->items[i].value, &list[i]));
  if (*t->good) {
    *out = list;
    memcpy(out + 1, &v->n, sizeof v->n); /* the count lies behind the pointer */
  }
out:
  return st;
}

int cf_value_set(cf_arena *a, cf_errors *errors, const cf_key *k, const char *name, const cf_node *v, void *base, bool *good) {
  int st = OK;
  char *field = (char *)base + k->off;
  const target t = {a, errors, k, name, good};

  *good = true;
  switch (k->type) {
  case CF_T_INT: set_int(&t, v, (int64_t *)(void *)field); break;
  case CF_T_SEED: set_seed(&t, v, (uint64_t *)(void *)field); break;
  case CF_T_REAL: (void)read_real(&t, v, (double *)(void *)field); break;
  case CF_T_PAIR: set_pair(&t, v, (double *)(void *)field); break;
  case CF_T_BOOL: set_bool(&t, v, (bool *)(void *)field); break;
  case CF_T_ENUM: set_enum(&t, v, field); break;
  case CF_T_TEXT:
  case CF_T_PATH: TRY(set_text(&t, v, (char **)(void *)field)); break;
  case CF_T_SETS: TRY(set_sets(&t, v, (char ***)(void *)field)); break;
  case CF_T_SIZE: set_size(&t, v, (int64_t *)(void *)field); break;
  }
out:
  return st;
}

/* ---- back to text ---- */

/* Shortest decimal that reads back as x. */
static void print_real(FILE *f, double x) {
  char s[40];

  for (int digits = 6; digits <= 17; digits++) {
    snprintf(s, sizeof s, "%.*g", digits, x);
    if (strtod(s, NULL) == x) break;
  }
  fputs(s, f);
}

/* Bare where YAML reads it back as the same text, else in single quotes. */
static void print_text(FILE *f, const char *s) {
  static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=@%";
  const bool plain = *s && strspn(s, safe) == strlen(s) && (isalnum((unsigned char)*s) || *s == '/') && strcmp(s, "null");

  if (plain) {
    fputs(s, f);
    return;
  }
  if (strpbrk(s, "\n\r\t")) { /* only double quotes can hold a line's end */
    fputc('"', f);
    for (; *s; s++) {
      if (*s == '\n') fputs("\\n", f);
      else if (*s == '\r') fputs("\\r", f);
      else if (*s == '\t') fputs("\\t", f);
      else fprintf(f, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
    }
    fputc('"', f);
    return;
  }
  fputc('\'', f);
  for (; *s; s++) fputs(*s == '\'' ? "''" : (char[]){*s, 0}, f);
  fputc('\'', f);
}

/* The path begins after `prefix` bytes of text. */
static int print_path(FILE *f, const char *text, size_t prefix, bool absolute) {
  int st = OK;
  char cwd[4096];
  char *whole = NULL;

  if (!absolute || !text[prefix] || text[prefix] == '/') {
    print_text(f, text);
    goto out;
  }
  NEED(getcwd(cwd, sizeof cwd), E_FAIL, "the working folder cannot be named: %s", strerror(errno));
  NEED(whole = malloc(strlen(cwd) + strlen(text) + 2), E_NOMEM, "no memory");
  sprintf(whole, "%.*s%s/%s", (int)prefix, text, cwd, text + prefix);
  print_text(f, whole);
out:
  free(whole);
  return st;
}

static void print_word(FILE *f, const char *words, int i) {
  size_t n = 0;
  const char *w = cf_word(words, i, &n);

  if (w) fwrite(w, 1, n, f);
}

static void print_size(FILE *f, const cf_key *k, const int64_t *x) {
  if (x[0] == 0) print_word(f, k->words, 0);
  else fprintf(f, "[%" PRId64 ", %" PRId64 "]", x[0], x[1]);
}

static void print_int(FILE *f, const cf_key *k, int64_t x) {
  if (x == 0 && k->words) print_word(f, k->words, 0);
  else fprintf(f, "%" PRId64, x);
}

static int print_value(FILE *f, const cf_key *k, const void *base, bool absolute) {
  int st = OK, word;
  const char *field = (const char *)base + k->off;
  const double *x = (const double *)(const void *)field;
  char *const *text = (char *const *)(const void *)field;
  size_t n;

  switch (k->type) {
  case CF_T_INT: print_int(f, k, *(const int64_t *)(const void *)field); break;
  case CF_T_SEED: fprintf(f, "%" PRIu64, *(const uint64_t *)(const void *)field); break;
  case CF_T_REAL: print_real(f, *x); break;
  case CF_T_PAIR:
    fputc('[', f);
    print_real(f, x[0]);
    fputs(", ", f);
    print_real(f, x[1]);
    fputc(']', f);
    break;
  case CF_T_BOOL: fputs(*(const bool *)(const void *)field ? "true" : "false", f); break;
  case CF_T_ENUM:
    memcpy(&word, field, sizeof word);
    print_word(f, k->words, word);
    break;
  case CF_T_TEXT:
  case CF_T_PATH:
    if (k->type == CF_T_PATH) TRY(print_path(f, *text, 0, absolute));
    else print_text(f, *text);
    break;
  case CF_T_SETS:
    memcpy(&n, text + 1, sizeof n);
    fputc('[', f);
    for (size_t i = 0; i < n; i++) {
      const char *spec = (*(char *const *const *)(const void *)field)[i];
      if (i) fputs(", ", f);
      TRY(print_path(f, spec, set_prefix(spec), absolute));
    }
    fputc(']', f);
    break;
  case CF_T_SIZE: print_size(f, k, (const int64_t *)(const void *)field); break;
  }
out:
  return st;
}

int cf_value_text(const cf_key *k, const void *base, bool absolute, char **out) {
  int st = OK;
  char *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);

  NEED(f, E_NOMEM, "no memory");
  st = print_value(f, k, base, absolute);
  if (fclose(f) != 0 && st == OK) st = err_set(E_NOMEM, __FILE__, __LINE__, "no memory");
  if (st == OK) {
    *out = text;
    text = NULL;
  }
  free(text);
out:
  return st;
}
