/* datasets/cache_write.h: making prepared data (cache.h), item by item in list order. At every moment what is on disk can
 * be gone on from; the same items give the same bytes, however often the work was interrupted. */
#ifndef DATASETS_CACHE_WRITE_H
#define DATASETS_CACHE_WRITE_H
#include "datasets/source.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ds_cache_writer ds_cache_writer;
/* Begins, or goes on in a folder where the same was begun. names: the list that items are numbered by, borrowed.
 * Frames' hashes alone (form without latents) that are found where samples are wanted are given up.
 * Errors: E_DATA: the folder was made from something else (with what) or is damaged; is in use; E_DISK, E_IO, E_NOMEM. */
int ds_cache_writer_open(const char *dir, const ds_key *key, const ds_cache_form *form, const ds_source *names,
                         ds_cache_writer **out);
/* Items that are there already: the next one to put. */
int64_t ds_cache_writer_done(const ds_cache_writer *w);
/* The next item. both: plain and mirrored with their latents, when state is DS_KEPT and samples are stored. Spoils both[0].
 * The writer fills in the rows' hashes. Errors: E_DISK, E_IO. */
int ds_cache_writer_put(ds_cache_writer *w, const ds_cache_item *item, ds_sample both[2]);
/* Makes everything put so far last. */
int ds_cache_writer_flush(ds_cache_writer *w);
/* After the last item: the manifest gets its name. */
int ds_cache_writer_finish(ds_cache_writer *w);
/* Takes NULL. What was not flushed will be done again. */
void ds_cache_writer_close(ds_cache_writer **w);
#ifdef __cplusplus
}
#endif
#endif
