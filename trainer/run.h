/* trainer/run.h: a training run from the first group to the exported weights. */
#ifndef TRAINER_RUN_H
#define TRAINER_RUN_H
#include "configs/config.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_run_opts {
  const char *resume; /* NULL, "auto", or a folder */
  bool force;         /* resume although keys that change the meaning differ */
  int argc;           /* the command line, for run.json */
  char **argv;
} tr_run_opts;

/* Errors: all of base/err.h; E_STOPPED after a signal, with the state saved. */
int tr_run(const cf_config *c, const tr_run_opts *o);
/* Checks config, data (decodes one sample of each data set) and model, and prints every key and the plan to f.
 * Makes no run folder. */
int tr_run_dry(const cf_config *c, FILE *f);
#ifdef __cplusplus
}
#endif
#endif
