/* datasets/csv.h: comma-separated tables with a header line, columns found by name. Quotes as in RFC 4180. */
#ifndef DATASETS_CSV_H
#define DATASETS_CSV_H
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ds_csv ds_csv;

/* Reads the file whole (64 MB at most) and its header. Errors: E_DATA (missing, empty, a 0 byte), E_NOMEM. */
int ds_csv_open(const char *path, ds_csv **out);
void ds_csv_close(ds_csv **c);
const char *ds_csv_path(const ds_csv *c);
/* Position of a named column. Errors: E_DATA naming it. */
int ds_csv_column(const ds_csv *c, const char *name, int *col);
/* How many columns the header has, and the name of one. */
int ds_csv_columns(const ds_csv *c);
const char *ds_csv_name(const ds_csv *c, int col);
/* The next line's fields, as many as the header's; *fields NULL at the end. Empty lines are skipped. Lent until
 * ds_csv_close. The array itself is valid until the next call. Errors: E_DATA "path:line: 3 fields, the header has
 * 6". */
int ds_csv_next(ds_csv *c, char ***fields);
/* Line number of the fields last given, from 1. */
int ds_csv_line(const ds_csv *c);
#ifdef __cplusplus
}
#endif
#endif
