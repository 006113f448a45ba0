/* trainer/shown_data.h: a config's data sets opened to be looked at: with depth and normals wherever they can be read,
 * whatever the task needs. */
#ifndef TRAINER_SHOWN_DATA_H
#define TRAINER_SHOWN_DATA_H
#include "trainer/bind.h"
#ifdef __cplusplus
extern "C" {
#endif
/* As tr_data_open. One sample of each data set is decoded to see what there is; forks. */
int tr_shown_data_open(const cf_config *c, tr_data *d);
#ifdef __cplusplus
}
#endif
#endif
