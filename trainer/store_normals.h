/* trainer/store_normals.h: Virtual KITTI 2's normals, made from its depth, as files in the reference's layout. */
#ifndef TRAINER_STORE_NORMALS_H
#define TRAINER_STORE_NORMALS_H
#include <stdio.h>

#include "configs/config.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Of every frame of the config's vkitti2 entries: ROOT/vkitti_DAG_normals/..., 16-bit PNG; what is there stays, so a stopped
 * call goes on. On all processors. Says to f how many were made. A frame whose depth cannot be read is named and passed over.
 * Errors: E_CONFIG: no such entry; E_DATA: some frames failed; E_DISK, E_IO, E_NOMEM; E_STOPPED after a signal. */
int tr_store_normals(const cf_config *c, const char *root, FILE *f);
#ifdef __cplusplus
}
#endif
#endif
