/* trainer/signals.h: SIGINT, SIGTERM and SIGUSR1 ask a run to save and stop; a second one leaves at once. */
#ifndef TRAINER_SIGNALS_H
#define TRAINER_SIGNALS_H
#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
/* The handler only sets a flag; the second signal ends the process with 128 + its number. Call after the decoders were
 * started: they must not inherit it. */
int tr_signals_install(void);
/* The signal that came first, or 0. */
int tr_signal_seen(void);
#ifdef __cplusplus
}
#endif
#endif
