/* checkpoints/part.h: the parts of a pipeline that training leaves alone (VAE, text encoder, tokenizer), and weights
 * files in the two precisions that diffusers loads. */
#ifndef CHECKPOINTS_PART_H
#define CHECKPOINTS_PART_H
#include <stdbool.h>

#include "base/safetensors.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ck_precisions { bool f32, f16; } ck_precisions;

/* Writes STEM.safetensors (float types as F32) and STEM.fp16.safetensors (as F16), whichever is wanted, into dir;
 * integers stay. Errors: E_NUMERIC (a finite value that F16 cannot hold: the tensor is named), E_DISK, E_IO, E_NOMEM. */
int ck_weights_write(const char *dir, const char *stem, ck_precisions p, const st_tensor *tensors, size_t n,
                     const char *const *meta, size_t n_meta);

/* What to do to a part's tensors, once read, before they are written. NULL: nothing. */
typedef struct ck_part_edit {
  const char *tensor;
  int64_t rows;         /* how many of its rows, from the first; 0: all */
  float factor;         /* what they are multiplied by */
} ck_part_edit;

/* base/NAME with config.json and STEM weights (whole, in shards, or of the variant fp16 alone) into out/NAME. A file that
 * would say the same is copied byte for byte. edits: ended by a NULL tensor, or NULL. *found: false when the base has no
 * such part. Errors: E_CKPT (no weights, damaged, a tensor to edit is missing) and those of ck_weights_write. */
int ck_part_copy(const char *base, const char *out, const char *name, const char *stem, ck_precisions p,
                 const ck_part_edit *edits, bool *found);
/* The files of base/NAME, hidden ones left out. */
int ck_part_copy_files(const char *base, const char *out, const char *name, bool *found);
#ifdef __cplusplus
}
#endif
#endif
