/* The manifest of prepared data: what parses says nothing that a reader could stumble over. */
#include "datasets/cache_index.h"
#include "tests/fuzz/fuzz.h"

static void check_shards(const ds_cache_index *x) {
  for (int64_t i = 0; i < x->nshards; i++)
    for (int k = 0; k < DS_CACHE_PLANES; k++) {
      const int64_t bytes = ds_cache_shard_rows(&x->form, i) * (int64_t)ds_cache_plane_bytes(&x->form, k);
      if (x->shards[i].offset[k] < 0 || bytes < 0 || x->shards[i].offset[k] > x->shards[i].size - bytes) abort();
    }
}

static void check_items(const ds_cache_index *x) {
  char *line = NULL;

  if (x->n > x->form.count || (x->complete && x->n != x->form.count)) abort();
  for (int64_t i = 0; i < x->n; i++) {
    const ds_cache_item *it = &x->items[i];
    if (it->state == DS_KEPT && x->form.latent.C && i / x->form.rows >= x->nshards) abort();
    if (ds_cache_item_text(i, it, &line) == OK) fuzz_touch(line, strlen(line));
    free(line);
    line = NULL;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  ds_cache_index x;
  char *text = malloc(size + 1);

  if (!text) abort();
  memcpy(text, data, size);
  text[size] = 0;
  const int st = ds_cache_index_parse("fuzz", text, size, &x);
  fuzz_need_message(st);
  if (st != OK) return 0;
  if (x.whole > size) abort();
  check_shards(&x);
  check_items(&x);
  ds_cache_index_free(&x);
  return 0;
}
