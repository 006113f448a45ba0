/* datasets/buffer.h: memory that the readers reuse, and the limits on what they accept. */
#ifndef DATASETS_BUFFER_H
#define DATASETS_BUFFER_H
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { DS_SIDE_MAX = 16384, DS_PIXELS_MAX = 1 << 26 };

/* Grows, never shrinks: after the first samples a source allocates nothing. Starts as {0}. */
typedef struct ds_buf {
  void *p;
  size_t cap;
} ds_buf;
/* At least n bytes at b->p; the content is lost when it grows. Errors: E_NOMEM. */
int ds_buf_need(ds_buf *b, size_t n);
void ds_buf_free(ds_buf *b);

/* E_DATA naming the file unless 1 <= H,W <= DS_SIDE_MAX and H*W <= DS_PIXELS_MAX. */
int ds_size_check(const char *path, int64_t H, int64_t W);
/* The whole file, n bytes. Errors: E_DATA (missing, unreadable, empty, larger than max), E_NOMEM. */
int ds_file_read(const char *path, size_t max, ds_buf *b, size_t *n);
#ifdef __cplusplus
}
#endif
#endif
