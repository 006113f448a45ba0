/* datasets/bad_files.h: which items turned out bad or were left out by a filter, so that each is reported once and not
 * decoded again. Private to the loader. */
#ifndef DATASETS_BAD_FILES_H
#define DATASETS_BAD_FILES_H
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
/* reason: names the file; NULL for what a filter left out. */
typedef struct ds_bad_item { int dataset; bool left_out; int64_t item; char *reason; } ds_bad_item;
/* All zero is empty. n counts both sorts. */
typedef struct ds_bad_files { ds_bad_item *items; int64_t n, room, left_out; } ds_bad_files;

/* NULL when the item is neither. Lent until the next addition. */
const ds_bad_item *ds_bad_files_find(const ds_bad_files *b, int dataset, int64_t item);
/* Adds the item and warns with the reason, which names the file; nothing when it is known. Errors: E_NOMEM. */
int ds_bad_files_report(ds_bad_files *b, int dataset, int64_t item, const char *reason);
/* Adds an item that a filter left out. Errors: E_NOMEM. */
int ds_bad_files_leave_out(ds_bad_files *b, int dataset, int64_t item);
/* Left-out items of one data set. */
int64_t ds_bad_files_left_out(const ds_bad_files *b, int dataset);
void ds_bad_files_fini(ds_bad_files *b);
#ifdef __cplusplus
}
#endif
#endif
