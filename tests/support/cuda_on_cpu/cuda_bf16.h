/* tests/support/cuda_on_cpu/cuda_bf16.h: the bfloat16 type and its conversions. */
#ifndef CUDA_ON_CPU_CUDA_BF16_H
#define CUDA_ON_CPU_CUDA_BF16_H
#include "base/half.h"

struct __nv_bfloat16 {
  uint16_t bits;
};
inline float __bfloat162float(__nv_bfloat16 v) { return bf16_to_f32(v.bits); }
inline __nv_bfloat16 __float2bfloat16_rn(float v) { return {bf16_from_f32(v)}; }
#endif
