/* datasets/bad_files.h: which files turned out bad, so that each is reported once. Private to the loader. */
#ifndef DATASETS_BAD_FILES_H
#define DATASETS_BAD_FILES_H
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ds_bad_item { int dataset; int64_t item; } ds_bad_item;
/* All zero is empty. */
typedef struct ds_bad_files { ds_bad_item *items; int64_t n, room; } ds_bad_files;

bool ds_bad_files_has(const ds_bad_files *b, int dataset, int64_t item);
/* Adds the item and warns with the reason, which names the file; nothing when it is known. Errors: E_NOMEM. */
int ds_bad_files_report(ds_bad_files *b, int dataset, int64_t item, const char *reason);
void ds_bad_files_fini(ds_bad_files *b);
#ifdef __cplusplus
}
#endif
#endif
