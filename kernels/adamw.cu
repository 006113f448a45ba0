/* The optimizer over flat buffers. Bound by memory: 4 bytes a gradient for the norm; 28 a parameter for the update
 * (p, m, v read and written, g read), 8 more with the average, 2 with the bf16 copy: 866 M parameters with the copy are
 * 26 GB, 8.7 ms at 3 TB/s. Replaces a dozen passes of the foreach optimizers. */
#include "kernels/adamw.h"
#include "kernels/device.cuh"

using namespace kn;

namespace {
constexpr int PARTS = 1024; /* of the norm; their number decides about its bits, so it is fixed */

__global__ void __launch_bounds__(BLOCK) sumsq(int64_t n, const float *__restrict__ g, double *__restrict__ part) {
  __shared__ double room[BLOCK / WARP];
  const int64_t stride = static_cast<int64_t>(PARTS) * BLOCK * 4;
  double sum = 0;

  const auto add = [&](const float (&v)[4]) {
#pragma unroll
    for (int j = 0; j < 4; j++) sum += static_cast<double>(v[j]) * v[j];
  };
  int64_t i = (static_cast<int64_t>(blockIdx.x) * BLOCK + threadIdx.x) * 4;
  for (; i + stride + 4 <= n; i += 2 * stride) {
    const Pack<float, 4> one = fetch<4>(g + i), two = fetch<4>(g + i + stride);
    float v[4];
    unpack<4, float>(one, v);
    add(v);
    unpack<4, float>(two, v);
    add(v);
  }
  for (; i < n; i += stride) {
    float v[4] = {0, 0, 0, 0};
    if (i + 4 <= n) load<4>(g + i, v);
    else for (int j = 0; i + j < n; j++) v[j] = g[i + j];
    add(v);
  }
  sum = block_sum(sum, room);
  if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(PARTS) norm_of(const double *part, const float *also, int64_t n_also, kn_norm *out) {
  __shared__ double room[PARTS / WARP];
  float bad = 0;

  for (int64_t i = threadIdx.x; i < n_also; i += PARTS) bad += isfinite(also[i]) ? 0.0f : 1.0f;
  const double sum = block_sum(part[threadIdx.x], room);
  const double any = block_sum(static_cast<double>(bad), room);
  if (threadIdx.x == 0) *out = {sum, static_cast<float>(sqrt(sum)), isfinite(sum) && any == 0};
}

struct Buffers {
  float *p;
  const float *g;
  float *m, *v, *ema;
  uint16_t *bf16;
};

__device__ float lerp(float a, float b, float w) { return w < 0.5f ? a + w * (b - a) : b - (b - a) * (1 - w); }

/* As `update` in adamw_ref.c. */
__device__ float updated(const kn_adamw_factors &f, float clip, float p, float g, float &m, float &v) {
  g = g * clip + f.l2 * p;
  m = lerp(m, g, f.lerp);
  v = v * f.beta2 + f.square * g * g;
  return p * f.decay - f.step * m / (sqrtf(v) / f.root + f.eps);
}

/* The norm is read after the pack, so that the two do not wait for each other. */
template <int V> __device__ void update_pack(const kn_adamw_factors &f, const kn_norm *norm, const Buffers &b, int64_t i) {
  const Pack<float, V> ps = fetch<V>(b.p + i), gs = fetch<V>(b.g + i), ms = fetch<V>(b.m + i), vs = fetch<V>(b.v + i);
  const kn_norm found = *norm;
  if (!found.finite) return;
  const float coef = 1.0f / (found.norm + 1e-6f) * f.clip, clip = f.clip > 0 && coef < 1 ? coef : 1.0f;
  float p[V], g[V], m[V], v[V];

  unpack<V, float>(ps, p);
  unpack<V, float>(gs, g);
  unpack<V, float>(ms, m);
  unpack<V, float>(vs, v);
#pragma unroll
  for (int j = 0; j < V; j++) p[j] = updated(f, clip, p[j], g[j], m[j], v[j]);
  store<V>(b.p + i, p);
  store<V>(b.m + i, m);
  store<V>(b.v + i, v);
  if (b.bf16) store<V>(reinterpret_cast<kn::bf16 *>(b.bf16) + i, p);
  if (!b.ema) return;
  float e[V];
  load<V>(b.ema + i, e);
#pragma unroll
  for (int j = 0; j < V; j++) e[j] -= f.ema * (e[j] - p[j]);
  store<V>(b.ema + i, e);
}

template <int V>
__global__ void __launch_bounds__(BLOCK) adamw(kn_adamw_factors f, int64_t n, Buffers b, const kn_norm *norm) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * BLOCK + threadIdx.x) * V;

  if (i + V <= n) update_pack<V>(f, norm, b, i);
  else for (int64_t j = i; j < n; j++) update_pack<1>(f, norm, b, j);
}
} // namespace

int kn_sumsq_f32_cuda(void *stream, int64_t n, const float *g, const float *also, int64_t n_also, void *workspace,
                      kn_norm *out) {
  int st = OK;
  double *part = static_cast<double *>(workspace);
  NEED(n >= 0 && n_also >= 0, E_SHAPE, "sumsq: n = %lld, also %lld", (long long)n, (long long)n_also);
  NEED(aligned(g), E_SHAPE, "sumsq: the gradients are not aligned to 16 bytes");
  TRY(launch("sumsq", stream, dim3(PARTS), dim3(BLOCK), sumsq, n, g, part));
  TRY(launch("norm", stream, dim3(1), dim3(PARTS), norm_of, part, also, also ? n_also : 0, out));
out:
  return st;
}

int kn_adamw_f32_cuda(void *stream, const kn_adamw_step *s, int64_t n, float *p, const float *g, const kn_norm *norm,
                      float *m, float *v, float *ema, uint16_t *bf16) {
  int st = OK;
  const Buffers b = {p, g, m, v, ema, bf16};
  const bool wide = aligned(p) && aligned(g) && aligned(m) && aligned(v) && aligned(ema) && aligned(bf16);
  const int width = wide ? 4 : 1;
  const int64_t blocks = ceil_div(n, static_cast<int64_t>(BLOCK) * width);
  NEED(n >= 0 && s->t >= 1 && blocks <= INT32_MAX, E_SHAPE, "adamw: n = %lld, update %lld", (long long)n, (long long)s->t);
  if (n == 0) goto out;
  TRY(launch("adamw", stream, dim3(static_cast<unsigned>(blocks)), dim3(BLOCK), wide ? adamw<4> : adamw<1>,
             kn_adamw_factors_of(s), n, b, norm));
out:
  return st;
}
