#include "configs/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct cf_chunk {
  struct cf_chunk *before;
  max_align_t data[];
} cf_chunk;

void *cf_arena_alloc(cf_arena *a, size_t n) {
  cf_chunk *c = calloc(1, sizeof *c + n);

  if (!c) return NULL;
  c->before = a->last;
  a->last = c;
  return c->data;
}

char *cf_arena_format(cf_arena *a, const char *fmt, ...) {
  va_list ap, again;
  char *s = NULL;

  va_start(ap, fmt);
  va_copy(again, ap);
  const int n = vsnprintf(NULL, 0, fmt, ap);
  if (n >= 0 && (s = cf_arena_alloc(a, (size_t)n + 1)) != NULL) vsnprintf(s, (size_t)n + 1, fmt, again);
  va_end(again);
  va_end(ap);
  return s;
}

void cf_arena_fini(cf_arena *a) {
  while (a->last) {
    cf_chunk *c = a->last;
    a->last = c->before;
    free(c);
  }
}
