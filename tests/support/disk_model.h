/* tests/support/disk_model.h: what a power cut may leave. Calls of base/io.h are recorded while they are made, then replayed
 * on a model of a file system that knows what was synced; from any point on it can be asked for one of the states that a
 * cut there may leave.
 *   disk_record(&log, root); ... disk_record(NULL, NULL);
 *   disk *d = disk_create(DISK_ANY);
 *   for (i ..) { disk_apply(d, &log.op[i]);  disk_crash(d, &random, &image); ... disk_image_fini(&image); }
 * Renaming is atomic, as every file system has it; of what was not synced anything may be lost. */
#ifndef TESTS_SUPPORT_DISK_MODEL_H
#define TESTS_SUPPORT_DISK_MODEL_H
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/support/check.h"

/* ---- recording ---- */

typedef enum { DISK_OPEN, DISK_WRITE, DISK_SYNC, DISK_SYNC_FOLDER, DISK_RENAME, DISK_MKDIR, DISK_REMOVE, DISK_NOTE } disk_kind;
enum { DISK_PATH = 96, DISK_FDS = 64 };

typedef struct disk_op {
  disk_kind kind;
  int file;                              /* OPEN, WRITE, SYNC: which opening */
  char path[DISK_PATH], to[DISK_PATH];   /* below the root; "" is the root */
  bool cut, append;                      /* OPEN */
  char *data;                            /* WRITE [n] */
  size_t n;
  int note;                              /* NOTE: the test's own */
  int64_t value;
} disk_op;

typedef struct disk_log { disk_op *op; int n, room; } disk_log;

static struct {
  disk_log *log;
  size_t root;                                                     /* bytes of the root's path */
  struct { int file; char path[DISK_PATH]; bool folder; } fd[DISK_FDS]; /* file -1: not recorded */
  int files;
} disk_recorder;

static inline disk_op *disk_push(disk_log *log) {
  if (log->n == log->room) {
    log->room = log->room ? 2 * log->room : 256;
    log->op = realloc(log->op, (size_t)log->room * sizeof *log->op);
    assert_non_null(log->op);
  }
  memset(&log->op[log->n], 0, sizeof *log->op);
  return &log->op[log->n++];
}

static inline void disk_log_fini(disk_log *log) {
  for (int i = 0; i < log->n; i++) free(log->op[i].data);
  free(log->op);
  *log = (disk_log){0};
}

static inline void disk_note(disk_log *log, int note, int64_t value) {
  disk_op *o = disk_push(log);
  o->kind = DISK_NOTE;
  o->note = note;
  o->value = value;
}

static inline const char *disk_below(const char *path) {
  path += disk_recorder.root;
  return *path == '/' ? path + 1 : path;
}

static inline disk_op *disk_path_op(disk_kind kind, const char *path) {
  disk_op *o = disk_push(disk_recorder.log);
  o->kind = kind;
  snprintf(o->path, sizeof o->path, "%s", disk_below(path));
  return o;
}

static inline int disk_rec_open(const char *path, int flags, mode_t mode) {
  const int fd = open(path, flags, mode);
  if (fd < 0) return fd;
  assert_true(fd < DISK_FDS);
  disk_recorder.fd[fd].file = -1;
  disk_recorder.fd[fd].folder = (flags & O_DIRECTORY) != 0;
  snprintf(disk_recorder.fd[fd].path, DISK_PATH, "%s", disk_below(path));
  if (flags & O_CREAT) {
    disk_op *o = disk_path_op(DISK_OPEN, path);
    o->file = disk_recorder.fd[fd].file = disk_recorder.files++;
    o->cut = (flags & O_TRUNC) != 0;
    o->append = (flags & O_APPEND) != 0;
  }
  return fd;
}
static inline ssize_t disk_rec_write(int fd, const void *buf, size_t n) {
  const ssize_t done = write(fd, buf, n);
  if (done > 0) {
    disk_op *o = disk_push(disk_recorder.log);
    o->kind = DISK_WRITE;
    o->file = disk_recorder.fd[fd].file;
    snprintf(o->path, sizeof o->path, "%s", disk_recorder.fd[fd].path);
    o->n = (size_t)done;
    assert_non_null(o->data = malloc(o->n));
    memcpy(o->data, buf, o->n);
  }
  return done;
}
static inline int disk_rec_fsync(int fd) {
  disk_op *o = disk_push(disk_recorder.log);
  o->kind = disk_recorder.fd[fd].folder ? DISK_SYNC_FOLDER : DISK_SYNC;
  o->file = disk_recorder.fd[fd].file;
  snprintf(o->path, sizeof o->path, "%s", disk_recorder.fd[fd].path);
  return 0;
}
static inline int disk_rec_rename(const char *from, const char *to) {
  if (rename(from, to)) return -1;
  disk_op *o = disk_path_op(DISK_RENAME, from);
  snprintf(o->to, sizeof o->to, "%s", disk_below(to));
  return 0;
}
static inline int disk_rec_mkdir(const char *path, mode_t mode) {
  return mkdir(path, mode) ? -1 : (disk_path_op(DISK_MKDIR, path), 0);
}
static inline int disk_rec_unlink(const char *path) { return unlink(path) ? -1 : (disk_path_op(DISK_REMOVE, path), 0); }
static inline int disk_rec_rmdir(const char *path) { return rmdir(path) ? -1 : (disk_path_op(DISK_REMOVE, path), 0); }

/* From now on calls below root, a folder that is there, go into log; log NULL: no more. */
static inline void disk_record(disk_log *log, const char *root) {
  static const io_calls table = {.open = disk_rec_open, .write = disk_rec_write, .fsync = disk_rec_fsync, .close = close,
                                 .rename = disk_rec_rename, .mkdir = disk_rec_mkdir, .unlink = disk_rec_unlink,
                                 .rmdir = disk_rec_rmdir, .ftruncate = ftruncate, .read = read};
  memset(&disk_recorder, 0, sizeof disk_recorder);
  disk_recorder.log = log;
  disk_recorder.root = root ? strlen(root) : 0;
  io_set_calls(log ? &table : NULL);
}

/* ---- the model ---- */

/* DISK_KILL: all calls count, as after kill -9. DISK_JOURNAL: names come back as they were at one moment since the last
 * sync of anything, files with a front part of what was written since their own (ext4, data=ordered). DISK_ANY: each call
 * since the last sync of its file or folder counts or not, by itself, and what was written may be garbled (POSIX). */
typedef enum { DISK_KILL, DISK_JOURNAL, DISK_ANY, DISK_MODES } disk_mode;
enum { DISK_NODES = 1024, DISK_ENTRIES = 256, DISK_PENDING = 2048, DISK_FILES = 1024, DISK_NAME = 48 };

typedef struct disk_entry { int parent, node; char name[DISK_NAME]; } disk_entry;
typedef struct disk_tree { disk_entry e[DISK_ENTRIES]; int n; } disk_tree;
typedef struct disk_node { bool folder; char *data; size_t n; /* as synced */ size_t size; /* now */ } disk_node;
typedef struct disk_change { int node; bool cut; size_t at; const disk_op *write; } disk_change; /* of a file's content */
typedef struct disk_move {   /* of names: -1 for the parent of a name that there is none of */
  int node, from, to;
  char name[DISK_NAME], target[DISK_NAME];
} disk_move;

typedef struct disk {
  disk_mode mode;
  disk_node node[DISK_NODES]; /* 0 is the root */
  int nodes;
  disk_tree now, safe;
  disk_change change[DISK_PENDING];
  int changes;
  disk_move move[DISK_PENDING];
  int moves;
  struct { int node; bool append; size_t at; } file[DISK_FILES];
} disk;

typedef struct disk_file { char path[4 * DISK_NAME]; bool folder; char *data; size_t n; } disk_file;
typedef struct disk_image { disk_file file[DISK_ENTRIES]; int n; } disk_image;

static inline disk *disk_create(disk_mode mode) {
  disk *d = calloc(1, sizeof *d);
  assert_non_null(d);
  d->mode = mode;
  d->node[0].folder = true;
  d->nodes = 1;
  return d;
}

static inline void disk_destroy(disk *d) {
  for (int i = 0; i < d->nodes; i++) free(d->node[i].data);
  free(d);
}

static inline int disk_entry_of(const disk_tree *t, int parent, const char *name) {
  for (int i = 0; i < t->n; i++)
    if (t->e[i].parent == parent && strcmp(t->e[i].name, name) == 0) return i;
  return -1;
}

static inline bool disk_is_empty(const disk_tree *t, int node) {
  for (int i = 0; i < t->n; i++)
    if (t->e[i].parent == node) return false;
  return true;
}

static inline void disk_tree_apply(const disk *d, disk_tree *t, const disk_move *m) {
  int target = m->to >= 0 ? disk_entry_of(t, m->to, m->target) : -1;

  if (target >= 0 && d->node[t->e[target].node].folder && !disk_is_empty(t, t->e[target].node)) return;
  if (m->to >= 0) {
    if (target < 0) target = t->n++;
    assert_true(t->n <= DISK_ENTRIES);
    t->e[target].parent = m->to;
    t->e[target].node = m->node;
    memcpy(t->e[target].name, m->target, sizeof m->target);
  }
  const int source = m->from >= 0 ? disk_entry_of(t, m->from, m->name) : -1;
  if (source >= 0 && t->e[source].node == m->node) t->e[source] = t->e[--t->n];
}

/* The node of path, or -1; *parent and name: where it lies or would. */
static inline int disk_resolve(const disk *d, const char *path, int *parent, char name[DISK_NAME]) {
  int node = 0;

  *parent = -1;
  name[0] = 0;
  for (const char *p = path; *p;) {
    const size_t n = strcspn(p, "/");
    snprintf(name, DISK_NAME, "%.*s", (int)n, p);
    *parent = node;
    const int e = node >= 0 ? disk_entry_of(&d->now, node, name) : -1;
    node = e >= 0 ? d->now.e[e].node : -1;
    p += n + (p[n] == '/');
  }
  return node;
}

static inline void disk_do_move(disk *d, const disk_move *m) {
  assert_true(d->moves < DISK_PENDING);
  d->move[d->moves++] = *m;
  disk_tree_apply(d, &d->now, m);
}

static inline int disk_make(disk *d, int parent, const char *name, bool folder) {
  disk_move m = {.node = d->nodes, .from = -1, .to = parent};

  assert_true(d->nodes < DISK_NODES && parent >= 0);
  d->node[d->nodes++].folder = folder;
  snprintf(m.target, sizeof m.target, "%s", name);
  disk_do_move(d, &m);
  return m.node;
}

static inline void disk_put(char **data, size_t *n, const disk_change *c, const char *bytes, size_t count) {
  const size_t end = c->at + count;

  if (c->cut) {
    *n = 0;
    return;
  }
  if (end > *n) {
    assert_non_null(*data = realloc(*data, end));
    memset(*data + *n, 0, end - *n);
    *n = end;
  }
  memcpy(*data + c->at, bytes, count);
}

static inline void disk_sync_file(disk *d, int node) {
  int left = 0;

  for (int i = 0; i < d->changes; i++) {
    const disk_change *c = &d->change[i];
    if (c->node == node) disk_put(&d->node[node].data, &d->node[node].n, c, c->cut ? NULL : c->write->data, c->cut ? 0 : c->write->n);
    else d->change[left++] = *c;
  }
  d->changes = left;
}

/* folder -1: all. */
static inline void disk_sync_names(disk *d, int folder) {
  int left = 0;

  for (int i = 0; i < d->moves; i++) {
    const disk_move m = d->move[i];
    if (folder < 0 || m.from == folder || m.to == folder) disk_tree_apply(d, &d->safe, &m);
    else d->move[left++] = m;
  }
  d->moves = left;
}

static inline void disk_change_content(disk *d, int node, bool cut, size_t at, const disk_op *write) {
  assert_true(d->changes < DISK_PENDING);
  d->change[d->changes++] = (disk_change){node, cut, at, write};
  d->node[node].size = cut ? 0 : at + write->n > d->node[node].size ? at + write->n : d->node[node].size;
}

static inline void disk_open_file(disk *d, const disk_op *o) {
  int parent, node;
  char name[DISK_NAME];

  assert_true(o->file < DISK_FILES);
  if ((node = disk_resolve(d, o->path, &parent, name)) < 0) node = disk_make(d, parent, name, false);
  if (o->cut && d->node[node].size) disk_change_content(d, node, true, 0, NULL);
  d->file[o->file].node = node;
  d->file[o->file].append = o->append;
  d->file[o->file].at = 0;
}

static inline void disk_write_file(disk *d, const disk_op *o) {
  const int node = d->file[o->file].node;
  const size_t at = d->file[o->file].append ? d->node[node].size : d->file[o->file].at;

  disk_change_content(d, node, false, at, o);
  d->file[o->file].at = at + o->n;
}

static inline void disk_rename_name(disk *d, const disk_op *o) {
  disk_move m = {0};

  m.node = disk_resolve(d, o->path, &m.from, m.name);
  disk_resolve(d, o->to, &m.to, m.target);
  if (m.node > 0) disk_do_move(d, &m);
}

static inline void disk_remove_name(disk *d, const disk_op *o) {
  disk_move m = {.to = -1};

  m.node = disk_resolve(d, o->path, &m.from, m.name);
  if (m.node > 0) disk_do_move(d, &m);
}

/* Call o; it stays where it is for as long as d lives. */
static inline void disk_apply(disk *d, const disk_op *o) {
  int parent, node;
  char name[DISK_NAME];

  switch (o->kind) {
  case DISK_OPEN: disk_open_file(d, o); break;
  case DISK_WRITE: disk_write_file(d, o); break;
  case DISK_RENAME: disk_rename_name(d, o); break;
  case DISK_REMOVE: disk_remove_name(d, o); break;
  case DISK_MKDIR:
    if (disk_resolve(d, o->path, &parent, name) < 0) disk_make(d, parent, name, true);
    break;
  case DISK_SYNC:
    disk_sync_file(d, d->file[o->file].node);
    if (d->mode == DISK_JOURNAL) disk_sync_names(d, -1);
    break;
  case DISK_SYNC_FOLDER:
    node = disk_resolve(d, o->path, &parent, name);
    if (d->mode == DISK_JOURNAL || node >= 0) disk_sync_names(d, d->mode == DISK_JOURNAL ? -1 : node);
    break;
  case DISK_NOTE: break;
  }
}

/* ---- power cuts ---- */

static inline uint64_t disk_random(uint64_t *s) { /* splitmix64 */
  uint64_t z = *s += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* Which of n pending things count: how often changes from cut to cut, so that "all but one" comes up as "one alone" does. */
typedef struct disk_choice { disk_mode mode; int share, n, front; bool garbled; } disk_choice;

static inline disk_choice disk_choose(disk_mode mode, int n, uint64_t *s) {
  static const int shares[] = {0, 4, 32, 64, 96, 124, 128};
  disk_choice c = {.mode = mode, .n = n};

  c.share = shares[disk_random(s) % 7];
  c.front = (int)(disk_random(s) % ((uint64_t)n + 1));
  c.garbled = mode == DISK_ANY && disk_random(s) % 2;
  return c;
}

static inline bool disk_counts(const disk_choice *c, int i, uint64_t *s) {
  if (c->mode == DISK_KILL) return true;
  if (c->mode == DISK_JOURNAL) return i < c->front;
  return (int)(disk_random(s) % 128) < c->share;
}

static inline void disk_path_of(const disk_tree *t, int entry, char *out, size_t size) {
  char rest[4 * DISK_NAME] = "", longer[4 * DISK_NAME];

  for (int at = entry, depth = 0; at >= 0 && depth < 8; depth++) {
    snprintf(longer, sizeof longer, "%.47s%s%.100s", t->e[at].name, rest[0] ? "/" : "", rest);
    memcpy(rest, longer, sizeof rest);
    if (t->e[at].parent == 0) {
      snprintf(out, size, "%s", rest);
      return;
    }
    int up = -1;
    for (int i = 0; i < t->n; i++)
      if (t->e[i].node == t->e[at].parent) up = i;
    at = up;
  }
  out[0] = 0; /* its folder is nowhere */
}

/* What of a pending write is there: all of it, a front part, or other bytes. */
static inline void disk_put_torn(bool garbled, const disk_change *c, char **data, size_t *n, uint64_t *s) {
  char bytes[4096];
  const uint64_t how = garbled ? disk_random(s) % 4 : 0;
  size_t count = c->write->n;

  assert_true(count <= sizeof bytes);
  memcpy(bytes, c->write->data, count);
  if (how == 1) count = (size_t)(disk_random(s) % (count + 1));
  if (how == 2) memset(bytes, 0, count);
  if (how == 3 && count) bytes[disk_random(s) % count] ^= (char)(1 + disk_random(s) % 255);
  disk_put(data, n, c, bytes, count);
}

static inline void disk_content(const disk *d, int node, disk_file *f, uint64_t *s) {
  int pending = 0, i = 0;

  f->n = d->node[node].n;
  assert_non_null(f->data = malloc(f->n + 1));
  if (f->n) memcpy(f->data, d->node[node].data, f->n);
  for (int k = 0; k < d->changes; k++) pending += d->change[k].node == node;
  const disk_choice choice = disk_choose(d->mode, pending, s);
  for (int k = 0; k < d->changes; k++) {
    const disk_change *c = &d->change[k];
    if (c->node != node || !disk_counts(&choice, i++, s)) continue;
    if (c->cut) disk_put(&f->data, &f->n, c, NULL, 0);
    else disk_put_torn(choice.garbled, c, &f->data, &f->n, s);
  }
}

static inline int disk_by_path(const void *a, const void *b) {
  return strcmp(((const disk_file *)a)->path, ((const disk_file *)b)->path);
}

/* One of the states that a cut of the power here may leave; folders before what lies in them. */
static inline void disk_crash(const disk *d, uint64_t *s, disk_image *out) {
  disk_tree t = d->safe;
  const disk_choice choice = disk_choose(d->mode, d->moves, s);

  for (int i = 0; i < d->moves; i++)
    if (disk_counts(&choice, i, s)) disk_tree_apply(d, &t, &d->move[i]);
  out->n = 0;
  for (int i = 0; i < t.n; i++) {
    disk_file *f = &out->file[out->n];
    *f = (disk_file){.folder = d->node[t.e[i].node].folder};
    disk_path_of(&t, i, f->path, sizeof f->path);
    if (!f->path[0]) continue;
    if (!f->folder) disk_content(d, t.e[i].node, f, s);
    out->n++;
  }
  if (out->n) qsort(out->file, (size_t)out->n, sizeof *out->file, disk_by_path);
}

static inline void disk_image_fini(disk_image *m) {
  for (int i = 0; i < m->n; i++) free(m->file[i].data);
  m->n = 0;
}

/* Makes the image's files below root. */
static inline void disk_image_write(const disk_image *m, const char *root) {
  char path[IO_PATH_MAX];

  for (int i = 0; i < m->n; i++) {
    const disk_file *f = &m->file[i];
    snprintf(path, sizeof path, "%.2000s/%s", root, f->path);
    if (f->folder) {
      assert_int_equal(mkdir(path, 0777), 0);
      continue;
    }
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, f->data, f->n), (ssize_t)f->n);
    close(fd);
  }
}
#endif
