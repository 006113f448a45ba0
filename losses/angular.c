/* losses/angular.c: the normals loss, the angle to the unit target. */
#include "kernels/angular.h"
#include "losses/decoded.h"

static int f32(int64_t B, int64_t n, const float *decoded, const float *target, const uint8_t *mask,
               const float *weight, bool reference, float *sums, float *grad) {
  return kn_angular_f32_ref(B, n, decoded, target, mask, weight, reference, sums, grad);
}

static int f64(int64_t B, int64_t n, const double *decoded, const double *target, const uint8_t *mask,
               const double *weight, bool reference, double *sums, double *grad) {
  return kn_angular_f64_ref(B, n, decoded, target, mask, weight, reference, sums, grad);
}

static int cuda(const kn_cuda *kernels, void *stream, const kn_loss_args *a, bool reference) {
  return kernels->angular(stream, a, reference);
}

static int apply(const ls_batch *b, tchc_tensor **total, tchc_tensor **sums) {
  static const ls_kernel kernel = {"angular", 3, f32, f64, cuda};

  return ls_kernel_apply(&kernel, b, total, sums);
}

const ls_kind ls_angular = {"angular", LS_NORMALS, apply};
