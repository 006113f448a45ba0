/* trainer/record.h: config.yaml and run.json: what made this run folder. */
#ifndef TRAINER_RECORD_H
#define TRAINER_RECORD_H
#include <jansson.h>

#include "configs/config.h"
#include "trainer/bind.h"
#include "trainer/network.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_hash { char hex[33]; } tr_hash; /* XXH3-128 */
/* Of the parts of a model folder that training reads, or of a whole file. Errors: E_CKPT, E_NOMEM. */
int tr_hash_base(const char *path, tr_hash *out);
/* Of the names and bytes of a folder's files, not of folders in it. */
int tr_hash_folder(const char *dir, tr_hash *out);
tr_hash tr_hash_text(const char *text);

/* Of the data sets' sample names in their order, of the base model's files. */
typedef struct tr_hashes { tr_hash data, base; } tr_hashes;
/* Errors: E_CKPT (a file of the base that cannot be read), E_NOMEM, those of ds_source_describe. */
int tr_record_hash(const cf_config *c, const tr_data *d, tr_hashes *out);
/* Are they what the run of this checkpoint had (its run.json)? Without a run.json to compare with: a warning. force: as a
 * warning, too. Errors: E_DATA, E_CKPT: the data sets, or the base model, are others. */
int tr_record_compare(const tr_hashes *now, const char *checkpoint, bool force);

typedef struct tr_record {
  const char *run_dir;
  const char *config_text;   /* merged config */
  const tr_hashes *hashes;
  const char *device;        /* "cpu", or the GPU's name */
  int argc;
  char **argv;
  const char *resumed_from;  /* checkpoint, or NULL */
} tr_record;
/* Errors: E_DISK, E_IO, E_NOMEM. */
int tr_record_write(const tr_record *r);
/* Sets `key` in RUN_DIR/run.json to value (taken). Nothing happens where there is no run.json. Errors: E_DISK, E_IO, E_NOMEM. */
int tr_record_add(const char *run_dir, const char *key, json_t *value);
#ifdef __cplusplus
}
#endif
#endif
