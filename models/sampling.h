/* models/sampling.h: diffusers' Downsample2D and Upsample2D with a convolution. Sources: downsampling.py, upsampling.py. */
#ifndef MODELS_SAMPLING_H
#define MODELS_SAMPLING_H
#include "models/layers.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct md_downsample {
  char name[MD_NAME_MAX];
  md_conv conv;
  bool one_sided; /* the VAE encoder's: a zero column right and a zero row below, no padding in the convolution */
} md_downsample;
typedef struct md_upsample {
  char name[MD_NAME_MAX];
  md_conv conv;
  /* fused, owned by the block: the kernel of a frozen conv; else what it is made with at each use */
  tchc_tensor *kernel, *spread;
} md_upsample;

int md_downsample_build(const md_build *b, int channels, bool one_sided, md_downsample *d, const char *name_fmt, ...)
    ERR_PRINTF(5, 6);
int md_upsample_build(const md_build *b, int channels, md_upsample *u, const char *name_fmt, ...) ERR_PRINTF(4, 5);
/* x [B,C,h,w] -> [B,C,ceil(h/2),ceil(w/2)], one-sided [B,C,floor(h/2),floor(w/2)]. */
int md_downsample_forward(const md_downsample *d, const md_probe *probe, const tchc_tensor *x, tchc_tensor **out);
/* x [B,C,h,w] -> [B,C,to_h,to_w], nearest, then the convolution. */
int md_upsample_forward(const md_upsample *u, const md_probe *probe, const tchc_tensor *x, int64_t to_h, int64_t to_w,
                        tchc_tensor **out);
#ifdef __cplusplus
}
#endif
#endif
