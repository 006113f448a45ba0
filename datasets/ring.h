/* datasets/ring.h: the memory that the trainer shares with its decoder processes: slots, each one group and the job
 * that makes it. Private to the loader.
 *
 *   FREE -> POSTED            trainer: the job is written
 *   POSTED -> RUNNING(w)      worker w, by compare-and-swap: nobody else has the slot until
 *   RUNNING(w) -> DONE        worker w: answer and samples are written, or
 *   RUNNING(w) -> DIED        supervisor, after it has reaped worker w
 *   DONE, DIED -> POSTED      trainer; and POSTED -> FREE, when no worker was faster
 *
 * A slot's state and owner are one word, so a worker killed at any instruction leaves no lock behind and no job lost or
 * done twice. Sleeping is done in two eventfds: `work` holds a token for every posted job (a spare one wakes a worker
 * for nothing, no more), `news` tells the trainer to look again. Atomics are the compiler's builtins: the header is
 * also C++, and the memory is shared between processes, which lock-free atomics allow. */
#ifndef DATASETS_RING_H
#define DATASETS_RING_H
#include <sys/types.h>

#include "base/io.h"
#include "datasets/loader.h"
#include "datasets/mixer.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { DS_RING_TEXT = 1024, DS_RING_WORKERS_MAX = 256 };
typedef enum { DS_SLOT_FREE, DS_SLOT_POSTED, DS_SLOT_RUNNING, DS_SLOT_DONE, DS_SLOT_DIED } ds_slot_state;

typedef struct ds_slot {
  uint32_t word;        /* atomic: state, and the owner << 8 while running */
  uint32_t beat;        /* atomic: grows as the worker gets on */
  int64_t order;        /* atomic: workers take the smallest */
  /* the job, with step, g and dataset of `group` */
  int npicks;
  ds_pick *picks;       /* [npicks] */
  bool files;           /* decode, whatever was prepared */
  bool both;            /* one pick, decoded once, wanted plain and mirrored, with frame in group */
  /* the answer */
  int status;           /* OK or the error's code; its message is in text */
  int at;               /* the pick it is about, -1 = none of them: no file is to blame */
  bool left_out;        /* it is no error: a filter leaves that pick out */
  char text[DS_RING_TEXT];
  int wait_status;      /* of the dead worker, as waitpid gives it */
  /* where the worker is */
  int reading;          /* atomic: the pick */
  char path[IO_PATH_MAX]; /* ds_source_watch */
  ds_group group;
  unsigned char *planes;
  int64_t *timesteps;   /* [samples] */
  ds_sample *samples;   /* [samples] the worker's, to read through */
} ds_slot;

/* Both atomic. life: the how-manieth process of this number. */
typedef struct ds_ring_worker { int pid; uint32_t life; } ds_ring_worker;

typedef struct ds_ring {
  int nslots, nworkers;
  ds_slot **slots;          /* [nslots] into the mapping */
  ds_ring_worker *workers;  /* [nworkers] into the mapping */
  size_t slot_planes;       /* bytes for planes in each slot */
  void *map;
  size_t map_size;
  int work, news;           /* eventfds */
} ds_ring;

/* Slots for groups of at most `samples` samples in `picks` items, with `planes` bytes each; the memory is only
 * reserved until it is written. Errors: E_NOMEM, E_FAIL. */
int ds_ring_create(int nslots, int nworkers, int picks, int samples, size_t planes, ds_ring *r);
void ds_ring_destroy(ds_ring *r);
/* What the planes of a group are for. */
typedef struct ds_planes {
  int B, H, W, need;            /* need: DS_NEED_* */
  bool stored;                  /* noise too */
  const ds_latent_form *latent; /* latents and no rgb; NULL: rgb */
} ds_planes;
size_t ds_ring_plane_bytes(const ds_planes *p);
/* Points the slot's group at its planes. False: they do not fit. */
bool ds_ring_place(const ds_ring *r, ds_slot *s, const ds_planes *p);

/* ---- trainer ---- */
ds_slot_state ds_ring_state(const ds_slot *s);
/* The job is complete; from any state but RUNNING. */
void ds_ring_post(ds_ring *r, ds_slot *s, int64_t order);
/* Takes a posted job back; false when a worker was faster. */
bool ds_ring_retract(ds_slot *s);
/* Forgets what `news` said so far: look at the slots after this. */
void ds_ring_hear(ds_ring *r);

/* ---- worker w ---- */
/* Sleeps until there may be work. */
void ds_ring_sleep(ds_ring *r);
/* The oldest posted job, or NULL. */
ds_slot *ds_ring_claim(ds_ring *r, int w);
void ds_ring_beat(ds_slot *s, int pick);
void ds_ring_finish(ds_ring *r, ds_slot *s);

/* ---- supervisor ---- */
/* Worker w is dead and reaped: its job, if it had one, goes back to the trainer. True when it had one. */
bool ds_ring_bury(ds_ring *r, int w, int wait_status);
#ifdef __cplusplus
}
#endif
#endif
