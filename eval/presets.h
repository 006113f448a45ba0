/* eval/presets.h: the ways of running one set of weights that the paper's tables compare, and the numbers they report. */
#ifndef EVAL_PRESETS_H
#define EVAL_PRESETS_H
#include <stdio.h>

#include "eval/evaluate.h"
#include "eval/predict.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ev_preset {
  const char *name, *label;
  int steps, ensemble;
  md_sampler sampler;
  md_spacing spacing;
  md_noise noise;
} ev_preset;

enum { EV_PRESETS_MAX = 16 };
/* text: names separated by commas, or "all". Fills chosen [EV_PRESETS_MAX]. Errors: E_CONFIG naming the unknown one. */
int ev_presets_choose(const char *text, const ev_preset **chosen, int *n);
void ev_presets_apply(const ev_preset *p, ev_predict_opts *o);
/* results [n_presets][n_sets], the sets' results of one preset together; presets [n_presets]. A table in the paper's form:
 * depth AbsRel / delta1 in per cent, normals mean angle / per cent below 11.25 degrees; below it the published rows for
 * these sets. "-" where none is published. */
void ev_presets_print(const ev_preset *const *presets, int n_presets, const ev_result *results, int n_sets, FILE *f);

#define EV_PRESETS_HELP \
  "presets (--preset NAME,... or all) for --model, printed beside the paper's numbers:\n" \
  "  one-step  1 step, trailing, noise zeros     gaussian  1 step, trailing, gaussian\n" \
  "  pyramid   1 step, trailing, pyramid         leading   1 step, leading, gaussian: the flawed schedule\n" \
  "  ensemble  50 steps, leading, 10 predictions lcm       LCM, 1 step, gaussian"
#ifdef __cplusplus
}
#endif
#endif
