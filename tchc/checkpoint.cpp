// Activation checkpointing: a segment that runs again in backward, with the random numbers of its first run.
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <mutex>

#include "tchc/handle.hpp"

using namespace tchc;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {
// States of the generators that a segment may draw from: the CPU's, and those of its inputs' devices, except under
// capture, where torch refuses the question.
class RandomState {
public:
  explicit RandomState(at::TensorList in) {
    remember(at::Device(at::kCPU));
    for (const at::Tensor &t : in)
      if (t.defined()) remember(t.device());
  }

  void restore() const {
    for (const Entry &e : entries_) {
      at::Generator g = generator(e.device);
      const std::lock_guard<std::mutex> lock(g.mutex());
      g.set_state(e.state);
    }
  }

private:
  struct Entry {
    at::Device device;
    at::Tensor state;
  };
  static at::Generator generator(at::Device d) { return at::globalContext().defaultGenerator(d); }

  void remember(at::Device d) {
    if (!d.is_cpu() && capturing()) return;
    for (const Entry &e : entries_)
      if (e.device == d) return;
    at::Generator g = generator(d);
    const std::lock_guard<std::mutex> lock(g.mutex());
    entries_.push_back({d, g.get_state()});
  }

  std::vector<Entry> entries_;
};

// The state of the first run for the second one's time.
class Replay {
public:
  Replay(const RandomState &first, at::TensorList in) : now_(in) { first.restore(); }
  ~Replay() {
    try {
      now_.restore();
    } catch (...) { // it was set once already; nothing to report to
    }
  }
  Replay(const Replay &) = delete;
  Replay &operator=(const Replay &) = delete;

private:
  RandomState now_;
};

struct Segment : torch::CustomClassHolder {
  Segment(tchc_segment r, Context &&c, const variable_list &in, int n)
      : run(r), ctx(std::move(c)), slots(in), nout(n), random(in) {}

  variable_list operator()(const variable_list &in) const {
    CallbackScope scope;
    const std::vector<tchc_tensor *> lent = scope.lend(slots.spread(in));
    std::vector<tchc_tensor *> results(static_cast<size_t>(nout), nullptr);
    err_clear();
    const int status = run(ctx.get(), lent.data(), static_cast<int>(lent.size()), results.data(), nout);
    variable_list out = scope.take(results);
    check_callback(status, "checkpoint", "segment");
    check_results(out, "checkpoint segment");
    return out;
  }

  tchc_segment run;
  Context ctx;
  Slots slots; // of the inputs
  int nout;
  RandomState random;
};

// Runs the segment again with a graph and sends the gradients through it; those of the inputs are returned.
variable_list run_backward(const Segment &segment, const variable_list &saved, const variable_list &gout) {
  variable_list in, roots, grads, gin;
  for (const at::Tensor &t : saved) in.push_back(t.detach().requires_grad_(t.requires_grad()));
  {
    at::AutoGradMode with_graph(true);
    Replay replay(segment.random, in);
    const variable_list out = segment(in);
    for (size_t i = 0; i < out.size(); i++)
      if (out[i].requires_grad() && gout[i].defined()) {
        roots.push_back(out[i]);
        grads.push_back(gout[i]);
      }
  }
  if (!roots.empty()) torch::autograd::backward(roots, grads);
  for (const at::Tensor &t : in) gin.push_back(t.grad());
  return gin;
}

struct CheckpointFunction : torch::autograd::Function<CheckpointFunction> {
  // `hook` requires a gradient, so that the outputs do, also when only captured parameters need one.
  static variable_list forward(AutogradContext *graph, c10::intrusive_ptr<Segment> segment, const at::Tensor & /*hook*/,
                               at::TensorList in) {
    graph->set_materialize_grads(false);
    graph->save_for_backward(in.vec());
    graph->saved_data["segment"] = c10::IValue::make_capsule(segment);
    return (*segment)(in.vec());
  }

  static variable_list backward(AutogradContext *graph, const variable_list &gout) {
    const auto held = graph->saved_data["segment"].toCapsule();
    const variable_list saved = graph->get_saved_variables();
    variable_list gin = run_backward(*static_cast<Segment *>(held.get()), saved, gout);
    gin.insert(gin.begin(), 2, at::Tensor()); // the places of `segment` and `hook`
    return gin;
  }
};
} // namespace

int tchc_checkpoint(tchc_segment run, void *ctx, void (*free_ctx)(void *), tchc_tensor *const *in, int nin,
                    tchc_tensor **out, int nout) {
  Context owner(ctx, free_ctx);
  return guarded("checkpoint", [&] {
    need(run && nin >= 0 && (in || nin == 0) && nout > 0 && out, E_FAIL, "bad list of tensors");
    variable_list inputs;
    for (int i = 0; i < nin; i++) inputs.push_back(get_or_undefined(in[i]));
    auto segment = c10::make_intrusive<Segment>(run, std::move(owner), inputs, nout);
    const variable_list dense = segment->slots.dense(inputs);
    const at::Tensor hook = at::empty({0}).requires_grad_(true);
    give_all(out, CheckpointFunction::apply(std::move(segment), hook, at::TensorList(dense)));
  });
}
