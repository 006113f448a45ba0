/* trainer/prepare.h: every file of the data sets decoded once, its hash kept, and what training needs of it stored. */
#ifndef TRAINER_PREPARE_H
#define TRAINER_PREPARE_H
#include <stdio.h>

#include "configs/config.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Fills data.cache of every entry that has one; goes on where an earlier call ended. With model.path also latents, depth,
 * normals and masks, without it the hashes alone. Says beforehand what it takes, and writes what it found to f and to
 * report.txt in each folder.
 * Errors: E_CONFIG: no entry has a cache; sizes that the VAE cannot take; E_DATA: prepared from something else, a bad file
 * where bad_file is fatal; E_DISK: it would not fit; E_STOPPED after a signal; E_CKPT, E_NOMEM, E_DEVICE. */
int tr_prepare(const cf_config *c, FILE *f);
#ifdef __cplusplus
}
#endif
#endif
