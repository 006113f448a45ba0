/* Order of writing: a shard's file before the line that names it, its rows before the lines of its items, all of a
 * shard and its name before the next one. So every line of manifest.part speaks of what is on disk. */
#include "datasets/cache_write.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "datasets/buffer.h"
#include "datasets/cache_index.h"
#include "datasets/cache_row.h"

enum { PENDING_MAX = 1 << 14, FLUSH_S = 2 };
static const size_t MANIFEST_MAX = (size_t)4 << 30;

struct ds_cache_writer {
  char dir[IO_PATH_MAX], part[IO_PATH_MAX], manifest[IO_PATH_MAX];
  const ds_source *names;
  int lock;
  ds_key key;
  ds_cache_form form;
  bool complete;
  int64_t n, shards;
  io_file journal, shard;  /* manifest.part; the shard being filled */
  ds_cache_shard at;       /* of that shard */
  char pending[PENDING_MAX];
  size_t npending;
  time_t flushed;
  ds_hasher *hasher;
  ds_buf bits;
};

static time_t now_s(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec;
}

/* ---- lines ---- */

int ds_cache_writer_flush(ds_cache_writer *w) {
  int st = OK;

  if (w->shard.fd >= 0) TRY(io_sync(&w->shard));
  if (w->npending) {
    TRY(io_write(&w->journal, w->pending, w->npending));
    TRY(io_sync(&w->journal));
  }
  w->npending = 0;
  w->flushed = now_s();
out:
  return st;
}

/* Takes the line. */
static int add_line(ds_cache_writer *w, char *line) {
  int st = OK;
  const size_t n = strlen(line);

  if (w->npending + n > sizeof w->pending || now_s() - w->flushed >= FLUSH_S) TRY(ds_cache_writer_flush(w));
  memcpy(w->pending + w->npending, line, n);
  w->npending += n;
out:
  free(line);
  return st;
}

/* ---- shards ---- */

static int shard_ids(const ds_cache_writer *w, int64_t shard, int rows, char *ids) {
  int st = OK;

  memset(ids, 0, (size_t)rows * DS_ID_MAX);
  for (int i = 0; i < rows; i++) TRY(ds_source_describe(w->names, shard * w->form.rows + i, ids + (size_t)i * DS_ID_MAX));
out:
  return st;
}

static int shard_open(ds_cache_writer *w, int64_t shard) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(ds_shard_path(w->dir, shard, ".part", path));
  w->shard.fd = open(path, O_RDWR | O_CLOEXEC);
  NEED(w->shard.fd >= 0, err_of_errno(errno, E_DATA), "%s: %s", path, strerror(errno));
  memcpy(w->shard.path, path, sizeof path);
  NEED(lseek(w->shard.fd, 0, SEEK_END) == w->at.size, E_DATA, "%s: not the %" PRId64 " bytes it had", path, w->at.size);
out:
  return st;
}

/* A new one, on disk before it is named. */
static int shard_begin(ds_cache_writer *w) {
  int st = OK;
  const int64_t shard = w->n / w->form.rows;
  const int rows = ds_cache_shard_rows(&w->form, shard);
  char path[IO_PATH_MAX], *ids = malloc((size_t)rows * DS_ID_MAX), *line = NULL, *made_of = NULL;

  NEED(ids, E_NOMEM, "%s: %d names", w->dir, rows);
  TRY(shard_ids(w, shard, rows, ids));
  TRY(ds_cache_head_text(&w->key, &w->form, &made_of));
  TRY(ds_shard_path(w->dir, shard, ".part", path));
  TRY(ds_shard_create(path, &w->form, rows, ids, made_of, &w->at));
  TRY(io_sync_dir(w->dir));
  TRY(shard_open(w, shard));
  TRY(ds_cache_shard_text(shard, &w->at, &line));
  TRY(add_line(w, line));
  w->shards = shard + 1;
out:
  free(ids);
  free(made_of);
  return st;
}

/* Synced and named; its items' lines follow. */
static int shard_end(ds_cache_writer *w) {
  int st = OK;
  char from[IO_PATH_MAX], to[IO_PATH_MAX];

  if (w->shard.fd < 0) goto out;
  TRY(io_sync(&w->shard));
  TRY(io_close(&w->shard));
  TRY(ds_shard_path(w->dir, w->shards - 1, ".part", from));
  TRY(ds_shard_path(w->dir, w->shards - 1, "", to));
  TRY(ds_cache_writer_flush(w));
  TRY(io_rename(from, to));
  TRY(io_sync_dir(w->dir));
out:
  return st;
}

/* ---- rows ---- */

static int write_at(ds_cache_writer *w, int k, const void *p, size_t n) {
  int st = OK;
  const off_t at = (off_t)(w->at.offset[k] + w->n % w->form.rows * (int64_t)n);

  NEED(lseek(w->shard.fd, at, SEEK_SET) == at, E_IO, "%s: %s", w->shard.path, strerror(errno));
  TRY(io_write(&w->shard, p, n));
out:
  return st;
}

/* Planes of one flip; those but the latent only when `all`. Their hash is of what a reader of this flip will read: with
 * !all the plain planes, which must have been written just before. */
static int write_planes(ds_cache_writer *w, const ds_sample *s, bool mirrored, bool all, ds_hash *hash) {
  int st = OK;

  ds_hasher_begin(w->hasher);
  for (int k = 0; k < DS_CACHE_KINDS; k++) {
    const size_t n = ds_cache_plane_bytes(&w->form, k);
    const void *p = k == DS_CACHE_MASK ? w->bits.p : ds_row_plane(s, k);
    if (!n) continue;
    if (k == DS_CACHE_MASK) ds_bits_pack(s->mask, (size_t)s->H * (size_t)s->W, w->bits.p);
    if (all || k == DS_CACHE_LATENT) TRY(write_at(w, k + mirrored * DS_CACHE_KINDS, p, n));
    ds_hasher_add(w->hasher, p, n);
  }
  *hash = ds_hasher_end(w->hasher);
out:
  return st;
}

static int write_row(ds_cache_writer *w, ds_sample both[2], ds_cache_item *it) {
  int st = OK;
  ds_sample plain = both[0];

  TRY(ds_buf_need(&w->bits, ds_cache_plane_bytes(&w->form, DS_CACHE_MASK)));
  TRY(write_planes(w, &both[0], false, true, &it->row[0]));
  ds_row_mirror(&both[0]);
  it->own_mirror = !ds_row_same(&both[0], &both[1]);
  if (it->own_mirror) {
    TRY(write_planes(w, &both[1], true, true, &it->row[1]));
  } else {
    ds_row_mirror(&both[0]); /* back again */
    plain.latent = both[1].latent;
    TRY(write_planes(w, &plain, true, false, &it->row[1]));
  }
  TRY(write_at(w, DS_CACHE_STATE, it->own_mirror ? "\2" : "\1", 1));
out:
  return st;
}

int ds_cache_writer_put(ds_cache_writer *w, const ds_cache_item *item, ds_sample both[2]) {
  int st = OK;
  const bool stored = w->form.latent.C > 0;
  ds_cache_item it = *item;
  char *line = NULL;

  NEED(w->n < w->form.count, E_FAIL, "%s: more than %" PRId64 " items", w->dir, w->form.count);
  if (stored && w->n % w->form.rows == 0) {
    TRY(shard_end(w));
    TRY(shard_begin(w));
  }
  it.row[0] = it.row[1] = (ds_hash){0, 0};
  it.own_mirror = false;
  if (stored && it.state == DS_KEPT) TRY(write_row(w, both, &it));
  TRY(ds_cache_item_text(w->n, &it, &line));
  TRY(add_line(w, line));
  w->n++;
out:
  return st;
}

int ds_cache_writer_finish(ds_cache_writer *w) {
  int st = OK;
  char *text = NULL, hash[DS_HASH_TEXT], end[64];
  size_t n;

  if (w->complete) goto out;
  NEED(w->n == w->form.count, E_FAIL, "%s: %" PRId64 " of %" PRId64 " items", w->dir, w->n, w->form.count);
  TRY(shard_end(w));
  TRY(ds_cache_writer_flush(w));
  TRY(io_read_file(w->part, MANIFEST_MAX, &text, &n));
  ds_hash_text(ds_hash_of(text, n), hash);
  snprintf(end, sizeof end, "end\t%s\n", hash);
  TRY(io_write(&w->journal, end, strlen(end)));
  TRY(io_sync(&w->journal));
  TRY(io_close(&w->journal));
  TRY(io_rename(w->part, w->manifest));
  TRY(io_sync_dir(w->dir));
  w->complete = true;
out:
  free(text);
  return st;
}

/* ---- opening ---- */

static int take_lock(ds_cache_writer *w) {
  int st = OK;
  char path[IO_PATH_MAX];
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

  TRY(io_path(path, "%s/lock", w->dir));
  w->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  NEED(w->lock >= 0, err_of_errno(errno, E_DATA), "%s: cannot open: %s", path, strerror(errno));
  NEED(fcntl(w->lock, F_SETLK, &l) == 0, errno == EACCES || errno == EAGAIN ? E_DATA : err_of_errno(errno, E_DATA),
       "%s: is being prepared by another process", w->dir);
out:
  return st;
}

static int check_same(const ds_cache_writer *w, const ds_cache_index *x) {
  int st = OK;
  char what[DS_KEY_NAME + 2 * DS_KEY_VALUE + 32];

  NEED(!ds_key_differs(&x->key, &w->key, what, sizeof what) && !ds_key_differs(&w->key, &x->key, what, sizeof what), E_DATA,
       "%s: prepared from something else: %s; name another folder, or remove this one and prepare again", w->dir, what);
  NEED(!memcmp(&x->form, &w->form, sizeof x->form), E_DATA,
       "%s: prepared as %" PRId64 " samples of [%d, %d], now %" PRId64 " of [%d, %d]; name another folder, or remove this one",
       w->dir, x->form.count, x->form.H, x->form.W, w->form.count, w->form.H, w->form.W);
out:
  return st;
}

/* Takes what a file of lines says. *wanted false: frames' hashes alone, where samples are to be made. */
static int take_lines(ds_cache_writer *w, const char *path, bool *wanted) {
  int st = OK;
  ds_cache_index x = {0};
  char *text = NULL;
  size_t n;

  TRY_AS(E_DATA, io_read_file(path, MANIFEST_MAX, &text, &n), "prepared data");
  TRY(ds_cache_index_parse(path, text, n, &x));
  *wanted = x.form.count > 0 && (x.form.latent.C > 0 || w->form.latent.C == 0);
  if (!*wanted) goto out;
  TRY(check_same(w, &x));
  w->complete = x.complete;
  w->n = x.n;
  w->shards = x.nshards;
  if (x.nshards) w->at = x.shards[x.nshards - 1];
  if (!x.complete) NEED(truncate(path, (off_t)x.whole) == 0, err_of_errno(errno, E_IO), "%s: %s", path, strerror(errno));
out:
  ds_cache_index_free(&x);
  return st;
}

/* The last shard that has a line: being filled, or full and perhaps not named yet. */
static int shard_again(ds_cache_writer *w) {
  int st = OK;
  char from[IO_PATH_MAX];

  if (!w->shards || w->complete) goto out;
  TRY(ds_shard_path(w->dir, w->shards - 1, ".part", from));
  if (w->n < w->shards * w->form.rows && w->n < w->form.count) TRY(shard_open(w, w->shards - 1));
  else if (io_exists(from)) TRY(shard_open(w, w->shards - 1));
out:
  return st;
}

static int begin_or_go_on(ds_cache_writer *w) {
  int st = OK;
  bool wanted = false;
  char *head = NULL;

  if (io_exists(w->manifest)) {
    TRY(take_lines(w, w->manifest, &wanted));
    if (wanted) goto out;
    log_info("%s: has hashes alone; prepared anew", w->dir);
    TRY(io_remove_tree(w->manifest));
  } else if (io_exists(w->part)) {
    TRY(take_lines(w, w->part, &wanted));
    if (w->complete) { /* only the name was missing */
      TRY(io_rename(w->part, w->manifest));
      TRY(io_sync_dir(w->dir));
      goto out;
    }
  }
  if (!wanted) {
    TRY(ds_cache_head_text(&w->key, &w->form, &head));
    TRY(io_write_file(w->part, head, strlen(head)));
  }
  TRY(io_append(w->part, &w->journal));
  TRY(shard_again(w));
out:
  free(head);
  return st;
}

int ds_cache_writer_open(const char *dir, const ds_key *key, const ds_cache_form *form, const ds_source *names,
                         ds_cache_writer **out) {
  int st = OK;
  ds_cache_writer *w = calloc(1, sizeof *w);

  NEED(w, E_NOMEM, "%s: out of memory", dir);
  w->lock = w->journal.fd = w->shard.fd = -1;
  w->names = names;
  w->key = *key;
  w->form = *form;
  w->flushed = now_s();
  TRY(io_path(w->dir, "%s", dir));
  TRY(io_path(w->part, "%s/manifest.part", dir));
  TRY(io_path(w->manifest, "%s/manifest.tsv", dir));
  TRY(io_make_dirs(dir));
  TRY(take_lock(w));
  TRY(ds_hasher_create(&w->hasher));
  TRY(begin_or_go_on(w));
  *out = w;
  w = NULL;
out:
  ds_cache_writer_close(&w);
  return st;
}

int64_t ds_cache_writer_done(const ds_cache_writer *w) { return w->n; }

void ds_cache_writer_close(ds_cache_writer **wp) {
  ds_cache_writer *w = *wp;

  if (!w) return;
  if (w->shard.fd >= 0) (void)io_close(&w->shard);
  if (w->journal.fd >= 0) (void)io_close(&w->journal);
  if (w->lock >= 0) close(w->lock);
  ds_hasher_destroy(&w->hasher);
  ds_buf_free(&w->bits);
  free(w);
  *wp = NULL;
}
