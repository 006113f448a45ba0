/* trainer/plan.h: what a run is going to do, decided before the first step: batch sizes, memory, disk. */
#ifndef TRAINER_PLAN_H
#define TRAINER_PLAN_H
#include <stdio.h>

#include "trainer/bind.h"
#include "trainer/network.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_plan {
  int group, groups;              /* samples a group, groups a step */
  int unet_batch, decoder_batch;  /* samples at once */
  bool chosen;                    /* unet_batch is ours: micro_batch was auto */
  int H, W;                       /* the largest sample */
  int64_t unet_numel, vae_numel;
  int64_t samples;                /* of all data sets once */
  /* bytes */
  int64_t weights, optimizer, activations, groups_ahead, checkpoint, snapshot;
} tr_plan;

/* Needs net as read from JSON, not loaded. largest: height and width of the largest sample. */
int tr_plan_make(const cf_config *c, const tr_network *net, const tr_data *d, const int largest[2], tr_plan *p);
/* For people, one thing a line. */
void tr_plan_print(const tr_plan *p, const cf_config *c, const tr_network *net, const tr_data *d, FILE *f);
#ifdef __cplusplus
}
#endif
#endif
