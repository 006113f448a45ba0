#include "trainer/device.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"

/* Is there a driver to ask? Loading libtorch_cuda takes a second, which machines without a GPU need not spend. */
static bool driver_is_there(void) { return !access("/dev/nvidiactl", F_OK) || !access("/dev/dxg", F_OK); }

static int open_cuda(char *name, size_t size) {
  int st = OK;

  TRY(tchc_cuda_open());
  NEED(tchc_cuda_count() > 0, E_DEVICE, "no CUDA device is visible");
  TRY(tchc_cuda_name(0, name, size));
  FAIL(E_DEVICE, "%s: training on CUDA is not built yet", name);
out:
  return st;
}

int tr_device_open(const cf_config *c, tchc_device *out, char *name, size_t size) {
  int st = OK;
  const tchc_backend_opts backend = {.deterministic = c->run.deterministic, .cudnn_benchmark = !c->run.deterministic};

  if (c->run.device == CF_CUDA) TRY_AS(E_DEVICE, open_cuda(name, size), "run.device: cuda");
  if (c->run.device == CF_AUTO && driver_is_there() && open_cuda(name, size) != OK)
    log_warn("run.device: auto: %s; computing on the CPU", err_text());
  TRY(tchc_set_backend(&backend));
  snprintf(name, size, "cpu");
  *out = TCHC_CPU_DEVICE;
out:
  return st;
}
