/* trainer/model_export.h: the weights folders that a run ends with and that `e2eft export` makes. */
#ifndef TRAINER_MODEL_EXPORT_H
#define TRAINER_MODEL_EXPORT_H
#include "base/io.h"
#include "checkpoints/part.h"
#include "checkpoints/state.h"
#include "trainer/network.h"
#ifdef __cplusplus
extern "C" {
#endif
/* The weights and where they come from; all borrowed. */
typedef struct tr_export_from {
  const cf_config *config;    /* model.path: the base */
  const tr_network *net;      /* as tr_network_read leaves it, or loaded */
  const ck_state *state;      /* weights, layout, step; ema may be NULL */
  const char *config_text;
  const char *run_dir;        /* NULL: unknown */
} tr_export_from;

typedef struct tr_export_opts {
  const char *out;
  bool folded;                /* portable form, of the EMA when there is one */
  bool unet_only;
  bool flip_x;                /* --normals-frame marigold */
  ck_precisions precisions;
} tr_export_opts;

/* Written, loaded back and described, but not yet under its name. */
typedef struct tr_exported {
  char out[IO_PATH_MAX], tmp[IO_PATH_MAX];
  bool checked;
  double difference, text_difference; /* see tr_answers */
} tr_exported;

/* May the run be folded? why: one line when not (borrowed). */
bool tr_export_foldable(const cf_config *c, const char **why);
/* Errors: those of ck_export_begin, tr_answers_compare. Nothing is left behind after one. */
int tr_export_make(const tr_export_from *from, const tr_export_opts *o, tr_exported *e);
/* Errors: those of ck_export_finish. */
int tr_export_publish(tr_exported *e);
/* Removes what was not published. */
void tr_export_abandon(tr_exported *e);

/* RUN_DIR/portable, where the run may be folded, and RUN_DIR/model, which comes last and says that the run is finished;
 * what was measured goes into run.json. */
int tr_export_run(const tr_export_from *from);
#ifdef __cplusplus
}
#endif
#endif
