#include "checkpoints/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { MANIFEST_MAX = 256 << 20, SEAL_SIZE = 64 };

/* ---- hashes ---- */

static ck_hash hash_text(XXH128_hash_t h) {
  XXH128_canonical_t c;
  ck_hash out;

  XXH128_canonicalFromHash(&c, h);
  for (size_t i = 0; i < sizeof c.digest; i++) snprintf(out.hex + 2 * i, 3, "%02x", c.digest[i]);
  return out;
}

ck_hash ck_hash_of(const void *data, size_t n) { return hash_text(XXH3_128bits(data, n)); }

struct ck_writer {
  io_file f;
  char name[64];
  uint64_t size;
  XXH3_state_t *hash;
};

static void writer_tap(void *ctx, const void *buf, size_t n) {
  ck_writer *w = ctx;
  w->size += n;
  XXH3_128bits_update(w->hash, buf, n);
}

int ck_writer_open(const char *dir, const char *name, ck_writer **out) {
  int st = OK;
  char path[IO_PATH_MAX];
  ck_writer *w = calloc(1, sizeof *w);

  NEED(w, E_NOMEM, "%s/%s: out of memory", dir, name);
  w->f.fd = -1;
  NEED((w->hash = XXH3_createState()) != NULL, E_NOMEM, "%s/%s: out of memory", dir, name);
  XXH3_128bits_reset(w->hash);
  snprintf(w->name, sizeof w->name, "%s", name);
  TRY(io_path(path, "%s/%s", dir, name));
  TRY(io_create(path, &w->f));
  w->f.tap = writer_tap;
  w->f.tap_ctx = w;
  *out = w;
  w = NULL;
out:
  ck_writer_close(&w);
  return st;
}

io_file *ck_writer_file(ck_writer *w) { return &w->f; }

int ck_writer_finish(ck_writer *w, json_t *manifest) {
  int st = OK;
  json_t *entry;

  TRY(io_sync(&w->f));
  TRY(io_close(&w->f));
  entry = json_pack("{s:I, s:s}", "size", (json_int_t)w->size, "xxh3_128", hash_text(XXH3_128bits_digest(w->hash)).hex);
  NEED(json_object_set_new(json_object_get(manifest, "files"), w->name, entry) == 0, E_NOMEM, "%s: its manifest entry",
       w->f.path);
out:
  return st;
}

void ck_writer_close(ck_writer **w) {
  if (!*w) return;
  io_discard(&(*w)->f, "");
  XXH3_freeState((*w)->hash);
  free(*w);
  *w = NULL;
}

/* ---- writing ---- */

int ck_json_text(const json_t *o, size_t flags, const char *what, char **out) {
  int st = OK;
  char *text = json_dumps(o, flags);
  json_t *again = text ? json_loads(text, 0, NULL) : NULL;

  NEED(again && json_equal(again, o), E_NOMEM, "%s: out of memory", what);
  *out = text;
  text = NULL;
out:
  json_decref(again);
  free(text);
  return st;
}

int ck_manifest_create(const ck_state *s, json_t **out) {
  int st = OK;
  char seed[24]; /* as text: JSON integers are signed here */

  snprintf(seed, sizeof seed, "%llu", (unsigned long long)s->seed);
  json_t *m = json_pack("{s:i, s:I, s:I, s:I, s:s, s:{}, s:[]}", "format", CK_FORMAT, "step", (json_int_t)s->step,
                        "adam_t", (json_int_t)s->adam_t, "nonfinite_row", (json_int_t)s->nonfinite_row, "seed", seed,
                        "files", "tensors");
  NEED(m, E_NOMEM, "manifest.json: out of memory");
  *out = m;
out:
  return st;
}

int ck_manifest_add_tensor(json_t *manifest, int index, const ck_param *p, const char *file, ck_hash hash) {
  int st = OK;
  json_t *list = json_object_get(manifest, "tensors"), *shape = NULL;

  if (json_array_size(list) == (size_t)index) {
    NEED((shape = json_array()) != NULL, E_NOMEM, "manifest.json: %s", p->name);
    for (int i = 0; i < p->ndim; i++)
      NEED(json_array_append_new(shape, json_integer(p->shape[i])) == 0, E_NOMEM, "manifest.json: %s", p->name);
    NEED(json_array_append_new(list, json_pack("{s:s, s:O}", "name", p->name, "shape", shape)) == 0, E_NOMEM,
         "manifest.json: %s", p->name);
  }
  NEED(json_object_set_new(json_array_get(list, (size_t)index), file, json_string(hash.hex)) == 0, E_NOMEM,
       "manifest.json: %s", p->name);
out:
  json_decref(shape);
  return st;
}

/* The end of the file, which vouches for the n bytes before it. */
static void format_seal(const char *text, size_t n, char seal[SEAL_SIZE]) {
  snprintf(seal, SEAL_SIZE, ",\n \"xxh3_128\": \"%s\"\n}\n", ck_hash_of(text, n).hex);
}

int ck_manifest_write(const char *dir, json_t *manifest) {
  int st = OK;
  char path[IO_PATH_MAX], seal[SEAL_SIZE];
  io_file f = {.fd = -1};
  char *text = NULL;

  TRY(io_path(path, "%s/manifest.json", dir));
  TRY(ck_json_text(manifest, JSON_INDENT(1), path, &text));
  const size_t n = strlen(text) - 2; /* without "\n}" */
  format_seal(text, n, seal);
  TRY(io_create(path, &f));
  TRY(io_write(&f, text, n));
  TRY(io_write(&f, seal, strlen(seal)));
  TRY(io_sync(&f));
  TRY(io_close(&f));
out:
  if (st != OK) io_discard(&f, "");
  free(text);
  return st;
}

/* ---- reading ---- */

static int check_seal(const char *path, const char *text, size_t n) {
  int st = OK;
  char seal[SEAL_SIZE];

  format_seal("", 0, seal);
  const size_t tail = strlen(seal);
  NEED(n > tail, E_CKPT, "%s: %zu bytes: the file is cut", path, n);
  format_seal(text, n - tail, seal);
  NEED(memcmp(text + n - tail, seal, tail) == 0, E_CKPT, "%s: does not fit its hash: cut or damaged", path);
out:
  return st;
}

int ck_manifest_read(const char *dir, json_t **out) {
  int st = OK;
  char path[IO_PATH_MAX], *text = NULL;
  size_t n = 0;
  json_t *m = NULL, *again = NULL;
  json_error_t why;

  TRY(io_path(path, "%s/manifest.json", dir));
  if ((st = io_read_file(path, MANIFEST_MAX, &text, &n)) != OK) {
    err_hop(st, __FILE__, __LINE__);
    st = st == E_NOMEM ? E_NOMEM : E_CKPT;
    goto out;
  }
  TRY(check_seal(path, text, n));
  m = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
  /* the seal fits, so the text is what was written: but short of memory jansson sees errors, or shorter strings, that are
   * not there */
  again = json_loadb(text, n, JSON_REJECT_DUPLICATES, m ? &why : NULL);
  NEED(m && json_equal(m, again), E_NOMEM, "%s:%d:%d: out of memory: %s", path, why.line, why.column, why.text);
  const json_int_t format = json_integer_value(json_object_get(m, "format"));
  NEED(format == CK_FORMAT, E_CKPT, "%s: format %lld, this program reads %d", path, (long long)format, CK_FORMAT);
  *out = m;
  m = NULL;
out:
  json_decref(m);
  json_decref(again);
  free(text);
  return st;
}

typedef struct scan { XXH3_state_t *hash; uint64_t size; } scan;

static void scan_bytes(void *ctx, const void *buf, size_t n) {
  scan *s = ctx;
  s->size += n;
  XXH3_128bits_update(s->hash, buf, n);
}

static int hash_file(const char *path, bool from_disk, uint64_t *size, ck_hash *hash) {
  int st = OK;
  scan s = {XXH3_createState(), 0};

  NEED(s.hash, E_NOMEM, "%s: out of memory", path);
  XXH3_128bits_reset(s.hash);
  if ((st = io_scan(path, from_disk, scan_bytes, &s)) != OK) {
    err_hop(st, __FILE__, __LINE__);
    st = st == E_NOMEM ? E_NOMEM : E_CKPT;
    goto out;
  }
  *size = s.size;
  *hash = hash_text(XXH3_128bits_digest(s.hash));
out:
  XXH3_freeState(s.hash);
  return st;
}

int ck_manifest_check_file(const char *dir, const json_t *manifest, const char *name, bool from_disk) {
  int st = OK;
  char path[IO_PATH_MAX];
  ck_hash hash;
  uint64_t size = 0;
  const json_t *entry = json_object_get(json_object_get(manifest, "files"), name);
  const char *want = json_string_value(json_object_get(entry, "xxh3_128"));
  const json_int_t bytes = json_integer_value(json_object_get(entry, "size"));

  TRY(io_path(path, "%s/%s", dir, name));
  NEED(want, E_CKPT, "%s: not in the manifest", path);
  TRY(hash_file(path, from_disk, &size, &hash));
  NEED(size == (uint64_t)bytes, E_CKPT, "%s: %llu bytes, %lld were written", path, (unsigned long long)size,
       (long long)bytes);
  NEED(strcmp(hash.hex, want) == 0, E_CKPT, "%s: does not fit its hash: damaged", path);
out:
  return st;
}

const char *ck_manifest_tensor_hash(const json_t *manifest, int index, const char *file) {
  const json_t *entry = json_array_get(json_object_get(manifest, "tensors"), (size_t)index);
  const char *hex = json_string_value(json_object_get(entry, file));
  return hex ? hex : "";
}
