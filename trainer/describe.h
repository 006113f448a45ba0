/* trainer/describe.h: what a folder is, in a few lines: a model, a checkpoint, a run. */
#ifndef TRAINER_DESCRIBE_H
#define TRAINER_DESCRIBE_H
#include <stdio.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Errors: E_CKPT: none of these, or one that does not read. */
int tr_describe_folder(const char *path, FILE *f);
/* One safetensors file: a single-file model in the original layout, or any other, with what its metadata says. */
int tr_describe_file(const char *path, FILE *f);
#ifdef __cplusplus
}
#endif
#endif
