// Handles, scopes, and the one place where C++ exceptions become statuses.
#include "tchc/handle.hpp"

#include <atomic>
#include <cassert>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <new>

struct tchc_scope {
  tchc_scope *up;
  tchc_tensor *first;
};

namespace {
thread_local tchc_scope *innermost = nullptr;
std::atomic<int64_t> live{0};

void unlink(tchc_tensor *t) noexcept {
  if (!t->home) return;
  (t->prev ? t->prev->next : t->home->first) = t->next;
  if (t->next) t->next->prev = t->prev;
  t->home = nullptr;
  t->prev = t->next = nullptr;
}

void link(tchc_tensor *t, tchc_scope *home) noexcept {
  unlink(t);
  if (!home) return;
  t->home = home;
  t->next = home->first;
  if (t->next) t->next->prev = t;
  home->first = t;
}

// Also ends scopes that were opened inside and left open.
void close_through(tchc_scope *last) noexcept {
  for (bool more = true; more && innermost;) {
    tchc_scope *s = innermost;
    more = s != last;
    while (s->first) tchc::drop(s->first);
    innermost = s->up;
    delete s;
  }
}

const char *type_name(at::ScalarType t) noexcept {
  switch (t) {
  case at::kByte: return "u8";
  case at::kChar: return "i8";
  case at::kShort: return "i16";
  case at::kInt: return "i32";
  case at::kLong: return "i64";
  case at::kHalf: return "f16";
  case at::kFloat: return "f32";
  case at::kDouble: return "f64";
  case at::kBool: return "bool";
  case at::kBFloat16: return "bf16";
  default: return c10::toString(t);
  }
}

bool contains(const char *text, std::initializer_list<const char *> words) noexcept {
  for (const char *w : words)
    if (std::strstr(text, w)) return true;
  return false;
}

// torch has one exception class for refused arguments, exhausted host memory and failed device calls.
int class_of(const char *text) noexcept {
  if (contains(text, {"DefaultCPUAllocator", "can't allocate memory", "out of memory", "ALLOC_FAILED"})) return E_NOMEM;
  // cuDNN found none that runs: as each one's workspace was refused, or as none is for these operands
  if (contains(text, {"unable to find an engine"})) return tchc::memory_was_refused() ? E_NOMEM : E_DEVICE;
  if (contains(text, {"CUDA error", "CUDA driver", "NVIDIA driver", "No CUDA GPUs", "cuDNN", "CUDNN", "CUBLAS",
                      "without ATen_cuda library", "not linked with support for cuda"}))
    return E_DEVICE;
  return E_SHAPE;
}

// "conv2d [1,3,8,9] f32, [4,5,3,3] f32: ..."; the first line of the text says it, the rest is advice on debugging.
int set(int code, const tchc::Where &w, const char *text) noexcept {
  char operands[512] = "";
  size_t n = 0;
  for (const tchc_tensor *t : w.args) {
    char one[128] = "none";
    if (t) tchc::describe(t->t, one, sizeof one);
    n += static_cast<size_t>(std::snprintf(operands + n, sizeof operands - n, "%s%s", n ? ", " : " ", one));
    if (n >= sizeof operands) break;
  }
  return err_set(code, w.file, w.line, "%s%s: %.*s", w.op, operands, static_cast<int>(std::strcspn(text, "\n")), text);
}
} // namespace

namespace tchc {

int report(const Where &where) noexcept {
  try {
    throw;
  } catch (const Failure &e) {
    return set(e.code(), where, e.what());
  } catch (const c10::OutOfMemoryError &e) {
    (void)memory_was_refused(); // this refusal is told of
    return set(E_NOMEM, where, e.what_without_backtrace());
  } catch (const c10::AcceleratorError &e) {
    constexpr int cuda_memory = 2; // cudaErrorMemoryAllocation
    return set(e.get_error_code() == cuda_memory ? E_NOMEM : E_DEVICE, where, e.what_without_backtrace());
  } catch (const c10::NotImplementedError &e) { // no kernel for this device or type
    return set(E_DEVICE, where, e.what_without_backtrace());
  } catch (const c10::Error &e) {
    return set(class_of(e.what_without_backtrace()), where, e.what_without_backtrace());
  } catch (const std::bad_alloc &) {
    return set(E_NOMEM, where, "out of host memory");
  } catch (const std::exception &e) {
    return set(E_DEVICE, where, e.what());
  } catch (...) {
    return set(E_DEVICE, where, "unknown exception");
  }
}

void describe(const at::Tensor &t, char *out, size_t size) noexcept {
  size_t n = 0;
  auto put = [&](auto... args) {
    if (n < size) n += static_cast<size_t>(std::snprintf(out + n, size - n, args...));
  };
  if (!t.defined()) return put("%s", "none");
  put("%s", "[");
  for (int64_t i = 0; i < t.dim(); i++) put("%s%" PRId64, i ? "," : "", t.size(i));
  put("] %s", type_name(t.scalar_type()));
  if (!t.is_cpu()) put(" cuda:%d", static_cast<int>(t.device().index()));
}

tchc_tensor *wrap(at::Tensor t) {
  auto *h = new tchc_tensor{std::move(t)};
  link(h, innermost);
  live.fetch_add(1, std::memory_order_relaxed);
  return h;
}

void drop(tchc_tensor *t) noexcept {
  if (!t) return;
  unlink(t);
  delete t;
  live.fetch_sub(1, std::memory_order_relaxed);
}

void give_all(tchc_tensor **out, const std::vector<at::Tensor> &t) {
  std::vector<tchc_tensor *> made(t.size(), nullptr);
  try {
    for (size_t i = 0; i < t.size(); i++) made[i] = wrap_or_null(t[i]);
  } catch (...) {
    for (tchc_tensor *h : made) drop(h);
    throw;
  }
  std::copy(made.begin(), made.end(), out);
}

CallbackScope::CallbackScope() : scope_(new tchc_scope{innermost, nullptr}) { innermost = scope_; }
CallbackScope::~CallbackScope() { close_through(scope_); }

std::vector<tchc_tensor *> CallbackScope::lend(const std::vector<at::Tensor> &t) {
  std::vector<tchc_tensor *> h;
  h.reserve(t.size());
  for (const at::Tensor &x : t) h.push_back(wrap_or_null(x));
  return h;
}

std::vector<at::Tensor> CallbackScope::take(const std::vector<tchc_tensor *> &results) {
  std::vector<at::Tensor> t;
  for (tchc_tensor *h : results)
    if (h) link(h, scope_);
  t.reserve(results.size());
  for (tchc_tensor *h : results) t.push_back(get_or_undefined(h));
  return t;
}

Slots::Slots(const std::vector<at::Tensor> &list) {
  int n = 0;
  for (const at::Tensor &t : list) place_.push_back(t.defined() ? n++ : -1);
}

std::vector<at::Tensor> Slots::dense(const std::vector<at::Tensor> &list) const {
  std::vector<at::Tensor> d;
  for (size_t i = 0; i < place_.size(); i++)
    if (place_[i] >= 0) d.push_back(list[i]);
  return d;
}

std::vector<at::Tensor> Slots::spread(const std::vector<at::Tensor> &dense) const {
  std::vector<at::Tensor> s(place_.size());
  for (size_t i = 0; i < place_.size(); i++)
    if (place_[i] >= 0) s[i] = dense[static_cast<size_t>(place_[i])];
  return s;
}

void check_callback(int status, const char *name, const char *which) {
  if (status == OK) return;
  const char *text = err_text();
  throw Failure(status, c10::str(name, " ", which, ": ", *text ? text : c10::str("status ", status)));
}

void check_results(const std::vector<at::Tensor> &out, const char *name) {
  for (size_t i = 0; i < out.size(); i++)
    if (!out[i].defined()) throw Failure(E_FAIL, c10::str(name, " gave no result ", i));
}

} // namespace tchc

using namespace tchc;

extern "C" {

int tchc_scope_open(tchc_scope **out) {
  return guarded("scope_open", [&] {
    need(out != nullptr, E_FAIL, "NULL result pointer");
    *out = innermost = new tchc_scope{innermost, nullptr};
  });
}

void tchc_scope_close(tchc_scope **s) {
  if (!s || !*s) return;
  assert(*s == innermost); // reverse order, on the thread that opened it
  close_through(*s);
  *s = nullptr;
}

void tchc_promote(tchc_tensor *t) {
  if (t && t->home) link(t, t->home->up);
}

void tchc_keep(tchc_tensor *t) {
  if (t) unlink(t);
}

void tchc_free(tchc_tensor **t) {
  if (!t) return;
  drop(*t);
  *t = nullptr;
}

int tchc_share(const tchc_tensor *t, tchc_tensor **out) {
  return guarded("share", [&] { give(out, get(t)); });
}

int64_t tchc_live(void) { return live.load(std::memory_order_relaxed); }

const char *tchc_text(const tchc_tensor *t) {
  static thread_local char ring[4][128];
  static thread_local unsigned turn;
  char *out = ring[turn++ % 4];
  if (t) describe(t->t, out, sizeof ring[0]);
  else std::snprintf(out, sizeof ring[0], "NULL");
  return out;
}
}
