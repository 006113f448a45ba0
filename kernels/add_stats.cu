/* Residual + bias + time embedding + statistics. Bound by memory: 2 bytes an element in bf16 for each of h, x and out;
 * 8x128x480x640 are 1.9 GB, 0.63 ms at 3 TB/s, the statistics alone 0.21 ms. Replaces an addition, a broadcast addition
 * and GroupNorm's own pass over its input. Partial sums are f32 [S,2,C] an image: 1/256 of the bytes at full size. */
#include "kernels/add_stats.h"
#include "kernels/device.cuh"

using namespace kn;

namespace {
/* This thread's pack of row r: h + x + add, as out's type keeps it. */
template <typename T, int V>
__device__ void sum_at(const kn_add_stats_args &a, int64_t at, const float (&add)[V], float (&out)[V]) {
  load<V>(static_cast<const T *>(a.h) + at, out);
  if (a.x) {
    float x[V];
    load<V>(static_cast<const T *>(a.x) + at, x);
#pragma unroll
    for (int i = 0; i < V; i++) out[i] += x[i];
  }
#pragma unroll
  for (int i = 0; i < V; i++) out[i] = rounded<T>(out[i] + add[i]);
}

/* Sums about the chunk's first row, `origin`, into the sum and the squares about the mean. */
template <int V>
__device__ void write_stats(const kn_add_stats_args &a, int64_t c, int64_t count, const float (&origin)[V],
                            const float (&acc)[2 * V]) {
  float *part = a.part + (blockIdx.z * gridDim.x + blockIdx.x) * 2 * a.C + c, sum[V], m2[V];
#pragma unroll
  for (int i = 0; i < V; i++) {
    sum[i] = acc[i] + static_cast<float>(count) * origin[i];
    m2[i] = fmaxf(acc[V + i] - acc[i] * acc[i] / static_cast<float>(count), 0.0f);
  }
  store<V>(part, sum);
  store<V>(part + a.C, m2);
}

template <typename T, int V> __global__ void __launch_bounds__(BLOCK) add_stats(kn_add_stats_args a, int64_t rows) {
  constexpr int BATCH = 2; /* rows in flight */
  __shared__ float room[2 * V * BLOCK];
  const int64_t c = my_column<V>(), first = blockIdx.x * rows, end = first + rows < a.HW ? first + rows : a.HW;
  const int64_t base = static_cast<int64_t>(blockIdx.z) * a.HW * a.C + c;
  float add[V], origin[V], acc[2 * V];
  const bool mine = c < a.C;

  fill(add, 0);
  fill(acc, 0);
  fill(origin, 0);
  if (mine) {
    for (int i = 0; i < V; i++) {
      if (a.bias) add[i] += a.bias[c + i];
      if (a.shift) add[i] += a.shift[blockIdx.z * a.C + c + i];
    }
    if (a.part) sum_at<T>(a, base + first * a.C, add, origin);
  }
  __syncthreads(); /* the first row is read by all before one thread overwrites it */
  for (int64_t r0 = first + threadIdx.y; mine && r0 < end; r0 += BATCH * blockDim.y) {
    float v[BATCH][V];
#pragma unroll
    for (int u = 0; u < BATCH; u++)
      if (r0 + u * blockDim.y < end) sum_at<T>(a, base + (r0 + u * blockDim.y) * a.C, add, v[u]);
#pragma unroll
    for (int u = 0; u < BATCH; u++) {
      const int64_t r = r0 + u * blockDim.y;
      if (r >= end) break;
      if (a.out) store<V>(static_cast<T *>(a.out) + base + r * a.C, v[u]);
#pragma unroll
      for (int i = 0; i < V; i++) {
        const float d = v[u][i] - origin[i];
        acc[i] += d;
        acc[V + i] += d * d;
      }
    }
  }
  if (!a.part) return;
  sum_rows(acc, room);
  if (mine && threadIdx.y == 0) write_stats(a, c, end - first, origin, acc);
}
} // namespace

int kn_add_stats_cuda(void *stream, const kn_add_stats_args *a) {
  int st = OK;
  NEED(is_type(a->type) && a->N >= 0 && a->HW >= 0 && a->C >= 0 && a->N <= MAX_GRID_YZ, E_SHAPE,
       "add_stats: [%lld,%lld,%lld], type %d", (long long)a->N, (long long)a->HW, (long long)a->C, (int)a->type);
  if (a->N == 0 || a->HW == 0 || a->C == 0) goto out;
  TRY(by_type(a->type,
              whole_packs(a->type, a->C) && aligned(a->h) && aligned(a->x) && aligned(a->out) && aligned(a->part),
              [&](auto type, auto width) {
                constexpr int V = decltype(width)::value;
                const Columns g = columns_of(a->N, kn_chunks(a->HW), a->C, V);
                return launch("add_stats", stream, g.grid, g.block, add_stats<decltype(type), V>, *a, kn_chunk_rows(a->HW));
              }));
out:
  return st;
}
