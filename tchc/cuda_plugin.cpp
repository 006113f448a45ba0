// libtchc_cuda: captured steps and the allocator's cap, which need CUDA's headers and libtorch_cuda.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>

#include <memory>
#include <optional>

#include "tchc/plugin.hpp"

namespace {
struct Capture {
  at::cuda::CUDAGraph graph;
  std::optional<c10::cuda::CUDAStreamGuard> on_stream; // while it is captured
};

void set_memory_fraction(double fraction, int device) {
  c10::cuda::CUDACachingAllocator::setMemoryFraction(fraction, static_cast<c10::DeviceIndex>(device));
}

void *capture_begin(int device) {
  auto c = std::make_unique<Capture>();
  const auto stream = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, static_cast<c10::DeviceIndex>(device));
  c10::cuda::device_synchronize(); // what the step reads is complete
  c->on_stream.emplace(stream);
  c->graph.capture_begin();
  return c.release();
}

void capture_end(void *capture) {
  auto *c = static_cast<Capture *>(capture);
  struct Leave {
    Capture *c;
    ~Leave() { c->on_stream.reset(); }
  } leave{c};
  c->graph.capture_end();
}

void replay(void *capture) { static_cast<Capture *>(capture)->graph.replay(); }
void destroy(void *capture) noexcept { delete static_cast<Capture *>(capture); }

constexpr tchc::Plugin functions = {
    sizeof(tchc::Plugin), set_memory_fraction, capture_begin, capture_end, replay, destroy};
} // namespace

extern "C" __attribute__((visibility("default"))) const tchc::Plugin *tchc_cuda_plugin() { return &functions; }
