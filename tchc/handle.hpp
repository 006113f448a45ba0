// tchc/handle.hpp: what the files of this folder share; nobody else includes it.
#ifndef TCHC_HANDLE_HPP
#define TCHC_HANDLE_HPP
#include <ATen/ATen.h>

#include <exception>
#include <initializer_list>
#include <string>
#include <utility>

#include "tchc/tchc.h"

// A handle is a link of its scope's list, so that leaving a scope costs the same wherever it lies in it.
struct tchc_tensor {
  at::Tensor t;
  tchc_scope *home = nullptr; // the scope that ends it, or null: the caller does
  tchc_tensor *prev = nullptr, *next = nullptr;
};

namespace tchc {

// A failure with a status of its own: our checks, and callbacks (whose err text is another thread's).
class Failure : public std::exception {
public:
  Failure(int code, std::string text) : code_(code), text_(std::move(text)) {}
  const char *what() const noexcept override { return text_.c_str(); }
  int code() const noexcept { return code_; }

private:
  int code_;
  std::string text_;
};

inline void need(bool ok, int code, const char *text) {
  if (!ok) throw Failure(code, text);
}

// The call that an error message names: operator, operands, place.
struct Where {
  const char *op;
  std::initializer_list<const tchc_tensor *> args;
  const char *file;
  int line;
  Where(const char *o, std::initializer_list<const tchc_tensor *> a = {}, const char *f = __builtin_FILE(),
        int l = __builtin_LINE())
      : op(o), args(a), file(f), line(l) {}
};

// The exception being handled as a status, with the thread's message set. Only from a catch block.
int report(const Where &where) noexcept;

// The body of every extern "C" function that can fail: no exception passes into C.
template <class F> int guarded(const Where &where, F &&body) noexcept {
  try {
    body();
    return OK;
  } catch (...) {
    return report(where);
  }
}

// Has a GPU's allocator refused memory since this was asked last?
bool memory_was_refused() noexcept;

// "[2,4,8,12] f32" into out.
void describe(const at::Tensor &t, char *out, size_t size) noexcept;

// A new handle, of the innermost scope if one is open.
tchc_tensor *wrap(at::Tensor t);
// Ends the handle, wherever it belongs.
void drop(tchc_tensor *t) noexcept;

inline const at::Tensor &get(const tchc_tensor *t) {
  need(t != nullptr, E_FAIL, "NULL tensor");
  return t->t;
}

inline std::optional<at::Tensor> maybe(const tchc_tensor *t) {
  return t ? std::optional<at::Tensor>(t->t) : std::nullopt;
}

// Undefined for NULL, and NULL for undefined, where lists may have gaps.
inline at::Tensor get_or_undefined(const tchc_tensor *t) { return t ? t->t : at::Tensor(); }
inline tchc_tensor *wrap_or_null(at::Tensor t) { return t.defined() ? wrap(std::move(t)) : nullptr; }

inline void give(tchc_tensor **out, at::Tensor t) {
  need(out != nullptr, E_FAIL, "NULL result pointer");
  *out = wrap(std::move(t));
}

// All or none of a list of results.
void give_all(tchc_tensor **out, const std::vector<at::Tensor> &t);

at::IntArrayRef dims(const int64_t *sizes, int ndim);
at::ScalarType scalar_type(tchc_dtype dt);
at::Device device_of(tchc_device d);
at::MemoryFormat memory_format(tchc_format f);
inline at::TensorOptions options(tchc_dtype dt, tchc_device d) {
  return at::TensorOptions().dtype(scalar_type(dt)).device(device_of(d));
}

// A C context and the function that ends it: called once, on every path.
class Context {
public:
  Context(void *ctx, void (*free_fn)(void *)) noexcept : ctx_(ctx), free_(free_fn) {}
  Context(Context &&o) noexcept : ctx_(o.ctx_), free_(std::exchange(o.free_, nullptr)) {}
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;
  Context &operator=(Context &&) = delete;
  ~Context() {
    if (free_) free_(ctx_);
  }
  void *get() const noexcept { return ctx_; }

private:
  void *ctx_;
  void (*free_)(void *);
};

// A scope around one callback. What the callback leaves in `results` is taken over or ended with the scope,
// also where it was kept out of the scope.
class CallbackScope {
public:
  CallbackScope();
  ~CallbackScope();
  CallbackScope(const CallbackScope &) = delete;
  CallbackScope &operator=(const CallbackScope &) = delete;
  // Handles lent to the callback; NULL for undefined tensors.
  std::vector<tchc_tensor *> lend(const std::vector<at::Tensor> &t);
  // The tensors behind the handles, which now end with the scope.
  std::vector<at::Tensor> take(const std::vector<tchc_tensor *> &results);

private:
  tchc_scope *scope_;
};

// A list with gaps (undefined tensors) and the dense one that torch's custom functions want, both ways.
class Slots {
public:
  explicit Slots(const std::vector<at::Tensor> &list);
  std::vector<at::Tensor> dense(const std::vector<at::Tensor> &list) const;
  std::vector<at::Tensor> spread(const std::vector<at::Tensor> &dense) const;
  size_t size() const noexcept { return place_.size(); }
  // Place in the dense list, or -1 for a gap.
  int place(size_t i) const noexcept { return i < place_.size() ? place_[i] : -1; }

private:
  c10::SmallVector<int, 8> place_;
};

// Puts one way of computing attention first; the others stay for shapes that it does not take. AUTO: nothing.
void prefer_attention(tchc_attention_kernel first);

// prefer_attention for one call: what was before comes back.
class AttentionFirst {
public:
  explicit AttentionFirst(tchc_attention_kernel first);
  ~AttentionFirst();
  AttentionFirst(const AttentionFirst &) = delete;
  AttentionFirst &operator=(const AttentionFirst &) = delete;

private:
  std::vector<int64_t> before_;
};

// Is a step being captured, by any thread? Generators must not be asked for their state then.
bool capturing() noexcept;

// Turns a callback's status into a Failure that carries its message to whichever thread reports it.
void check_callback(int status, const char *name, const char *which);
// Every result of a forward callback must be there.
void check_results(const std::vector<at::Tensor> &out, const char *name);

} // namespace tchc
#endif
