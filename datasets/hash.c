#include "datasets/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

struct ds_hasher { XXH3_state_t *state; };

int ds_hasher_create(ds_hasher **out) {
  int st = OK;
  ds_hasher *h = calloc(1, sizeof *h);

  NEED(h && (h->state = XXH3_createState()), E_NOMEM, "hash: out of memory");
  *out = h;
  h = NULL;
out:
  ds_hasher_destroy(&h);
  return st;
}

void ds_hasher_destroy(ds_hasher **h) {
  if (!*h) return;
  XXH3_freeState((*h)->state);
  free(*h);
  *h = NULL;
}

void ds_hasher_begin(ds_hasher *h) { XXH3_128bits_reset(h->state); }
void ds_hasher_add(ds_hasher *h, const void *p, size_t n) { XXH3_128bits_update(h->state, p, n); }

ds_hash ds_hasher_end(const ds_hasher *h) {
  const XXH128_hash_t x = XXH3_128bits_digest(h->state);

  return (ds_hash){x.high64, x.low64};
}

ds_hash ds_hash_of(const void *p, size_t n) {
  const XXH128_hash_t x = XXH3_128bits(p, n);

  return (ds_hash){x.high64, x.low64};
}

bool ds_hash_same(ds_hash a, ds_hash b) { return a.high == b.high && a.low == b.low; }

void ds_hash_text(ds_hash h, char out[DS_HASH_TEXT]) {
  snprintf(out, DS_HASH_TEXT, "%016" PRIx64 "%016" PRIx64, h.high, h.low);
}

static bool parse_word(const char *text, uint64_t *out) {
  uint64_t v = 0;

  for (int i = 0; i < 16; i++) {
    const char c = text[i];
    if (c >= '0' && c <= '9') v = v << 4 | (uint64_t)(c - '0');
    else if (c >= 'a' && c <= 'f') v = v << 4 | (uint64_t)(c - 'a' + 10);
    else return false; /* the end of the text, too */
  }
  *out = v;
  return true;
}

bool ds_hash_parse(const char *text, ds_hash *out) {
  return parse_word(text, &out->high) && parse_word(text + 16, &out->low);
}
