/* datasets/hash.h: XXH3-128 over what comes in pieces. */
#ifndef DATASETS_HASH_H
#define DATASETS_HASH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ds_hash { uint64_t high, low; } ds_hash;
enum { DS_HASH_TEXT = 33 }; /* 32 hexadecimal digits and the 0 */

typedef struct ds_hasher ds_hasher;
/* Errors: E_NOMEM. */
int ds_hasher_create(ds_hasher **out);
void ds_hasher_destroy(ds_hasher **h);
/* Begins anew; also needed before the first ds_hasher_add. */
void ds_hasher_begin(ds_hasher *h);
void ds_hasher_add(ds_hasher *h, const void *p, size_t n);
ds_hash ds_hasher_end(const ds_hasher *h);

ds_hash ds_hash_of(const void *p, size_t n);
bool ds_hash_same(ds_hash a, ds_hash b);
void ds_hash_text(ds_hash h, char out[DS_HASH_TEXT]);
/* False unless the text starts with 32 lower-case hexadecimal digits. */
bool ds_hash_parse(const char *text, ds_hash *out);
#ifdef __cplusplus
}
#endif
#endif
