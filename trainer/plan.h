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
  bool recompute_unet, recompute_decoder; /* their blocks run again in backward */
  bool chosen;                    /* unet_batch is ours: micro_batch was auto */
  bool fits;                      /* false: nothing that fits `room` was found, these are the smallest parts */
  int H, W;                       /* the largest sample */
  int64_t unet_numel, vae_numel;
  int64_t samples;                /* of all data sets once */
  /* bytes */
  int64_t weights, optimizer, activations, groups_ahead, checkpoint, snapshot;
  int64_t room;                   /* of the device; 0 = unknown */
  tchc_device_type where;         /* the device; samples ahead and the snapshot are in the host's memory */
} tr_plan;

/* "1.5 GiB" */
const char *tr_bytes_text(int64_t n, char out[32]);
/* Needs net as read from JSON, not loaded. largest: height and width of the largest sample. What depends on the device is
 * left to tr_plan_fit. */
int tr_plan_sizes(const cf_config *c, const tr_network *net, const int largest[2], tr_plan *p);
/* Chooses how much is computed at once, and what is recomputed, by a model of memory: weights and optimizer, what both
 * networks keep for backward, libtorch's workspaces. room: bytes of the device, 0 = unknown. Pure. */
void tr_plan_fit(const cf_config *c, const tr_network *net, tchc_device_type where, bool fused, int64_t room, tr_plan *p);
/* tr_plan_sizes, and how many samples the data sets have. */
int tr_plan_make(const cf_config *c, const tr_network *net, const tr_data *d, const int largest[2], tr_plan *p);
/* For people, one thing a line. */
void tr_plan_print(const tr_plan *p, const cf_config *c, const tr_network *net, const tr_data *d, FILE *f);
#ifdef __cplusplus
}
#endif
#endif
