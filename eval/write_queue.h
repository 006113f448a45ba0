/* eval/write_queue.h: results written by threads, since compressing them can take longer than predicting them. */
#ifndef EVAL_WRITE_QUEUE_H
#define EVAL_WRITE_QUEUE_H
#include "eval/prediction_write.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ev_write_queue ev_write_queue;
/* done (may be NULL) is called for each result that is on disk, in the order in which they were put, by one thread at a
 * time. Errors: E_NOMEM, E_FAIL (no thread). */
int ev_write_queue_open(const ev_write_opts *o, int threads, void (*done)(void *ctx, const char *name), void *ctx,
                        ev_write_queue **out);
/* Copies image and prediction; waits while too many are under way. Errors: what a thread failed with, once, after which
 * nothing more is written; E_NOMEM. */
int ev_write_queue_put(ev_write_queue *q, const char *name, const ev_image *image, const ev_prediction *p);
/* Waits until all is written. Errors: as above. */
int ev_write_queue_finish(ev_write_queue *q);
/* Drops what is not under way yet. Takes NULL, nulls the pointer. */
void ev_write_queue_close(ev_write_queue **q);
#ifdef __cplusplus
}
#endif
#endif
