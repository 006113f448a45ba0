/* trainer/optimizer.h: the update: global norm, clipping, AdamW or Adam, EMA, refresh of the bf16 copy. Moments and EMA
 * are flat f32 tensors in the layout of the masters. */
#ifndef TRAINER_OPTIMIZER_H
#define TRAINER_OPTIMIZER_H
#include "checkpoints/state.h"
#include "trainer/network.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_optimizer tr_optimizer;
/* net is borrowed. Errors: E_NOMEM, E_DEVICE. */
int tr_optimizer_create(const cf_config *c, tr_network *net, tr_optimizer **out);
void tr_optimizer_destroy(tr_optimizer **o);
/* Norm of net->grads and one update with this rate, where gradient and losses (any shape, f32; on the network's device)
 * are all finite; else nothing changes. update false: the norm alone. On a GPU the host does not wait. */
int tr_optimizer_step(tr_optimizer *o, double lr, const tchc_tensor *losses, bool update);
/* What the last step came to; waits for the device. bad: NULL, or the name of the first parameter with a non-finite
 * gradient, lent by the network. */
int tr_optimizer_result(tr_optimizer *o, double *norm, const char **bad);
/* The network computes with the average of the weights, and the average's place holds the weights, until this is called once
 * more, which gives every bit back. Needs optim.ema. Errors: E_DEVICE, E_NOMEM. */
int tr_optimizer_swap_average(tr_optimizer *o);
/* Decay of update t (from 1) towards `decay`: 0 first, then min(decay, t / (9 + t)). Source: diffusers EMAModel.get_decay. */
double tr_ema_decay(double decay, int64_t t);

/* Layout and adam_t alone, without buffers. Names and shapes are lent by o. */
void tr_optimizer_layout(const tr_optimizer *o, ck_state *s);
/* Weights, first and second moment, EMA (NULL without one), [numel] f32 where and as the network has them; lent. */
void tr_optimizer_tensors(const tr_optimizer *o, const tchc_tensor *out[4]);
/* A copy of one of these on the host becomes row-major, in place. From any thread. */
int tr_optimizer_row_major(const tr_optimizer *o, tchc_tensor *copy);
/* Fills the checkpoint's buffers and layout, row-major on the host, and adam_t: with the optimizer's own memory where that
 * is so, lent until the next update; otherwise with copies made now, lent until the next call. For loading, write into them
 * and call tr_optimizer_restored. */
int tr_optimizer_state(tr_optimizer *o, ck_state *s);
/* After ck_load into the buffers of tr_optimizer_state. */
int tr_optimizer_restored(tr_optimizer *o, const ck_state *s);
#ifdef __cplusplus
}
#endif
#endif
