#include "datasets/bad_files.h"

#include <stdlib.h>

#include "base/log.h"

bool ds_bad_files_has(const ds_bad_files *b, int dataset, int64_t item) {
  for (int64_t i = 0; i < b->n; i++)
    if (b->items[i].dataset == dataset && b->items[i].item == item) return true;
  return false;
}

int ds_bad_files_report(ds_bad_files *b, int dataset, int64_t item, const char *reason) {
  int st = OK;

  if (ds_bad_files_has(b, dataset, item)) return OK;
  if (b->n == b->room) {
    const int64_t room = b->room ? 2 * b->room : 16;
    ds_bad_item *grown = realloc(b->items, (size_t)room * sizeof *grown);
    NEED(grown, E_NOMEM, "%lld bad files", (long long)room);
    b->items = grown;
    b->room = room;
  }
  b->items[b->n++] = (ds_bad_item){dataset, item};
  log_warn("data.%d: bad file skipped: %s", dataset, reason);
out:
  return st;
}

void ds_bad_files_fini(ds_bad_files *b) {
  free(b->items);
  *b = (ds_bad_files){0};
}
