#include "checkpoints/pyjson.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

/* The shortest digits that give v back, laid out as Python's repr: 1e-05, 0.00085, 1.0, 1e+16. */
static void put_real(FILE *out, double v) {
  char text[40];
  int digits = 0; /* behind the first */

  do snprintf(text, sizeof text, "%.*e", digits, v);
  while (strtod(text, NULL) != v && ++digits < 17);
  const int exponent = atoi(strchr(text, 'e') + 1);
  if (exponent < -4 || exponent >= 16) fputs(text, out);
  else fprintf(out, "%.*f", digits - exponent > 1 ? digits - exponent : 1, v);
}

static void put_line(FILE *out, int depth) { fprintf(out, "\n%*s", 2 * depth, ""); }

static int put_string(FILE *out, const char *s) {
  json_t *text = json_string(s);
  char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
  const bool good = quoted != NULL;

  if (good) fputs(quoted, out);
  free(quoted);
  json_decref(text);
  return good ? OK : E_NOMEM;
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static int put_value(FILE *out, const json_t *v, int depth);

static int put_object(FILE *out, json_t *o, int depth) {
  int st = OK;
  size_t n = 0;
  const char *key;
  json_t *value;
  const char **keys = malloc((json_object_size(o) + 1) * sizeof *keys);

  if (!keys) return E_NOMEM;
  json_object_foreach(o, key, value) keys[n++] = key;
  qsort(keys, n, sizeof *keys, by_text);
  fputc('{', out);
  for (size_t i = 0; i < n && st == OK; i++) {
    if (i) fputc(',', out);
    put_line(out, depth + 1);
    st = put_string(out, keys[i]);
    fputs(": ", out);
    if (st == OK) st = put_value(out, json_object_get(o, keys[i]), depth + 1);
  }
  if (n) put_line(out, depth);
  fputc('}', out);
  free(keys);
  return st;
}

static int put_array(FILE *out, const json_t *a, int depth) {
  int st = OK;
  const size_t n = json_array_size(a);

  fputc('[', out);
  for (size_t i = 0; i < n && st == OK; i++) {
    if (i) fputc(',', out);
    put_line(out, depth + 1);
    st = put_value(out, json_array_get(a, i), depth + 1);
  }
  if (n) put_line(out, depth);
  fputc(']', out);
  return st;
}

static int put_value(FILE *out, const json_t *v, int depth) {
  switch (json_typeof(v)) {
  case JSON_OBJECT: return put_object(out, (json_t *)v, depth); /* jansson's iterators are not const */
  case JSON_ARRAY: return put_array(out, v, depth);
  case JSON_STRING: return put_string(out, json_string_value(v));
  case JSON_INTEGER: fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v)); break;
  case JSON_REAL: put_real(out, json_real_value(v)); break;
  case JSON_TRUE: fputs("true", out); break;
  case JSON_FALSE: fputs("false", out); break;
  case JSON_NULL: fputs("null", out); break;
  }
  return OK;
}

int ck_pyjson_write(const char *path, const json_t *value) {
  int st = OK;
  char *text = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&text, &n);

  NEED(out && put_value(out, value, 0) == OK, E_NOMEM, "%s: out of memory", path);
  fputc('\n', out);
  const bool good = !ferror(out) && fclose(out) == 0;
  out = NULL;
  NEED(good, E_NOMEM, "%s: out of memory", path);
  TRY(io_write_file(path, text, n));
out:
  if (out) fclose(out);
  free(text);
  return st;
}

int ck_pyjson_write_in(const char *dir, const char *name, const json_t *value) {
  int st = OK;
  char path[IO_PATH_MAX];

  NEED(value, E_NOMEM, "%s/%s", dir, name);
  TRY(io_path(path, "%s/%s", dir, name));
  TRY(ck_pyjson_write(path, value));
out:
  return st;
}
