#include "trainer/model_export.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "checkpoints/export.h"
#include "trainer/version.h"

static st_tensor *tensors_of(const ck_state *s) {
  st_tensor *t = calloc((size_t)s->nparams, sizeof *t);

  for (int i = 0; t && i < s->nparams; i++) {
    const ck_param *p = &s->params[i];
    t[i] = (st_tensor){.name = p->name, .dtype = ST_F32, .ndim = p->ndim, .data = s->weights + p->offset,
                       .nbytes = sizeof(float) * (size_t)p->numel};
    memcpy(t[i].shape, p->shape, sizeof p->shape);
  }
  return t;
}

int tr_model_export(const cf_config *c, const tr_network *net, const ck_state *s, const char *run_dir) {
  int st = OK;
  char out[IO_PATH_MAX], step[24], timestep[24];
  const char *const noises[] = {[CF_ZEROS] = "zeros", [CF_GAUSSIAN] = "gaussian", [CF_PYRAMID] = "pyramid",
                                [CF_NONE] = "none"};
  const char *const stamp[] = {"e2eft.version", tr_version(), "e2eft.commit", tr_commit(), "e2eft.step", step,
                               "e2eft.task", c->model.task == CF_DEPTH ? "depth" : "normals",
                               "e2eft.noise", noises[c->model.noise], "e2eft.timestep", timestep};
  st_tensor *tensors = tensors_of(s);

  NEED(tensors, E_NOMEM, "export: %d tensors", s->nparams);
  snprintf(step, sizeof step, "%lld", (long long)s->step);
  snprintf(timestep, sizeof timestep, "%lld", (long long)c->model.timestep);
  TRY(io_path(out, "%s/model", run_dir));
  const ck_export e = {.base = c->model.path, .out = out, .unet_config = net->unet_json, .unet = tensors,
                       .n_unet = (size_t)s->nparams, .stamp = stamp, .n_stamp = sizeof stamp / sizeof *stamp / 2};
  TRY(ck_export_model(&e));
  log_info("weights: %s", out);
out:
  free(tensors);
  return st;
}
