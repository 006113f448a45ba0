#include "trainer/bad_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum { LIST_MAX = 1 << 28, LINE_SIZE = 1200 };

int tr_bad_list_open(const char *run_dir, tr_bad_list *b) {
  int st = OK;
  size_t n;

  *b = (tr_bad_list){0};
  TRY(io_path(b->path, "%s/bad_files.txt", run_dir));
  if (io_exists(b->path)) TRY(io_read_file(b->path, LIST_MAX, &b->known, &n));
out:
  return st;
}

void tr_bad_list_close(tr_bad_list *b) {
  free(b->known);
  *b = (tr_bad_list){0};
}

/* One line; what would break it is made a blank. */
static size_t line_of(const ds_loader *l, int64_t i, char line[LINE_SIZE]) {
  int dataset;
  const char *reason = ds_loader_bad_file(l, i, &dataset);
  const int n = snprintf(line, LINE_SIZE - 1, "data.%d: %s", dataset, reason);
  size_t end = n < LINE_SIZE - 2 ? (size_t)n : LINE_SIZE - 2;

  for (size_t c = 0; c < end; c++)
    if (line[c] == '\n') line[c] = ' ';
  line[end++] = '\n';
  line[end] = 0;
  return end;
}

int tr_bad_list_update(tr_bad_list *b, const ds_loader *l) {
  int st = OK;
  const int64_t n = ds_loader_bad_files(l);
  io_file f = {.fd = -1};
  char line[LINE_SIZE];

  if (b->listed == n) return OK;
  TRY(io_append(b->path, &f));
  for (; b->listed < n; b->listed++) {
    const size_t size = line_of(l, b->listed, line);
    if (!b->known || !strstr(b->known, line)) TRY(io_write(&f, line, size));
  }
  TRY(io_close(&f));
out:
  (void)io_close(&f);
  return st;
}

void tr_bad_list_tell(const tr_bad_list *b) {
  if (b->listed) log_warn("%lld bad files were passed over: %s", (long long)b->listed, b->path);
}
