/* checkpoints/manifest.h: manifest.json of a checkpoint. For the files of this folder.
 *   {"format": 1, "step": 500, "adam_t": 499, "nonfinite_row": 0, "seed": "42",
 *    "files": {"weights.safetensors": {"size": 1, "xxh3_128": "<32 hex digits>"}, ...},
 *    "tensors": [{"name": "conv_in.weight", "shape": [320,8,3,3], "weights.safetensors": "<hash>", ...}, ...],
 *    "xxh3_128": "<hash of the text before this key's comma>"} */
#ifndef CHECKPOINTS_MANIFEST_H
#define CHECKPOINTS_MANIFEST_H
#include <jansson.h>

#include "checkpoints/state.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ck_hash { char hex[33]; } ck_hash;
ck_hash ck_hash_of(const void *data, size_t n);

/* One file on its way to the disk: opened, hashed as it is written, then listed in the manifest. */
typedef struct ck_writer ck_writer;
int ck_writer_open(const char *dir, const char *name, ck_writer **out);
io_file *ck_writer_file(ck_writer *w);
/* Syncs, closes and lists the file. */
int ck_writer_finish(ck_writer *w, json_t *manifest);
/* Closes and frees; takes NULL. */
void ck_writer_close(ck_writer **w);

/* JSON text from malloc. Without memory jansson may leave parts out and say nothing, so it is read again. Errors: E_NOMEM. */
int ck_json_text(const json_t *o, size_t flags, const char *what, char **out);

/* Counters and the empty lists. Free with json_decref. */
int ck_manifest_create(const ck_state *s, json_t **out);
/* Adds the hash of tensor `index` in `file`; the first file of a tensor brings its name and shape. */
int ck_manifest_add_tensor(json_t *manifest, int index, const ck_param *p, const char *file, ck_hash hash);
int ck_manifest_write(const char *dir, json_t *manifest);

/* Reads and checks the manifest's own hash and its version. Errors: E_CKPT. */
int ck_manifest_read(const char *dir, json_t **out);
/* Reads dir/name, from_disk as in io_scan, and compares size and hash. Errors: E_CKPT, E_NOMEM. */
int ck_manifest_check_file(const char *dir, const json_t *manifest, const char *name, bool from_disk);
/* Hash of a tensor in a file, "" when there is none. */
const char *ck_manifest_tensor_hash(const json_t *manifest, int index, const char *file);
#ifdef __cplusplus
}
#endif
#endif
