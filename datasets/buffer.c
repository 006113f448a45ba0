#include "datasets/buffer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int ds_buf_need(ds_buf *b, size_t n) {
  int st = OK;

  if (n <= b->cap) return OK;
  ds_buf_free(b);
  NEED((b->p = malloc(n)) != NULL, E_NOMEM, "out of memory: %zu bytes for an image", n);
  b->cap = n;
out:
  return st;
}

void ds_buf_free(ds_buf *b) {
  free(b->p);
  *b = (ds_buf){0};
}

int ds_size_check(const char *path, int64_t H, int64_t W) {
  int st = OK;

  NEED(H > 0 && W > 0, E_DATA, "%s: an image of %lldx%lld pixels (width x height)", path, (long long)W, (long long)H);
  NEED(H <= DS_SIDE_MAX && W <= DS_SIDE_MAX && H * W <= DS_PIXELS_MAX, E_DATA,
       "%s: %lldx%lld pixels (width x height); at most %d a side and %d in all are read", path, (long long)W,
       (long long)H, DS_SIDE_MAX, DS_PIXELS_MAX);
out:
  return st;
}

int ds_file_read(const char *path, size_t max, ds_buf *b, size_t *n) {
  int st = OK;
  FILE *f = NULL;
  struct stat info;

  NEED((f = fopen(path, "rb")) != NULL, E_DATA, "%s: %s", path, strerror(errno));
  NEED(fstat(fileno(f), &info) == 0, E_DATA, "%s: %s", path, strerror(errno));
  NEED(S_ISREG(info.st_mode), E_DATA, "%s: not a file", path);
  NEED(info.st_size > 0, E_DATA, "%s: empty file", path);
  NEED((uint64_t)info.st_size <= max, E_DATA, "%s: %lld bytes; at most %zu are read", path, (long long)info.st_size,
       max);
  TRY(ds_buf_need(b, (size_t)info.st_size));
  NEED(fread(b->p, 1, (size_t)info.st_size, f) == (size_t)info.st_size, E_DATA, "%s: cannot read all %lld bytes",
       path, (long long)info.st_size);
  *n = (size_t)info.st_size;
out:
  if (f) fclose(f);
  return st;
}
