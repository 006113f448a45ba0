#include "trainer/schedule.h"

#include <math.h>

double tr_lr_factor(tr_schedule kind, int64_t step, int64_t warmup, int64_t decay_steps, double final_ratio) {
  if (step < warmup) return (double)step / (double)warmup;
  if (kind == TR_CONSTANT) return 1;
  if (step >= decay_steps) return final_ratio;
  return exp((double)(step - warmup) / (double)(decay_steps - warmup) * log(final_ratio));
}
