/* kernels/cuda_table.c: the list of kernels, in the library. */
#include "kernels/cuda_table.h"

const kn_cuda kn_cuda_kernels = {
    .affine_l1 = kn_affine_l1_cuda,
    .angular = kn_angular_cuda,
    .sumsq_f32 = kn_sumsq_f32_cuda,
    .adamw_f32 = kn_adamw_f32_cuda,
    .add_stats = kn_add_stats_cuda,
    .group_norm_coef = kn_group_norm_coef_cuda,
    .group_norm_apply = kn_group_norm_apply_cuda,
    .group_norm_reduce = kn_group_norm_reduce_cuda,
    .group_norm_back = kn_group_norm_back_cuda,
    .group_norm_params = kn_group_norm_params_cuda,
    .group_norm_dx = kn_group_norm_dx_cuda,
    .softmax = kn_softmax_cuda,
    .softmax_bwd = kn_softmax_bwd_cuda,
    .geglu = kn_geglu_cuda,
    .geglu_bwd = kn_geglu_bwd_cuda,
    .colsum = kn_colsum_cuda,
    .layer_norm = kn_layer_norm_cuda,
    .layer_norm_bwd = kn_layer_norm_bwd_cuda,
};
