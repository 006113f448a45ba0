#include "datasets/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "datasets/buffer.h"
#include "datasets/cache_row.h"

static const size_t MANIFEST_MAX = (size_t)4 << 30;

struct ds_cache {
  char dir[IO_PATH_MAX], path[IO_PATH_MAX]; /* path: of the shard read last */
  ds_cache_index index;
  int *fd; /* [shards], -1: not open */
  ds_hasher *hasher;
  ds_buf bits;
};

/* ---- opening ---- */

static int check_made_of(const ds_cache *c, const ds_key *now, int64_t count) {
  int st = OK;
  char what[DS_KEY_NAME + 2 * DS_KEY_VALUE + 32];

  NEED(!ds_key_differs(&c->index.key, now, what, sizeof what), E_DATA,
       "%s: prepared from something else: %s; name another folder, or remove this one and prepare again", c->dir, what);
  NEED(c->index.form.count == count, E_DATA, "%s: prepared from %" PRId64 " samples, there are %" PRId64, c->dir,
       c->index.form.count, count);
out:
  return st;
}

static int read_manifest(ds_cache *c) {
  int st = OK;
  char path[IO_PATH_MAX], part[IO_PATH_MAX], *text = NULL;
  size_t n;

  TRY(io_path(path, "%s/manifest.tsv", c->dir));
  TRY(io_path(part, "%s/manifest.part", c->dir));
  if (!io_exists(path)) {
    NEED(!io_exists(part), E_DATA, "%s: its preparation has not come to its end: run `e2eft prepare` again", c->dir);
    FAIL(E_DATA, "%s: no prepared data: `e2eft prepare` with the same config makes it", c->dir);
  }
  TRY_AS(E_DATA, io_read_file(path, MANIFEST_MAX, &text, &n), "prepared data");
  TRY(ds_cache_index_parse(path, text, n, &c->index));
  NEED(c->index.complete, E_DATA, "%s: cut", path);
  NEED(c->index.nshards == ds_cache_shards(&c->index.form), E_DATA, "%s: %" PRId64 " shards", path, c->index.nshards);
out:
  return st;
}

int ds_cache_open(const char *dir, const ds_key *now, int64_t count, ds_cache **out) {
  int st = OK;
  ds_cache *c = calloc(1, sizeof *c);

  NEED(c, E_NOMEM, "%s: out of memory", dir);
  TRY(io_path(c->dir, "%s", dir));
  TRY(read_manifest(c));
  TRY(check_made_of(c, now, count));
  TRY(ds_hasher_create(&c->hasher));
  NEED(c->fd = malloc((size_t)(c->index.nshards + 1) * sizeof *c->fd), E_NOMEM, "%s: out of memory", dir);
  for (int64_t i = 0; i <= c->index.nshards; i++) c->fd[i] = -1;
  *out = c;
  c = NULL;
out:
  ds_cache_close(&c);
  return st;
}

void ds_cache_close(ds_cache **cp) {
  ds_cache *c = *cp;

  if (!c) return;
  for (int64_t i = 0; c->fd && i < c->index.nshards; i++)
    if (c->fd[i] >= 0) close(c->fd[i]);
  free(c->fd);
  ds_hasher_destroy(&c->hasher);
  ds_buf_free(&c->bits);
  ds_cache_index_free(&c->index);
  free(c);
  *cp = NULL;
}

const ds_cache_index *ds_cache_get_index(const ds_cache *c) { return &c->index; }
bool ds_cache_has_samples(const ds_cache *c) { return c->index.form.latent.C > 0; }

/* ---- reading ---- */

static int open_shard(ds_cache *c, int64_t shard) {
  int st = OK;
  struct stat info;
  int fd = -1;

  TRY(ds_shard_path(c->dir, shard, "", c->path));
  if (c->fd[shard] >= 0) goto out;
  NEED((fd = open(c->path, O_RDONLY | O_CLOEXEC)) >= 0 && fstat(fd, &info) == 0, E_DATA, "%s: %s", c->path, strerror(errno));
  NEED(info.st_size == c->index.shards[shard].size, E_DATA, "%s: %" PRId64 " bytes, wanted %" PRId64, c->path,
       (int64_t)info.st_size, c->index.shards[shard].size);
  c->fd[shard] = fd;
  fd = -1;
out:
  if (fd >= 0) close(fd);
  return st;
}

static int read_at(const ds_cache *c, int fd, int64_t at, size_t n, void *to) {
  int st = OK;

  for (size_t got = 0; got < n;) {
    const ssize_t k = pread(fd, (char *)to + got, n - got, (off_t)(at + (int64_t)got));
    if (k < 0 && errno == EINTR) continue;
    NEED(k > 0, E_DATA, "%s: cannot read: %s", c->path, k ? strerror(errno) : "it is cut");
    got += (size_t)k;
  }
out:
  return st;
}

/* Every plane of the row into its place, mask bits into c->bits, all of them into the hash. */
static int read_planes(ds_cache *c, int64_t i, bool flip, const ds_sample *out) {
  int st = OK;
  const ds_cache_form *f = &c->index.form;
  const int64_t shard = i / f->rows, row = i % f->rows;
  const ds_cache_item *it = &c->index.items[i];

  TRY(ds_buf_need(&c->bits, ds_cache_plane_bytes(f, DS_CACHE_MASK)));
  ds_hasher_begin(c->hasher);
  for (int k = 0; k < DS_CACHE_KINDS; k++) {
    const bool mirrored = flip && (it->own_mirror || k == DS_CACHE_LATENT);
    const size_t bytes = ds_cache_plane_bytes(f, k);
    void *to = k == DS_CACHE_MASK ? c->bits.p : ds_row_plane(out, k);
    if (!bytes) continue;
    NEED(to, E_FAIL, "%s: no place for a plane", c->path);
    TRY(read_at(c, c->fd[shard], c->index.shards[shard].offset[k + mirrored * DS_CACHE_KINDS] + row * (int64_t)bytes, bytes, to));
    ds_hasher_add(c->hasher, to, bytes);
  }
out:
  return st;
}

static int check_state(const ds_cache *c, int64_t i) {
  int st = OK;
  const ds_cache_item *it = &c->index.items[i];

  NEED(it->state == DS_KEPT, E_DATA, "%s (%s when it was prepared)", it->reason,
       it->state == DS_BROKEN ? "broken" : "left out by data.filter");
out:
  return st;
}

int ds_cache_read(ds_cache *c, int64_t i, bool flip, const char **path, ds_sample *out) {
  int st = OK;
  const ds_cache_form *f = &c->index.form;
  const ds_cache_item *it = &c->index.items[i];

  *path = "";
  TRY(check_state(c, i));
  TRY(open_shard(c, i / f->rows));
  *path = c->path;
  NEED(out->H == f->H && out->W == f->W, E_DATA, "%s: [%d, %d] pixels where [%d, %d] were expected", c->path, f->H, f->W, out->H,
       out->W);
  TRY(read_planes(c, i, flip, out));
  NEED(ds_hash_same(ds_hasher_end(c->hasher), it->row[flip]), E_DATA, "%s: row %" PRId64 " (%s) is damaged: its hash is not the "
       "manifest's", c->path, i % f->rows, it->id);
  out->valid = ds_bits_unpack(c->bits.p, (size_t)f->H * (size_t)f->W, out->mask);
  if (flip && !it->own_mirror) ds_row_mirror(out);
out:
  return st;
}

int ds_cache_check_frame(const ds_cache *c, int64_t i, ds_hash frame) {
  int st = OK;

  TRY(check_state(c, i));
  NEED(ds_hash_same(frame, c->index.items[i].frame), E_DATA, "%s: not what it was when %s was prepared: its hash differs",
       c->index.items[i].id, c->dir);
out:
  return st;
}
