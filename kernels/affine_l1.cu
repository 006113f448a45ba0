/* Depth loss. Bound by memory, and little of it: decoded is read three times (moments, residuals, gradient), gt twice,
 * the gradient written once; 8 images of 480x640 in bf16 are 120 MB. Sums are f64. Replaces some 25 elementwise and
 * reduction kernels of the plain path. */
#include "kernels/affine_l1.h"
#include "kernels/loss.cuh"

using namespace kn;

namespace {
/* Sums over valid pixels, of predictions less `base`, which is the first of them: a constant image has p = pp = 0. */
struct Moments {
  double base, n, p, pp, g, pg;
};

struct Residuals {
  double sum, ds, dt; /* of |r|, and its derivatives by s and t */
};

struct Fit {
  Moments m;
  double det, s, t; /* s (p - base) + t; 0 unless det > 0 */
};

__device__ Moments merged(Moments a, const Moments &b) {
  if (b.n == 0) return a;
  if (a.n == 0) return b;
  const double d = b.base - a.base;
  a.pp += b.pp + 2 * d * b.p + d * d * b.n;
  a.p += b.p + d * b.n;
  a.pg += b.pg + d * b.g;
  a.g += b.g;
  a.n += b.n;
  return a;
}

/* For lane 0. */
__device__ Moments warp_merged(Moments m) {
  for (int d = WARP / 2; d; d /= 2) {
    const Moments other = {__shfl_xor_sync(ALL_LANES, m.base, d), __shfl_xor_sync(ALL_LANES, m.n, d),
                           __shfl_xor_sync(ALL_LANES, m.p, d),    __shfl_xor_sync(ALL_LANES, m.pp, d),
                           __shfl_xor_sync(ALL_LANES, m.g, d),    __shfl_xor_sync(ALL_LANES, m.pg, d)};
    m = merged(m, other);
  }
  return m;
}

template <typename T> __device__ float mean_at(const Image<T> &im, int64_t i) {
  const T *x = im.x + i * im.stride_p;
  return (to_f32(x[0]) + to_f32(x[im.stride_c]) + to_f32(x[2 * im.stride_c])) / 3.0f;
}

__device__ double clamped(float v) { return v < -1 ? -1 : v > 1 ? 1 : v; } /* NaN stays */
__device__ double sign_of(double r) { return (r > 0) - (r < 0); }

template <typename T> __global__ void __launch_bounds__(BLOCK) moments(kn_loss_args a, Moments *part) {
  __shared__ Moments share[BLOCK / WARP];
  const Image<T> im = my_image<T>(a);
  const float *gt = a.gt + blockIdx.y * a.n;
  Moments m = {};

  for (int64_t i = im.first + threadIdx.x; i < im.end; i += BLOCK) {
    if (!im.mask[i]) continue;
    const double v = clamped(mean_at(im, i)), g = gt[i];
    if (m.n == 0) m.base = v;
    const double p = v - m.base;
    m.n += 1;
    m.p += p;
    m.pp += p * p;
    m.g += g;
    m.pg += p * g;
  }
  m = warp_merged(m);
  if (threadIdx.x % WARP == 0) share[threadIdx.x / WARP] = m;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < BLOCK / WARP; w++) m = merged(m, share[w]);
  part[blockIdx.y * gridDim.x + blockIdx.x] = m;
}

/* The fit of image blockIdx.y, from its chunks; by warp 0, for all. */
__device__ Fit fit_of(const Moments *part) {
  __shared__ Fit fit;
  if (threadIdx.x < WARP) {
    const unsigned lane = threadIdx.x;
    const Moments m = warp_merged(lane < gridDim.x ? part[blockIdx.y * gridDim.x + lane] : Moments{});
    if (lane == 0) {
      const double det = m.n * m.pp - m.p * m.p;
      const bool ok = det > 0;
      fit = {m, det, ok ? (m.n * m.pg - m.p * m.g) / det : 0, ok ? (m.pp * m.g - m.p * m.pg) / det : 0};
    }
  }
  __syncthreads();
  return fit;
}

template <typename T>
__global__ void __launch_bounds__(BLOCK) residuals(kn_loss_args a, const Moments *part, Residuals *out) {
  __shared__ double room[BLOCK / WARP];
  const Image<T> im = my_image<T>(a);
  const float *gt = a.gt + blockIdx.y * a.n;
  const Fit f = fit_of(part);
  Residuals q = {};

  for (int64_t i = im.first + threadIdx.x; i < im.end; i += BLOCK) {
    if (!im.mask[i]) continue;
    const double p = clamped(mean_at(im, i)) - f.m.base, r = f.s * p + f.t - gt[i];
    q.sum += fabs(r);
    q.ds += sign_of(r) * p;
    q.dt += sign_of(r);
  }
  q.sum = block_sum(q.sum, room);
  q.ds = block_sum(q.ds, room);
  q.dt = block_sum(q.dt, room);
  if (threadIdx.x == 0) out[blockIdx.y * gridDim.x + blockIdx.x] = q;
}

/* The normal equations solved for (ds, dt) of the image; by warp 0, for all. */
__device__ double2 adjoint_of(const Fit &f, const Residuals *part) {
  __shared__ double2 v;
  if (threadIdx.x < WARP) {
    const unsigned lane = threadIdx.x;
    const Residuals q = lane < gridDim.x ? part[blockIdx.y * gridDim.x + lane] : Residuals{};
    const double ds = warp_sum(q.ds), dt = warp_sum(q.dt);
    if (lane == 0) {
      v.x = f.det > 0 ? (f.m.n * ds - f.m.p * dt) / f.det : 0;
      v.y = f.det > 0 ? (f.m.pp * dt - f.m.p * ds) / f.det : 0;
    }
  }
  __syncthreads();
  return v;
}

template <typename T>
__global__ void __launch_bounds__(BLOCK) gradient(kn_loss_args a, const Moments *part, const Residuals *res) {
  const Image<T> im = my_image<T>(a);
  const float *gt = a.gt + blockIdx.y * a.n;
  const double weight = a.weight[blockIdx.y];
  const Fit f = fit_of(part);
  const double2 v = adjoint_of(f, res);

  for (int64_t i = im.first + threadIdx.x; i < im.end; i += BLOCK) {
    const float mean = mean_at(im, i);
    double d = 0;
    if (im.mask[i] && mean >= -1 && mean <= 1) {
      const double p = mean - f.m.base, g = gt[i], r = f.s * p + f.t - g;
      d = weight * (f.s * sign_of(r) + v.x * (g - 2 * f.s * p - f.t) - v.y * f.s) / 3;
    }
    T *out = im.grad + i * im.stride_p;
    out[0] = out[im.stride_c] = out[2 * im.stride_c] = from_f32<T>(static_cast<float>(d));
  }
}

template <typename T> int run(void *stream, const kn_loss_args *a) {
  int st = OK;
  const int chunks = kn_loss_chunks(a->n);
  const dim3 grid(chunks, static_cast<unsigned>(a->B));
  Moments *part = static_cast<Moments *>(a->workspace);
  Residuals *res = reinterpret_cast<Residuals *>(part + a->B * chunks);

  TRY(launch("affine_l1 moments", stream, grid, dim3(BLOCK), moments<T>, *a, part));
  TRY(launch("affine_l1 residuals", stream, grid, dim3(BLOCK), residuals<T>, *a, part, res));
  if (a->grad) TRY(launch("affine_l1 gradient", stream, grid, dim3(BLOCK), gradient<T>, *a, part, res));
  TRY(finish("affine_l1 finish", stream, a, 3, &res->sum));
out:
  return st;
}
} // namespace

int kn_affine_l1_cuda(void *stream, const kn_loss_args *a) {
  int st = OK;
  TRY(check_loss("affine_l1", a));
  if (a->B == 0) goto out;
  TRY(a->type == KN_F32 ? run<float>(stream, a) : run<bf16>(stream, a));
out:
  return st;
}
