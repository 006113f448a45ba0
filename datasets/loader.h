/* datasets/loader.h: groups decoded ahead by worker processes into a ring of shared buffers.
 * Workers are forked by a supervisor process that was itself forked before libtorch was touched, so a dead worker can be
 * replaced at any time; all of them end when the trainer does and hold none of its locks. A worker that dies or
 * stays silent for too long is replaced and its file reported; HDF5 may crash on a damaged file, the trainer never. */
#ifndef DATASETS_LOADER_H
#define DATASETS_LOADER_H
#include "datasets/source.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ds_loader_opts {
  uint64_t seed;
  int group;            /* samples in a group */
  int groups_per_step;
  int workers;          /* >= 1; 0 decodes in this process */
  int ahead;            /* groups in the ring; 0 = 2 * groups_per_step, at least 2 * workers */
  double timeout_s;     /* silence after which a worker is taken for hung; 0 = 120 */
  bool singly;          /* groups come apart, one item at a time in their order: for dumps, where shapes may differ */
  /* Instead of training's groups: these items, each decoded once and given plain and mirrored (B = 2), in this order and
   * then no more. Borrowed for the loader's life; group and groups_per_step do not count. */
  const struct ds_todo *todo;
  int64_t ntodo;
} ds_loader_opts;

typedef struct ds_todo { int dataset; int64_t item; } ds_todo;

typedef struct ds_data {  /* one entry of `data` */
  ds_source *source;      /* borrowed for the loader's life */
  double weight;
} ds_data;

/* One group as the trainer gets it: samples of one data set and one shape, planes contiguous over the batch. */
typedef struct ds_group {
  int64_t step;
  int g;                /* 0 .. groups_per_step-1 */
  int dataset;
  int B, H, W;
  float *rgb;           /* [B,3,H,W], NULL when latents come instead */
  void *latent;         /* [B,C,h,w] of prepared data, else NULL */
  ds_latent_form latent_form;
  float *metric;        /* [B,1,H,W], NULL when not needed */
  float *depth;         /* [B,1,H,W], NULL when not needed */
  float *normals;       /* [B,3,H,W], NULL when not needed */
  uint8_t *mask;        /* [B,1,H,W] */
  float *noise;         /* [B,4,H/8,W/8] stored with kind batches, else NULL */
  int64_t *timesteps;   /* [B] stored with kind batches, else NULL */
  int64_t *valid;       /* [B] */
  int64_t *domain;      /* [B] */
  char (*id)[DS_ID_MAX];  /* [B] */
  int64_t item;         /* of `todo`, with: */
  ds_hash frame;        /* of what was decoded; */
  const char *bad;      /* not NULL: why the item cannot be read, or the filter leaves it out; B = 0 */
  bool left_out;
} ds_group;

typedef struct ds_loader ds_loader;
/* Forks the supervisor: call before the first torch call and before threads, from a thread that outlives the loader.
 * Errors: E_CONFIG; E_DATA: a source without samples, stored groups of another size; E_NOMEM, E_FAIL. */
int ds_loader_open(const ds_loader_opts *o, const ds_data *data, int n, ds_loader **out);
/* Starts decoding at group 0 of `step` (from 1, the default). Also goes back or forward later; lent groups stay lent. */
int ds_loader_seek(ds_loader *l, int64_t step);
/* The next group in (step, g) order; waits for it. Lent until ds_loader_release.
 * A bad file of a source with skip_bad_files is reported once and replaced (ds_mixer_replace). A file is bad when
 * its reader says so, when a worker crashes in it twice (is killed in it five times), or when a worker is silent in
 * it for timeout_s while we wait here.
 * With `todo` a bad file comes as a group with `bad`, and *out is NULL after the last item.
 * Errors: E_DATA: a bad file that is not to be skipped or is a stored group's, 8 bad replacements in a row, samples
 * of different shapes in a group; E_FAIL: every group of the ring is lent, or processes cannot be started. After an
 * error the same group fails again until ds_loader_seek. */
int ds_loader_next(ds_loader *l, ds_group **out);
void ds_loader_release(ds_loader *l, ds_group *g);
/* A lent group of prepared data once more, decoded from its files: with rgb and without latents. Nothing happens to another
 * group. Errors: E_DATA: a file cannot be read any more, and the group is worth nothing. */
int ds_loader_decode(ds_loader *l, ds_group *g);
/* Seconds spent waiting in ds_loader_next since the last call of this function. */
double ds_loader_waited(ds_loader *l);
/* Bad files reported so far (each once). */
int64_t ds_loader_bad_files(const ds_loader *l);
/* Bad file i of them in the order in which they were met: its data set, and the reason, which names the file. Lent until
 * ds_loader_close. */
const char *ds_loader_bad_file(const ds_loader *l, int64_t i, int *dataset);
/* Items of data[dataset] that its filter has left out so far: others were drawn instead (ds_mixer_replace). With `singly`
 * and no shuffling they are passed over. */
int64_t ds_loader_left_out(const ds_loader *l, int dataset);
/* The memory that all groups lie in, for page-locking it. Reserved, not used, where sizes are the images' own: *known tells. */
void ds_loader_memory(const ds_loader *l, void **at, size_t *bytes, bool *known);
/* Ends workers and supervisor. Takes NULL. */
void ds_loader_close(ds_loader **l);
/* Process ids of the workers, for tests (0 while one is being replaced); returns their number. */
int ds_loader_worker_pids(const ds_loader *l, int *pids, int max);

/* Writes groups (or single samples with B = 1) in the `batches` format: rgb, mask, metric, normals, depth, noise,
 * timesteps, domain as far as they are there; metadata "ids" has the ids, one a line. Errors: E_DISK, E_IO, E_NOMEM. */
int ds_group_save(const ds_group *g, const char *path);
#ifdef __cplusplus
}
#endif
#endif
