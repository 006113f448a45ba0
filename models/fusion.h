/* models/fusion.h: what a network needs to run through this program's own kernels. */
#ifndef MODELS_FUSION_H
#define MODELS_FUSION_H
#include "kernels/cuda.h"
#include "models/params.h"
#ifdef __cplusplus
extern "C" {
#endif
/* The network's parameters lie channels last (md_params_channels_last). */
typedef struct md_fusion {
  const kn_cuda *kernels; /* of the device where the parameters are: kn_cuda_open, or kn_host on the CPU */
  const md_params *wide;  /* f32, of the same layout as the network's own (or these themselves): biases and norms */
  tchc_tensor *grads;     /* f32 [numel], where the gradients of those go; NULL: frozen */
} md_fusion;
#ifdef __cplusplus
}
#endif
#endif
