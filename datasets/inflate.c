#include "datasets/inflate.h"

#ifdef DS_HAVE_LIBDEFLATE
#include <libdeflate.h>

bool ds_inflate(ds_inflater *i, const void *in, size_t n, void *out, size_t size) {
  size_t used = 0;

  if (!i->decoder && !(i->decoder = libdeflate_alloc_decompressor())) return false;
  /* without a place for its size the output has to fill `out` */
  return libdeflate_zlib_decompress_ex(i->decoder, in, n, out, size, &used, NULL) == LIBDEFLATE_SUCCESS && used == n;
}

void ds_inflater_free(ds_inflater *i) {
  if (i->decoder) libdeflate_free_decompressor(i->decoder);
  i->decoder = NULL;
}
#else
#include <zlib.h>

bool ds_inflate(ds_inflater *i, const void *in, size_t n, void *out, size_t size) {
  uLongf got = size;
  uLong used = n;

  (void)i;
  return uncompress2(out, &got, in, &used) == Z_OK && got == size;
}

void ds_inflater_free(ds_inflater *i) { (void)i; }
#endif
