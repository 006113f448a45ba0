/* Normals loss. Bound by memory: decoded, gt and mask are read once, the gradient written once; 8 images of 480x640 in
 * bf16 are 62 MB. Whatever decides about |dot| is computed operation by operation as in angular_ref.inc. */
#include "kernels/angular.h"
#include "kernels/loss.cuh"

using namespace kn;

namespace {
constexpr float NORM_EPS = 1e-5f;
constexpr float NEAR_ONE = static_cast<float>(1 - 1e-6);

__device__ bool inside(float v) { return v >= -1 && v <= 1; }
__device__ float clamped(float v) { return v < -1 ? -1 : v > 1 ? 1 : v; } /* NaN stays */

/* d angle / d dot. */
__device__ float slope(float dot, bool reference) {
  if (!inside(dot)) return 0;
  if (!reference) dot = dot > NEAR_ONE ? NEAR_ONE : dot < -NEAR_ONE ? -NEAR_ONE : dot;
  return -1.0f / sqrtf(__fadd_rn(1.0f, -__fmul_rn(dot, dot)));
}

/* One pixel: its angle; and the gradient by x, scaled. */
__device__ float pixel(const float (&x)[3], const float (&gt)[3], bool want_grad, double scale, bool reference,
                       float (&grad)[3]) {
  const float length = sqrtf(dot3(x, x)), norm = length + NORM_EPS;
  const float raw[3] = {x[0] / norm, x[1] / norm, x[2] / norm};
  const float p[3] = {clamped(raw[0]), clamped(raw[1]), clamped(raw[2])};
  const float dot = dot3(p, gt);

  if (want_grad) {
    const double d = scale * slope(dot, reference);
    double g[3], along = 0;
    for (int c = 0; c < 3; c++) {
      g[c] = inside(raw[c]) ? d * gt[c] / norm : 0;
      along += g[c] * raw[c];
    }
    for (int c = 0; c < 3; c++) grad[c] = static_cast<float>(length == 0 ? g[c] : g[c] - along * x[c] / length);
  }
  return acosf(clamped(dot));
}

template <typename T>
__global__ void __launch_bounds__(BLOCK) angular(kn_loss_args a, bool reference, double *part) {
  __shared__ double room[BLOCK / WARP];
  const Image<T> im = my_image<T>(a);
  const float *gt = a.gt + blockIdx.y * 3 * a.n;
  const double weight = a.weight[blockIdx.y];
  double sum = 0;

  for (int64_t i = im.first + threadIdx.x; i < im.end; i += BLOCK) {
    const bool valid = im.mask[i] != 0;
    float grad[3] = {0, 0, 0};
    if (valid || reference) {
      const T *at = im.x + i * im.stride_p;
      const float x[3] = {to_f32(at[0]), to_f32(at[im.stride_c]), to_f32(at[2 * im.stride_c])};
      const float target[3] = {gt[i], gt[a.n + i], gt[2 * a.n + i]};
      const float angle = pixel(x, target, im.grad != nullptr, valid ? weight : 0, reference, grad);
      if (valid) sum += angle;
    }
    if (im.grad)
      for (int c = 0; c < 3; c++) im.grad[i * im.stride_p + c * im.stride_c] = from_f32<T>(grad[c]);
  }
  sum = block_sum(sum, room);
  if (threadIdx.x == 0) part[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

template <typename T> int run(void *stream, const kn_loss_args *a, bool reference) {
  int st = OK;
  const dim3 grid(kn_loss_chunks(a->n), static_cast<unsigned>(a->B));
  double *part = static_cast<double *>(a->workspace);

  TRY(launch("angular", stream, grid, dim3(BLOCK), angular<T>, *a, reference, part));
  TRY(finish("angular finish", stream, a, 1, part));
out:
  return st;
}
} // namespace

int kn_angular_cuda(void *stream, const kn_loss_args *a, int reference) {
  int st = OK;
  TRY(check_loss("angular", a));
  if (a->B == 0) goto out;
  TRY(a->type == KN_F32 ? run<float>(stream, a, reference != 0) : run<bf16>(stream, a, reference != 0));
out:
  return st;
}
