#include "trainer/prepare_report.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "datasets/cache_index.h"

static const size_t MANIFEST_MAX = (size_t)4 << 30;

static void list(FILE *f, const ds_cache_index *x, ds_item_state state) {
  for (int64_t i = 0; i < x->n; i++)
    if (x->items[i].state == state)
      fprintf(f, "  %s %s: %s\n", state == DS_BROKEN ? "broken  " : "filtered", x->items[i].id, x->items[i].reason);
}

static void print(FILE *f, const char *dir, int number, const ds_cache_index *x, const int64_t count[3]) {
  fprintf(f, "data.%d: %s: %lld kept, %lld filtered, %lld broken", number, dir, (long long)count[DS_KEPT],
          (long long)count[DS_FILTERED], (long long)count[DS_BROKEN]);
  if (x->form.latent.C) fprintf(f, "; latents and ground truth of [%d, %d] in %lld shards\n", x->form.H, x->form.W,
                                (long long)x->nshards);
  else fprintf(f, "; hashes alone\n");
  list(f, x, DS_FILTERED);
  list(f, x, DS_BROKEN);
}

int tr_prepare_report(const char *dir, int number, FILE *f, int64_t *broken) {
  int st = OK;
  char path[IO_PATH_MAX], *text = NULL;
  ds_cache_index x = {0};
  int64_t count[3] = {0};
  size_t n;
  FILE *memory = NULL;

  TRY(io_path(path, "%s/manifest.tsv", dir));
  TRY_AS(E_DATA, io_read_file(path, MANIFEST_MAX, &text, &n), "prepared data");
  TRY(ds_cache_index_parse(path, text, n, &x));
  text = NULL;
  for (int64_t i = 0; i < x.n; i++) count[x.items[i].state]++;
  NEED(memory = open_memstream(&text, &n), E_NOMEM, "report");
  print(memory, dir, number, &x, count);
  NEED(fclose(memory) == 0, E_NOMEM, "report");
  TRY(io_path(path, "%s/report.txt", dir));
  TRY(io_write_file(path, text, n));
  fputs(text, f);
  *broken = count[DS_BROKEN];
out:
  free(text);
  ds_cache_index_free(&x);
  return st;
}
