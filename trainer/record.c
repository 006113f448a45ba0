#include "trainer/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/log.h"
#include "trainer/version.h"

enum { CHUNK = 1 << 20 };

static tr_hash hash_of(XXH128_hash_t h) {
  tr_hash out;
  snprintf(out.hex, sizeof out.hex, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
  return out;
}

tr_hash tr_hash_text(const char *text) { return hash_of(XXH3_128bits(text, strlen(text))); }

static int hash_file(const char *path, XXH3_state_t *h, char *chunk) {
  int st = OK;
  size_t n;
  FILE *f = fopen(path, "rb");

  NEED(f, E_CKPT, "%s: %s", path, strerror(errno));
  while ((n = fread(chunk, 1, CHUNK, f))) XXH3_128bits_update(h, chunk, n);
  NEED(!ferror(f), E_CKPT, "%s: cannot read", path);
out:
  if (f) fclose(f);
  return st;
}

static int hash_folder(const char *dir, XXH3_state_t *h, char *chunk) {
  int st = OK;
  char path[IO_PATH_MAX], **names = NULL;
  size_t n = 0;

  if (!io_is_dir(dir)) goto out;
  TRY(io_list_dir(dir, &names, &n));
  for (size_t i = 0; i < n; i++) {
    TRY(io_path(path, "%s/%s", dir, names[i]));
    if (io_is_dir(path)) continue;
    XXH3_128bits_update(h, names[i], strlen(names[i]) + 1);
    TRY(hash_file(path, h, chunk));
  }
out:
  io_free_names(&names, n);
  return st;
}

int tr_hash_folder(const char *dir, tr_hash *out) {
  int st = OK;
  char *chunk = malloc(CHUNK);
  XXH3_state_t *h = XXH3_createState();

  NEED(h && chunk, E_NOMEM, "hash of %s", dir);
  XXH3_128bits_reset(h);
  TRY(hash_folder(dir, h, chunk));
  *out = hash_of(XXH3_128bits_digest(h));
out:
  XXH3_freeState(h);
  free(chunk);
  return st;
}

/* The parts of the base model that training reads. */
int tr_hash_base(const char *path, tr_hash *out) {
  int st = OK;
  const char *const parts[] = {"unet", "vae", "text_encoder", "tokenizer", "scheduler"};
  char dir[IO_PATH_MAX], *chunk = malloc(CHUNK);
  XXH3_state_t *h = XXH3_createState();

  NEED(h && chunk, E_NOMEM, "hash of %s", path);
  XXH3_128bits_reset(h);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    TRY(io_path(dir, "%s/%s", path, parts[i]));
    TRY(hash_folder(dir, h, chunk));
  }
  if (!io_is_dir(path)) TRY(hash_file(path, h, chunk));
  *out = hash_of(XXH3_128bits_digest(h));
out:
  XXH3_freeState(h);
  free(chunk);
  return st;
}

/* Names and order of all samples: a file that came, went or was renamed shows. */
static int hash_data(const tr_data *d, tr_hash *out) {
  int st = OK;
  XXH3_state_t *h = XXH3_createState();
  char id[DS_ID_MAX];

  NEED(h, E_NOMEM, "hash of the data");
  XXH3_128bits_reset(h);
  for (int i = 0; i < d->n; i++) {
    const int64_t n = ds_source_count(d->sources[i]);
    XXH3_128bits_update(h, &n, sizeof n);
    for (int64_t j = 0; j < n; j++) {
      TRY(ds_source_describe(d->sources[i], j, id));
      XXH3_128bits_update(h, id, strlen(id) + 1);
    }
  }
  *out = hash_of(XXH3_128bits_digest(h));
out:
  XXH3_freeState(h);
  return st;
}

int tr_record_hash(const cf_config *c, const tr_data *d, tr_hashes *out) {
  int st = OK;

  TRY(hash_data(d, &out->data));
  TRY(tr_hash_base(c->model.path, &out->base));
out:
  return st;
}

/* The text at hashes.NAME, "" when there is none. */
static const char *hash_in(const json_t *doc, const char *name) {
  const char *text = json_string_value(json_object_get(json_object_get(doc, "hashes"), name));
  return text ? text : "";
}

int tr_record_compare(const tr_hashes *now, const char *checkpoint, bool force) {
  int st = OK;
  char path[IO_PATH_MAX];
  json_t *doc = NULL;

  TRY(io_path(path, "%s/../../run.json", checkpoint));
  doc = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
  const char *data = hash_in(doc, "data"), *base = hash_in(doc, "base");
  if (!data[0] || !base[0]) log_warn("%s: no hashes: data and base model are not compared with those of then", path);
  const bool other_data = data[0] && strcmp(data, now->data.hex) != 0, other_base = base[0] && strcmp(base, now->base.hex) != 0;
  NEED(force || !other_data, E_DATA,
       "%s: the run began with other data: names or order of the samples differ; put them back, or add --force", path);
  NEED(force || !other_base, E_CKPT, "%s: the run began with another base model: the files in model.path differ; put them "
       "back, or add --force", path);
  if (other_data) log_warn("%s: names or order of the samples differ", path);
  if (other_base) log_warn("%s: the base model's files differ", path);
out:
  json_decref(doc);
  return st;
}

static json_t *command_line(int argc, char **argv) {
  json_t *list = json_array();
  for (int i = 0; i < argc; i++) json_array_append_new(list, json_string(argv[i]));
  return list;
}

static int write_json(const char *path, const json_t *doc) {
  int st = OK;
  char *text = json_dumps(doc, JSON_INDENT(2));

  NEED(text, E_NOMEM, "%s", path);
  TRY(io_write_file(path, text, strlen(text)));
out:
  free(text);
  return st;
}

int tr_record_write(const tr_record *r) {
  int st = OK;
  char path[IO_PATH_MAX];
  json_t *doc = NULL;

  TRY(io_path(path, "%s/config.yaml", r->run_dir));
  TRY(io_write_file(path, r->config_text, strlen(r->config_text)));
  doc = json_pack("{s:s, s:s, s:s, s:s, s:o, s:{s:s, s:s, s:s}, s:s?}", "version", tr_version(), "commit", tr_commit(),
                  "libtorch", tchc_torch_version(), "device", r->device, "command", command_line(r->argc, r->argv),
                  "hashes", "config", tr_hash_text(r->config_text).hex, "data", r->hashes->data.hex, "base",
                  r->hashes->base.hex, "resumed_from", r->resumed_from);
  NEED(doc, E_NOMEM, "run.json");
  TRY(io_path(path, "%s/run.json", r->run_dir));
  TRY(write_json(path, doc));
out:
  json_decref(doc);
  return st;
}

int tr_record_add(const char *run_dir, const char *key, json_t *value) {
  int st = OK;
  char path[IO_PATH_MAX];
  json_t *doc = NULL;

  NEED(value, E_NOMEM, "run.json: %s", key);
  TRY(io_path(path, "%s/run.json", run_dir));
  if (!(doc = json_load_file(path, 0, NULL))) goto out;
  json_object_set(doc, key, value);
  TRY(write_json(path, doc));
out:
  json_decref(doc);
  json_decref(value);
  return st;
}
