/* Residual + bias + statistics. Bound by memory: 2 bytes an element in bf16 for each of h, x and out;
 * 8x128x480x640 are 1.9 GB, 0.63 ms at 3 TB/s, the statistics alone 0.21 ms. Replaces an addition, a broadcast addition
 * and GroupNorm's own pass over its input. Partial sums are f32 [S,2,C] an image: 1/128 of a tensor's bytes
 * at full size. */
#include "kernels/add_stats.h"
#include "kernels/device.cuh"

using namespace kn;

namespace {
/* Packs of U rows from `at`, `step` elements apart: h + x + add, as out's type keeps it. */
template <int U, typename T, int V>
__device__ void sums_at(const kn_add_stats_args &a, int64_t at, int64_t step, const float (&add)[V], float (&out)[U][V]) {
  Pack<T, V> h[U], x[U];
#pragma unroll
  for (int u = 0; u < U; u++) h[u] = fetch<V>(static_cast<const T *>(a.h) + at + u * step);
  if (a.x) {
#pragma unroll
    for (int u = 0; u < U; u++) x[u] = fetch<V>(static_cast<const T *>(a.x) + at + u * step);
  }
#pragma unroll
  for (int u = 0; u < U; u++) {
    float more[V];
    unpack<V, T>(h[u], out[u]);
    fill(more, 0);
    if (a.x) unpack<V, T>(x[u], more);
#pragma unroll
    for (int i = 0; i < V; i++) out[u][i] = rounded<T>(out[u][i] + more[i] + add[i]);
  }
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
  __shared__ float room[2 * V * BLOCK];
  const int64_t c = my_column<V>(), base = (blockIdx.z * a.HW + blockIdx.x * rows) * a.C + c, step = blockDim.y * a.C;
  const int here = rows_of_chunk(a.HW, rows);
  float add[V], origin[1][V], acc[2 * V];
  const bool mine = c < a.C;

  fill(add, 0);
  fill(acc, 0);
  fill(origin[0], 0);
  if (mine) {
    for (int i = 0; i < V; i++)
      if (a.bias) add[i] = a.bias[c + i];
    if (a.part) sums_at<1, T>(a, base, 0, add, origin);
  }
  __syncthreads(); /* the first row is read by all before one thread overwrites it */
  for_rows<2>(mine ? here : 0, [&](auto batch, int r) {
    constexpr int U = decltype(batch)::value;
    float v[U][V];
    sums_at<U, T>(a, base + r * a.C, step, add, v);
#pragma unroll
    for (int u = 0; u < U; u++) {
      if (a.out) store<V>(static_cast<T *>(a.out) + base + r * a.C + u * step, v[u]);
#pragma unroll
      for (int i = 0; i < V; i++) {
        const float d = v[u][i] - origin[0][i];
        acc[i] += d;
        acc[V + i] += d * d;
      }
    }
  });
  if (!a.part) return;
  sum_rows(acc, room);
  if (mine && threadIdx.y == 0) write_stats(a, c, here, origin[0], acc);
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
