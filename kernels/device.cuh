/* kernels/device.cuh: what the .cu files share: packs of 16 bytes, reductions in fixed order, launches with a status. */
#ifndef KERNELS_DEVICE_CUH
#define KERNELS_DEVICE_CUH
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#include <type_traits>

#include "base/err.h"
#include "kernels/type.h"

namespace kn {
constexpr int WARP = 32;
constexpr int BLOCK = 256;
constexpr unsigned ALL_LANES = 0xffffffffu;

/* ---- elements ---- */
using bf16 = __nv_bfloat16;
__device__ inline float to_f32(float v) { return v; }
__device__ inline float to_f32(bf16 v) { return __bfloat162float(v); }
template <typename T> __device__ inline T from_f32(float v);
template <> __device__ inline float from_f32<float>(float v) { return v; }
template <> __device__ inline bf16 from_f32<bf16>(float v) { return __float2bfloat16_rn(v); }

/* Registers that carry V neighbours, 16 bytes at a time where there are so many. Stores go by an intrinsic: the compiler
 * takes a plain store of 16 bytes apart again when it lies in a branch. */
template <int BYTES> struct Word;
template <> struct Word<2> { using type = unsigned short; };
template <> struct Word<4> { using type = unsigned; };
template <> struct Word<8> { using type = uint2; };
template <> struct Word<16> { using type = uint4; };
template <typename T, int V> using WordOf = typename Word<(sizeof(T) * V < 16 ? sizeof(T) * V : 16)>::type;

/* A pack as it lies in memory. Several are fetched before the first is unpacked, so that their loads overlap. */
template <typename T, int V> struct Pack {
  WordOf<T, V> words[sizeof(T) * V / sizeof(WordOf<T, V>)];
};

template <int V, typename T> __device__ inline Pack<T, V> fetch(const T *p) {
  using W = WordOf<T, V>;
  Pack<T, V> pack;
#pragma unroll
  for (unsigned k = 0; k < sizeof pack / sizeof(W); k++) pack.words[k] = reinterpret_cast<const W *>(p)[k];
  return pack;
}

template <int V, typename T> __device__ inline void unpack(const Pack<T, V> &pack, float (&out)[V]) {
  T v[V];
  memcpy(v, pack.words, sizeof v);
#pragma unroll
  for (int i = 0; i < V; i++) out[i] = to_f32(v[i]);
}

template <int V, typename T> __device__ inline void load(const T *p, float (&out)[V]) { unpack<V, T>(fetch<V>(p), out); }

template <int V, typename T> __device__ inline void store(T *p, const float (&in)[V]) {
  using W = WordOf<T, V>;
  constexpr int EACH = sizeof(W) / sizeof(T);
#pragma unroll
  for (int k = 0; k < V / EACH; k++) {
    T v[EACH];
    W word;
#pragma unroll
    for (int i = 0; i < EACH; i++) v[i] = from_f32<T>(in[k * EACH + i]);
    memcpy(&word, v, sizeof word);
    __stcg(reinterpret_cast<W *>(p) + k, word);
  }
}

/* The value that storing and loading again would give. */
template <typename T> __device__ inline float rounded(float v) { return to_f32(from_f32<T>(v)); }

template <int V> __device__ inline void fill(float (&a)[V], float value) {
#pragma unroll
  for (int i = 0; i < V; i++) a[i] = value;
}

__device__ inline float sigmoid(float z) { return __fdividef(1.0f, 1.0f + __expf(-z)); }

/* ---- reductions: the order is that of the lanes, so the bits are the same each time ---- */
template <typename T> __device__ inline T warp_sum(T v) {
#pragma unroll
  for (int d = WARP / 2; d; d /= 2) v += __shfl_xor_sync(ALL_LANES, v, d);
  return v;
}

__device__ inline float warp_max(float v) {
#pragma unroll
  for (int d = WARP / 2; d; d /= 2) v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, d));
  return v;
}

/* Sum, or maximum, over a block of full warps, for all threads. room: shared memory for one value a warp. */
template <typename T> __device__ inline T block_sum(T v, T *room) {
  v = warp_sum(v);
  if (threadIdx.x % WARP == 0) room[threadIdx.x / WARP] = v;
  __syncthreads();
  T sum = 0;
  for (unsigned w = 0; w < blockDim.x / WARP; w++) sum += room[w];
  __syncthreads(); /* room may be used again */
  return sum;
}

__device__ inline float block_max(float v, float *room) {
  v = warp_max(v);
  if (threadIdx.x % WARP == 0) room[threadIdx.x / WARP] = v;
  __syncthreads();
  float most = room[0];
  for (unsigned w = 1; w < blockDim.x / WARP; w++) most = fmaxf(most, room[w]);
  __syncthreads();
  return most;
}

/* ---- host side ---- */
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Queues a kernel; what: its name in messages. */
template <typename... P, typename... A>
int launch(const char *what, void *stream, dim3 grid, dim3 block, void (*kernel)(P...), A... args) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t e = cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...);
  const cudaError_t left = cudaGetLastError(); /* taken also after a failure, or the next launch would be blamed for it */
  if (e == cudaSuccess && left == cudaSuccess) return OK;
  return err_set(E_DEVICE, __FILE__, __LINE__, "%s: grid %ux%ux%u of %ux%u threads: %s", what, grid.x, grid.y, grid.z,
                 block.x, block.y, cudaGetErrorString(e == cudaSuccess ? left : e));
}

template <int V> using Width = std::integral_constant<int, V>;

/* f(T{}, Width<V>{}) for the element type and pack width; `wide`: may rows be taken 16 bytes at a time? */
template <typename F> int by_type(kn_type type, bool wide, F f) {
  if (type == KN_F32) return wide ? f(float{}, Width<4>{}) : f(float{}, Width<1>{});
  return wide ? f(bf16{}, Width<8>{}) : f(bf16{}, Width<1>{});
}

inline int64_t type_size(kn_type type) { return type == KN_F32 ? 4 : 2; }

/* Is p aligned to 16 bytes? NULL is. */
inline bool aligned(const void *p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

/* Are rows of so many elements a whole number of packs? */
inline bool whole_packs(kn_type type, int64_t elements) { return elements * type_size(type) % 16 == 0; }

inline bool is_type(kn_type type) { return type == KN_F32 || type == KN_BF16; }

/* ---- kernels whose threads stay in their columns and walk down the rows of [N,rows,C] ---- */
struct Columns {
  dim3 grid, block; /* grid: chunk of rows, tile of columns, image; block: pack in the tile, row */
};

/* Tiles of at most 64 packs, of equal width; a block has about BLOCK threads. Independent of N. */
inline Columns columns_of(int64_t N, int64_t chunks, int64_t C, int V) {
  const int64_t packs = ceil_div(C, V), tiles = ceil_div(packs, 64), width = ceil_div(packs, tiles);
  return {dim3(static_cast<unsigned>(chunks), static_cast<unsigned>(tiles), static_cast<unsigned>(N)),
          dim3(static_cast<unsigned>(width), static_cast<unsigned>(BLOCK / width))};
}

/* The first of this thread's V columns; may be >= C in the last tile. */
template <int V> __device__ inline int64_t my_column() {
  return (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V;
}

/* The rows [0, rows) of a block's chunk that are this thread's: some(Width<BATCH>{}, row) for BATCH of them, blockDim.y apart,
 * then some(Width<1>{}, row) for the rest. A guard for each row of a batch would make its load wait for the one before. */
template <int BATCH, typename F> __device__ inline void for_rows(int rows, F some) {
  const int step = blockDim.y;
  int r = threadIdx.y;
  for (; r + (BATCH - 1) * step < rows; r += BATCH * step) some(Width<BATCH>{}, r);
  for (; r < rows; r += step) some(Width<1>{}, r);
}

/* How many of the chunk's `rows` there are: fewer in the last one. */
__device__ inline int rows_of_chunk(int64_t HW, int64_t rows) {
  const int64_t left = HW - blockIdx.x * rows;
  return static_cast<int>(left < rows ? left : rows);
}

/* Sums each of K values of the block's rows of threads, for threads of row 0; room [K * BLOCK]. All threads call it. */
template <int K> __device__ inline void sum_rows(float (&v)[K], float *room) {
  const int at = threadIdx.y * blockDim.x + threadIdx.x, size = blockDim.x * blockDim.y;
#pragma unroll
  for (int k = 0; k < K; k++) room[k * size + at] = v[k];
  __syncthreads();
  if (threadIdx.y == 0) {
    for (int row = 1; row < static_cast<int>(blockDim.y); row++) {
#pragma unroll
      for (int k = 0; k < K; k++) v[k] += room[k * size + row * blockDim.x + threadIdx.x];
    }
  }
}

constexpr int64_t MAX_GRID_YZ = 65535;
} // namespace kn
#endif
