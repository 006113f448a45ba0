// Driving autograd from C, and operators whose forward and backward are C callbacks.
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "tchc/handle.hpp"

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// One application of an operator. The graph node's context holds it, so `graph` is valid in every callback.
struct tchc_call : torch::CustomClassHolder {
  tchc_call(const tchc_op &o, tchc::Context &&c, const variable_list &in, int n)
      : op(o), ctx(std::move(c)), slots(in), nout(n) {
    for (const at::Tensor &t : in) shapes.emplace_back(t.defined() ? t.sizes() : at::IntArrayRef());
  }
  tchc_op op;
  tchc::Context ctx;
  tchc::Slots slots; // of the inputs
  c10::SmallVector<at::DimVector, 4> shapes;
  int nout;
  AutogradContext *graph = nullptr;
};

using namespace tchc;

namespace {
// torch would sum a gradient that merely broadcasts.
void check_gradients(const tchc_call &call, const variable_list &gin) {
  for (size_t i = 0; i < gin.size(); i++)
    if (gin[i].defined() && gin[i].sizes() != at::IntArrayRef(call.shapes[i]))
      throw Failure(E_SHAPE, c10::str(call.op.name, " backward: gradient ", i, " is ", gin[i].sizes(), ", the input ",
                                      at::IntArrayRef(call.shapes[i])));
}

struct CallbackFunction : torch::autograd::Function<CallbackFunction> {
  // torch has turned the grad mode off around this
  static variable_list forward(AutogradContext *graph, c10::intrusive_ptr<tchc_call> call, at::TensorList in) {
    graph->set_materialize_grads(false);
    graph->saved_data["call"] = c10::IValue::make_capsule(call);
    call->graph = graph;
    variable_list out = run(*call, call->slots.spread(in.vec()), call->nout, call->op.forward, "forward");
    check_results(out, call->op.name);
    return out;
  }

  static variable_list backward(AutogradContext *graph, const variable_list &gout) {
    at::NoGradGuard no_grad;
    const auto held = graph->saved_data["call"].toCapsule();
    auto *call = static_cast<tchc_call *>(held.get());
    const int nin = static_cast<int>(call->slots.size());
    const variable_list all = run(*call, gout, nin, call->op.backward, "backward");
    check_gradients(*call, all);
    variable_list gin = call->slots.dense(all);
    gin.insert(gin.begin(), at::Tensor()); // the place of `call` among forward's arguments
    return gin;
  }

private:
  using Callback = int (*)(void *, tchc_call *, tchc_tensor *const *, int, tchc_tensor **, int);
  static variable_list run(tchc_call &call, const variable_list &in, int nout, Callback callback, const char *which) {
    CallbackScope scope;
    const std::vector<tchc_tensor *> lent = scope.lend(in);
    std::vector<tchc_tensor *> results(static_cast<size_t>(nout), nullptr);
    err_clear();
    const int status =
        callback(call.ctx.get(), &call, lent.data(), static_cast<int>(lent.size()), results.data(), nout);
    variable_list out = scope.take(results);
    check_callback(status, call.op.name, which);
    return out;
  }
};
} // namespace

extern "C" {

int tchc_requires_grad_(tchc_tensor *t, bool on) {
  return guarded({"requires_grad_", {t}}, [&] { get(t).requires_grad_(on); });
}

bool tchc_requires_grad(const tchc_tensor *t) { return t && t->t.requires_grad(); }

int tchc_detach(const tchc_tensor *t, tchc_tensor **out) {
  return guarded({"detach", {t}}, [&] { give(out, get(t).detach()); });
}

int tchc_leaf(const tchc_tensor *t, tchc_tensor **out) {
  return guarded({"leaf", {t}}, [&] { give(out, get(t).detach().requires_grad_(true)); });
}

int tchc_backward(const tchc_tensor *root, const tchc_tensor *grad) {
  return guarded({"backward", {root, grad}}, [&] {
    need(get(root).requires_grad(), E_SHAPE, "the root depends on no tensor that requires a gradient");
    need(!grad || grad->t.sizes() == root->t.sizes(), E_SHAPE, "the gradient has another shape than the root");
    torch::autograd::backward({get(root)}, grad ? variable_list{get(grad)} : variable_list{}, /*retain_graph=*/false);
  });
}

int tchc_grad(const tchc_tensor *t, tchc_tensor **out) {
  return guarded({"grad", {t}}, [&] {
    need(out != nullptr, E_FAIL, "NULL result pointer");
    *out = wrap_or_null(get(t).grad());
  });
}

int tchc_set_grad(tchc_tensor *t, const tchc_tensor *g) {
  return guarded({"set_grad", {t, g}}, [&] {
    const at::Tensor &x = get(t);
    if (!g) return x.mutable_grad().reset();
    need(x.is_leaf(), E_SHAPE, "only a leaf keeps a gradient");
    need(x.sizes() == g->t.sizes() && x.device() == g->t.device(), E_SHAPE, "the gradient has another shape or place");
    need(g->t.is_floating_point() && !g->t.requires_grad(), E_SHAPE,
         "a gradient is of a floating type and no part of a graph");
    // no type asked for: the engine would make a converted copy of each gradient before adding it
    if (x.scalar_type() != g->t.scalar_type()) x.set_grad_dtype(std::nullopt);
    x.mutable_grad() = g->t;
  });
}

bool tchc_grad_mode(bool on) {
  const bool was = at::GradMode::is_enabled();
  at::GradMode::set_enabled(on);
  return was;
}

int tchc_apply(const tchc_op *op, void *ctx, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  Context owner(ctx, op ? op->free_ctx : nullptr);
  return guarded(op && op->name ? op->name : "apply", [&] {
    need(op && op->name && op->forward && op->backward, E_FAIL, "an operator needs a name, forward and backward");
    need(nin >= 0 && (in || nin == 0) && nout > 0 && out, E_FAIL, "bad list of tensors");
    variable_list inputs;
    for (int i = 0; i < nin; i++) inputs.push_back(get_or_undefined(in[i]));
    auto call = c10::make_intrusive<tchc_call>(*op, std::move(owner), inputs, nout);
    const variable_list dense = call->slots.dense(inputs);
    give_all(out, CallbackFunction::apply(std::move(call), at::TensorList(dense)));
  });
}

int tchc_call_save(tchc_call *call, tchc_tensor *const *t, int n) {
  return guarded("call_save", [&] {
    need(call && n >= 0 && (t || n == 0), E_FAIL, "bad list of tensors");
    variable_list list;
    for (int i = 0; i < n; i++) list.push_back(get_or_undefined(t[i]));
    call->graph->save_for_backward(std::move(list));
  });
}

int tchc_call_saved(tchc_call *call, tchc_tensor **t, int n) {
  return guarded("call_saved", [&] {
    need(call && n >= 0 && (t || n == 0), E_FAIL, "bad list of tensors");
    const variable_list list = call->graph->get_saved_variables();
    if (list.size() != static_cast<size_t>(n))
      throw Failure(E_FAIL, c10::str(list.size(), " tensors were saved, ", n, " asked for"));
    give_all(t, list);
  });
}

bool tchc_call_needs(const tchc_call *call, int i) {
  const int place = call && i >= 0 ? call->slots.place(static_cast<size_t>(i)) : -1;
  try {
    return place >= 0 && call->graph->needs_input_grad(static_cast<size_t>(place));
  } catch (...) { // thrown where no graph is made
    return false;
  }
}
}
