/* trainer/eval_sets.h: the sets that a command line names to be measured on. */
#ifndef TRAINER_EVAL_SETS_H
#define TRAINER_EVAL_SETS_H
#include "configs/config.h"
#include "eval/set.h"
#include "trainer/cli.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_eval_sets {
  ev_set **at;
  int n;
} tr_eval_sets;

/* Opens what spec names and adds it: SET:PATH and KIND:PATH as ev_set_open has them, or a config file, which has a set for
 * each entry of its data list. keys: key=value of ev_settings_set. Errors: as ev_set_open, and the config's. */
int tr_eval_sets_add(const char *spec, bool normals, const cli_list *keys, tr_eval_sets *s);
/* A set for each entry of c's data list, in order. */
int tr_eval_sets_add_config(const cf_config *c, bool normals, const cli_list *keys, tr_eval_sets *s);
void tr_eval_sets_close(tr_eval_sets *s);
#ifdef __cplusplus
}
#endif
#endif
