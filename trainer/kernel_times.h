/* trainer/kernel_times.h: time by kind of kernel: a table whose entries are another's, each between two events. */
#ifndef TRAINER_KERNEL_TIMES_H
#define TRAINER_KERNEL_TIMES_H
#include "kernels/cuda.h"
#include "tchc/tchc.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum {
  TR_KN_LOSS, TR_KN_OPTIMIZER, TR_KN_ADD, TR_KN_GROUP_NORM, TR_KN_GROUP_NORM_BACK, TR_KN_SOFTMAX, TR_KN_GEGLU,
  TR_KN_LAYER_NORM, TR_KN_SUMS, TR_KN_KINDS
} tr_kernel_kind;
extern const char *const tr_kernel_kind_names[TR_KN_KINDS];

/* The table in front of `k`: one in the process, until the close. It measures only between begin and read. */
int tr_kernel_times_open(const kn_cuda *k, tchc_device d, const kn_cuda **table);
void tr_kernel_times_close(void);
void tr_kernel_times_begin(void);
/* Waits for the device. ms [TR_KN_KINDS], calls [TR_KN_KINDS]: since begin. */
int tr_kernel_times_read(double *ms, int *calls);
#ifdef __cplusplus
}
#endif
#endif
