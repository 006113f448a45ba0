// Streams, events, page-locked memory and captured steps through torch's device-independent interfaces.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <atomic>
#include <chrono>
#include <memory>

#include "tchc/handle.hpp"
#include "tchc/plugin.hpp"
#include "tchc/stream.h"

using namespace tchc;

// On the CPU `on` is empty.
struct tchc_stream {
  std::optional<c10::Stream> on;
  std::optional<c10::Stream> before; // the one that comes back when this one is left
  bool entered = false;
};

struct tchc_event {
  at::Device device;
  bool timing;
  std::optional<c10::Event> mark;                             // on a GPU
  std::optional<std::chrono::steady_clock::time_point> clock; // on the CPU, once recorded
};

struct tchc_graph {
  tchc_step run;
  void *ctx;
  void *capture; // on a GPU
};

namespace {
std::atomic<int> captures{0};

c10::impl::VirtualGuardImpl cuda() { return c10::impl::VirtualGuardImpl(at::kCUDA); }
c10::Stream current(at::Device d) { return cuda().getStream(d); }

// A function of the CUDA runtime that torch has loaded.
template <class F> F runtime_function(const char *name) {
  void *f = dlsym(RTLD_DEFAULT, name);
  need(f != nullptr, E_DEVICE, "no CUDA runtime is loaded");
  return reinterpret_cast<F>(f);
}

// What a call of the runtime that failed leaves behind is taken, or torch would blame its next kernel for it.
void need_success(int code, const std::string &what) {
  if (!code) return;
  runtime_function<int (*)()>("cudaGetLastError")();
  throw Failure(E_DEVICE, c10::str("CUDA error ", code, what));
}

bool have_gpu() { return tchc_cuda_count() > 0; }

void run_step(const tchc_graph &g) {
  CallbackScope scope;
  err_clear();
  check_callback(g.run(g.ctx), "captured", "step");
}

// The step under capture. Its own failure is reported before what ending a broken capture says.
void capture_step(tchc_graph &g, int device) {
  struct Count {
    Count() { captures++; }
    ~Count() { captures--; }
  } count;
  const Plugin &p = plugin();
  g.capture = p.capture_begin(device);
  std::exception_ptr failed;
  try {
    run_step(g);
  } catch (...) {
    failed = std::current_exception();
  }
  try {
    p.capture_end(g.capture);
  } catch (...) {
    if (!failed) throw;
  }
  if (failed) std::rethrow_exception(failed);
}
} // namespace

bool tchc::capturing() noexcept { return captures > 0; }

extern "C" {

int tchc_empty_pinned(const int64_t *sizes, int ndim, tchc_dtype dt, tchc_tensor **out) {
  return guarded("empty_pinned", [&] {
    give(out, at::empty(dims(sizes, ndim), options(dt, TCHC_CPU_DEVICE).pinned_memory(have_gpu())));
  });
}

bool tchc_is_pinned(const tchc_tensor *t) {
  try {
    return t && have_gpu() && t->t.is_cpu() && t->t.is_pinned();
  } catch (...) {
    return false;
  }
}

int tchc_host_lock(void *data, size_t nbytes) {
  return guarded("host_lock", [&] {
    need(data && nbytes > 0, E_FAIL, "NULL or empty memory");
    if (!have_gpu()) return;
    const auto lock = runtime_function<int (*)(void *, size_t, unsigned)>("cudaHostRegister");
    need_success(lock(data, nbytes, /*portable=*/1), c10::str(" for ", nbytes, " bytes"));
  });
}

int tchc_host_unlock(void *data) {
  return guarded("host_unlock", [&] {
    need(data != nullptr, E_FAIL, "NULL memory");
    if (!have_gpu()) return;
    need_success(runtime_function<int (*)(void *)>("cudaHostUnregister")(data), "");
  });
}

int tchc_stream_open(tchc_device d, bool high_priority, tchc_stream **out) {
  return guarded("stream_open", [&] {
    need(out != nullptr, E_FAIL, "NULL result pointer");
    const at::Device device = device_of(d);
    auto s = std::make_unique<tchc_stream>();
    if (!device.is_cpu()) s->on = cuda().getStreamFromGlobalPool(device, high_priority);
    *out = s.release();
  });
}

void tchc_stream_close(tchc_stream **s) {
  if (!s || !*s) return;
  if ((*s)->entered) (void)guarded("stream_close", [&] { need(tchc_stream_leave(*s) == OK, E_DEVICE, err_text()); });
  delete *s;
  *s = nullptr;
}

int tchc_stream_enter(tchc_stream *s) {
  return guarded("stream_enter", [&] {
    need(s != nullptr, E_FAIL, "NULL stream");
    need(!s->entered, E_FAIL, "entered already");
    if (s->on) s->before = cuda().exchangeStream(*s->on);
    s->entered = true;
  });
}

int tchc_stream_leave(tchc_stream *s) {
  return guarded("stream_leave", [&] {
    need(s != nullptr, E_FAIL, "NULL stream");
    need(s->entered, E_FAIL, "not entered");
    s->entered = false;
    if (s->on) cuda().exchangeStream(*s->before);
  });
}

int tchc_stream_native(const tchc_stream *s, void **stream) {
  return guarded("stream_native", [&] {
    need(s && stream, E_FAIL, "NULL stream or result pointer");
    *stream = s->on ? s->on->native_handle() : nullptr;
  });
}

int tchc_stream_synchronize(const tchc_stream *s) {
  return guarded("stream_synchronize", [&] {
    need(s != nullptr, E_FAIL, "NULL stream");
    if (s->on) s->on->synchronize();
  });
}

int tchc_stream_uses(const tchc_stream *s, const tchc_tensor *t) {
  return guarded({"stream_uses", {t}}, [&] {
    need(s != nullptr, E_FAIL, "NULL stream");
    const at::Tensor &x = get(t);
    if (s->on && !x.is_cpu()) x.record_stream(*s->on);
  });
}

int tchc_event_open(tchc_device d, bool timing, tchc_event **out) {
  return guarded("event_open", [&] {
    need(out != nullptr, E_FAIL, "NULL result pointer");
    auto e = std::make_unique<tchc_event>(tchc_event{device_of(d), timing, {}, {}});
    if (!e->device.is_cpu())
      e->mark.emplace(at::kCUDA, timing ? c10::EventFlag::BACKEND_DEFAULT : c10::EventFlag::PYTORCH_DEFAULT);
    *out = e.release();
  });
}

void tchc_event_close(tchc_event **e) {
  if (!e) return;
  delete *e;
  *e = nullptr;
}

int tchc_event_record(tchc_event *e) {
  return guarded("event_record", [&] {
    need(e != nullptr, E_FAIL, "NULL event");
    if (e->mark) e->mark->record(current(e->device));
    else e->clock = std::chrono::steady_clock::now();
  });
}

int tchc_event_wait(tchc_event *e) {
  return guarded("event_wait", [&] {
    need(e != nullptr, E_FAIL, "NULL event");
    if (e->mark) e->mark->block(current(e->device));
  });
}

int tchc_event_done(const tchc_event *e, bool *out) {
  return guarded("event_done", [&] {
    need(e && out, E_FAIL, "NULL event or result pointer");
    *out = e->mark ? e->mark->query() : true;
  });
}

int tchc_event_synchronize(const tchc_event *e) {
  return guarded("event_synchronize", [&] {
    need(e != nullptr, E_FAIL, "NULL event");
    if (e->mark) e->mark->synchronize();
  });
}

int tchc_event_elapsed(const tchc_event *from, const tchc_event *to, double *ms) {
  return guarded("event_elapsed", [&] {
    need(from && to && ms, E_FAIL, "NULL event or result pointer");
    need(from->timing && to->timing, E_FAIL, "an event was opened without timing");
    need(from->device == to->device, E_FAIL, "events of different devices");
    if (from->mark) {
      *ms = from->mark->elapsedTime(*to->mark);
    } else {
      need(from->clock && to->clock, E_FAIL, "an event was not recorded");
      *ms = std::chrono::duration<double, std::milli>(*to->clock - *from->clock).count();
    }
  });
}

int tchc_graph_capture(tchc_device d, tchc_step run, void *ctx, tchc_graph **out) {
  return guarded("graph_capture", [&] {
    need(run && out, E_FAIL, "NULL step or result pointer");
    const at::Device device = device_of(d);
    std::unique_ptr<tchc_graph, void (*)(tchc_graph *)> g(new tchc_graph{run, ctx, nullptr},
                                                          [](tchc_graph *p) { tchc_graph_close(&p); });
    if (!device.is_cpu()) capture_step(*g, device.index());
    *out = g.release();
  });
}

int tchc_graph_replay(tchc_graph *g) {
  return guarded("graph_replay", [&] {
    need(g != nullptr, E_FAIL, "NULL graph");
    if (g->capture) plugin().replay(g->capture);
    else run_step(*g);
  });
}

void tchc_graph_close(tchc_graph **g) {
  if (!g || !*g) return;
  if ((*g)->capture) plugin().destroy((*g)->capture);
  delete *g;
  *g = nullptr;
}
}
