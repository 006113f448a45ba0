#include "datasets/bad_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

const ds_bad_item *ds_bad_files_find(const ds_bad_files *b, int dataset, int64_t item) {
  for (int64_t i = 0; i < b->n; i++)
    if (b->items[i].dataset == dataset && b->items[i].item == item) return &b->items[i];
  return NULL;
}

static int add(ds_bad_files *b, const ds_bad_item *item) {
  int st = OK;

  if (b->n == b->room) {
    const int64_t room = b->room ? 2 * b->room : 16;
    ds_bad_item *grown = realloc(b->items, (size_t)room * sizeof *grown);
    NEED(grown, E_NOMEM, "%lld bad files", (long long)room);
    b->items = grown;
    b->room = room;
  }
  b->items[b->n++] = *item;
  b->left_out += item->left_out;
out:
  return st;
}

int ds_bad_files_report(ds_bad_files *b, int dataset, int64_t item, const char *reason) {
  int st = OK;
  char *copy = NULL;

  if (ds_bad_files_find(b, dataset, item)) goto out;
  NEED((copy = strdup(reason)) != NULL, E_NOMEM, "bad files");
  TRY(add(b, &(ds_bad_item){.dataset = dataset, .item = item, .reason = copy}));
  copy = NULL;
  log_warn("data.%d: bad file skipped: %s", dataset, reason);
out:
  free(copy);
  return st;
}

int ds_bad_files_leave_out(ds_bad_files *b, int dataset, int64_t item) {
  return ds_bad_files_find(b, dataset, item) ? OK : add(b, &(ds_bad_item){.dataset = dataset, .left_out = true, .item = item});
}

int64_t ds_bad_files_left_out(const ds_bad_files *b, int dataset) {
  int64_t n = 0;

  for (int64_t i = 0; i < b->n; i++) n += b->items[i].left_out && b->items[i].dataset == dataset;
  return n;
}

void ds_bad_files_fini(ds_bad_files *b) {
  for (int64_t i = 0; i < b->n; i++) free(b->items[i].reason);
  free(b->items);
  *b = (ds_bad_files){0};
}
