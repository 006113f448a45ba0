// tchc/plugin.hpp: what libtchc_cuda, the part that needs CUDA's headers, offers the rest. It is built where a toolkit
// and libtorch_cuda are, and opened at run time beside the program; its functions may throw.
#ifndef TCHC_PLUGIN_HPP
#define TCHC_PLUGIN_HPP
#include <cstddef>

namespace tchc {

struct Plugin {
  std::size_t size; // of this struct: another one is another build's
  void (*set_memory_fraction)(double fraction, int device);
  // A capture in progress on a stream of its own, which is the thread's current one until the end.
  void *(*capture_begin)(int device);
  void (*capture_end)(void *capture); // leaves the stream, also when it throws
  void (*replay)(void *capture);
  void (*destroy)(void *capture) noexcept;
};

// The one symbol that the library exports.
inline constexpr const char *plugin_symbol = "tchc_cuda_plugin";
using PluginEntry = const Plugin *(*)();

// The opened plugin. Throws E_DEVICE with the reason where there is none.
const Plugin &plugin();

} // namespace tchc
#endif
