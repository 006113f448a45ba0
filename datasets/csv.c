#include "datasets/csv.h"

#include <stdlib.h>
#include <string.h>

#include "datasets/buffer.h"

enum { FILE_MAX = 64 << 20 };

struct ds_csv {
  char *path;
  ds_buf text; /* fields are cut out of it in place */
  char *at;    /* the next line */
  char *end;
  char **header, **fields;
  int columns;
  int line, next_line;
};

/* One field starting at p, ended in place by a 0: what stood there goes to *ended_by (',', '\n' or 0), the place
 * behind it to *next. A quoted field may hold commas, line ends and doubled quotes. */
static char *take_field(ds_csv *c, char *p, char *ended_by, char **next) {
  char *to = p, *const field = p;
  bool quoted = false;

  for (; p < c->end && (quoted || (*p != ',' && *p != '\n')); p++) {
    if (*p == '\n') c->next_line++;
    if (*p == '"' && quoted && p + 1 < c->end && p[1] == '"') {
      *to++ = *p++;
    } else if (*p == '"' && (quoted || to == field)) {
      quoted = !quoted;
    } else {
      *to++ = *p;
    }
  }
  *ended_by = p < c->end ? *p : 0;
  *next = p < c->end ? p + 1 : p;
  if (*ended_by != ',' && to > field && to[-1] == '\r') to--;
  *to = 0; /* the text has room for one byte more */
  return field;
}

static void skip_empty_lines(ds_csv *c) {
  while (c->at < c->end && (*c->at == '\n' || (*c->at == '\r' && c->at + 1 < c->end && c->at[1] == '\n'))) {
    if (*c->at == '\n') c->next_line++;
    c->at++;
  }
}

/* Cuts one line into at most max fields (the rest is only counted). */
static int take_line(ds_csv *c, char **fields, int max) {
  char ended_by = ',';
  int n = 0;

  c->line = c->next_line;
  while (ended_by == ',') {
    char *f = take_field(c, c->at, &ended_by, &c->at);
    if (n < max) fields[n] = f;
    n++;
  }
  c->next_line++;
  return n;
}

/* Commas of the first line plus one: an upper bound on the columns. */
static int count_columns(const ds_csv *c) {
  int n = 1;

  for (const char *p = c->at; p < c->end && *p != '\n'; p++) n += *p == ',';
  return n;
}

static int read_header(ds_csv *c) {
  int st = OK;
  int n;

  if (c->end - c->at >= 3 && memcmp(c->at, "\xef\xbb\xbf", 3) == 0) c->at += 3; /* byte order mark */
  skip_empty_lines(c);
  NEED(c->at < c->end, E_DATA, "%s: no header line", c->path);
  n = count_columns(c);
  NEED((c->header = calloc((size_t)n, sizeof *c->header)) != NULL, E_NOMEM, "%s: out of memory", c->path);
  NEED((c->fields = calloc((size_t)n, sizeof *c->fields)) != NULL, E_NOMEM, "%s: out of memory", c->path);
  c->columns = take_line(c, c->header, n);
  NEED(c->columns <= n, E_DATA, "%s: a quoted line end within the header line", c->path);
out:
  return st;
}

int ds_csv_open(const char *path, ds_csv **out) {
  int st = OK;
  ds_csv *c = NULL;
  ds_buf raw = {0};
  const char *zero;
  size_t n;

  NEED((c = calloc(1, sizeof *c)) != NULL, E_NOMEM, "%s: out of memory", path);
  NEED((c->path = strdup(path)) != NULL, E_NOMEM, "%s: out of memory", path);
  TRY(ds_file_read(path, FILE_MAX, &raw, &n));
  zero = memchr(raw.p, 0, n);
  NEED(zero == NULL, E_DATA, "%s: a 0 byte at %zu: not a text file", path, (size_t)(zero - (char *)raw.p));
  TRY(ds_buf_need(&c->text, n + 1));
  memcpy(c->text.p, raw.p, n);
  c->at = c->text.p;
  c->end = c->at + n;
  c->next_line = 1;
  TRY(read_header(c));
  *out = c;
  c = NULL;
out:
  ds_buf_free(&raw);
  ds_csv_close(&c);
  return st;
}

void ds_csv_close(ds_csv **c) {
  if (!*c) return;
  ds_buf_free(&(*c)->text);
  free((*c)->header);
  free((*c)->fields);
  free((*c)->path);
  free(*c);
  *c = NULL;
}

const char *ds_csv_path(const ds_csv *c) { return c->path; }
int ds_csv_line(const ds_csv *c) { return c->line; }
int ds_csv_columns(const ds_csv *c) { return c->columns; }
const char *ds_csv_name(const ds_csv *c, int col) { return c->header[col]; }

int ds_csv_column(const ds_csv *c, const char *name, int *col) {
  int st = OK;
  int i = 0;

  while (i < c->columns && strcmp(c->header[i], name)) i++;
  NEED(i < c->columns, E_DATA, "%s: no column '%s' among its %d columns", c->path, name, c->columns);
  *col = i;
out:
  return st;
}

int ds_csv_next(ds_csv *c, char ***fields) {
  int st = OK;
  int n;

  skip_empty_lines(c);
  if (c->at >= c->end) {
    *fields = NULL;
    goto out;
  }
  n = take_line(c, c->fields, c->columns);
  NEED(n == c->columns, E_DATA, "%s:%d: %d fields, the header has %d", c->path, c->line, n, c->columns);
  *fields = c->fields;
out:
  return st;
}
