/* kernels/sizes.c: sizes and factors that host and device code have to agree on; in the program and in the library. */
#include <math.h>

#include "kernels/adamw.h"
#include "kernels/add_stats.h"
#include "kernels/cuda_table.h"
#include "kernels/layer_norm.h"
#include "kernels/loss_args.h"

enum {
  LOSS_CHUNK = 4096, LOSS_CHUNKS = 32, /* a warp merges an image's chunks, one a lane */
  NORM_PARTS = 1024,
  LAYER_NORM_ROWS = 32, LAYER_NORM_PARTS = 528 /* four blocks on each of an H100's 132 processors */
};

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int kn_loss_chunks(int64_t n) {
  const int64_t chunks = ceil_div(n, LOSS_CHUNK);

  return chunks > LOSS_CHUNKS ? LOSS_CHUNKS : chunks < 1 ? 1 : (int)chunks;
}

/* Six moments and three sums a chunk. */
size_t kn_loss_workspace(int64_t B, int64_t n) { return (size_t)B * (size_t)kn_loss_chunks(n) * 9 * sizeof(double); }

/* Long enough that partial sums are a small share of the bytes, short enough that the chunks fill the device. */
int64_t kn_chunk_rows(int64_t HW) { return HW >= 200000 ? 512 : HW >= 50000 ? 256 : HW >= 4000 ? 128 : HW >= 1000 ? 64 : 32; }

int64_t kn_chunks(int64_t HW) { return ceil_div(HW, kn_chunk_rows(HW)); }

int64_t kn_layer_norm_parts(int64_t M) {
  const int64_t parts = ceil_div(M, LAYER_NORM_ROWS);

  return parts > LAYER_NORM_PARTS ? LAYER_NORM_PARTS : parts;
}

size_t kn_sumsq_workspace(void) { return NORM_PARTS * sizeof(double); }

kn_adamw_factors kn_adamw_factors_of(const kn_adamw_step *s) {
  const double bias1 = 1 - pow(s->beta1, (double)s->t), bias2 = 1 - pow(s->beta2, (double)s->t);

  return (kn_adamw_factors){.clip = s->clip > 0 ? (float)s->clip : 0,
                            .decay = s->decoupled ? (float)(1 - s->lr * s->weight_decay) : 1,
                            .l2 = s->decoupled ? 0 : (float)s->weight_decay,
                            .lerp = (float)(1 - s->beta1),
                            .beta2 = (float)s->beta2,
                            .square = (float)(1 - s->beta2),
                            .root = (float)sqrt(bias2),
                            .eps = (float)s->eps,
                            .step = (float)(s->lr / bias1),
                            .ema = (float)(1 - s->ema_decay)};
}

kn_cuda_layout kn_cuda_layout_here(void) {
  return (kn_cuda_layout){.version = 2,
                          .table = sizeof(kn_cuda),
                          .loss = sizeof(kn_loss_args),
                          .adamw = sizeof(kn_adamw_step),
                          .norm = sizeof(kn_norm),
                          .add_stats = sizeof(kn_add_stats_args),
                          .group_norm_coef = sizeof(kn_group_norm_coef_args),
                          .group_norm = sizeof(kn_group_norm_args),
                          .group_norm_back = sizeof(kn_group_norm_back_args),
                          .layer_norm = sizeof(kn_layer_norm_args),
                          .layer_norm_bwd = sizeof(kn_layer_norm_bwd_args)};
}
