#include "tests/support/device.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

static void need(cudaError_t e, const char *what) {
  if (e == cudaSuccess) return;
  fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(e));
  exit(1);
}

const kn_cuda *device_open(void) {
  const kn_cuda *kernels = NULL;
  int n = 0;

  if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0) {
    puts("skipped: no CUDA device");
    return NULL;
  }
  const char *dir = getenv("E2EFT_KERNELS_DIR"); /* where the tests were carried to another machine */
  if (kn_cuda_open(dir ? dir : E2EFT_KERNELS_DIR, &kernels) == OK) return kernels;
  fprintf(stderr, "%s\n", err_text());
  exit(1);
}

void *device_alloc(size_t nbytes) {
  void *p = NULL;
  need(cudaMalloc(&p, nbytes + 1), "cudaMalloc");
  return p;
}

void device_free(void *p) { need(cudaFree(p), "cudaFree"); }
void device_put(void *device, const void *host, size_t nbytes) {
  need(cudaMemcpy(device, host, nbytes, cudaMemcpyHostToDevice), "cudaMemcpy to the device");
}
void device_get(void *host, const void *device, size_t nbytes) {
  need(cudaMemcpy(host, device, nbytes, cudaMemcpyDeviceToHost), "cudaMemcpy from the device");
}
void device_last_thread_first(bool on) { (void)on; }

static int by_value(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

double device_seconds(void (*run)(void *ctx), void *ctx) {
  enum { REPEATS = 9 };
  float ms[REPEATS];
  cudaEvent_t from, to;

  if (getenv("E2EFT_NO_RATES")) return 0;
  need(cudaEventCreate(&from), "cudaEventCreate");
  need(cudaEventCreate(&to), "cudaEventCreate");
  run(ctx);
  for (int i = 0; i < REPEATS; i++) {
    need(cudaEventRecord(from, NULL), "cudaEventRecord");
    run(ctx);
    need(cudaEventRecord(to, NULL), "cudaEventRecord");
    need(cudaEventSynchronize(to), "cudaEventSynchronize");
    need(cudaEventElapsedTime(&ms[i], from, to), "cudaEventElapsedTime");
  }
  need(cudaEventDestroy(from), "cudaEventDestroy");
  need(cudaEventDestroy(to), "cudaEventDestroy");
  qsort(ms, REPEATS, sizeof *ms, by_value);
  return ms[REPEATS / 2] / 1e3;
}
