// Start-up, devices, settings, memory: all without a CUDA header, so that one binary serves every machine.
#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>
#include <limits.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <typeinfo>

#include "tchc/handle.hpp"
#include "tchc/host_memory.hpp"
#include "tchc/plugin.hpp"

using namespace tchc;

static_assert(static_cast<int>(TCHC_ATTENTION_MATH) - 1 == static_cast<int>(at::SDPBackend::math) &&
                  static_cast<int>(TCHC_ATTENTION_FLASH) - 1 == static_cast<int>(at::SDPBackend::flash_attention) &&
                  static_cast<int>(TCHC_ATTENTION_EFFICIENT) - 1 ==
                      static_cast<int>(at::SDPBackend::efficient_attention) &&
                  static_cast<int>(TCHC_ATTENTION_CUDNN) - 1 == static_cast<int>(at::SDPBackend::cudnn_attention),
              "tchc.h does not match c10");

namespace {
const at::CUDAHooksInterface &hooks() { return at::detail::getCUDAHooks(); }

c10::DeviceIndex cuda_index(tchc_device d) {
  need(d.type == TCHC_CUDA, E_DEVICE, "not a CUDA device");
  const at::Device device = device_of(d);
  at::globalContext().lazyInitDevice(at::kCUDA);
  return device.index();
}

// The device is asked for first: without CUDA torch has no allocator to hand out and calls that a bug.
c10::DeviceAllocator *allocator_of(tchc_device d, c10::DeviceIndex *index) {
  *index = cuda_index(d);
  return at::getDeviceAllocator(at::kCUDA);
}

// The folder of the libtorch_cpu that this process runs on; "" when it cannot be told.
std::string torch_folder() {
  char folder[PATH_MAX] = "";
  void *loaded = dlopen("libtorch_cpu.so", RTLD_NOW | RTLD_NOLOAD);
  if (!loaded) return "";
  if (dlinfo(loaded, RTLD_DI_ORIGIN, folder) != 0) folder[0] = 0;
  dlclose(loaded);
  return folder[0] ? std::string(folder) + "/" : "";
}

// The folder of this program's file, with a slash.
std::string program_folder() {
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  const std::string file(path, n > 0 ? static_cast<size_t>(n) : 0);
  return file.substr(0, file.rfind('/') + 1);
}

// Beside the program where it was built, in ../lib where it is installed, one above the tests.
const Plugin *open_plugin() {
  void *library = nullptr;
  std::string reason;
  for (const char *place : {"", "../lib/", "../"}) {
    library = dlopen((program_folder() + place + "libtchc_cuda.so").c_str(), RTLD_NOW);
    if (library) break;
    if (reason.empty()) reason = dlerror();
  }
  if (!library) throw Failure(E_DEVICE, "needs a build with a CUDA toolkit: " + reason);
  auto entry = reinterpret_cast<PluginEntry>(dlsym(library, plugin_symbol));
  need(entry && entry()->size == sizeof(Plugin), E_DEVICE, "libtchc_cuda.so is of another build");
  return entry();
}

// A function of the CUDA driver.
void *driver_function(const char *name) {
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);
  need(driver != nullptr, E_DEVICE, "no CUDA driver");
  void *f = dlsym(driver, name);
  need(f != nullptr, E_DEVICE, "the CUDA driver lacks a function");
  return f;
}
} // namespace

bool tchc::memory_was_refused() noexcept {
  static std::atomic<int64_t> told{0};
  try {
    if (tchc_cuda_count() == 0) return false;
    const int64_t now = at::getDeviceAllocator(at::kCUDA)->getDeviceStats(0).num_ooms;
    return told.exchange(now) < now;
  } catch (...) { // no device was used yet
    return false;
  }
}

void tchc::prefer_attention(tchc_attention_kernel first) {
  if (first == TCHC_ATTENTION_AUTO) return;
  need(first >= TCHC_ATTENTION_MATH && first <= TCHC_ATTENTION_CUDNN, E_DEVICE, "no such way of computing attention");
  std::vector<int64_t> order = {first - 1};
  for (const at::SDPBackend b : {at::SDPBackend::flash_attention, at::SDPBackend::efficient_attention,
                                 at::SDPBackend::math, at::SDPBackend::cudnn_attention, at::SDPBackend::overrideable})
    if (static_cast<int64_t>(b) != order[0]) order.push_back(static_cast<int64_t>(b));
  at::globalContext().setSDPPriorityOrder(order);
}

tchc::AttentionFirst::AttentionFirst(tchc_attention_kernel first) {
  if (first == TCHC_ATTENTION_AUTO) return;
  for (const at::SDPBackend b : at::globalContext().sDPPriorityOrder()) before_.push_back(static_cast<int64_t>(b));
  prefer_attention(first);
}

tchc::AttentionFirst::~AttentionFirst() {
  if (!before_.empty()) at::globalContext().setSDPPriorityOrder(before_);
}

const Plugin &tchc::plugin() {
  static const Plugin *const opened = open_plugin(); // a throw leaves it to the next call
  return *opened;
}

extern "C" {

int tchc_cuda_open(void) {
  return guarded("cuda_open", [&] {
    const std::string beside = torch_folder() + "libtorch_cuda.so";
    if (!dlopen(beside.c_str(), RTLD_NOW | RTLD_GLOBAL) && !dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL))
      throw Failure(E_DEVICE, dlerror());
    // a query before this call has made torch settle for its stub
    need(typeid(hooks()) != typeid(at::CUDAHooksInterface), E_DEVICE, "another torch call came first: CUDA stays off");
  });
}

int tchc_cuda_count(void) {
  try {
    return hooks().getNumGPUs();
  } catch (...) { // a driver that does not work counts as none
    return 0;
  }
}

int tchc_cuda_name(int device, char *out, size_t size) {
  return guarded("cuda_name", [&] {
    need(out && size > 0, E_FAIL, "NULL buffer");
    device_of({TCHC_CUDA, device});
    auto get_device = reinterpret_cast<int (*)(int *, int)>(driver_function("cuDeviceGet"));
    auto get_name = reinterpret_cast<int (*)(char *, int, int)>(driver_function("cuDeviceGetName"));
    int handle = 0;
    char name[256] = "";
    need(get_device(&handle, device) == 0 && get_name(name, sizeof name, handle) == 0, E_DEVICE,
         "the driver tells no name");
    std::snprintf(out, size, "%s", name);
  });
}

int tchc_cuda_stream(int device, void **stream) {
  return guarded("cuda_stream", [&] {
    need(stream != nullptr, E_FAIL, "NULL result pointer");
    *stream = at::accelerator::getCurrentStream(cuda_index({TCHC_CUDA, device})).native_handle();
  });
}

int tchc_synchronize(tchc_device d) {
  return guarded("synchronize", [&] {
    if (d.type != TCHC_CPU) hooks().deviceSynchronize(cuda_index(d));
  });
}

const char *tchc_torch_version(void) { return TORCH_VERSION; }
void tchc_set_threads(int n) { at::set_num_threads(n < 1 ? 1 : n); }
int tchc_threads(void) { return at::get_num_threads(); }

int tchc_set_backend(const tchc_backend_opts *o) {
  return guarded("set_backend", [&] {
    need(o != nullptr, E_FAIL, "NULL options");
    at::Context &c = at::globalContext();
    // cuBLAS repeats its bits only with a workspace of fixed size
    if (o->deterministic) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
    c.setDeterministicAlgorithms(o->deterministic, /*warn_only=*/false);
    c.setDeterministicFillUninitializedMemory(false);
    c.setDeterministicCuDNN(o->deterministic);
    c.setDeterministicMkldnn(o->deterministic);
    c.setBenchmarkCuDNN(o->cudnn_benchmark && !o->deterministic); // what is measured fastest differs between runs
    c.setAllowTF32CuBLAS(o->tf32);
    c.setAllowTF32CuDNN(o->tf32);
    prefer_attention(o->attention);
  });
}

int tchc_manual_seed(uint64_t seed) {
  return guarded("manual_seed", [&] { at::manual_seed(seed); });
}

int tchc_memory_stats(tchc_device d, tchc_memory *out) {
  return guarded("memory_stats", [&] {
    need(out != nullptr, E_FAIL, "NULL result pointer");
    tchc_memory m = {};
    if (d.type == TCHC_CPU) {
      const HostMemory h = host_memory();
      m = {h.now, h.peak, h.now, h.peak, 0, 0};
    } else {
      c10::DeviceIndex index;
      c10::DeviceAllocator *const allocator = allocator_of(d, &index);
      const auto s = allocator->getDeviceStats(index);
      const auto &a = s.allocated_bytes[0], &r = s.reserved_bytes[0];
      m = {a.current, a.peak, r.current, r.peak, s.num_ooms, s.num_alloc_retries};
    }
    *out = m;
  });
}

int tchc_memory_reset_peak(tchc_device d) {
  return guarded("memory_reset_peak", [&] {
    if (d.type == TCHC_CPU) return reset_host_peak();
    c10::DeviceIndex index;
    c10::DeviceAllocator *const allocator = allocator_of(d, &index);
    allocator->resetPeakStats(index);
  });
}

int tchc_memory_info(tchc_device d, int64_t *free_bytes, int64_t *total_bytes) {
  return guarded("memory_info", [&] {
    need(free_bytes && total_bytes, E_FAIL, "NULL result pointer");
    c10::DeviceIndex index;
    c10::DeviceAllocator *const allocator = allocator_of(d, &index);
    const auto [available, total] = allocator->getMemoryInfo(index);
    *free_bytes = static_cast<int64_t>(available);
    *total_bytes = static_cast<int64_t>(total);
  });
}

int tchc_memory_empty_cache(tchc_device d) {
  return guarded("memory_empty_cache", [&] {
    if (d.type == TCHC_CPU) return;
    c10::DeviceIndex index;
    allocator_of(d, &index)->emptyCache();
  });
}

int tchc_memory_cap(tchc_device d, int64_t bytes) {
  return guarded("memory_cap", [&] {
    need(bytes >= 0, E_DEVICE, "a negative number of bytes");
    c10::DeviceIndex index;
    c10::DeviceAllocator *const allocator = allocator_of(d, &index);
    const auto total = static_cast<double>(allocator->getMemoryInfo(index).second);
    const double fraction = static_cast<double>(bytes) / total;
    plugin().set_memory_fraction(bytes == 0 || fraction > 1 ? 1 : fraction, index);
  });
}
}
