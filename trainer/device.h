/* trainer/device.h: which device a run computes on. */
#ifndef TRAINER_DEVICE_H
#define TRAINER_DEVICE_H
#include "configs/config.h"
#include "tchc/tchc.h"
#ifdef __cplusplus
extern "C" {
#endif
/* The process's first torch call. name gets "cpu" or the GPU's name. Errors: E_DEVICE: run.device: cuda without one. */
int tr_device_open(const cf_config *c, tchc_device *out, char *name, size_t size);
#ifdef __cplusplus
}
#endif
#endif
