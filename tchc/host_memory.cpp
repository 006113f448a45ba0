// How many bytes of host memory this thread's tensors hold, through the interface that torch's allocator reports to.
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <mutex>

#include "tchc/handle.hpp"
#include "tchc/host_memory.hpp"

namespace {
class Count : public c10::MemoryReportingInfoBase {
public:
  void reportMemoryUsage(void * /*at*/, int64_t size, size_t /*total*/, size_t /*reserved*/, c10::Device d) override {
    if (!d.is_cpu()) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    now_ += size;
    if (now_ > peak_) peak_ = now_;
  }
  bool memoryProfilingEnabled() const override { return true; }

  tchc::HostMemory read() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return {now_, peak_};
  }
  void reset_peak() {
    const std::lock_guard<std::mutex> lock(mutex_);
    peak_ = now_;
  }

private:
  std::mutex mutex_; // autograd's threads inherit the count
  int64_t now_ = 0, peak_ = 0;
};

thread_local std::shared_ptr<Count> counting;
constexpr auto kind = c10::DebugInfoKind::PROFILER_STATE;
} // namespace

tchc::HostMemory tchc::host_memory() { return counting ? counting->read() : HostMemory{}; }

void tchc::reset_host_peak() {
  if (counting) counting->reset_peak();
}

int tchc_memory_count(bool on) {
  return tchc::guarded("memory_count", [&] {
    tchc::need(on != static_cast<bool>(counting), E_FAIL, on ? "counting already" : "not counting");
    if (on) {
      auto count = std::make_shared<Count>();
      c10::ThreadLocalDebugInfo::_push(kind, count);
      counting = std::move(count);
    } else {
      c10::ThreadLocalDebugInfo::_pop(kind);
      counting.reset();
    }
  });
}
