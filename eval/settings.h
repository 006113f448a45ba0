/* eval/settings.h: what can be varied of a set's protocol, as key=value. The defaults are the set's own. */
#ifndef EVAL_SETTINGS_H
#define EVAL_SETTINGS_H
#include "eval/protocol.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ev_settings {
  char list[EV_NAME_MAX];  /* file with the set's images, "" = the published list beside the data, or what the layout says */
  ev_box box;
  bool benchmark_crop;
  float near_m, far_m;     /* metres */
  ev_alignment alignment;
  int align_max_res;       /* 0 = none */
  bool x_right;            /* predicted normals have x to the right, as Marigold's own: negated before they are compared */
  bool dsine_image;        /* images reach the model as in DSINE's test.py, see ev_dsine_image */
  int64_t limit;           /* only so many images, evenly spread; 0 = all */
} ev_settings;

/* p NULL: a data set of the config's kinds. */
void ev_settings_default(const ev_protocol *p, ev_settings *out);
/* Errors: E_CONFIG: unknown key, wrong value, what is wanted. */
int ev_settings_set(ev_settings *s, const char *key_value);
/* How predictions are aligned. */
ev_align_opts ev_settings_align(const ev_settings *s);
/* A line a key, for --help. */
#define EV_SETTINGS_HELP \
  "keys of --set, with the protocol's own as default:\n" \
  "  list=FILE                 the set's images, a line each, as published\n" \
  "  mask=none|nyu|eigen|garg  rows and columns that count\n" \
  "  crop=none|benchmark       KITTI's 352x1216\n" \
  "  near=M, far=M             metres: valid truth, and what predictions are clipped to\n" \
  "  alignment=depth|disparity|sqrt_disparity|none\n" \
  "  alignment_max_res=N       fit on fewer columns, as Marigold does for ETH3D (0: all)\n" \
  "  frame=left|right          x of predicted normals; Marigold's own models have right (left)\n" \
  "  image=plain|dsine         dsine: colours stretched as in DSINE's test code\n" \
  "  limit=N                   only N images, evenly spread (0: all)"
#ifdef __cplusplus
}
#endif
#endif
