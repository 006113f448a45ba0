/* datasets/supervisor.h: the process between trainer and decoders: it forks the workers, forks each one that dies anew,
 * and hands a dead one's job back. Private to the loader. */
#ifndef DATASETS_SUPERVISOR_H
#define DATASETS_SUPERVISOR_H
#include "datasets/ring.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ds_supervisor {
  int pid; /* 0: none */
  int ctl; /* our end of a socket; hung up once the supervisor and every worker are gone */
} ds_supervisor;

/* Forks it and waits until all workers are there. They decode from `data`, which must outlive them in this process's
 * memory image only. Supervisor and workers are killed by the kernel when the calling thread ends. Errors: E_FAIL. */
int ds_supervisor_start(ds_ring *r, const ds_data *data, ds_supervisor *out);
/* Kills worker w if it still is the one of that `life`; its job comes back as DIED. */
void ds_supervisor_kill(const ds_supervisor *s, int w, uint32_t life);
/* Ends and reaps all processes. */
void ds_supervisor_stop(ds_supervisor *s);
#ifdef __cplusplus
}
#endif
#endif
