#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/io.h"
#include "configs/node.h"

enum { MAX_BYTES = 1 << 20, MAX_DEPTH = 16, MAX_ERRORS = 100, MAX_ERROR_BYTES = 6000 };

typedef struct reader {
  cf_arena *a;
  cf_errors *errors;
  const char *file;
  const char *data;
  size_t size;
  int depth;
  bool one_line;           /* an override: places have no line */
  yaml_parser_t parser;
  yaml_event_t event;
} reader;

/* ---- errors ---- */

void cf_report(cf_errors *e, cf_place at, const char *key, const char *fmt, ...) {
  char what[1024], line[2048], place[32] = "";
  va_list ap;

  if (e->count++ >= MAX_ERRORS || e->n > MAX_ERROR_BYTES) { /* err_text has an end */
    e->hidden++;
    return;
  }
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  if (at.line) snprintf(place, sizeof place, ":%d:%d", at.line, at.col);
  snprintf(line, sizeof line, "%s%s%s: %s%s%s", e->n ? "\n" : "", at.file, place, key ? key : "", key ? ": " : "", what);
  const size_t n = strlen(line);
  char *longer = realloc(e->text, e->n + n + 1);
  if (!longer) {
    e->no_memory = true;
    return;
  }
  memcpy(longer + e->n, line, n + 1);
  e->text = longer;
  e->n += n;
}

void cf_errors_fini(cf_errors *e) {
  free(e->text);
  *e = (cf_errors){0};
}

/* ---- tree ---- */

cf_node *cf_node_new(cf_arena *a, cf_node_kind kind, cf_place at) {
  cf_node *v = cf_arena_alloc(a, sizeof *v);

  if (!v) return NULL;
  v->kind = kind;
  v->at = at;
  return v;
}

cf_item *cf_node_find(const cf_node *map, const char *key) {
  for (size_t i = 0; i < map->n; i++)
    if (strcmp(map->items[i].key, key) == 0) return &map->items[i];
  return NULL;
}

int cf_node_add(cf_arena *a, cf_node *to, const char *key, cf_place at, cf_node *value) {
  int st = OK;

  if ((to->n & (to->n - 1)) == 0) { /* full at every power of two */
    cf_item *more = cf_arena_alloc(a, sizeof *more * (to->n ? 2 * to->n : 1));
    NEED(more, E_NOMEM, "%s: no memory for a config", at.file);
    if (to->n) memcpy(more, to->items, sizeof *more * to->n);
    to->items = more;
  }
  to->items[to->n++] = (cf_item){key, at, value};
out:
  return st;
}

bool cf_node_is_null(const cf_node *v) {
  return v->kind == CF_SCALAR && !v->quoted && (!*v->text || !strcmp(v->text, "~") || !strcmp(v->text, "null"));
}

/* ---- parsing ---- */

static cf_place place_of(const reader *r, const yaml_mark_t *m) {
  if (r->one_line) return (cf_place){r->file, 0, 0};
  return (cf_place){r->file, (int)m->line + 1, (int)m->column + 1};
}

/* libyaml's reader gives its errors (bytes that are no UTF-8, control characters) an offset, but no line. */
static cf_place place_of_byte(const reader *r, size_t offset) {
  cf_place p = {r->file, 1, 1};

  if (r->one_line) return (cf_place){r->file, 0, 0};
  for (size_t i = 0; i < offset && i < r->size; i++) {
    p.col = r->data[i] == '\n' ? 1 : p.col + 1;
    p.line += r->data[i] == '\n';
  }
  return p;
}

static void report_syntax(reader *r) {
  const yaml_parser_t *p = &r->parser;

  if (p->error == YAML_READER_ERROR)
    cf_report(r->errors, place_of_byte(r, p->problem_offset), NULL, "not a text file: %s", p->problem);
  else
    cf_report(r->errors, place_of(r, &p->problem_mark), NULL, "not YAML: %s%s%s", p->problem, p->context ? ", " : "",
              p->context ? p->context : "");
}

static int next(reader *r) {
  yaml_event_delete(&r->event);
  if (yaml_parser_parse(&r->parser, &r->event)) return OK;
  if (r->parser.error == YAML_MEMORY_ERROR) return err_set(E_NOMEM, __FILE__, __LINE__, "%s: no memory", r->file);
  report_syntax(r);
  return E_CONFIG;
}

static int parse_node(reader *r, const char *where, cf_node **out);

static void refuse_properties(reader *r, const char *where, const yaml_char_t *anchor, const yaml_char_t *tag) {
  const cf_place at = place_of(r, &r->event.start_mark);

  if (anchor) cf_report(r->errors, at, where, "anchors (&%s) are not supported; write the value out", (const char *)anchor);
  if (tag) cf_report(r->errors, at, where, "tags (%s) are not supported", (const char *)tag);
}

/* One key with its value; the current event is the key's. */
static int parse_pair(reader *r, const char *where, cf_node *map) {
  int st = OK;
  const cf_place at = place_of(r, &r->event.start_mark);
  const char *key = NULL, *path = where;
  cf_node *value = NULL;

  if (r->event.type == YAML_SCALAR_EVENT) {
    NEED(key = cf_arena_format(r->a, "%s", (const char *)r->event.data.scalar.value), E_NOMEM, "%s: no memory", r->file);
    NEED(path = cf_arena_format(r->a, "%s%s%s", where ? where : "", where ? "." : "", key), E_NOMEM, "%s: no memory", r->file);
    refuse_properties(r, path, r->event.data.scalar.anchor, r->event.data.scalar.tag);
  } else {
    cf_report(r->errors, at, where, "a key must be one word");
    TRY(parse_node(r, where, &value));
  }
  TRY(next(r));
  TRY(parse_node(r, path, &value));
  const cf_item *first = key ? cf_node_find(map, key) : NULL;
  if (first && first->at.line) cf_report(r->errors, at, path, "duplicate key; the first is in line %d", first->at.line);
  else if (first) cf_report(r->errors, at, path, "duplicate key");
  if (key && !first) TRY(cf_node_add(r->a, map, key, at, value));
out:
  return st;
}

static int parse_map(reader *r, const char *where, cf_node *map) {
  int st = OK;

  TRY(next(r));
  while (r->event.type != YAML_MAPPING_END_EVENT) {
    TRY(parse_pair(r, where, map));
    TRY(next(r));
  }
out:
  return st;
}

static int parse_list(reader *r, const char *where, cf_node *list) {
  int st = OK;

  TRY(next(r));
  while (r->event.type != YAML_SEQUENCE_END_EVENT) {
    cf_node *value = NULL;
    const cf_place at = place_of(r, &r->event.start_mark);
    const char *path = cf_arena_format(r->a, "%s.%zu", where ? where : "", list->n);
    NEED(path, E_NOMEM, "%s: no memory", r->file);
    TRY(parse_node(r, path, &value));
    TRY(cf_node_add(r->a, list, NULL, at, value));
    TRY(next(r));
  }
out:
  return st;
}

static int parse_scalar(reader *r, const char *where, cf_node *v) {
  int st = OK;
  const size_t n = r->event.data.scalar.length;
  char *text = cf_arena_alloc(r->a, n + 1);

  NEED(text, E_NOMEM, "%s: no memory", r->file);
  memcpy(text, r->event.data.scalar.value, n);
  if (memchr(text, 0, n)) {
    cf_report(r->errors, v->at, where, "a text with a zero byte in it");
    v->kind = CF_BROKEN;
  }
  v->text = text;
  v->quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
out:
  return st;
}

/* The node that the current event starts; afterwards the current event is its last one. */
static int parse_node(reader *r, const char *where, cf_node **out) {
  int st = OK;
  const cf_place at = place_of(r, &r->event.start_mark);
  cf_node *v = cf_node_new(r->a, CF_BROKEN, at);

  NEED(v, E_NOMEM, "%s: no memory", r->file);
  if (++r->depth > MAX_DEPTH) {
    cf_report(r->errors, at, NULL, "nested more than %d deep", MAX_DEPTH);
    st = E_CONFIG;
    goto out;
  }
  switch (r->event.type) {
  case YAML_SCALAR_EVENT:
    v->kind = CF_SCALAR;
    refuse_properties(r, where, r->event.data.scalar.anchor, r->event.data.scalar.tag);
    TRY(parse_scalar(r, where, v));
    break;
  case YAML_MAPPING_START_EVENT:
    v->kind = CF_MAP;
    refuse_properties(r, where, r->event.data.mapping_start.anchor, r->event.data.mapping_start.tag);
    TRY(parse_map(r, where, v));
    break;
  case YAML_SEQUENCE_START_EVENT:
    v->kind = CF_LIST;
    refuse_properties(r, where, r->event.data.sequence_start.anchor, r->event.data.sequence_start.tag);
    TRY(parse_list(r, where, v));
    break;
  default: /* only an alias is left */
    cf_report(r->errors, at, where, "aliases (*%s) are not supported; write the value out",
              (const char *)r->event.data.alias.anchor);
  }
  *out = v;
out:
  r->depth--;
  return st;
}

/* The only document of the stream; a stream without one leaves *out as it is. */
static int parse_stream(reader *r, cf_node **out) {
  int st = OK;

  TRY(next(r)); /* stream start */
  TRY(next(r));
  if (r->event.type == YAML_STREAM_END_EVENT) goto out;
  TRY(next(r));
  TRY(parse_node(r, NULL, out));
  TRY(next(r)); /* document end */
  TRY(next(r));
  if (r->event.type != YAML_STREAM_END_EVENT)
    cf_report(r->errors, place_of(r, &r->event.start_mark), NULL, "a second document; a config is one");
out:
  return st;
}

/* A text with syntax errors, which are in the list, gives a CF_BROKEN; only a lack of memory is returned. */
static int parse_text(reader *r, cf_node **out) {
  int st = OK;
  cf_node *broken = cf_node_new(r->a, CF_BROKEN, (cf_place){r->file, r->one_line ? 0 : 1, 1});

  NEED(broken, E_NOMEM, "%s: no memory", r->file);
  NEED(yaml_parser_initialize(&r->parser), E_NOMEM, "%s: no memory", r->file);
  yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
  /* libyaml counts a byte order mark as a column, which would put the first key out of line with the others */
  const size_t mark = r->size >= 3 && !memcmp(r->data, "\xef\xbb\xbf", 3) ? 3 : 0;
  yaml_parser_set_input_string(&r->parser, (const unsigned char *)r->data + mark, r->size - mark);
  st = parse_stream(r, out);
  if (st == E_CONFIG) {
    *out = broken;
    st = OK;
  }
  yaml_event_delete(&r->event);
  yaml_parser_delete(&r->parser);
out:
  return st;
}

int cf_read_file(cf_arena *a, const char *path, cf_errors *errors, cf_node **out) {
  int st = OK;
  char *data = NULL;
  reader r = {.a = a, .errors = errors};
  cf_node *top = NULL;

  NEED(r.file = cf_arena_format(a, "%s", path), E_NOMEM, "%s: no memory", path);
  st = io_read_file(path, MAX_BYTES, &data, &r.size);
  if (st == E_IO || st == E_FORMAT) st = E_CONFIG;
  TRY(st);
  r.data = data;
  TRY(parse_text(&r, &top));
  if (!top || cf_node_is_null(top)) { /* an empty file */
    NEED(top = cf_node_new(a, CF_MAP, (cf_place){r.file, 1, 1}), E_NOMEM, "%s: no memory", path);
  } else if (top->kind == CF_SCALAR || top->kind == CF_LIST) {
    cf_report(errors, top->at, NULL, "wants sections such as `optim:` at the top, found a %s",
              top->kind == CF_LIST ? "list" : "single text");
    top->kind = CF_BROKEN;
  }
  *out = top;
out:
  free(data);
  return st;
}

int cf_read_value(cf_arena *a, const char *text, const char *file, cf_errors *errors, cf_node **out) {
  int st = OK;
  reader r = {.a = a, .errors = errors, .file = file, .data = text, .size = strlen(text), .one_line = true};
  cf_node *v = cf_node_new(a, CF_SCALAR, (cf_place){file, 0, 0});

  NEED(v, E_NOMEM, "%s: no memory", file);
  v->text = text;
  if (*text && strchr("[{\"'", *text)) TRY(parse_text(&r, &v));
  *out = v;
out:
  return st;
}
