/* kernels/loss.cuh: what the two losses share on the device. */
#ifndef KERNELS_LOSS_CUH
#define KERNELS_LOSS_CUH
#include "kernels/device.cuh"
#include "kernels/loss_args.h"

namespace kn {
/* An image of the batch and this block's stretch of its pixels. */
template <typename T> struct Image {
  const T *x;
  T *grad;
  const uint8_t *mask;
  int64_t n, stride_c, stride_p, first, end;
};

template <typename T> __device__ inline Image<T> my_image(const kn_loss_args &a) {
  const int64_t b = blockIdx.y, chunk = (a.n + gridDim.x - 1) / gridDim.x, first = blockIdx.x * chunk;
  T *grad = static_cast<T *>(a.grad);
  return {static_cast<const T *>(a.decoded) + b * a.stride_b, grad ? grad + b * a.stride_b : nullptr, a.mask + b * a.n,
          a.n, a.stride_c, a.stride_p, first, first + chunk < a.n ? first + chunk : a.n};
}

/* Sum over the 3 channels of products, each operation rounded by itself as the source's are. */
__device__ inline float dot3(const float (&a)[3], const float (&b)[3]) {
  return __fadd_rn(__fadd_rn(__fmul_rn(a[0], b[0]), __fmul_rn(a[1], b[1])), __fmul_rn(a[2], b[2]));
}

/* sums[b] from partial sums part[(b * chunks + s) * width], and the weighted total. One block of 1024, a warp an image
 * in turn. */
static __global__ void finish_loss(int64_t B, int chunks, int width, const double *part, const float *weight,
                                   float *sums, float *total) {
  __shared__ double share[WARP];
  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  double mine = 0;

  for (int64_t b = warp; b < B; b += WARP) {
    const double sum = warp_sum(lane < chunks ? part[(b * chunks + lane) * width] : 0.0);
    if (lane == 0) sums[b] = static_cast<float>(sum);
    mine += static_cast<double>(weight[b]) * static_cast<float>(sum);
  }
  if (lane == 0) share[warp] = mine;
  __syncthreads();
  if (threadIdx.x == 0) {
    double all = 0;
    for (int w = 0; w < WARP; w++) all += share[w];
    *total = static_cast<float>(all);
  }
}

inline int finish(const char *what, void *stream, const kn_loss_args *a, int width, const double *part) {
  return launch(what, stream, dim3(1), dim3(WARP * WARP), finish_loss, a->B, kn_loss_chunks(a->n), width, part, a->weight,
                a->sums, a->total);
}

inline int check_loss(const char *what, const kn_loss_args *a) {
  int st = OK;
  NEED(is_type(a->type) && a->B >= 0 && a->n >= 0 && a->B <= MAX_GRID_YZ, E_SHAPE, "%s: %lld images of %lld pixels, type %d",
       what, (long long)a->B, (long long)a->n, (int)a->type);
out:
  return st;
}
} // namespace kn
#endif
