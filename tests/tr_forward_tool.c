/* tr_forward_tool MODEL_DIR depth|normals zeros|none TIMESTEP IN.safetensors OUT.npy: the program's own single step, with
 * the empty prompt of 2 tokens, on `rgb` f32 [3,H,W] in [-1,1]. For the tests that compare with other programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/npy.h"
#include "trainer/forward.h"

static int load(const char *dir, const char *task, const char *noise, const char *timestep, cf_config *c, tr_network *net) {
  int st = OK;

  c->run.device = CF_CPU;
  c->model.path = (char *)dir;
  c->model.task = strcmp(task, "depth") ? CF_NORMALS : CF_DEPTH;
  c->model.noise = strcmp(noise, "none") ? CF_ZEROS : CF_NONE;
  c->model.timestep = atoi(timestep);
  c->model.text = CF_SHORT;
  TRY(tr_network_read(c, net));
  TRY(tr_network_load(c, &(tr_device){.at = TCHC_CPU_DEVICE, .name = "cpu"}, net));
out:
  return st;
}

static int run(char **argv) {
  int st = OK;
  cf_config c = {.run = {.precision = CF_FP32}};
  tr_network net = {.unet = NULL};
  st_file *f = NULL;
  float *rgb = NULL, *out = NULL;

  TRY(load(argv[1], argv[2], argv[3], argv[4], &c, &net));
  TRY(st_open(argv[5], &f));
  const st_tensor *t = st_find(f, "rgb");
  NEED(t && t->ndim == 3 && t->shape[0] == 3, E_FORMAT, "%s: no rgb [3,H,W]", argv[5]);
  const int H = (int)t->shape[1], W = (int)t->shape[2];
  rgb = malloc(sizeof *rgb * 3 * (size_t)(H * W));
  out = malloc(sizeof *out * 3 * (size_t)(H * W));
  NEED(rgb && out, E_NOMEM, "%d x %d pixels", H, W);
  TRY(st_to_f32(t, rgb));
  const tr_forward o = {.task = c.model.task, .timestep = (int)c.model.timestep, .text = net.text};
  TRY(tr_forward_run(&net, &o, rgb, H, W, out));
  const int64_t shape[] = {c.model.task == CF_DEPTH ? 1 : 3, H, W};
  TRY(npy_save_f32(argv[6], 3, shape, out));
out:
  tr_network_fini(&net);
  st_close(&f);
  free(rgb);
  free(out);
  return st;
}

int main(int argc, char **argv) {
  if (argc != 7) {
    fprintf(stderr, "usage: tr_forward_tool MODEL_DIR depth|normals zeros|none TIMESTEP IN.safetensors OUT.npy\n");
    return 2;
  }
  const int st = run(argv);
  if (st != OK) fprintf(stderr, "tr_forward_tool: %s\n", err_text());
  return err_exit_status(st);
}
