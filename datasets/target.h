/* datasets/target.h: from depth and normals at their final size to what the losses compare with.
 * Source: diffusion-e2e-ft training/dataloaders/load.py, Hypersim.__getitem__, in float32 step by step as torch does
 * it. */
#ifndef DATASETS_TARGET_H
#define DATASETS_TARGET_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
/* depth [n] metres, NaN and inf are invalid. mask [n] out: near_m < depth < far_m. metric [n] out, may be NULL: depth
 * clamped to the 2nd..98th percentile of the valid ones, invalid = 98th. normalised [n] out, may be NULL: metric
 * mapped to [-1,1] by those percentiles. No valid pixel: zeros. Both percentiles equal: zeros and an empty mask.
 * scratch [n]. Returns the number of valid pixels. */
int64_t ds_target_depth(const float *depth, size_t n, float near_m, float far_m, float *scratch, uint8_t *mask,
                        float *metric, float *normalised);
/* For evaluation: mask as above, metric [n] out, may be NULL: depth where valid, 0 elsewhere. */
int64_t ds_target_whole(const float *depth, size_t n, float near_m, float far_m, uint8_t *mask, float *metric);
/* normals [3,n] in place: made unit length (x / max(|x|, 1e-12)), 0 where mask is 0. */
void ds_target_normals(float *normals, size_t n, const uint8_t *mask);
/* Before that, and not in the reference: where a normal is shorter than DS_NORMAL_MIN or not finite nothing is known
 * about the surface; a target of 0 would cost pi/2 of loss for nothing. Clears mask there; returns the pixels still
 * valid. */
int64_t ds_target_drop_unknown(const float *normals, size_t n, uint8_t *mask);
#define DS_NORMAL_MIN 0.01f
#ifdef __cplusplus
}
#endif
#endif
