/* datasets/cache_index.h: the manifest of prepared data: what it was made from, where each sample lies, its hashes.
 * Text, so that it can be read and searched; fields are separated by tabs:
 *
 *   e2eft cache 1
 *   of NAME VALUE                          what determines the samples (a ds_key), a line each
 *   form COUNT H W NEED C h w BYTES ROWS   items in the list; sample size, DS_NEED_* planes; latent, bytes of a number;
 *                                          rows of a shard. Without latents only the frames' hashes are kept (C = 0).
 *   shard NUMBER SIZE OFFSET...            bytes of the file; where its planes begin
 *   kept ITEM FRAME PLAIN MIRRORED same|own ID
 *   filtered ITEM FRAME - - - ID REASON    left out by data.filter
 *   broken ITEM - - - - ID REASON
 *   end HASH                               of all bytes before this line
 *
 * Hashes are XXH3-128. Items come in list order, so a file that ends early says where to go on. */
#ifndef DATASETS_CACHE_INDEX_H
#define DATASETS_CACHE_INDEX_H
#include "datasets/hash.h"
#include "datasets/sample.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { DS_KEY_MAX = 40, DS_KEY_NAME = 24, DS_KEY_VALUE = 104 };
/* Names and values that determine what is decoded and stored. */
typedef struct ds_key {
  int n;
  struct { char name[DS_KEY_NAME], value[DS_KEY_VALUE]; } at[DS_KEY_MAX];
} ds_key;
/* printf-like value; tabs and ends of line become spaces. */
void ds_key_add(ds_key *k, const char *name, const char *fmt, ...) ERR_PRINTF(3, 4);
/* NULL when there is none. */
const char *ds_key_find(const ds_key *k, const char *name);

enum { DS_CACHE_LATENT, DS_CACHE_METRIC, DS_CACHE_DEPTH, DS_CACHE_NORMALS, DS_CACHE_MASK, DS_CACHE_KINDS };
enum { DS_CACHE_STATE = 2 * DS_CACHE_KINDS, DS_CACHE_PLANES, DS_CACHE_ROWS_MAX = 1000 };

typedef struct ds_cache_form {
  int64_t count;
  int H, W, need;
  ds_latent_form latent; /* C = 0: none */
  int rows;              /* of a shard, the last may have fewer */
} ds_cache_form;
/* Bytes of one sample in plane k: k = DS_CACHE_LATENT ... of the sample as it is, DS_CACHE_KINDS + k of the mirrored one,
 * DS_CACHE_STATE one byte; 0 when it is not stored. Masks are bits, the first pixel the highest, as numpy.packbits has
 * them. */
size_t ds_cache_plane_bytes(const ds_cache_form *f, int k);
/* Rows of a shard, shards of the whole. */
int ds_cache_shard_rows(const ds_cache_form *f, int64_t shard);
int64_t ds_cache_shards(const ds_cache_form *f);

/* offset[k]: where plane k of the first row begins. */
typedef struct ds_cache_shard { int64_t size, offset[DS_CACHE_PLANES]; } ds_cache_shard;

typedef enum { DS_KEPT, DS_FILTERED, DS_BROKEN } ds_item_state;
typedef struct ds_cache_item {
  ds_item_state state;
  bool own_mirror;  /* planes of the mirrored sample are stored; otherwise they are the plain ones, mirrored */
  ds_hash frame;    /* of the decoded frame, before flip, crop and resize */
  ds_hash row[2];   /* of the stored bytes: plain, mirrored */
  const char *id, *reason; /* lent by the index; "" when none */
} ds_cache_item;

typedef struct ds_cache_index {
  ds_key key;
  ds_cache_form form;
  int64_t nshards;
  ds_cache_shard *shards;
  int64_t n;              /* items that are there */
  ds_cache_item *items;
  bool complete;
  size_t whole;           /* bytes of the text up to the end of its last whole line */
  char *text;
} ds_cache_index;

/* Parses text (n bytes and a 0 behind them, from malloc; taken over in any case). What is not whole at the end counts as
 * not written; anything else that is wrong is an error. path: for messages.
 * Errors: E_DATA naming path, line and what is wrong; E_NOMEM. */
int ds_cache_index_parse(const char *path, char *text, size_t n, ds_cache_index *out);
void ds_cache_index_free(ds_cache_index *x);
/* The first line that differs as "NAME is now VALUE, was VALUE" in out [size]; false: none does. Names that `was` does not
 * have do not count: a manifest without latents does not depend on a VAE. */
bool ds_key_differs(const ds_key *was, const ds_key *now, char *out, size_t size);

/* Lines as above, each a string from malloc. Errors: E_NOMEM. */
int ds_cache_head_text(const ds_key *k, const ds_cache_form *f, char **out);
int ds_cache_shard_text(int64_t shard, const ds_cache_shard *s, char **out);
int ds_cache_item_text(int64_t item, const ds_cache_item *it, char **out);
#ifdef __cplusplus
}
#endif
#endif
