/* trainer/bench.h: steps, inferences or gradients of a config's model on made-up samples in memory: how long, how much
 * memory, where the time goes. */
#ifndef TRAINER_BENCH_H
#define TRAINER_BENCH_H
#include <jansson.h>

#include "configs/config.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { TR_BENCH_SHAPES = 8 };
typedef struct tr_bench_opts {
  int steps, warm;                         /* timed, and before those */
  int nshapes;
  int shape[TR_BENCH_SHAPES][2];           /* H, W of samples */
  int share[TR_BENCH_SHAPES];              /* of the groups, in turn */
  bool encode;                             /* images are encoded in the step; else latents are given */
} tr_bench_opts;

/* Training steps. *out: a JSON object, the caller's. Errors: E_CONFIG: a size that the VAE cannot take; else as training. */
int tr_bench_train(const cf_config *c, const tr_bench_opts *o, json_t **out);
/* encode, U-Net and decode of optim.micro_batch (auto: 1) images at once, without a graph. */
int tr_bench_predict(const cf_config *c, const tr_bench_opts *o, json_t **out);
/* Loss and gradient of one step against fp32 through plain operators, with the same weights and samples. */
int tr_bench_check(const cf_config *c, const tr_bench_opts *o, json_t **out);
#ifdef __cplusplus
}
#endif
#endif
