/* models/probe.h: looks at every block's output under its checkpoint name, in call order. */
#ifndef MODELS_PROBE_H
#define MODELS_PROBE_H
#include "tchc/tchc.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct md_probe {
  void *ctx;
  int (*see)(void *ctx, const char *name, const tchc_tensor *t); /* "down_blocks.0.resnets.1"; t is lent */
} md_probe;
/* NULL probe: nothing happens. */
int md_probe_see(const md_probe *p, const char *prefix, const char *name, const tchc_tensor *t);

/* A probe that writes DIR/NNNN_name.npy; compare two folders with tests/tdiff. */
typedef struct md_dump { char dir[4096]; int n; } md_dump;
int md_dump_init(md_dump *d, const char *dir, md_probe *probe);
#ifdef __cplusplus
}
#endif
#endif
