/* checkpoints/import.h: a diffusers folder from a single file in the original layout. Written beside and finished as an
 * export is (ck_export_finish, ck_export_abandon). */
#ifndef CHECKPOINTS_IMPORT_H
#define CHECKPOINTS_IMPORT_H
#include "base/io.h"
#include "checkpoints/ldm_config.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ck_import {
  const char *file, *out;
  const char *like;          /* a model folder whose configs, scheduler and tokenizer are taken; NULL: Stable Diffusion's */
  const char *tokenizer;     /* a folder with vocab.json or tokenizer.json; NULL: like's, or one without merges */
  ck_prediction prediction;  /* CK_PREDICTION_UNKNOWN: what the file tells */
  bool mean;                 /* the U-Net's running mean */
} ck_import;
/* Makes OUT.tmp; OUT must be missing or an empty folder. Tensors keep their type and bits. Errors: E_CKPT, E_DISK, E_NOMEM.
 * Leaves nothing behind after one. */
int ck_import_begin(const ck_import *i, char tmp[IO_PATH_MAX]);
#ifdef __cplusplus
}
#endif
#endif
