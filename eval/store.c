#include "eval/store.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"

enum { BLOCK = 1 << 16, DEPTH_MAX = 16 };

typedef struct member {
  char *name;
  int64_t at, size; /* header's place in the archive, bytes of data; 0, 0 in a folder */
} member;

struct ev_store {
  char *path;
  int fd; /* of the archive; -1: a folder */
  member *members;
  size_t n, room;
  bool listed;
  const char **names;
};

static int add_member(ev_store *s, const char *name, int64_t at, int64_t size) {
  int st = OK;

  if (s->n == s->room) {
    const size_t room = s->room ? 2 * s->room : 256;
    member *grown = realloc(s->members, room * sizeof *grown);
    NEED(grown, E_NOMEM, "%s: %zu members", s->path, room);
    s->members = grown;
    s->room = room;
  }
  s->members[s->n] = (member){strdup(name), at, size};
  NEED(s->members[s->n].name, E_NOMEM, "%s: out of memory", s->path);
  s->n++;
out:
  return st;
}

static int by_name(const void *a, const void *b) { return strcmp(((const member *)a)->name, ((const member *)b)->name); }

static int by_name_and_place(const void *a, const void *b) {
  const member *x = a, *y = b;
  const int order = by_name(a, b);
  return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* Sorted, and of members with one name the last: tar appends newer versions. */
static void sort_members(ev_store *s) {
  size_t kept = 0;

  qsort(s->members, s->n, sizeof *s->members, by_name_and_place);
  for (size_t i = 0; i < s->n; i++) {
    if (i + 1 < s->n && !by_name(&s->members[i], &s->members[i + 1])) free(s->members[i].name);
    else s->members[kept++] = s->members[i];
  }
  s->n = kept;
  s->listed = true;
}

static const char *without_dot(const char *name) {
  while (name[0] == '.' && name[1] == '/') name += 2;
  return name;
}

/* ---- archive ---- */

/* A reader that starts at byte `at` of the archive. */
static int archive_at(const ev_store *s, int64_t at, struct archive **out) {
  int st = OK;
  struct archive *a = archive_read_new();

  NEED(a, E_NOMEM, "%s: libarchive does not start", s->path);
  archive_read_support_format_tar(a);
  archive_read_support_filter_none(a);
  NEED(lseek(s->fd, (off_t)at, SEEK_SET) == (off_t)at, E_DATA, "%s: cannot seek to byte %lld", s->path, (long long)at);
  NEED(archive_read_open_fd(a, s->fd, BLOCK) == ARCHIVE_OK, E_DATA,
       "%s: not a tar archive (a compressed one must be unpacked first): %s", s->path, archive_error_string(a));
  *out = a;
  a = NULL;
out:
  if (a) archive_read_free(a);
  return st;
}

/* Archives end in blocks of zeros; libarchive takes a file that ends at a header for whole. */
static bool has_end_mark(const ev_store *s, int64_t end) {
  static const char zeros[512];
  char last[512];

  return end >= 512 && pread(s->fd, last, sizeof last, (off_t)(end - 512)) == 512 && !memcmp(last, zeros, sizeof last);
}

static int index_archive(ev_store *s) {
  int st = OK, got;
  struct archive *a = NULL;
  struct archive_entry *entry;
  const int64_t end = lseek(s->fd, 0, SEEK_END);

  TRY(archive_at(s, 0, &a));
  while ((got = archive_read_next_header(a, &entry)) == ARCHIVE_OK || got == ARCHIVE_WARN) {
    const int64_t at = archive_read_header_position(a), size = archive_entry_size(entry);
    const char *name = archive_entry_pathname(entry);
    if (!name || archive_entry_filetype(entry) != AE_IFREG) continue;
    if (at + size > end) {
      log_warn("%s: the archive ends within %s", s->path, name);
      break;
    }
    TRY(add_member(s, without_dot(name), at, size));
  }
  const char *why = got == ARCHIVE_EOF ? NULL : archive_error_string(a);
  NEED(s->n, E_DATA, "%s: no tar archive with files in it%s%s", s->path, why ? ": " : "", why ? why : "");
  if (got < ARCHIVE_WARN) log_warn("%s: the archive is broken after %s: %s", s->path, s->members[s->n - 1].name, why);
  else if (got == ARCHIVE_EOF && !has_end_mark(s, end))
    log_warn("%s: the archive has no end mark after %s: it may be cut", s->path, s->members[s->n - 1].name);
  sort_members(s);
out:
  if (a) archive_read_free(a);
  return st;
}

static const member *find(const ev_store *s, const char *name) {
  const member key = {.name = (char *)(uintptr_t)name};
  return s->n ? bsearch(&key, s->members, s->n, sizeof key, by_name) : NULL;
}

static int read_member(const ev_store *s, const char *name, ds_buf *b, size_t *n) {
  int st = OK;
  size_t done = 0;
  struct archive *a = NULL;
  struct archive_entry *entry;
  const member *m = find(s, name);

  NEED(m, E_DATA, "%s: %s: no such member", s->path, name);
  NEED(m->size > 0, E_DATA, "%s: %s: empty file", s->path, name);
  TRY(archive_at(s, m->at, &a));
  NEED(archive_read_next_header(a, &entry) >= ARCHIVE_WARN, E_DATA, "%s: %s: %s", s->path, name, archive_error_string(a));
  TRY(ds_buf_need(b, (size_t)m->size + 1));
  while (done < (size_t)m->size) {
    const la_ssize_t got = archive_read_data(a, (char *)b->p + done, (size_t)m->size - done);
    NEED(got > 0, E_DATA, "%s: %s: cut after %zu of %lld bytes", s->path, name, done, (long long)m->size);
    done += (size_t)got;
  }
  ((char *)b->p)[done] = 0;
  *n = done;
out:
  if (a) archive_read_free(a);
  return st;
}

/* ---- folder ---- */

/* Files under s->path/sub, sub ending in '/' or empty. */
static int walk(ev_store *s, const char *sub, int depth) {
  int st = OK;
  char **names = NULL, full[IO_PATH_MAX], rel[IO_PATH_MAX];
  size_t n = 0;

  NEED(depth < DEPTH_MAX, E_DATA, "%s/%s: more than %d folders deep", s->path, sub, DEPTH_MAX);
  TRY(io_path(full, "%s/%s", s->path, sub));
  TRY_AS(E_DATA, io_list_dir(full, &names, &n), "%s", s->path);
  for (size_t i = 0; i < n; i++) {
    TRY(io_path(full, "%s/%s%s", s->path, sub, names[i]));
    if (io_is_dir(full)) {
      TRY(io_path(rel, "%s%s/", sub, names[i]));
      TRY(walk(s, rel, depth + 1));
    } else {
      TRY(io_path(rel, "%s%s", sub, names[i]));
      TRY(add_member(s, rel, 0, 0));
    }
  }
out:
  io_free_names(&names, n);
  return st;
}

static int read_file(const ev_store *s, const char *name, ds_buf *b, size_t *n) {
  int st = OK;
  char path[IO_PATH_MAX], *data = NULL;
  size_t size;

  TRY(io_path(path, "%s/%s", s->path, name));
  NEED(io_exists(path), E_DATA, "%s: no such file", path);
  TRY_AS(E_DATA, io_read_file(path, PTRDIFF_MAX - 1, &data, &size), "%s", s->path);
  NEED(size, E_DATA, "%s: empty file", path);
  ds_buf_free(b);
  *b = (ds_buf){data, size + 1};
  data = NULL;
  *n = size;
out:
  free(data);
  return st;
}

/* ---- both ---- */

int ev_store_open(const char *path, ev_store **out) {
  int st = OK;
  ev_store *s = calloc(1, sizeof *s);

  NEED(s && (s->path = strdup(path)), E_NOMEM, "%s: out of memory", path);
  s->fd = -1;
  NEED(io_exists(path), E_DATA, "%s: no such file or folder", path);
  if (!io_is_dir(path)) {
    NEED((s->fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0, E_DATA, "%s: cannot open", path);
    TRY(index_archive(s));
  }
  *out = s;
  s = NULL;
out:
  ev_store_close(&s);
  return st;
}

void ev_store_close(ev_store **sp) {
  ev_store *s = *sp;

  if (!s) return;
  for (size_t i = 0; i < s->n; i++) free(s->members[i].name);
  free(s->members);
  free(s->names);
  free(s->path);
  if (s->fd >= 0) close(s->fd);
  free(s);
  *sp = NULL;
}

const char *ev_store_path(const ev_store *s) { return s->path; }

bool ev_store_has(const ev_store *s, const char *name) {
  char path[IO_PATH_MAX];

  if (s->fd >= 0) return find(s, name) != NULL;
  return io_path(path, "%s/%s", s->path, name) == OK && io_exists(path) && !io_is_dir(path);
}

int ev_store_read(ev_store *s, const char *name, ds_buf *b, size_t *n) {
  return s->fd >= 0 ? read_member(s, name, b, n) : read_file(s, name, b, n);
}

int ev_store_list(ev_store *s, const char *const **names, size_t *n) {
  int st = OK;

  if (!s->listed) {
    TRY(walk(s, "", 0));
    sort_members(s);
  }
  if (!s->names) {
    NEED((s->names = malloc((s->n + 1) * sizeof *s->names)) != NULL, E_NOMEM, "%s: %zu names", s->path, s->n);
    for (size_t i = 0; i < s->n; i++) s->names[i] = s->members[i].name;
  }
  *names = s->names;
  *n = s->n;
out:
  return st;
}
