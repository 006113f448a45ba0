/* trainer/schedule.h: the learning rate as a function of the step alone. */
#ifndef TRAINER_SCHEDULE_H
#define TRAINER_SCHEDULE_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { TR_EXPONENTIAL, TR_CONSTANT } tr_schedule;

/* Factor on the base rate for the step of index `step`, counted from 0:
 *   step < warmup               step / warmup, so the very first step has rate 0
 *   TR_CONSTANT, afterwards     1
 *   step >= decay_steps         final_ratio
 *   in between                  final_ratio ^ ((step - warmup) / (decay_steps - warmup))
 * decay_steps counts from step 0 and includes the warm-up; decay_steps <= warmup goes from the warm-up straight to
 * final_ratio. warmup = 0: no warm-up. final_ratio > 0.
 * Source: diffusion-e2e-ft training/util/lr_scheduler.py IterExponential. */
double tr_lr_factor(tr_schedule kind, int64_t step, int64_t warmup, int64_t decay_steps, double final_ratio);
#ifdef __cplusplus
}
#endif
#endif
