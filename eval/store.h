/* eval/store.h: a data set's files by their path in it, from a folder or from the tar archive that it is published as,
 * without unpacking. */
#ifndef EVAL_STORE_H
#define EVAL_STORE_H
#include <stdbool.h>

#include "datasets/buffer.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ev_store ev_store;

/* path: a folder, or an uncompressed tar archive, whose headers are read once (member data are skipped by seeking).
 * An archive that breaks off is opened with the members before the break and a warning. Errors: E_DATA: missing, not an
 * archive, no member; E_NOMEM. */
int ev_store_open(const char *path, ev_store **out);
void ev_store_close(ev_store **s);
/* As given to ev_store_open. */
const char *ev_store_path(const ev_store *s);
/* name: relative path without "./" in front. */
bool ev_store_has(const ev_store *s, const char *name);
/* The whole file into b, with one 0 byte behind it. Errors: E_DATA "STORE: NAME: ...": missing, empty, cut; E_NOMEM. */
int ev_store_read(ev_store *s, const char *name, ds_buf *b, size_t *n);
/* Relative paths of all files, sorted by bytes; lent until ev_store_close. A folder is walked at the first call.
 * Errors: E_DATA, E_NOMEM. */
int ev_store_list(ev_store *s, const char *const **names, size_t *n);
#ifdef __cplusplus
}
#endif
#endif
