#include "eval/image_list.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "base/log.h"
#include "datasets/exif.h"
#include "datasets/jpeg.h"
#include "datasets/png.h"

enum {
  DEPTH_MAX = 32,     /* of folders in folders, so that a link to itself ends */
  PHOTO_MAX = 1 << 28 /* bytes */
};

/* ---- what is there ---- */

typedef struct identity { dev_t device; ino_t inode; } identity;

static int by_identity(const void *a, const void *b) {
  const identity *x = a, *y = b;
  if (x->device != y->device) return x->device < y->device ? -1 : 1;
  return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static bool identify(const char *path, identity *out) {
  struct stat s;
  if (stat(path, &s)) return false;
  *out = (identity){s.st_dev, s.st_ino};
  return true;
}

static const char *extension(const char *path) {
  const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
  return dot && dot > (slash ? slash + 1 : path) ? dot : path + strlen(path);
}

static bool is_image_name(const char *name) {
  const char *e = extension(name);
  return !strcasecmp(e, ".png") || !strcasecmp(e, ".jpg") || !strcasecmp(e, ".jpeg");
}

/* called: the path that the name is made of. */
static int append(ev_image_list *l, const char *path, const char *called) {
  int st = OK;
  ev_image_file f = {0};

  if (l->n == l->room) {
    const size_t room = l->room ? 2 * l->room : 64;
    ev_image_file *grown = realloc(l->at, sizeof *grown * room);
    NEED(grown, E_NOMEM, "%zu images", room);
    l->at = grown;
    l->room = room;
  }
  f.path = strdup(path);
  f.name = strndup(called, (size_t)(extension(called) - called));
  NEED(f.path && f.name, E_NOMEM, "%zu images", l->n);
  l->at[l->n++] = f;
  f = (ev_image_file){0};
out:
  free(f.path);
  free(f.name);
  return st;
}

static bool is_skipped(const ev_image_list *l, const char *path) {
  identity a, b;
  return l->skip && identify(path, &a) && identify(l->skip, &b) && by_identity(&a, &b) == 0;
}

/* root: length of the folder's part of path, "/" included. */
static int add_folder(ev_image_list *l, const char *path, size_t root, int depth) {
  int st = OK;
  char inner[IO_PATH_MAX];
  char **names = NULL;
  size_t n = 0;

  NEED(depth < DEPTH_MAX, E_DATA, "%s: more than %d folders in each other", path, DEPTH_MAX);
  TRY_AS(E_DATA, io_list_dir(path, &names, &n), "%s", path);
  for (size_t i = 0; i < n; i++) {
    if (names[i][0] == '.') continue;
    TRY(io_path(inner, "%s/%s", path, names[i]));
    if (io_is_dir(inner)) {
      if (!is_skipped(l, inner)) TRY(add_folder(l, inner, root, depth + 1));
    } else if (is_image_name(names[i])) {
      TRY(append(l, inner, inner + root));
    }
  }
out:
  io_free_names(&names, n);
  return st;
}

int ev_image_list_add(ev_image_list *l, const char *path) {
  int st = OK;
  char folder[IO_PATH_MAX];
  const size_t before = l->n;

  NEED(io_exists(path), E_DATA, "%s: no such file or folder", path);
  if (!io_is_dir(path)) {
    const char *slash = strrchr(path, '/');
    TRY(append(l, path, slash ? slash + 1 : path));
    goto out;
  }
  TRY(io_path(folder, "%s", path));
  for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/'; n--) folder[n - 1] = 0;
  TRY(add_folder(l, folder, strlen(folder) + 1, 0));
  NEED(l->n > before, E_DATA, "%s: no .png, .jpg or .jpeg in it", path);
out:
  return st;
}

void ev_image_list_free(ev_image_list *l) {
  for (size_t i = 0; i < l->n; i++) {
    free(l->at[i].path);
    free(l->at[i].name);
  }
  free(l->at);
  *l = (ev_image_list){0};
}

/* ---- names ---- */

static const char *const suffixes[] = {"", "_colour", "_uncertainty", "_metric", "_sheet"};
enum { SUFFIXES = sizeof suffixes / sizeof *suffixes };

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

static bool name_is_free(void *const *taken, const char *name) {
  char full[IO_PATH_MAX];
  for (int i = 0; i < SUFFIXES; i++) {
    snprintf(full, sizeof full, "%s%s", name, suffixes[i]);
    if (tfind(full, taken, by_text)) return false;
  }
  return true;
}

static int take_name(void **taken, const char *name) {
  int st = OK;
  char full[IO_PATH_MAX], *kept = NULL;

  for (int i = 0; i < SUFFIXES; i++) {
    TRY(io_path(full, "%s%s", name, suffixes[i]));
    NEED((kept = strdup(full)) && tsearch(kept, taken, by_text), E_NOMEM, "names of results");
    kept = NULL;
  }
out:
  free(kept);
  return st;
}

static void free_names(void **taken) {
  while (*taken) {
    char *name = *(char **)*taken; /* the root's key */
    tdelete(name, taken, by_text);
    free(name);
  }
}

static int rename_until_free(void *const *taken, ev_image_file *f) {
  int st = OK;
  char name[IO_PATH_MAX];
  char *kept = NULL;

  if (name_is_free(taken, f->name)) return OK;
  for (int k = 2; !kept; k++) {
    TRY(io_path(name, "%s-%d", f->name, k));
    if (name_is_free(taken, name)) NEED((kept = strdup(name)) != NULL, E_NOMEM, "names of results");
  }
  log_warn("%s: its results are called %s, another image has that name already", f->path, kept);
  free(f->name);
  f->name = kept;
out:
  return st;
}

/* Is one of the files that will be written one of the images? */
static int check_overwriting(const ev_image_list *l, const char *out) {
  int st = OK;
  char path[IO_PATH_MAX];
  identity *ids = malloc(sizeof *ids * (l->n + 1)), id;
  size_t n = 0;

  NEED(ids, E_NOMEM, "%zu images", l->n);
  for (size_t i = 0; i < l->n; i++) n += identify(l->at[i].path, &ids[n]);
  qsort(ids, n, sizeof *ids, by_identity);
  for (size_t i = 0; i < l->n; i++)
    for (int s = 0; s < SUFFIXES; s++) {
      TRY(io_path(path, "%s/%s%s.png", out, l->at[i].name, suffixes[s]));
      NEED(!identify(path, &id) || !bsearch(&id, ids, n, sizeof *ids, by_identity), E_CONFIG,
           "--output: %s is one of the images and would be overwritten; choose another folder", path);
    }
out:
  free(ids);
  return st;
}

int ev_image_list_name(ev_image_list *l, const char *out) {
  int st = OK;
  void *taken = NULL;

  for (size_t i = 0; i < l->n; i++) {
    TRY(rename_until_free(&taken, &l->at[i]));
    TRY(take_name(&taken, l->at[i].name));
  }
  TRY(check_overwriting(l, out));
out:
  free_names(&taken);
  return st;
}

/* ---- reading ---- */

static int read_photo(const char *path, ds_buf *file, ev_image *out) {
  int st = OK, orientation;
  size_t n;

  TRY(ds_file_read(path, PHOTO_MAX, file, &n));
  TRY(ds_jpeg_decode_rgb8(path, file->p, n, &out->rgb, &out->H, &out->W));
  orientation = ds_exif_orientation(file->p, n);
  if (orientation != 1) TRY(ds_turn_upright(orientation, &out->rgb, &out->H, &out->W));
out:
  return st;
}

int ev_image_read(const char *path, ds_buf *file, ev_image *out) {
  int st = OK;
  unsigned char head[8] = {0};
  FILE *f = fopen(path, "rb");

  NEED(f, E_DATA, "%s: cannot open", path);
  const size_t n = fread(head, 1, sizeof head, f);
  if (n == sizeof head && !memcmp(head, "\x89PNG\r\n\x1a\n", 8)) TRY(ds_png_read_rgb8(path, &out->rgb, &out->H, &out->W));
  else if (n > 2 && head[0] == 0xff && head[1] == 0xd8) TRY(read_photo(path, file, out));
  else FAIL(E_DATA, "%s: neither a PNG nor a JPEG file", path);
out:
  if (f) fclose(f);
  return st;
}
