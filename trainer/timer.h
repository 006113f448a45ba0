/* trainer/timer.h: where a step's time goes, by events on the device's stream. */
#ifndef TRAINER_TIMER_H
#define TRAINER_TIMER_H
#include "tchc/tchc.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum {
  TR_INPUT,         /* uploads, latents, noise, zeroed gradients */
  TR_UNET, TR_UNET_BACK,
  TR_DECODER, TR_LOSS, TR_DECODER_BACK,
  TR_OPTIMIZER,
  TR_PHASES
} tr_phase;
extern const char *const tr_phase_names[TR_PHASES];

typedef struct tr_timer tr_timer;
/* Errors: E_NOMEM, E_DEVICE. */
int tr_timer_open(tchc_device d, tr_timer **out);
void tr_timer_close(tr_timer **t);
/* What is queued from now on belongs to `phase`. timer NULL: nothing happens. */
int tr_timer_mark(tr_timer *t, tr_phase phase);
/* Ends the last phase, waits for the device, adds the phases' milliseconds to ms, and begins anew. */
int tr_timer_read(tr_timer *t, double ms[TR_PHASES]);
#ifdef __cplusplus
}
#endif
#endif
