// tchc/host_memory.hpp: what tchc_memory_count counts, for tchc_memory_stats.
#ifndef TCHC_HOST_MEMORY_HPP
#define TCHC_HOST_MEMORY_HPP
#include <cstdint>

namespace tchc {
struct HostMemory {
  int64_t now = 0, peak = 0;
};
HostMemory host_memory(); // zeros where nothing is counted
void reset_host_peak();
} // namespace tchc
#endif
