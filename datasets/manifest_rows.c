#include "datasets/manifest_rows.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "datasets/buffer.h"
#include "datasets/csv.h"
#include "datasets/pixel_file.h"
#include "datasets/sample.h"

enum { FILE_MAX = 256 << 20, PROBLEMS_TOLD = 50, TEXT_MAX = 7000, LINE_MAX_TOLD = 300, CAMERA_TEXT = 128 };

typedef enum { RGB, DEPTH, NORMALS, MASK, FX, FY, CX, CY, INTRINSICS, DEPTH_UNIT, DEPTH_KIND, NEAR, FAR, DOMAIN_, SPLIT, FIELDS } field;
static const char *const names[FIELDS] = {"rgb", "depth", "normals", "mask", "fx", "fy", "cx", "cy", "intrinsics",
                                          "depth_unit", "depth_kind", "near", "far", "domain", "split"};

typedef struct reading {
  const ds_manifest_wants *wants;
  ds_manifest *m;
  ds_row row;      /* the one at work */
  bool got[4];     /* fx, fy, cx, cy */
  char split[64];
  ds_problems problems;
  bool unused_told;
} reading;

const char *ds_row_file_name(ds_row_file f) { return names[f]; }

/* -1: none of ours */
static int find_field(const char *name) {
  if (strcmp(name, "normal") == 0) return NORMALS;
  for (int i = 0; i < FIELDS; i++)
    if (strcmp(name, names[i]) == 0) return i;
  return -1;
}

/* ---- problems ---- */

int ds_problems_add(ds_problems *p, const char *text) {
  int st = OK;
  const size_t n = strnlen(text, LINE_MAX_TOLD);

  if (++p->count > PROBLEMS_TOLD || p->n + n + 1 > TEXT_MAX) return OK;
  if (!p->text) NEED((p->text = calloc(TEXT_MAX + 1, 1)) != NULL, E_NOMEM, "out of memory: messages");
  p->n += (size_t)snprintf(p->text + p->n, TEXT_MAX + 1 - p->n, "%s%.*s", p->told++ ? "\n" : "", (int)n, text);
out:
  return st;
}

int ds_problems_tell(ds_problems *p, const char *path) {
  int st = OK;

  if (!p->count) goto out;
  if (p->count == p->told) FAIL(E_DATA, "%s", p->text);
  FAIL(E_DATA, "%s\n%s: %lld bad rows in all", p->text, path, (long long)p->count);
out:
  free(p->text);
  *p = (ds_problems){0};
  return st;
}

/* ---- one field ---- */

static int number(const reading *r, field f, const char *text, double *out) {
  int st = OK;
  char *end;
  const double v = strtod(text, &end);

  NEED(end != text && *end == 0 && isfinite(v), E_DATA, "%s:%d: %s: wanted a number, found '%.60s'", r->m->path, r->row.line,
       names[f], text);
  *out = v;
out:
  return st;
}

static int positive(const reading *r, field f, const char *text, double *out) {
  int st = OK;
  double v = 0;

  TRY(number(r, f, text, &v));
  NEED(v > 0, E_DATA, "%s:%d: %s: wanted a number above 0, found %g", r->m->path, r->row.line, names[f], v);
  *out = v;
out:
  return st;
}

/* Index of text among words. */
static int word(const reading *r, field f, const char *text, const char *const words[], int n, int *out) {
  int st = OK;
  int i = 0;

  while (i < n && strcmp(text, words[i]) != 0) i++;
  NEED(i < n, E_DATA, "%s:%d: %s: wanted %s%s%s%s%s, found '%.60s'", r->m->path, r->row.line, names[f], words[0],
       n > 2 ? ", " : " or ", words[1], n > 2 ? " or " : "", n > 2 ? words[2] : "", text);
  *out = i;
out:
  return st;
}

static int set_file(reading *r, field f, const char *text) {
  int st = OK;
  size_t file;
  const ds_file_format format = ds_file_format_of(text, &file);

  NEED(format != DS_FILE_UNKNOWN, E_DATA, "%s:%d: %s: '%.100s': wanted .png, .npy, .h5%s", r->m->path, r->row.line,
       names[f], text, f == RGB ? " or .jpg" : "");
  NEED(f == RGB || format != DS_FILE_JPEG, E_DATA, "%s:%d: %s: '%.100s': a JPEG holds only colours; wanted .png, .npy or .h5",
       r->m->path, r->row.line, names[f], text);
  free(r->row.file[f]);
  NEED((r->row.file[f] = strdup(text)) != NULL, E_NOMEM, "out of memory: manifest");
out:
  return st;
}

/* "fx fy cx cy", between blanks or commas. */
static int set_camera(reading *r, const char *text) {
  int st = OK;
  double v[4];
  const char *at = text;

  for (int i = 0; i < 4; i++) {
    char *end;
    at += strspn(at, " ,;\t");
    v[i] = strtod(at, &end);
    NEED(end != at && isfinite(v[i]) && (i > 1 || v[i] > 0), E_DATA, "%s:%d: intrinsics: wanted 'fx fy cx cy', found '%.80s'",
         r->m->path, r->row.line, text);
    at = end;
  }
  NEED(at[strspn(at, " \t")] == 0, E_DATA, "%s:%d: intrinsics: wanted 'fx fy cx cy', found '%.80s'", r->m->path,
       r->row.line, text);
  r->row.fx = v[0];
  r->row.fy = v[1];
  r->row.cx = v[2];
  r->row.cy = v[3];
  memset(r->got, 1, sizeof r->got);
out:
  return st;
}

static int set_one_of_camera(reading *r, field f, const char *text) {
  double *const to[] = {&r->row.fx, &r->row.fy, &r->row.cx, &r->row.cy};

  r->got[f - FX] = true;
  return f < CX ? positive(r, f, text, to[f - FX]) : number(r, f, text, to[f - FX]);
}

/* An empty text is the same as no text. */
static int set(reading *r, field f, const char *text) {
  static const char *const kinds[] = {"planar", "euclidean"}, *const domains[] = {"indoor", "outdoor", "object"};
  int st = OK;

  if (!*text) goto out;
  switch (f) {
  case RGB: case DEPTH: case NORMALS: case MASK: TRY(set_file(r, f, text)); break;
  case FX: case FY: case CX: case CY: TRY(set_one_of_camera(r, f, text)); break;
  case INTRINSICS: TRY(set_camera(r, text)); break;
  case DEPTH_UNIT: TRY(positive(r, f, text, &r->row.depth_unit)); break;
  case DEPTH_KIND: TRY(word(r, f, text, kinds, 2, &r->row.euclidean)); break;
  case NEAR: TRY(number(r, f, text, &r->row.near_m)); break;
  case FAR: TRY(positive(r, f, text, &r->row.far_m)); break;
  case DOMAIN_: TRY(word(r, f, text, domains, 3, &r->row.domain)); break;
  case SPLIT:
    NEED(strlen(text) < sizeof r->split, E_DATA, "%s:%d: split: '%.40s...' is too long", r->m->path, r->row.line, text);
    memcpy(r->split, text, strlen(text) + 1);
    break;
  case FIELDS: break;
  }
out:
  return st;
}

/* ---- one row ---- */

static void row_free(ds_row *row) {
  for (int f = 0; f < DS_ROW_FILES; f++) free(row->file[f]);
}

static void row_begin(reading *r, int line) {
  r->row = (ds_row){.line = line, .euclidean = -1, .far_m = INFINITY, .domain = -1};
  memset(r->got, 0, sizeof r->got);
  memcpy(r->split, "train", sizeof "train");
}

/* What only the whole row can tell. */
static int row_check(reading *r) {
  int st = OK;
  ds_row *row = &r->row;
  const char *path = r->m->path;
  const int n = r->got[0] + r->got[1] + r->got[2] + r->got[3];
  const bool euclidean = row->euclidean < 0 ? r->wants->euclidean : row->euclidean;

  NEED(row->file[RGB], E_DATA, "%s:%d: rgb: no file is given", path, row->line);
  NEED(row->file[DEPTH] || !r->wants->depth, E_DATA, "%s:%d: depth: no file is given", path, row->line);
  NEED(row->file[NORMALS] || !r->wants->normals, E_DATA, "%s:%d: normals: no file is given", path, row->line);
  NEED(n == 0 || n == 4, E_DATA, "%s:%d: fx, fy, cx, cy: %d of the 4 are given", path, row->line, n);
  row->has_camera = n == 4;
  NEED(row->has_camera || !row->file[DEPTH] || !euclidean, E_DATA,
       "%s:%d: Euclidean depth needs the camera: fx, fy, cx, cy", path, row->line);
  NEED(row->near_m >= 0 && row->near_m < row->far_m, E_DATA, "%s:%d: near %g, far %g", path, row->line, row->near_m,
       row->far_m);
out:
  return st;
}

static int row_keep(reading *r) {
  int st = OK;
  ds_manifest *m = r->m;

  if (strcmp(r->split, r->wants->split) != 0) {
    m->other++;
    goto out;
  }
  TRY(row_check(r));
  if (m->n == m->room) {
    const int64_t room = 2 * m->room + 256;
    ds_row *p = realloc(m->row, (size_t)room * sizeof *p);
    NEED(p, E_NOMEM, "out of memory: %lld rows", (long long)room);
    m->row = p;
    m->room = room;
  }
  m->row[m->n++] = r->row;
  memset(r->row.file, 0, sizeof r->row.file); /* handed over */
out:
  return st;
}

/* A bad row is noted; the rest is read all the same. */
static int note(reading *r, int st) { return st == E_DATA ? ds_problems_add(&r->problems, err_text()) : st; }

static int row_end(reading *r, int filled) {
  const int st = note(r, filled != OK ? filled : row_keep(r));

  row_free(&r->row);
  return st;
}

/* ---- CSV ---- */

static int csv_row(reading *r, char **fields, const int *meaning, int columns) {
  int st = OK;

  for (int i = 0; i < columns; i++)
    if (meaning[i] >= 0) TRY(set(r, (field)meaning[i], fields[i]));
out:
  return st;
}

static int csv_meanings(const reading *r, const ds_csv *csv, int *meaning) {
  int st = OK;
  bool seen[FIELDS] = {false};

  for (int i = 0; i < ds_csv_columns(csv); i++) {
    const char *name = ds_csv_name(csv, i);
    const int f = meaning[i] = find_field(name);
    if (f < 0 && *name) log_warn("%s: column '%.60s' is not used", r->m->path, name);
    if (f < 0) continue;
    NEED(!seen[f], E_DATA, "%s: two columns '%s'", r->m->path, names[f]);
    seen[f] = true;
  }
  NEED(seen[RGB], E_DATA, "%s: no column 'rgb'; the first line names the columns", r->m->path);
  NEED(seen[DEPTH] || !r->wants->depth, E_DATA, "%s: no column 'depth'", r->m->path);
  NEED(seen[NORMALS] || !r->wants->normals, E_DATA, "%s: no column 'normals'", r->m->path);
out:
  return st;
}

static int read_csv(reading *r) {
  int st = OK;
  ds_csv *csv = NULL;
  int *meaning = NULL;
  char **fields;

  TRY(ds_csv_open(r->m->path, &csv));
  NEED((meaning = calloc((size_t)ds_csv_columns(csv), sizeof *meaning)) != NULL, E_NOMEM, "out of memory: manifest");
  TRY(csv_meanings(r, csv, meaning));
  for (;;) {
    int got = ds_csv_next(csv, &fields);
    if (got == OK && !fields) break;
    row_begin(r, ds_csv_line(csv));
    if (got == OK) got = csv_row(r, fields, meaning, ds_csv_columns(csv));
    TRY(row_end(r, got));
  }
out:
  free(meaning);
  ds_csv_close(&csv);
  return st;
}

/* ---- JSON lines ---- */

/* [fx, fy, cx, cy] */
static int json_camera(const reading *r, const json_t *value, char text[CAMERA_TEXT]) {
  int st = OK;
  int n = 0;

  for (size_t i = 0; i < json_array_size(value); i++) {
    const json_t *v = json_array_get(value, i);
    NEED(json_is_number(v) && i < 4, E_DATA, "%s:%d: intrinsics: wanted [fx, fy, cx, cy]", r->m->path, r->row.line);
    n += snprintf(text + n, (size_t)(CAMERA_TEXT - n), "%.17g ", json_number_value(v));
  }
out:
  return st;
}

static int json_field(reading *r, field f, const json_t *value) {
  int st = OK;
  char text[CAMERA_TEXT] = "";

  if (json_is_null(value)) goto out;
  if (json_is_string(value)) {
    TRY(set(r, f, json_string_value(value)));
    goto out;
  }
  if (f == INTRINSICS && json_is_array(value)) TRY(json_camera(r, value, text));
  else {
    NEED(json_is_number(value), E_DATA, "%s:%d: %s: wanted text or a number", r->m->path, r->row.line, names[f]);
    snprintf(text, sizeof text, "%.17g", json_number_value(value));
  }
  TRY(set(r, f, text));
out:
  return st;
}

static int json_row(reading *r, const char *line, size_t n) {
  int st = OK;
  json_error_t why;
  const char *name;
  json_t *value, *row = json_loadb(line, n, JSON_REJECT_DUPLICATES, &why);

  NEED(row, E_DATA, "%s:%d: %s at column %d", r->m->path, r->row.line, why.text, why.column);
  NEED(json_is_object(row), E_DATA, "%s:%d: wanted {\"rgb\": ...} on each line", r->m->path, r->row.line);
  json_object_foreach(row, name, value) {
    const int f = find_field(name);
    if (f >= 0) TRY(json_field(r, (field)f, value));
    else if (!r->unused_told) log_warn("%s:%d: '%.60s' is not used", r->m->path, r->row.line, name), r->unused_told = true;
  }
out:
  json_decref(row);
  return st;
}

static int read_jsonl(reading *r) {
  int st = OK;
  ds_buf file = {0};
  size_t n = 0;
  int line = 1;

  TRY(ds_file_read(r->m->path, FILE_MAX, &file, &n));
  const char *at = file.p, *const end = at + n;
  if (n >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) at += 3; /* byte order mark */
  for (; at < end; line++) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
    const char *text = at;
    while (text < stop && (*text == ' ' || *text == '\t' || *text == '\r')) text++;
    if (text < stop) {
      row_begin(r, line);
      TRY(row_end(r, json_row(r, text, (size_t)(stop - text))));
    }
    at = newline ? newline + 1 : end;
  }
out:
  ds_buf_free(&file);
  return st;
}

/* ---- the file ---- */

static bool ends_with(const char *path, const char *ending) {
  const size_t n = strlen(path), m = strlen(ending);

  return n >= m && strcmp(path + n - m, ending) == 0;
}

/* The manifest in a folder, or the file itself. */
static int find_path(const char *root, char out[IO_PATH_MAX]) {
  int st = OK;
  char csv[IO_PATH_MAX], jsonl[IO_PATH_MAX];

  NEED(io_exists(root), E_DATA, "%s: no such file or folder", root);
  if (!io_is_dir(root)) {
    TRY(io_path(out, "%s", root));
    goto out;
  }
  TRY(io_path(csv, "%s/manifest.csv", root));
  TRY(io_path(jsonl, "%s/manifest.jsonl", root));
  NEED(io_exists(csv) || io_exists(jsonl), E_DATA, "%s: neither manifest.csv nor manifest.jsonl in it", root);
  NEED(!io_exists(csv) || !io_exists(jsonl), E_DATA, "%s: both manifest.csv and manifest.jsonl in it: name one as root", root);
  memcpy(out, io_exists(csv) ? csv : jsonl, IO_PATH_MAX);
out:
  return st;
}

int ds_manifest_open(const char *root, const ds_manifest_wants *w, ds_manifest **out) {
  int st = OK;
  char path[IO_PATH_MAX];
  reading r = {.wants = w};

  NEED((r.m = calloc(1, sizeof *r.m)) != NULL, E_NOMEM, "out of memory: manifest");
  TRY(find_path(root, path));
  NEED((r.m->path = strdup(path)) != NULL, E_NOMEM, "out of memory: manifest");
  TRY(ends_with(path, ".jsonl") || ends_with(path, ".json") ? read_jsonl(&r) : read_csv(&r));
  TRY(ds_problems_tell(&r.problems, path));
  NEED(r.m->n > 0, E_DATA, "%s: no row of split '%s' (%lld of others)", path, w->split, (long long)r.m->other);
  *out = r.m;
  r.m = NULL;
out:
  free(r.problems.text);
  ds_manifest_close(&r.m);
  return st;
}

void ds_manifest_close(ds_manifest **mp) {
  ds_manifest *m = *mp;

  if (!m) return;
  for (int64_t i = 0; i < m->n; i++) row_free(&m->row[i]);
  free(m->row);
  free(m->path);
  free(m);
  *mp = NULL;
}

int ds_manifest_path(const ds_manifest *m, const ds_row *row, ds_row_file f, char out[IO_PATH_MAX]) {
  return io_path_beside(out, m->path, row->file[f]);
}
