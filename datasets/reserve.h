/* datasets/reserve.h: how large the loader's buffers have to be. Private to the loader. */
#ifndef DATASETS_RESERVE_H
#define DATASETS_RESERVE_H
#include "datasets/loader.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Sizes are the images' own: known only once a file is open. */
bool ds_reserve_unknown(const ds_source *s);
/* Bytes of planes that a job may need. Where the size is unknown no file is opened here, which might crash this process,
 * and a sample has `reserve` pixels; of stored groups the list knows them all. */
size_t ds_reserve_planes(const ds_loader_opts *o, const ds_data *data, int n, int64_t reserve);
#ifdef __cplusplus
}
#endif
#endif
