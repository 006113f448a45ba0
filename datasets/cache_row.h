/* datasets/cache_row.h: a sample as a row of a shard: masks as bits, mirroring. For the cache's files alone. */
#ifndef DATASETS_CACHE_ROW_H
#define DATASETS_CACHE_ROW_H
#include "datasets/cache_index.h"
#ifdef __cplusplus
extern "C" {
#endif
/* mask [n] of 0 and 1 to (n+7)/8 bytes, the first pixel in the highest bit; and back: the number of ones. */
void ds_bits_pack(const uint8_t *mask, size_t n, uint8_t *bits);
int64_t ds_bits_unpack(const uint8_t *bits, size_t n, uint8_t *mask);
/* Mirrors metric, depth, normals and mask in place, as far as they are there. x of normals changes its sign where the mask
 * is 1. */
void ds_row_mirror(ds_sample *s);
/* Are these planes the same bit for bit? */
bool ds_row_same(const ds_sample *a, const ds_sample *b);
/* The plane of kind k, NULL when the sample has none. Not for masks, whose bits are stored. */
void *ds_row_plane(const ds_sample *s, int k);

/* PATH/shard-00000.h5; suffix ".part" while it is being written. */
int ds_shard_path(const char *dir, int64_t shard, const char *suffix, char *out);
/* An HDF5 file (readable by h5py) with room for `rows` rows, whose planes are contiguous arrays; nothing is stored in them
 * yet and the file is sparse. ids: [rows][DS_ID_MAX]. Offsets and size come back; whoever writes rows does so without HDF5.
 * The same arguments give the same bytes. Errors: E_DISK, E_IO. */
int ds_shard_create(const char *path, const ds_cache_form *f, int rows, const char *ids, const char *made_of,
                    ds_cache_shard *out);
#ifdef __cplusplus
}
#endif
#endif
