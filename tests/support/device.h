/* tests/support/device.h: the device that a kernel test runs on. device_cuda.c: the first GPU and libe2eft_kernels.so.
 * device_cpu.cpp: the same kernels compiled as C++ (cuda_on_cpu); device_host.c: the references behind kn_host. Device
 * memory is then the process's own. */
#ifndef TESTS_SUPPORT_DEVICE_H
#define TESTS_SUPPORT_DEVICE_H
#include <stdbool.h>
#include <stddef.h>

#include "kernels/cuda.h"
#ifdef __cplusplus
extern "C" {
#endif
/* NULL without a GPU: the test is skipped. */
const kn_cuda *device_open(void);
/* Memory aligned to 256 bytes. Failures end the program. */
void *device_alloc(size_t nbytes);
void device_free(void *p);
void device_put(void *device, const void *host, size_t nbytes);
void device_get(void *host, const void *device, size_t nbytes);
/* Runs the block's threads from the last to the first; a GPU has its own order. */
void device_last_thread_first(bool on);
/* Seconds of one run, the median of several; 0 where time means nothing: without a GPU, and with E2EFT_NO_RATES (under
 * compute-sanitizer). */
double device_seconds(void (*run)(void *ctx), void *ctx);
#ifdef __cplusplus
}
#endif
#endif
