/* datasets/quantile.h: order statistics by selection, with the rounding of torch.quantile and of numpy.percentile. */
#ifndef DATASETS_QUANTILE_H
#define DATASETS_QUANTILE_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
/* v [n], n >= 1, reordered: v[k] becomes the k-th smallest (from 0), none before it is larger, none behind it
 * smaller. No NaN. */
void ds_select_f32(float *v, size_t n, size_t k);
void ds_select_f64(double *v, size_t n, size_t k);

/* The 0.02 and 0.98 quantiles of v [n], n >= 1, reordered, no NaN: as torch.quantile on the CPU computes them, with
 * the rank q*(n-1) in float32 and the interpolation in float32 with one rounding (torch 2.11, equal bits for n up to
 * 2^24). */
void ds_quantiles_02_98(float *v, size_t n, float *q02, float *q98);

/* numpy.percentile(v, 100 q), linear, in double. v [n], n >= 1, reordered, no NaN. */
double ds_percentile(double *v, size_t n, double q);
#ifdef __cplusplus
}
#endif
#endif
