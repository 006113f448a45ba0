/* configs/schema.h: the table of all config keys, and one value from text to field and back. */
#ifndef CONFIGS_SCHEMA_H
#define CONFIGS_SCHEMA_H
#include "configs/config.h"
#include "configs/node.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum {
  CF_T_INT,    /* int64_t; `words` may name the one word that stands for 0 */
  CF_T_SEED,   /* uint64_t */
  CF_T_REAL,   /* double */
  CF_T_PAIR,   /* double[2] */
  CF_T_BOOL,
  CF_T_ENUM,   /* an enum of config.h whose values are `words` in order */
  CF_T_TEXT,   /* char *; one of `words` when there are any */
  CF_T_PATH,   /* char * */
  CF_T_SETS,   /* char **, with a size_t count behind it: "SET:PATH" */
  CF_T_SIZE    /* int64_t[2]; `words` may name the one word that stands for 0, 0 */
} cf_type;

enum {
  CF_OPEN_LO = 1,     /* lo itself is out of range */
  CF_OPEN_HI = 2,
  CF_FREE = 4,        /* may change when a run is resumed: changes no result */
  CF_NOT_STORED = 8,  /* does not apply to kind batches */
  CF_REQUIRED = 16
};

typedef struct cf_key {
  const char *name;   /* "optim.lr"; the keys of one data set are "data.root" */
  cf_type type;
  size_t off;         /* in cf_config, or in cf_data for the keys of a data set */
  double lo, hi;      /* of numbers */
  const char *words;  /* "a|b|c", or NULL */
  const char *def;    /* as in a file; NULL when the key is unset by default */
  unsigned flags;
  const char *help;
} cf_key;

extern const cf_key cf_keys[];
extern const size_t cf_nkeys;

/* Index in cf_keys, or -1. */
int cf_key_index(const char *name);
bool cf_key_is_data(const cf_key *k);
/* Without its section: "lr". */
const char *cf_key_leaf(const cf_key *k);
/* The section's or key's name closest to a mistyped one, as the user should write it; NULL when nothing is close. */
bool cf_is_near(const char *typed, const char *known);
const char *cf_suggest_section(const char *typed);
const char *cf_suggest_key(const char *section, const char *typed);
/* "one of a, b", "integer, 1 to 64", ... from malloc; NULL when there is no memory. */
char *cf_key_type_text(const cf_key *k);

/* The i-th of "a|b|c"; NULL behind the last. *n is its length. */
const char *cf_word(const char *words, int i, size_t *n);
/* Is `v` what key k wants? Then writes the field at base + k->off, with memory of the arena; otherwise reports under
 * `name` and leaves the field. A relative path becomes one beside the file that it stands in. Errors: E_NOMEM. */
int cf_value_set(cf_arena *a, cf_errors *errors, const cf_key *k, const char *name, const cf_node *v, void *base, bool *good);
/* The field, which is not NULL, as a config file has it, from malloc; paths are made absolute when `absolute`. Errors: E_NOMEM, E_FAIL. */
int cf_value_text(const cf_key *k, const void *base, bool absolute, char **out);

/* Where the value of one key came from. */
typedef struct cf_origin {
  cf_place at;        /* of the value; the file's when the key is not set */
  bool set;           /* given in a file or an override */
  bool bad;           /* given, but refused */
} cf_origin;
struct cf_origins {
  cf_arena arena;     /* of everything the config points to */
  const char *file;   /* the config file, for errors about what is missing */
  cf_origin *of;      /* [1 + ndata][cf_nkeys]; row 0 for the keys outside `data` */
};
/* entry: index of the data set, or -1. */
const cf_origin *cf_origin_of(const cf_config *c, int key, int entry);
/* What excludes each other, and what must be there. Reports under the place of the key that was set. */
void cf_check(const cf_config *c, bool require_model, cf_errors *errors);
#ifdef __cplusplus
}
#endif
#endif
