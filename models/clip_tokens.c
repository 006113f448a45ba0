/* The token ids of the empty prompt, from a CLIP tokenizer's files. Source: transformers tokenization_utils_base.py,
 * _from_pretrained: special_tokens_map.json overrules tokenizer_config.json, unless that lists added_tokens_decoder. */
#include <stdlib.h>
#include <string.h>

#include "models/clip.h"
#include "models/json.h"

enum { PLACES = 77, PLACES_MAX = 1 << 16 }; /* CLIP's; tokenizers without a limit say 1e30 */

/* What a tokenizer folder may hold; root is NULL for a file that is not there. */
typedef struct tokenizer {
  const char *dir;
  md_json config, special, vocab, added, fast;
} tokenizer;

static int open_optional(const char *dir, const char *file, size_t flags, md_json *j) {
  int st = OK;
  char path[IO_PATH_MAX];
  TRY(io_path(path, "%s/%s", dir, file));
  if (io_exists(path)) TRY(md_json_open("tokenizer", dir, file, flags, j));
out:
  return st;
}

static int tokenizer_open(const char *dir, tokenizer *t) {
  int st = OK;
  NEED(io_is_dir(dir), E_CKPT, "%s: no tokenizer folder", dir);
  /* as reals: "no limit" is written as an integer of 31 digits */
  TRY(open_optional(dir, "tokenizer_config.json", JSON_DECODE_INT_AS_REAL, &t->config));
  TRY(open_optional(dir, "special_tokens_map.json", 0, &t->special));
  TRY(open_optional(dir, "vocab.json", 0, &t->vocab));
  TRY(open_optional(dir, "added_tokens.json", 0, &t->added));
  TRY(open_optional(dir, "tokenizer.json", 0, &t->fast));
  NEED(t->vocab.root || t->fast.root, E_CKPT, "%s: no vocab.json and no tokenizer.json", dir);
out:
  return st;
}

static void tokenizer_close(tokenizer *t) {
  md_json_close(&t->config);
  md_json_close(&t->special);
  md_json_close(&t->vocab);
  md_json_close(&t->added);
  md_json_close(&t->fast);
}

/* A special token's text: a string, or an object with `content`. */
static const char *token_text(const json_t *v) {
  return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

static const char *special_token(const tokenizer *t, const char *key, const char *otherwise) {
  const bool decoder = json_object_get(t->config.root, "added_tokens_decoder") != NULL;
  const char *map = token_text(json_object_get(t->special.root, key));
  const char *config = token_text(json_object_get(t->config.root, key));
  const char *found = map && !decoder ? map : config ? config : map;
  return found ? found : otherwise;
}

/* The id in an object of ids by text, or NULL. */
static const json_t *id_in(const json_t *ids, const char *text) {
  const json_t *id = json_object_get(ids, text);
  return json_is_integer(id) ? id : NULL;
}

/* The id in a list or object of tokens: [{"id": 0, "content": "!"}], or {"0": {"content": "!"}}. */
static bool id_of_added(const tokenizer *t, const char *text, int64_t *id) {
  const char *key;
  size_t i;
  json_t *v;
  json_object_foreach(json_object_get(t->config.root, "added_tokens_decoder"), key, v) {
    const char *s = token_text(v);
    if (s && strcmp(s, text) == 0) return *id = strtoll(key, NULL, 10), true;
  }
  json_array_foreach(json_object_get(t->fast.root, "added_tokens"), i, v) {
    const char *s = token_text(v);
    if (s && strcmp(s, text) == 0) return *id = json_integer_value(json_object_get(v, "id")), true;
  }
  return false;
}

static int token_id(const tokenizer *t, const char *key, const char *text, int64_t *id) {
  const json_t *fast = json_object_get(json_object_get(t->fast.root, "model"), "vocab");
  const json_t *v = id_in(t->vocab.root, text);
  if (!v) v = id_in(t->added.root, text);
  if (!v) v = id_in(fast, text);
  if (v) *id = json_integer_value(v);
  else if (!id_of_added(t, text, id))
    return err_set(E_CKPT, __FILE__, __LINE__, "%s: %s \"%s\" is in no vocabulary", t->dir, key, text);
  return OK;
}

/* model_max_length, or CLIP's 77 where it is missing or no real limit. */
static int padded_length(const tokenizer *t) {
  const double n = json_number_value(json_object_get(t->config.root, "model_max_length"));
  return n >= 2 && n <= PLACES_MAX ? (int)n : PLACES;
}

int md_clip_empty_ids(const char *tokenizer_dir, bool padded, int64_t **ids, int *n) {
  static const char begin[] = "<|startoftext|>", end[] = "<|endoftext|>";
  int st = OK;
  tokenizer t = {.dir = tokenizer_dir};
  int64_t *out = NULL, pad = 0;

  TRY(tokenizer_open(tokenizer_dir, &t));
  const int length = padded ? padded_length(&t) : 2;
  NEED((out = malloc((size_t)length * sizeof *out)) != NULL, E_NOMEM, "%s", tokenizer_dir);
  TRY(token_id(&t, "bos_token", special_token(&t, "bos_token", begin), &out[0]));
  TRY(token_id(&t, "eos_token", special_token(&t, "eos_token", end), &out[1]));
  if (padded) TRY(token_id(&t, "pad_token", special_token(&t, "pad_token", end), &pad));
  for (int i = 2; i < length; i++) out[i] = pad;
  *ids = out;
  *n = length;
  out = NULL;
out:
  tokenizer_close(&t);
  free(out);
  return st;
}
