/* datasets/cache.h: prepared data: VAE latents of both flips with depth, normals and mask at training size, read without
 * decoding anything. A folder holds manifest.tsv (cache_index.h) and shards shard-00000.h5 ... of at most 1,000 samples,
 * which h5py reads too: latent, metric, depth, normals, mask as far as they are there, and the same with _mirrored; state
 * 0 = nothing stored, 1 = *_mirrored but for the latents are left out because they are the plain ones mirrored, 2 = all.
 * Nothing is used whose hash is not the manifest's. */
#ifndef DATASETS_CACHE_H
#define DATASETS_CACHE_H
#include "datasets/cache_index.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ds_cache ds_cache;
/* Opens what was prepared from the same things. now: what determines the samples today, `count` items.
 * Errors: E_DATA: nothing there, not finished, damaged, or made from something else, with what; E_NOMEM. */
int ds_cache_open(const char *dir, const ds_key *now, int64_t count, ds_cache **out);
void ds_cache_close(ds_cache **c);
const ds_cache_index *ds_cache_get_index(const ds_cache *c);
/* False: latents were not prepared, only the hashes of frames are here. */
bool ds_cache_has_samples(const ds_cache *c);
/* Latent, metric, depth, normals, mask and valid of item i, into planes of the caller. path: set to the file being read.
 * Errors: E_DATA: the item was broken when it was prepared; the shard is cut, missing or damaged. Not thread-safe. */
int ds_cache_read(ds_cache *c, int64_t i, bool flip, const char **path, ds_sample *out);
/* Is this the frame that was there when the data was prepared? Errors: E_DATA. */
int ds_cache_check_frame(const ds_cache *c, int64_t i, ds_hash frame);
#ifdef __cplusplus
}
#endif
#endif
