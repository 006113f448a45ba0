// Arithmetic and network operators. Each is torch's function of the same name; operands are named in messages.
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "tchc/handle.hpp"

using namespace tchc;

namespace {
// Whole numbers stay whole, so that integer tensors can be scaled by them.
at::Scalar scalar(double v) {
  const bool whole = v == std::floor(v) && std::fabs(v) < 0x1p53;
  return whole ? at::Scalar(static_cast<int64_t>(v)) : at::Scalar(v);
}

template <class F> int unary(Where where, tchc_tensor **out, F &&f) {
  return guarded(where, [&] { give(out, f(get(*where.args.begin()))); });
}

template <class F> int binary(Where where, tchc_tensor **out, F &&f) {
  return guarded(where, [&] { give(out, f(get(where.args.begin()[0]), get(where.args.begin()[1]))); });
}
} // namespace

extern "C" {

// ---- arithmetic ----

int tchc_add(const tchc_tensor *a, const tchc_tensor *b, double alpha, tchc_tensor **out) {
  return binary({"add", {a, b}}, out, [&](auto &x, auto &y) { return at::add(x, y, scalar(alpha)); });
}

int tchc_mul(const tchc_tensor *a, const tchc_tensor *b, tchc_tensor **out) {
  return binary({"mul", {a, b}}, out, [](auto &x, auto &y) { return at::mul(x, y); });
}

int tchc_div(const tchc_tensor *a, const tchc_tensor *b, tchc_tensor **out) {
  return binary({"div", {a, b}}, out, [](auto &x, auto &y) { return at::div(x, y); });
}

int tchc_affine(const tchc_tensor *t, double scale, double shift, tchc_tensor **out) {
  return unary({"affine", {t}}, out, [&](auto &x) {
    at::Tensor r = scale == 1 ? x : at::mul(x, scalar(scale));
    return shift == 0 && scale != 1 ? r : at::add(r, scalar(shift));
  });
}

int tchc_clamp(const tchc_tensor *t, double lo, double hi, tchc_tensor **out) {
  return unary({"clamp", {t}}, out, [&](auto &x) { return at::clamp(x, scalar(lo), scalar(hi)); });
}

int tchc_sqrt(const tchc_tensor *t, tchc_tensor **out) {
  return unary({"sqrt", {t}}, out, [](auto &x) { return at::sqrt(x); });
}

int tchc_exp(const tchc_tensor *t, tchc_tensor **out) {
  return unary({"exp", {t}}, out, [](auto &x) { return at::exp(x); });
}

int tchc_sin(const tchc_tensor *t, tchc_tensor **out) {
  return unary({"sin", {t}}, out, [](auto &x) { return at::sin(x); });
}

int tchc_cos(const tchc_tensor *t, tchc_tensor **out) {
  return unary({"cos", {t}}, out, [](auto &x) { return at::cos(x); });
}

int tchc_sum(const tchc_tensor *t, tchc_tensor **out) {
  return unary({"sum", {t}}, out, [](auto &x) { return at::sum(x); });
}

int tchc_mean_dim(const tchc_tensor *t, int dim, bool keepdim, tchc_tensor **out) {
  return unary({"mean_dim", {t}}, out, [&](auto &x) { return at::mean(x, at::IntArrayRef{dim}, keepdim); });
}

int tchc_norm_dim(const tchc_tensor *t, int dim, bool keepdim, tchc_tensor **out) {
  return unary({"norm_dim", {t}}, out,
               [&](auto &x) { return at::linalg_vector_norm(x, 2, at::IntArrayRef{dim}, keepdim); });
}

int tchc_cat(const tchc_tensor *const *t, int n, int dim, tchc_tensor **out) {
  return guarded("cat", [&] {
    need(n >= 0 && (t || n == 0), E_FAIL, "bad list of tensors");
    std::vector<at::Tensor> list;
    for (int i = 0; i < n; i++) list.push_back(get(t[i]));
    give(out, at::cat(list, dim));
  });
}

int tchc_flip(const tchc_tensor *t, const int *axes, int n, tchc_tensor **out) {
  return unary({"flip", {t}}, out, [&](auto &x) {
    need(n >= 0 && (axes || n == 0), E_FAIL, "bad list of dimensions");
    return at::flip(x, std::vector<int64_t>(axes, axes + n));
  });
}

int tchc_matmul(const tchc_tensor *a, const tchc_tensor *b, tchc_tensor **out) {
  return binary({"matmul", {a, b}}, out, [](auto &x, auto &y) { return at::matmul(x, y); });
}

int tchc_zero_(tchc_tensor *t) {
  return guarded({"zero_", {t}}, [&] {
    at::NoGradGuard no_grad;
    get(t).zero_();
  });
}

int tchc_add_(tchc_tensor *t, const tchc_tensor *b, double alpha) {
  return guarded({"add_", {t, b}}, [&] {
    at::NoGradGuard no_grad;
    const at::Tensor &dst = get(t), &src = get(b);
    // within the floating types the sum itself converts, without a copy
    const bool castable = c10::canCast(src.scalar_type(), dst.scalar_type());
    dst.add_(castable ? src : src.to(dst.scalar_type()), scalar(alpha));
  });
}

// ---- network operators ----

int tchc_conv2d(const tchc_tensor *x, const tchc_tensor *w, const tchc_tensor *b, int stride, int pad,
                tchc_tensor **out) {
  return guarded({"conv2d", {x, w, b}}, [&] {
    give(out, at::conv2d(get(x), get(w), maybe(b), at::IntArrayRef{stride, stride}, at::IntArrayRef{pad, pad}));
  });
}

int tchc_conv_transpose2d(const tchc_tensor *x, const tchc_tensor *w, const tchc_tensor *b, int stride, int pad,
                          tchc_tensor **out) {
  return guarded({"conv_transpose2d", {x, w, b}},
                 [&] { give(out, at::conv_transpose2d(get(x), get(w), maybe(b), stride, pad)); });
}

int tchc_linear(const tchc_tensor *x, const tchc_tensor *w, const tchc_tensor *b, tchc_tensor **out) {
  return guarded({"linear", {x, w, b}}, [&] { give(out, at::linear(get(x), get(w), maybe(b))); });
}

int tchc_group_norm(const tchc_tensor *x, int groups, const tchc_tensor *w, const tchc_tensor *b, double eps,
                    tchc_tensor **out) {
  return guarded({"group_norm", {x, w, b}},
                 [&] { give(out, at::group_norm(get(x), groups, maybe(w), maybe(b), eps)); });
}

int tchc_layer_norm(const tchc_tensor *x, const tchc_tensor *w, const tchc_tensor *b, double eps, tchc_tensor **out) {
  return guarded({"layer_norm", {x, w, b}},
                 [&] { give(out, at::layer_norm(get(x), {get(x).size(-1)}, maybe(w), maybe(b), eps)); });
}

int tchc_silu(const tchc_tensor *x, tchc_tensor **out) {
  return unary({"silu", {x}}, out, [](auto &t) { return at::silu(t); });
}

int tchc_gelu(const tchc_tensor *x, tchc_tensor **out) {
  return unary({"gelu", {x}}, out, [](auto &t) { return at::gelu(t); });
}

int tchc_quick_gelu(const tchc_tensor *x, tchc_tensor **out) {
  return unary({"quick_gelu", {x}}, out, [](auto &t) { return t * at::sigmoid(1.702 * t); });
}

int tchc_softmax(const tchc_tensor *x, int dim, tchc_tensor **out) {
  return unary({"softmax", {x}}, out, [&](auto &t) { return at::softmax(t, dim); });
}

int tchc_dropout(const tchc_tensor *x, double p, tchc_tensor **out) {
  return unary({"dropout", {x}}, out, [&](auto &t) { return at::dropout(t, p, /*train=*/true); });
}

int tchc_attention(const tchc_tensor *q, const tchc_tensor *k, const tchc_tensor *v, bool causal, tchc_tensor **out) {
  return guarded({"attention", {q, k, v}}, [&] {
    give(out, at::scaled_dot_product_attention(get(q), get(k), get(v), /*attn_mask=*/{}, /*dropout_p=*/0.0, causal));
  });
}

int tchc_attention_by(tchc_attention_kernel first, const tchc_tensor *q, const tchc_tensor *k, const tchc_tensor *v,
                      tchc_tensor **out) {
  return guarded({"attention", {q, k, v}}, [&] {
    const AttentionFirst order(first);
    give(out, at::scaled_dot_product_attention(get(q), get(k), get(v)));
  });
}

int tchc_upsample_nearest(const tchc_tensor *x, int64_t h, int64_t w, tchc_tensor **out) {
  return unary({"upsample_nearest", {x}}, out, [&](auto &t) { return at::upsample_nearest2d(t, {h, w}); });
}

int tchc_pad(const tchc_tensor *x, int left, int right, int top, int bottom, tchc_tensor **out) {
  return unary({"pad", {x}}, out, [&](auto &t) { return at::constant_pad_nd(t, {left, right, top, bottom}, 0); });
}

int tchc_embedding(const tchc_tensor *table, const tchc_tensor *ids, tchc_tensor **out) {
  return binary({"embedding", {table, ids}}, out, [](auto &t, auto &i) { return at::embedding(t, i); });
}
}
