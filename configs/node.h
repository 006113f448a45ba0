/* configs/node.h: a YAML file as a tree whose every key and value knows where it stands, and the list of errors that
 * grows while files are read and keys are checked. */
#ifndef CONFIGS_NODE_H
#define CONFIGS_NODE_H
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "configs/arena.h"
#ifdef __cplusplus
extern "C" {
#endif
/* file:line:col, both from 1. An override has its own text ("-s a.b=c") as file and line 0. */
typedef struct cf_place { const char *file; int line, col; } cf_place;

/* CF_BROKEN stands where an error was reported already: whoever meets it says nothing more. */
typedef enum { CF_SCALAR, CF_MAP, CF_LIST, CF_BROKEN } cf_node_kind;
typedef struct cf_node cf_node;
typedef struct cf_item {
  const char *key;         /* NULL in a list */
  cf_place at;             /* of the key */
  cf_node *value;
} cf_item;
struct cf_node {
  cf_node_kind kind;
  cf_place at;
  const char *text;        /* CF_SCALAR */
  bool quoted;             /* "3" is a text, 3 a number */
  cf_item *items;          /* CF_MAP, CF_LIST */
  size_t n;
};

typedef struct cf_errors {
  char *text;              /* one error a line, from malloc; NULL when there is none */
  size_t n;                /* bytes */
  size_t count, hidden;    /* errors; those beyond what a message can hold */
  bool no_memory;
} cf_errors;
/* Adds "file:line:col: key: what"; key may be NULL. */
void cf_report(cf_errors *e, cf_place at, const char *key, const char *fmt, ...) ERR_PRINTF(4, 5);
void cf_errors_fini(cf_errors *e);

/* Reads one file. Anchors, aliases, tags, a second document, duplicate keys and syntax errors are added to `errors`;
 * *out is a CF_MAP, empty for an empty file, or CF_BROKEN. Errors: E_CONFIG (cannot be read: the message says why), E_NOMEM. */
int cf_read_file(cf_arena *a, const char *path, cf_errors *errors, cf_node **out);
/* Reads the value of an override: YAML when it starts like a list, a map or a quoted text, else the bare text. */
int cf_read_value(cf_arena *a, const char *text, const char *file, cf_errors *errors, cf_node **out);

cf_node *cf_node_new(cf_arena *a, cf_node_kind kind, cf_place at);
/* NULL when `map` has no such key. */
cf_item *cf_node_find(const cf_node *map, const char *key);
int cf_node_add(cf_arena *a, cf_node *to, const char *key, cf_place at, cf_node *value);
/* A scalar with nothing in it, `~` or `null`, without quotes. */
bool cf_node_is_null(const cf_node *v);
#ifdef __cplusplus
}
#endif
#endif
