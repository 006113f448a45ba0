/* base/half.h: IEEE half and bfloat16 bits to float and back, round to nearest even, NaN and inf kept. */
#ifndef BASE_HALF_H
#define BASE_HALF_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
float half_to_f32(uint16_t h);
uint16_t half_from_f32(float f);
float bf16_to_f32(uint16_t b);
uint16_t bf16_from_f32(float f);
/* Arrays; in and out may not overlap. */
void half_to_f32_n(const uint16_t *in, float *out, size_t n);
void half_from_f32_n(const float *in, uint16_t *out, size_t n);
void bf16_to_f32_n(const uint16_t *in, float *out, size_t n);
void bf16_from_f32_n(const float *in, uint16_t *out, size_t n);
#ifdef __cplusplus
}
#endif
#endif
