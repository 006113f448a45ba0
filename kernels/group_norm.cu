/* GroupNorm + SiLU over NHWC. Bound by memory. In bf16, 2 bytes an element for each tensor: apply x, y; reduce x, dy;
 * dx x, dy, dx and residuals. 8x128x480x640 (630 MB a tensor) at 3 TB/s: 0.42, 0.42, 0.63 ms. The two kernels in between
 * read partial sums only. Replaces GroupNorm and SiLU of the plain path, which keep the normalised tensor as well. */
#include "kernels/device.cuh"
#include "kernels/group_norm.h"

using namespace kn;

namespace {
/* ---- partial sums -> coefficients; one block a group and image ---- */
constexpr int FEW = 256; /* threads */

/* The group's `size` channels are taken by `lanes` threads at a time; FEW / lanes of them share one channel's chunks. */
struct Team {
  int64_t size, lanes, lane, slot, slots;
};

__device__ Team team_of(int64_t size) {
  const int64_t lanes = size < FEW ? size : FEW;
  return {size, lanes, threadIdx.x % lanes, threadIdx.x / lanes, FEW / lanes};
}

/* Sum over chunks of value(chunk, channel of the group), for the threads of slot 0; others get 0. All threads call. */
template <typename F> __device__ double over_chunks(const Team &t, int64_t j, int64_t chunks, double *room, F value) {
  double sum = 0;

  if (j < t.size && t.slot < t.slots)
    for (int64_t s = t.slot; s < chunks; s += t.slots) sum += value(s, j);
  __syncthreads();
  room[threadIdx.x] = sum;
  __syncthreads();
  if (t.slot != 0) return 0;
  for (int64_t k = 1; k < t.slots; k++) sum += room[k * t.lanes + t.lane];
  return sum;
}

struct Source {
  const float *part; /* of the channel's first chunk */
  int64_t step;      /* to the next chunk; the squares lie step / 2 behind the sums */
};

__device__ Source source_of(const kn_group_norm_coef_args &a, int64_t n, int64_t c, int64_t chunks) {
  const int64_t C = c < a.C1 ? a.C1 : a.C - a.C1;
  const float *part = c < a.C1 ? a.part[0] + c : a.part[1] + (c - a.C1);
  return {part + n * chunks * 2 * C, 2 * C};
}

__device__ int64_t rows_in(int64_t chunk, int64_t rows, int64_t HW) {
  const int64_t left = HW - chunk * rows;
  return left < rows ? left : rows;
}

/* bias and shift of image n, channel c. */
__device__ double offset_of(const kn_group_norm_coef_args &a, int64_t n, int64_t c) {
  const double bias = a.offset && a.bias ? a.bias[c] : 0, shift = a.offset && a.shift ? a.shift[n * a.C + c] : 0;
  return static_cast<float>(bias + shift);
}

__global__ void __launch_bounds__(FEW) coefficients(kn_group_norm_coef_args a, int64_t rows, int64_t chunks) {
  __shared__ double room[FEW], sums[FEW / WARP];
  const int64_t n = blockIdx.y, size = a.C / a.groups, c0 = blockIdx.x * size;
  const double count = static_cast<double>(a.HW) * static_cast<double>(size), inverse = 1.0 / static_cast<double>(rows);
  const Team t = team_of(size);
  double sum = 0, squares = 0;

  for (int64_t j0 = 0; j0 < size; j0 += t.lanes) {
    const double channel = over_chunks(t, j0 + t.lane, chunks, room, [&](int64_t s, int64_t j) {
      const Source q = source_of(a, n, c0 + j, chunks);
      return static_cast<double>(q.part[s * q.step]);
    });
    if (t.slot != 0 || j0 + t.lane >= size) continue;
    const int64_t c = c0 + j0 + t.lane;
    if (a.sum) a.sum[n * a.C + c] = static_cast<float>(channel);
    if (a.offset) a.offset[n * a.C + c] = static_cast<float>(offset_of(a, n, c));
    sum += channel + static_cast<double>(a.HW) * offset_of(a, n, c);
  }
  const double mean = block_sum(sum, sums) / count;
  for (int64_t j0 = 0; j0 < size; j0 += t.lanes)
    squares += over_chunks(t, j0 + t.lane, chunks, room, [&](int64_t s, int64_t j) {
      const Source q = source_of(a, n, c0 + j, chunks);
      const double rows_here = static_cast<double>(rows_in(s, rows, a.HW));
      const double d = q.part[s * q.step] * (s < chunks - 1 ? inverse : 1 / rows_here) + offset_of(a, n, c0 + j) - mean;
      return q.part[s * q.step + q.step / 2] + rows_here * d * d;
    });
  const double rstd = 1 / sqrt(block_sum(squares, sums) / count + a.eps);
  for (int64_t c = c0 + threadIdx.x; c < c0 + size; c += FEW) {
    const double scale = rstd * a.gamma[c];
    a.coef[2 * n * a.C + c] = static_cast<float>(scale);
    a.coef[(2 * n + 1) * a.C + c] = static_cast<float>(a.beta[c] - (mean - offset_of(a, n, c)) * scale);
  }
  if (threadIdx.x == 0) {
    a.stats[2 * (n * a.groups + blockIdx.x)] = static_cast<float>(mean);
    a.stats[2 * (n * a.groups + blockIdx.x) + 1] = static_cast<float>(rstd);
  }
}

/* dx = rstd (gamma dz - c1 - xhat c2), c1 and c2 the group's means of gamma dz and gamma dz xhat. */
__global__ void __launch_bounds__(FEW) backward_coefficients(kn_group_norm_back_args a, int64_t chunks) {
  __shared__ double room[FEW], sums[FEW / WARP];
  const int64_t n = blockIdx.y, size = a.C / a.groups, c0 = blockIdx.x * size;
  const double count = static_cast<double>(a.HW) * static_cast<double>(size);
  const double mean = a.stats[2 * (n * a.groups + blockIdx.x)], rstd = a.stats[2 * (n * a.groups + blockIdx.x) + 1];
  const float *part = a.part + n * chunks * 2 * a.C + c0;
  const Team t = team_of(size);
  float *red = a.red ? a.red + 3 * n * a.C : nullptr;
  double sum = 0, sum_xhat = 0;

  for (int64_t j0 = 0; j0 < size; j0 += t.lanes) {
    const int64_t j = j0 + t.lane, c = c0 + j;
    const double dz = over_chunks(t, j, chunks, room, [&](int64_t s, int64_t k) { return part[2 * s * a.C + k]; });
    const double dz_xhat =
        over_chunks(t, j, chunks, room, [&](int64_t s, int64_t k) { return part[(2 * s + 1) * a.C + k]; });
    if (t.slot != 0 || j >= size) continue;
    sum += a.gamma[c] * dz;
    sum_xhat += a.gamma[c] * dz_xhat;
    if (!red) continue;
    red[c] = static_cast<float>(dz_xhat);
    red[a.C + c] = static_cast<float>(dz);
  }
  const double c1 = block_sum(sum, sums) / count, c2 = block_sum(sum_xhat, sums) / count;
  const double D = -rstd * rstd * c2;
  for (int64_t c = c0 + threadIdx.x; c < c0 + size; c += FEW) {
    const double B = -rstd * c1 - D * (mean - (a.offset ? a.offset[n * a.C + c] : 0.0f));
    a.back[2 * n * a.C + c] = static_cast<float>(B);
    a.back[(2 * n + 1) * a.C + c] = static_cast<float>(D);
    if (red && a.sum) /* red[a.C + c] was written before block_sum's barriers */
      red[2 * a.C + c] = static_cast<float>(rstd * a.gamma[c] * red[a.C + c] + static_cast<double>(a.HW) * B +
                                            D * a.sum[n * a.C + c]);
  }
}

struct Outputs {
  float *out[3];
};

__global__ void __launch_bounds__(BLOCK) add_over_images(int64_t N, int64_t C, const float *red, Outputs o) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * BLOCK + threadIdx.x;
  float *out = o.out[blockIdx.y], sum = 0;

  if (c >= C || !out) return;
  for (int64_t n = 0; n < N; n++) sum += red[(3 * n + blockIdx.y) * C + c];
  out[c] += sum;
}

/* ---- over the image: a thread keeps its columns' coefficients and walks down the rows of its chunk ---- */
template <int V> struct Affine {
  float a[V], b[V];
};

template <int V> __device__ Affine<V> affine_of(const float *coef, const kn_group_norm_args &g, int64_t c) {
  Affine<V> f;
  const float *at = coef + 2 * static_cast<int64_t>(blockIdx.z) * g.norm_C + g.c0 + c;
#pragma unroll
  for (int i = 0; i < V; i++) {
    f.a[i] = at[i];
    f.b[i] = at[g.norm_C + i];
  }
  return f;
}

/* dy f'(z). */
template <bool SILU> __device__ float through(float dy, float z) {
  if (!SILU) return dy;
  const float s = sigmoid(z);
  return dy * s * (1.0f + z * (1.0f - s));
}

template <typename T, int V, bool SILU> __global__ void __launch_bounds__(BLOCK) apply(kn_group_norm_args g, int64_t rows) {
  const int64_t c = my_column<V>(), first = blockIdx.z * g.HW + blockIdx.x * rows;
  const int step = blockDim.y;
  if (c >= g.C) return;
  const T *x = static_cast<const T *>(g.x) + first * g.C + c;
  T *y = static_cast<T *>(g.y) + first * g.ld + g.c0 + c;
  const Affine<V> f = affine_of<V>(g.coef, g, c);

  for_rows<4>(rows_of_chunk(g.HW, rows), [&](auto batch, int r) {
    constexpr int U = decltype(batch)::value;
    Pack<T, V> packs[U];
#pragma unroll
    for (int u = 0; u < U; u++) packs[u] = fetch<V>(x + (r + u * step) * g.C);
#pragma unroll
    for (int u = 0; u < U; u++) {
      float v[V];
      unpack<V, T>(packs[u], v);
#pragma unroll
      for (int i = 0; i < V; i++) {
        const float z = v[i] * f.a[i] + f.b[i];
        v[i] = SILU ? z * sigmoid(z) : z;
      }
      store<V>(y + (r + u * step) * g.ld, v);
    }
  });
}

template <typename T, int V, bool SILU> __global__ void __launch_bounds__(BLOCK) reduce(kn_group_norm_args g, int64_t rows) {
  __shared__ float room[2 * V * BLOCK];
  const int64_t c = my_column<V>(), n = blockIdx.z, first = n * g.HW + blockIdx.x * rows;
  const unsigned size = static_cast<unsigned>(g.norm_C / g.groups);
  const auto stats = [&](int i) { return g.stats + 2 * (n * g.groups + static_cast<unsigned>(g.c0 + c + i) / size); };
  const int step = blockDim.y;
  const bool mine = c < g.C;
  float acc[2 * V]; /* sums of dz and of dz (x + offset - mean) */

  fill(acc, 0);
  if (mine) {
    const T *x = static_cast<const T *>(g.x) + first * g.C + c;
    const T *dy = static_cast<const T *>(g.dy) + first * g.ld + g.c0 + c;
    const Affine<V> f = affine_of<V>(g.coef, g, c);
    float mean[V];
#pragma unroll
    for (int i = 0; i < V; i++) mean[i] = stats(i)[0] - (g.offset ? g.offset[n * g.norm_C + g.c0 + c + i] : 0.0f);
    for_rows<2>(rows_of_chunk(g.HW, rows), [&](auto batch, int r) {
      constexpr int U = decltype(batch)::value;
      Pack<T, V> xs[U], ds[U];
#pragma unroll
      for (int u = 0; u < U; u++) {
        xs[u] = fetch<V>(x + (r + u * step) * g.C);
        ds[u] = fetch<V>(dy + (r + u * step) * g.ld);
      }
#pragma unroll
      for (int u = 0; u < U; u++) {
        float v[V], d[V];
        unpack<V, T>(xs[u], v);
        unpack<V, T>(ds[u], d);
#pragma unroll
        for (int i = 0; i < V; i++) {
          const float dz = through<SILU>(d[i], v[i] * f.a[i] + f.b[i]);
          acc[i] += dz;
          acc[V + i] += dz * (v[i] - mean[i]);
        }
      }
    });
  }
  sum_rows(acc, room);
  if (!mine || threadIdx.y != 0) return;
  float *part = g.part + (n * gridDim.x + blockIdx.x) * 2 * g.norm_C + g.c0 + c;
#pragma unroll
  for (int i = 0; i < V; i++) {
    part[i] = acc[i];
    part[g.norm_C + i] = acc[V + i] * stats(i)[1];
  }
}

template <typename T, int V, bool SILU> __global__ void __launch_bounds__(BLOCK) input_grad(kn_group_norm_args g, int64_t rows) {
  const int64_t c = my_column<V>(), first = blockIdx.z * g.HW + blockIdx.x * rows, base = first * g.C + c;
  const int step = blockDim.y;
  if (c >= g.C) return;
  const T *x = static_cast<const T *>(g.x) + base;
  const T *dy = static_cast<const T *>(g.dy) + first * g.ld + g.c0 + c;
  const Affine<V> f = affine_of<V>(g.coef, g, c), back = affine_of<V>(g.back, g, c);

  for_rows<2>(rows_of_chunk(g.HW, rows), [&](auto batch, int r) {
    constexpr int U = decltype(batch)::value;
    Pack<T, V> xs[U], ds[U], more[U];
#pragma unroll
    for (int u = 0; u < U; u++) {
      xs[u] = fetch<V>(x + (r + u * step) * g.C);
      ds[u] = fetch<V>(dy + (r + u * step) * g.ld);
    }
    if (g.residual[0]) {
#pragma unroll
      for (int u = 0; u < U; u++) more[u] = fetch<V>(static_cast<const T *>(g.residual[0]) + base + (r + u * step) * g.C);
    }
#pragma unroll
    for (int u = 0; u < U; u++) {
      const int64_t at = base + (r + u * step) * g.C;
      float v[V], d[V];
      unpack<V, T>(xs[u], v);
      unpack<V, T>(ds[u], d);
#pragma unroll
      for (int i = 0; i < V; i++)
        d[i] = f.a[i] * through<SILU>(d[i], v[i] * f.a[i] + f.b[i]) + (back.a[i] + back.b[i] * v[i]);
#pragma unroll
      for (int k = 0; k < 2; k++) {
        if (!g.residual[k]) continue;
        if (k == 0) unpack<V, T>(more[u], v);
        else load<V>(static_cast<const T *>(g.residual[k]) + at, v);
#pragma unroll
        for (int i = 0; i < V; i++) d[i] += v[i];
      }
      store<V>(static_cast<T *>(g.dx) + at, d);
    }
  });
}

/* ---- entries ---- */
int check_sizes(const char *what, int64_t N, int64_t HW, int64_t C, int groups) {
  int st = OK;
  NEED(N >= 0 && HW >= 0 && C >= 0 && N <= MAX_GRID_YZ && groups > 0 && C % groups == 0, E_SHAPE,
       "%s: [%lld,%lld,%lld] in %d groups", what, (long long)N, (long long)HW, (long long)C, groups);
out:
  return st;
}

/* Checks, and whether the packs may be wide; `tensor`: y, dy or dx besides x. */
int check_image(const char *what, const kn_group_norm_args *a) {
  int st = OK;
  TRY(check_sizes(what, a->N, a->HW, a->norm_C, a->groups));
  NEED(is_type(a->type) && a->C >= 0 && a->c0 >= 0 && a->c0 + a->C <= a->norm_C && a->ld >= a->norm_C, E_SHAPE,
       "%s: columns %lld..%lld of %lld, rows of %lld, type %d", what, (long long)a->c0, (long long)(a->c0 + a->C),
       (long long)a->norm_C, (long long)a->ld, (int)a->type);
out:
  return st;
}

bool empty(const kn_group_norm_args *a) { return a->N == 0 || a->HW == 0 || a->C == 0; }

bool wide(const kn_group_norm_args *a, const void *spanning) {
  return whole_packs(a->type, a->C) && whole_packs(a->type, a->c0) && whole_packs(a->type, a->ld) && aligned(a->x) &&
         aligned(spanning);
}

/* Calls f(T{}, Width<V>{}, std::bool_constant<silu>{}, geometry). */
template <typename F> int for_image(const kn_group_norm_args *a, bool packs, F f) {
  return by_type(a->type, packs, [&](auto type, auto width) {
    const Columns g = columns_of(a->N, kn_chunks(a->HW), a->C, decltype(width)::value);
    return a->silu ? f(type, width, std::true_type{}, g) : f(type, width, std::false_type{}, g);
  });
}
} // namespace

int kn_group_norm_coef_cuda(void *stream, const kn_group_norm_coef_args *a) {
  int st = OK;
  TRY(check_sizes("group_norm coef", a->N, a->HW, a->C, a->groups));
  NEED(a->C1 >= 0 && a->C1 <= a->C, E_SHAPE, "group_norm coef: %lld of %lld channels", (long long)a->C1, (long long)a->C);
  if (a->N == 0 || a->HW == 0 || a->C == 0) goto out;
  TRY(launch("group_norm coef", stream, dim3(a->groups, static_cast<unsigned>(a->N)), dim3(FEW), coefficients, *a,
             kn_chunk_rows(a->HW), kn_chunks(a->HW)));
out:
  return st;
}

int kn_group_norm_back_cuda(void *stream, const kn_group_norm_back_args *a) {
  int st = OK;
  TRY(check_sizes("group_norm back", a->N, a->HW, a->C, a->groups));
  if (a->N == 0 || a->HW == 0 || a->C == 0) goto out;
  TRY(launch("group_norm back", stream, dim3(a->groups, static_cast<unsigned>(a->N)), dim3(FEW), backward_coefficients, *a,
             kn_chunks(a->HW)));
out:
  return st;
}

int kn_group_norm_params_cuda(void *stream, int64_t N, int64_t C, const float *red, float *dgamma, float *dbeta,
                              float *dbias) {
  int st = OK;
  const Outputs o = {{dgamma, dbeta, dbias}};
  NEED(N >= 0 && C >= 0, E_SHAPE, "group_norm params: [%lld,3,%lld]", (long long)N, (long long)C);
  if (N == 0 || C == 0) goto out;
  TRY(launch("group_norm params", stream, dim3(static_cast<unsigned>(ceil_div(C, BLOCK)), 3), dim3(BLOCK), add_over_images,
             N, C, red, o));
out:
  return st;
}

int kn_group_norm_apply_cuda(void *stream, const kn_group_norm_args *a) {
  int st = OK;
  TRY(check_image("group_norm apply", a));
  if (empty(a)) goto out;
  TRY(for_image(a, wide(a, a->y), [&](auto type, auto width, auto silu, const Columns &g) {
    return launch("group_norm apply", stream, g.grid, g.block, apply<decltype(type), decltype(width)::value, decltype(silu)::value>,
                  *a, kn_chunk_rows(a->HW));
  }));
out:
  return st;
}

int kn_group_norm_reduce_cuda(void *stream, const kn_group_norm_args *a) {
  int st = OK;
  TRY(check_image("group_norm reduce", a));
  if (empty(a)) goto out;
  TRY(for_image(a, wide(a, a->dy), [&](auto type, auto width, auto silu, const Columns &g) {
    return launch("group_norm reduce", stream, g.grid, g.block,
                  reduce<decltype(type), decltype(width)::value, decltype(silu)::value>, *a, kn_chunk_rows(a->HW));
  }));
out:
  return st;
}

int kn_group_norm_dx_cuda(void *stream, const kn_group_norm_args *a) {
  int st = OK;
  TRY(check_image("group_norm dx", a));
  NEED(a->dx != a->dy || a->ld == a->C, E_SHAPE, "group_norm dx: rows of %lld columns cannot replace rows of %lld",
       (long long)a->C, (long long)a->ld);
  if (empty(a)) goto out;
  TRY(for_image(a, wide(a, a->dy) && aligned(a->dx) && aligned(a->residual[0]) && aligned(a->residual[1]),
                [&](auto type, auto width, auto silu, const Columns &g) {
                  return launch("group_norm dx", stream, g.grid, g.block,
                                input_grad<decltype(type), decltype(width)::value, decltype(silu)::value>, *a,
                                kn_chunk_rows(a->HW));
                }));
out:
  return st;
}
