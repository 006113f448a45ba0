/* tests/support/cuda_on_cpu/cuda_runtime.h: as much of CUDA as kernels/ uses, for a plain C++ compiler, so that the .cu
 * files are tested (and sanitized) on machines without a GPU. Each CUDA thread is a coroutine; barriers and shuffles
 * switch between them. Blocks run one after the other, threads from the first to the last or from the last to the
 * first: a missing barrier shows in one of the two orders. A barrier that some threads never reach ends the program. */
#ifndef CUDA_ON_CPU_CUDA_RUNTIME_H
#define CUDA_ON_CPU_CUDA_RUNTIME_H
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

struct uint3 { unsigned x, y, z; };
struct dim3 {
  unsigned x, y, z;
  dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) double2 { double x, y; };

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

/* ---- arithmetic ---- */
inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }
inline float __expf(float v) { return expf(v); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
template <typename T> void __stcg(T *p, T v) { *p = v; }
using std::isfinite;

/* ---- threads of a block ---- */
namespace cuda_on_cpu {
enum State { READY, AT_SHUFFLE, AT_BARRIER, DONE };
constexpr size_t STACK = 64 * 1024;
constexpr unsigned LANES = 32;

struct Thread {
  ucontext_t entry; /* to its first instruction; from then on by jumps, which need no system call */
  jmp_buf place;
  bool started;
  std::unique_ptr<char[]> stack;
  uint3 index;
  State state;
  uint64_t passed; /* what a shuffle hands over */
};

struct Block {
  jmp_buf scheduler;
  std::vector<Thread> threads;
  const std::function<void()> *body;
  size_t current;
};
inline Block *block;
inline bool last_thread_first; /* set by tests */

[[noreturn]] inline void stop(const char *why) {
  fprintf(stderr, "cuda_on_cpu: block (%u,%u,%u), thread %zu: %s\n", blockIdx.x, blockIdx.y, blockIdx.z, block->current, why);
  abort();
}

inline Thread &self() { return block->threads[block->current]; }

inline void wait_in(State state) {
  Thread &t = self();
  t.state = state;
  if (_setjmp(t.place) == 0) _longjmp(block->scheduler, 1);
}

inline void thread_main() {
  (*block->body)();
  wait_in(DONE);
}

/* Until its next barrier or shuffle. */
inline void resume(size_t i) {
  Thread &t = block->threads[i];
  block->current = i;
  threadIdx = t.index;
  if (_setjmp(block->scheduler) != 0) return;
  if (t.started) _longjmp(t.place, 1);
  t.started = true;
  setcontext(&t.entry);
}

inline void start(Thread &t, unsigned i, dim3 size) {
  t.index = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
  t.state = READY;
  if (!t.stack) t.stack.reset(new char[STACK]);
  t.started = false;
  getcontext(&t.entry);
  t.entry.uc_stack.ss_sp = t.stack.get();
  t.entry.uc_stack.ss_size = STACK;
  t.entry.uc_link = nullptr;
  makecontext(&t.entry, thread_main, 0);
}

/* Lets warps go on whose lanes have all reached the shuffle, or else the whole block at its barrier. */
inline bool release() {
  std::vector<Thread> &t = block->threads;
  bool any = false, all = true, live = false;

  for (size_t w = 0; w < t.size(); w += LANES) {
    bool together = w + LANES <= t.size();
    for (size_t i = w; together && i < w + LANES; i++) together = t[i].state == AT_SHUFFLE;
    for (size_t i = w; together && i < w + LANES; i++) t[i].state = READY;
    any = any || together;
  }
  if (any) return true;
  for (const Thread &one : t) {
    live = live || one.state != DONE;
    all = all && (one.state == DONE || one.state == AT_BARRIER);
  }
  if (!live) return false;
  if (!all) stop("threads wait for others that never come");
  for (Thread &one : t)
    if (one.state == AT_BARRIER) one.state = READY;
  return true;
}

inline void run_block(dim3 size) {
  const size_t n = block->threads.size();

  for (unsigned i = 0; i < n; i++) start(block->threads[i], i, size);
  do {
    for (size_t k = 0; k < n; k++) {
      const size_t i = last_thread_first ? n - 1 - k : k;
      if (block->threads[i].state == READY) resume(i);
    }
  } while (release());
}

template <typename T> T shuffle(T v, unsigned from) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle hands over at most 8 bytes");
  Thread &me = self();
  const size_t warp = block->current / LANES * LANES;
  uint64_t got;

  memcpy(&me.passed, &v, sizeof v);
  wait_in(AT_SHUFFLE);
  got = block->threads[warp + from].passed;
  wait_in(AT_SHUFFLE); /* all have read */
  memcpy(&v, &got, sizeof v);
  return v;
}
} // namespace cuda_on_cpu

inline void __syncthreads() { cuda_on_cpu::wait_in(cuda_on_cpu::AT_BARRIER); }

template <typename T> T __shfl_xor_sync(unsigned, T v, int lanes) {
  return cuda_on_cpu::shuffle(v, static_cast<unsigned>(cuda_on_cpu::block->current % cuda_on_cpu::LANES) ^ static_cast<unsigned>(lanes));
}

/* ---- launching ---- */
typedef void *cudaStream_t;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char *cudaGetErrorString(cudaError_t e) { return e == cudaSuccess ? "no error" : "invalid argument"; }

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

template <typename... P, typename... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *c, void (*kernel)(P...), A... args) {
  const dim3 g = c->gridDim, b = c->blockDim;
  const size_t threads = static_cast<size_t>(b.x) * b.y * b.z;
  if (threads == 0 || threads > 1024 || g.x == 0 || g.y == 0 || g.z == 0 || g.y > 65535 || g.z > 65535)
    return cudaErrorInvalidValue;
  const std::function<void()> body = [&] { kernel(args...); };
  cuda_on_cpu::Block block;
  block.threads = std::vector<cuda_on_cpu::Thread>(threads);
  block.body = &body;
  cuda_on_cpu::block = &block;
  gridDim = g;
  blockDim = b;
  for (blockIdx.z = 0; blockIdx.z < g.z; blockIdx.z++)
    for (blockIdx.y = 0; blockIdx.y < g.y; blockIdx.y++)
      for (blockIdx.x = 0; blockIdx.x < g.x; blockIdx.x++) cuda_on_cpu::run_block(b);
  cuda_on_cpu::block = nullptr;
  return cudaSuccess;
}
#endif
