#include "trainer/device.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "kernels/host.h"
#include "trainer/footprint.h"

/* Is there a driver to ask? Loading libtorch_cuda takes a second, which machines without a GPU need not spend. */
static bool driver_is_there(void) { return !access("/dev/nvidiactl", F_OK) || !access("/dev/dxg", F_OK); }

static int64_t limit_bytes(const cf_config *c) { return (int64_t)(c->run.memory_limit * 1024 * 1024 * 1024); }

static int open_cuda(const cf_config *c, tr_device *d) {
  int st = OK;

  TRY(tchc_cuda_open());
  NEED(tchc_cuda_count() > 0, E_DEVICE, "no CUDA device is visible");
  TRY(kn_cuda_open(NULL, &d->kernels));
  TRY(tchc_cuda_name(0, d->name, sizeof d->name));
  d->at = (tchc_device){TCHC_CUDA, 0};
  d->fused = c->run.kernels != CF_KERNELS_PLAIN;
  if (limit_bytes(c)) TRY(tchc_memory_cap(d->at, limit_bytes(c)));
out:
  return st;
}

static void use_cpu(const cf_config *c, tr_device *d) {
  const bool fused = c->run.kernels == CF_KERNELS_FUSED;

  *d = (tr_device){.at = TCHC_CPU_DEVICE, .kernels = fused ? kn_host() : NULL, .fused = fused, .name = "cpu"};
}

int tr_device_tune(const cf_config *c, bool on) {
  const bool exact = c->run.deterministic;
  const tchc_backend_opts o = {.deterministic = exact, .cudnn_benchmark = on && !exact,
                               .attention = exact ? TCHC_ATTENTION_AUTO : TCHC_ATTENTION_CUDNN};
  return tchc_set_backend(&o);
}

int tr_device_open(const cf_config *c, tr_device *out) {
  int st = OK;
  tr_device d;

  use_cpu(c, &d);
  if (c->run.device == CF_CUDA) TRY_AS(E_DEVICE, open_cuda(c, &d), "run.device: cuda");
  if (c->run.device == CF_AUTO && driver_is_there() && open_cuda(c, &d) != OK) {
    log_warn("run.device: auto: %s; computing on the CPU", err_text());
    err_clear();
    use_cpu(c, &d);
  }
  TRY(tr_device_tune(c, true));
  *out = d;
out:
  return st;
}

/* What an earlier model of this process left in the allocator is free as well. */
static int64_t free_on_gpu(const tr_device *d) {
  int64_t room, total;

  if (tchc_memory_empty_cache(d->at) == OK && tchc_memory_info(d->at, &room, &total) == OK) return room;
  log_warn("memory of %s: %s", d->name, err_text());
  err_clear();
  return 0;
}

int64_t tr_device_room(const cf_config *c, const tr_device *d) {
  const int64_t limit = limit_bytes(c), room = d->at.type == TCHC_CUDA ? free_on_gpu(d) : tr_footprint_host_bytes();

  return limit && (!room || limit < room) ? limit : room;
}
