/* datasets/inflate.h: zlib streams whose unpacked size is known, as HDF5's chunks are: by libdeflate where the build has
 * it, twice as fast, otherwise by zlib. */
#ifndef DATASETS_INFLATE_H
#define DATASETS_INFLATE_H
#include <stdbool.h>
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
/* Tables, made by the first call. Starts as {0}. */
typedef struct ds_inflater {
  void *decoder;
} ds_inflater;
void ds_inflater_free(ds_inflater *i);
/* in [n] -> out [size]. False unless the stream is whole, fills `out`, ends where `in` ends, and its checksum is right; also
 * when memory for the tables runs out. */
bool ds_inflate(ds_inflater *i, const void *in, size_t n, void *out, size_t size);
#ifdef __cplusplus
}
#endif
#endif
