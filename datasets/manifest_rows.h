/* datasets/manifest_rows.h: a user's own images as rows of a table: CSV with a header line, or JSON lines. README, "Your own
 * images", says what the fields mean. Private to the kind `manifest`. */
#ifndef DATASETS_MANIFEST_ROWS_H
#define DATASETS_MANIFEST_ROWS_H
#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { DS_ROW_RGB, DS_ROW_DEPTH, DS_ROW_NORMALS, DS_ROW_MASK } ds_row_file;
enum { DS_ROW_FILES = 4 };

typedef struct ds_row {
  int line;                 /* in the manifest, from 1 */
  char *file[DS_ROW_FILES]; /* as written; NULL: none */
  bool has_camera;
  double fx, fy, cx, cy;    /* pixels; the centre of the first pixel is 0,0 */
  double depth_unit;        /* metres; 0 = the data set's */
  int euclidean;            /* -1 = the data set's */
  double near_m, far_m;     /* metres; 0 and infinity when not given */
  int domain;               /* DS_INDOOR ..., -1 = the data set's */
} ds_row;

typedef struct ds_manifest {
  char *path; /* of the file itself */
  ds_row *row;
  int64_t n, room;
  int64_t other; /* rows of other splits */
} ds_manifest;

/* What every row must have. */
typedef struct ds_manifest_wants {
  const char *split;
  bool depth, normals, euclidean; /* euclidean: rows that do not say need a camera */
} ds_manifest_wants;

/* root: the file, or the folder that holds manifest.csv or manifest.jsonl. Rows of other splits are counted; a row
 * without a split is of "train". Names that nobody reads are warned of. Errors: E_DATA: no such file; all bad rows as
 * "path:line: field: what", one a line (the first 50); no row of this split. E_NOMEM. */
int ds_manifest_open(const char *root, const ds_manifest_wants *w, ds_manifest **out);
void ds_manifest_close(ds_manifest **m);
/* "rgb", "depth", "normals", "mask" */
const char *ds_row_file_name(ds_row_file f);
/* Where a row's file lies; relative paths are relative to the manifest. With ":name" if it has one. */
int ds_manifest_path(const ds_manifest *m, const ds_row *row, ds_row_file f, char out[IO_PATH_MAX]);
/* What is wrong with rows, gathered to be told at once. Starts as {0}. */
typedef struct ds_problems { char *text; size_t n; int64_t told, count; } ds_problems;
/* Adds one line. Errors: E_NOMEM. */
int ds_problems_add(ds_problems *p, const char *text);
/* E_DATA with all that was gathered, if anything was. Empties p. */
int ds_problems_tell(ds_problems *p, const char *path);
#ifdef __cplusplus
}
#endif
#endif
