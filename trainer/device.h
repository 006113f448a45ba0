/* trainer/device.h: which device a run computes on, and with which kernels. */
#ifndef TRAINER_DEVICE_H
#define TRAINER_DEVICE_H
#include "configs/config.h"
#include "kernels/cuda.h"
#include "tchc/tchc.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_device {
  tchc_device at;
  const kn_cuda *kernels; /* NULL: losses and optimizer in C on the host */
  bool fused;             /* run.kernels */
  char name[128];         /* "cpu" or the GPU's name */
} tr_device;

/* The process's first torch call. run.memory_limit caps the allocator of a GPU. Errors: E_DEVICE: run.device: cuda
 * without one, or a build without CUDA kernels. */
int tr_device_open(const cf_config *c, tr_device *out);
/* Are convolutions of a new size measured, for seconds, before the fastest way is taken? On after tr_device_open. A size that
 * was met while it was off stays unmeasured. No effect with run.deterministic. */
int tr_device_tune(const cf_config *c, bool on);
/* Bytes that a run may use: of a GPU what is free now and the limit leaves, of the CPU the machine's memory or the limit.
 * 0: unknown. */
int64_t tr_device_room(const cf_config *c, const tr_device *d);
#ifdef __cplusplus
}
#endif
#endif
