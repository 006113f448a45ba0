/* datasets/worker.h: what a decoder process does. Private to the loader. */
#ifndef DATASETS_WORKER_H
#define DATASETS_WORKER_H
#include "datasets/ring.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Decodes the slot's job into its group; status, at and text say how it went. The trainer itself uses it, too. */
void ds_worker_decode(const ds_data *data, const ds_ring *r, ds_slot *s);
/* Worker w: job after job, until it is killed. Prints nothing. Does not return. */
void ds_worker_main(const ds_data *data, ds_ring *r, int w);
#ifdef __cplusplus
}
#endif
#endif
