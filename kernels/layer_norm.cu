/* LayerNorm with the residual sum before it. Bound by memory: in bf16 8 bytes an element forward with a residual (x, h
 * read, sum, y written), 8 backward (x, dy, dres read, dx written); M x C = 153600 x 320: 393 MB, 0.13 ms at 3 TB/s.
 * Forward: a warp holds its row in registers. Backward: a thread keeps its columns, so that their sums ride along. */
#include "kernels/device.cuh"
#include "kernels/layer_norm.h"

using namespace kn;

namespace {
constexpr int PACK = 8;            /* elements a lane takes at once, in either type */
constexpr int WARPS = BLOCK / WARP;
constexpr unsigned BACK_BLOCK = 192;

/* ---- forward, K packs a lane ---- */
template <typename T, int K> __global__ void __launch_bounds__(BLOCK) layer_norm(kn_layer_norm_args a) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
  if (row >= a.M) return;
  const T *x = static_cast<const T *>(a.x) + row * a.C, *h = a.h ? static_cast<const T *>(a.h) + row * a.C : nullptr;
  float v[K][PACK], sum = 0, squares = 0;

#pragma unroll
  for (int k = 0; k < K; k++) {
    const int64_t c = (k * WARP + lane) * PACK;
    fill(v[k], 0);
    if (c < a.C) load<PACK>(x + c, v[k]);
  }
  if (h || a.bias) {
    float add[K][PACK];
#pragma unroll
    for (int k = 0; k < K; k++) {
      const int64_t c = (k * WARP + lane) * PACK;
      fill(add[k], 0);
      if (h && c < a.C) load<PACK>(h + c, add[k]);
    }
#pragma unroll
    for (int k = 0; k < K; k++) {
      const int64_t c = (k * WARP + lane) * PACK;
      if (c >= a.C) continue;
      float bias[PACK];
      fill(bias, 0);
      if (a.bias) load<PACK>(a.bias + c, bias);
#pragma unroll
      for (int i = 0; i < PACK; i++) v[k][i] = rounded<T>(v[k][i] + add[k][i] + bias[i]);
      store<PACK>(static_cast<T *>(a.sum) + row * a.C + c, v[k]);
    }
  }
#pragma unroll
  for (int k = 0; k < K; k++)
#pragma unroll
    for (int i = 0; i < PACK; i++) sum += v[k][i];
  const float mean = warp_sum(sum) / static_cast<float>(a.C);
#pragma unroll
  for (int k = 0; k < K; k++)
#pragma unroll
    for (int i = 0; i < PACK; i++) {
      const float d = v[k][i] - mean;
      if ((k * WARP + lane) * PACK < a.C) squares += d * d;
    }
  const float rstd = rsqrtf(warp_sum(squares) / static_cast<float>(a.C) + static_cast<float>(a.eps));
#pragma unroll
  for (int k = 0; k < K; k++) {
    const int64_t c = (k * WARP + lane) * PACK;
    if (c >= a.C) continue;
    float gamma[PACK], beta[PACK];
    load<PACK>(a.gamma + c, gamma);
    load<PACK>(a.beta + c, beta);
#pragma unroll
    for (int i = 0; i < PACK; i++) v[k][i] = (v[k][i] - mean) * rstd * gamma[i] + beta[i];
    store<PACK>(static_cast<T *>(a.y) + row * a.C + c, v[k]);
  }
  if (lane == 0) {
    a.stats[2 * row] = mean;
    a.stats[2 * row + 1] = rstd;
  }
}

/* Any C: the row is read for each pass. x is the sum already where it is written. */
template <typename T> __global__ void __launch_bounds__(BLOCK) layer_norm_any(kn_layer_norm_args a) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
  if (row >= a.M) return;
  const T *x = static_cast<const T *>(a.x) + row * a.C;
  float sum = 0, squares = 0;

  if (a.h || a.bias) {
    T *out = static_cast<T *>(a.sum) + row * a.C;
    for (int64_t c = lane; c < a.C; c += WARP)
      out[c] = from_f32<T>(to_f32(x[c]) + (a.h ? to_f32(static_cast<const T *>(a.h)[row * a.C + c]) : 0.0f) +
                           (a.bias ? a.bias[c] : 0.0f));
    x = out; /* each lane reads what it wrote */
  }
  for (int64_t c = lane; c < a.C; c += WARP) sum += to_f32(x[c]);
  const float mean = warp_sum(sum) / static_cast<float>(a.C);
  for (int64_t c = lane; c < a.C; c += WARP) squares += (to_f32(x[c]) - mean) * (to_f32(x[c]) - mean);
  const float rstd = rsqrtf(warp_sum(squares) / static_cast<float>(a.C) + static_cast<float>(a.eps));
  for (int64_t c = lane; c < a.C; c += WARP)
    static_cast<T *>(a.y)[row * a.C + c] = from_f32<T>((to_f32(x[c]) - mean) * rstd * a.gamma[c] + a.beta[c]);
  if (lane == 0) {
    a.stats[2 * row] = mean;
    a.stats[2 * row + 1] = rstd;
  }
}

/* ---- backward: blockDim.x threads span a row, V columns each; blockDim.y rows at a time ---- */
struct Pair {
  float a, b;
};

/* Sums over the row's warps; room: two halves of [rows at a time][warps of a row], used in turn. */
__device__ Pair row_sum(Pair v, Pair *room) {
  const int warps = blockDim.x / WARP, warp = threadIdx.x / WARP;
  v = {warp_sum(v.a), warp_sum(v.b)};
  if (warps == 1) return v;
  if (threadIdx.x % WARP == 0) room[threadIdx.y * warps + warp] = v;
  __syncthreads();
  Pair sum = {0, 0};
  for (int w = 0; w < warps; w++) {
    sum.a += room[threadIdx.y * warps + w].a;
    sum.b += room[threadIdx.y * warps + w].b;
  }
  return sum;
}

template <typename T, int V>
__global__ void __launch_bounds__(V == 1 ? 1024 : BLOCK) layer_norm_bwd(kn_layer_norm_bwd_args a, int64_t rows) {
  __shared__ Pair room[2][WARP];
  __shared__ float columns[V == 1 ? 3 * 1024 : 3 * V * BLOCK];
  const int64_t c = static_cast<int64_t>(threadIdx.x) * V, first = blockIdx.x * rows;
  const int64_t end = first + rows < a.M ? first + rows : a.M;
  const float inv_C = 1.0f / static_cast<float>(a.C);
  const bool mine = c < a.C;
  float gamma[V], acc[3 * V];
  int half = 0;

  fill(acc, 0);
  fill(gamma, 0);
  if (mine) load<V>(a.gamma + c, gamma);
  for (int64_t r0 = first; r0 < end; r0 += blockDim.y, half ^= 1) {
    const int64_t r = r0 + threadIdx.y, at = r * a.C + c;
    const bool here = mine && r < end;
    const float mean = r < end ? a.stats[2 * r] : 0.0f, rstd = r < end ? a.stats[2 * r + 1] : 0.0f;
    float xhat[V], d[V], e[V];
    Pair s = {0, 0};
    fill(xhat, 0);
    fill(d, 0);
    fill(e, 0);
    if (here) {
      load<V>(static_cast<const T *>(a.x) + at, xhat);
      load<V>(static_cast<const T *>(a.dy) + at, d);
      if (a.dres) load<V>(static_cast<const T *>(a.dres) + at, e);
    }
#pragma unroll
    for (int i = 0; i < V; i++) {
      xhat[i] = (xhat[i] - mean) * rstd;
      acc[i] += d[i] * xhat[i];
      acc[V + i] += d[i];
      d[i] *= gamma[i];
      s.a += d[i];
      s.b += d[i] * xhat[i];
    }
    s = row_sum(s, room[half]);
#pragma unroll
    for (int i = 0; i < V; i++) {
      d[i] = e[i] + rstd * (d[i] - s.a * inv_C - xhat[i] * (s.b * inv_C));
      acc[2 * V + i] += here ? d[i] : 0.0f;
    }
    if (here) store<V>(static_cast<T *>(a.dx) + at, d);
  }
  if (!a.part) return;
  sum_rows(acc, columns);
  if (!mine || threadIdx.y != 0) return;
  float *part = a.part + blockIdx.x * 3 * a.C + c;
#pragma unroll
  for (int k = 0; k < 3; k++)
    for (int i = 0; i < V; i++) part[k * a.C + i] = acc[k * V + i];
}

template <typename T> int forward(void *stream, const kn_layer_norm_args *a) {
  const dim3 grid(static_cast<unsigned>(ceil_div(a->M, WARPS)));
  const bool packs = a->C % PACK == 0 && aligned(a->x) && aligned(a->h) && aligned(a->sum) && aligned(a->y) &&
                     aligned(a->bias) && aligned(a->gamma) && aligned(a->beta);
  const int64_t K = packs ? ceil_div(a->C, PACK * WARP) : 0;
  const auto kernel = K == 0    ? layer_norm_any<T>
                      : K == 1  ? layer_norm<T, 1>
                      : K == 2  ? layer_norm<T, 2>
                      : K == 3  ? layer_norm<T, 3>
                      : K <= 5  ? layer_norm<T, 5>
                      : K <= 10 ? layer_norm<T, 10>
                                : layer_norm_any<T>;
  return launch("layer_norm", stream, grid, dim3(BLOCK), kernel, *a);
}

/* A row's threads in whole warps, and as many rows as fit a block of which a processor holds four (80 registers a thread). */
template <typename T, int V> int backward(void *stream, const kn_layer_norm_bwd_args *a) {
  const unsigned across = static_cast<unsigned>(ceil_div(ceil_div(a->C, V), WARP) * WARP);
  const unsigned down = across < BACK_BLOCK ? BACK_BLOCK / across : 1;
  const int64_t parts = kn_layer_norm_parts(a->M);
  return launch("layer_norm_bwd", stream, dim3(static_cast<unsigned>(parts)), dim3(across, down), layer_norm_bwd<T, V>, *a,
                ceil_div(a->M, parts));
}
} // namespace

int kn_layer_norm_cuda(void *stream, const kn_layer_norm_args *a) {
  int st = OK;
  NEED(is_type(a->type) && a->M >= 0 && a->C >= 0 && ceil_div(a->M, WARPS) <= INT32_MAX, E_SHAPE,
       "layer_norm: [%lld,%lld], type %d", (long long)a->M, (long long)a->C, (int)a->type);
  if (a->M == 0 || a->C == 0) goto out;
  TRY(a->type == KN_F32 ? forward<float>(stream, a) : forward<bf16>(stream, a));
out:
  return st;
}

int kn_layer_norm_bwd_cuda(void *stream, const kn_layer_norm_bwd_args *a) {
  int st = OK;
  const bool packs = a->C % PACK == 0 && aligned(a->x) && aligned(a->dy) && aligned(a->dres) && aligned(a->dx) &&
                     aligned(a->gamma);
  NEED(is_type(a->type) && a->M >= 0 && a->C >= 0, E_SHAPE, "layer_norm_bwd: [%lld,%lld], type %d", (long long)a->M,
       (long long)a->C, (int)a->type);
  NEED(a->C <= (packs ? PACK * BLOCK : 1024), E_SHAPE, "layer_norm_bwd: %lld columns are more than %d", (long long)a->C,
       packs ? PACK * BLOCK : 1024);
  if (a->M == 0 || a->C == 0) goto out;
  if (a->type == KN_F32) TRY((packs ? backward<float, PACK> : backward<float, 1>)(stream, a));
  else TRY((packs ? backward<bf16, PACK> : backward<bf16, 1>)(stream, a));
out:
  return st;
}
