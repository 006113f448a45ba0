#include "models/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/npy.h"

int md_probe_see(const md_probe *p, const char *prefix, const char *name, const tchc_tensor *t) {
  char full[512];
  if (!p) return OK;
  snprintf(full, sizeof full, "%s%s%s", prefix ? prefix : "", prefix && name ? "." : "", name ? name : "");
  return p->see(p->ctx, full, t);
}

static int dump_see(void *ctx, const char *name, const tchc_tensor *t) {
  int st = OK;
  md_dump *d = ctx;
  tchc_tensor *host = NULL;
  float *data = NULL;
  int64_t shape[8];
  char path[IO_PATH_MAX];
  const int ndim = tchc_ndim(t);
  const size_t bytes = (size_t)tchc_numel(t) * sizeof *data;

  NEED(ndim >= 0 && ndim <= 8, E_SHAPE, "%s: cannot dump %d dimensions", name, ndim);
  for (int i = 0; i < ndim; i++) shape[i] = tchc_size(t, i);
  NEED((data = malloc(bytes + 1)) != NULL, E_NOMEM, "%s: %zu bytes", name, bytes);
  TRY(tchc_to(t, TCHC_F32, TCHC_CPU_DEVICE, TCHC_CONTIGUOUS, &host));
  TRY(tchc_to_host(host, data, bytes));
  TRY(io_path(path, "%s/%04d_%s.npy", d->dir, d->n, name));
  TRY(npy_save_f32(path, ndim, shape, data));
  d->n++;
out:
  tchc_free(&host);
  free(data);
  return st;
}

int md_dump_init(md_dump *d, const char *dir, md_probe *probe) {
  int st = OK;
  char path[IO_PATH_MAX];
  _Static_assert(sizeof d->dir == IO_PATH_MAX, "a path fits");

  TRY(io_path(path, "%s", dir));
  TRY(io_make_dirs(path));
  memcpy(d->dir, path, sizeof path);
  d->n = 0;
  *probe = (md_probe){.ctx = d, .see = dump_see};
out:
  return st;
}
