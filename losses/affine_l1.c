/* losses/affine_l1.c: the depth loss, L1 after a per-image least-squares scale and shift. */
#include "kernels/affine_l1.h"
#include "losses/decoded.h"

static int f32(int64_t B, int64_t n, const float *decoded, const float *target, const uint8_t *mask,
               const float *weight, bool reference, float *sums, float *grad) {
  (void)reference; /* its NaN cases (overflow) are the only way */
  return kn_affine_l1_f32_ref(B, n, decoded, target, mask, weight, sums, grad, NULL);
}

static int f64(int64_t B, int64_t n, const double *decoded, const double *target, const uint8_t *mask,
               const double *weight, bool reference, double *sums, double *grad) {
  (void)reference;
  return kn_affine_l1_f64_ref(B, n, decoded, target, mask, weight, sums, grad, NULL);
}

static int cuda(const kn_cuda *kernels, void *stream, const kn_loss_args *a, bool reference) {
  (void)reference;
  return kernels->affine_l1(stream, a);
}

static int apply(const ls_batch *b, tchc_tensor **total, tchc_tensor **sums) {
  static const ls_kernel kernel = {"affine_l1", 1, f32, f64, cuda};

  return ls_kernel_apply(&kernel, b, total, sums);
}

const ls_kind ls_affine_l1 = {"affine_l1", LS_DEPTH, apply};
