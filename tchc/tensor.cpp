// Making tensors, asking about them, moving and converting them, views.
#include <ATen/core/grad_mode.h>

#include <cstring>

#include "tchc/handle.hpp"

#define SAME(c, torch) static_assert(static_cast<int>(c) == static_cast<int>(torch), "tchc.h does not match c10")
SAME(TCHC_U8, at::kByte);
SAME(TCHC_I8, at::kChar);
SAME(TCHC_I16, at::kShort);
SAME(TCHC_I32, at::kInt);
SAME(TCHC_I64, at::kLong);
SAME(TCHC_F16, at::kHalf);
SAME(TCHC_F32, at::kFloat);
SAME(TCHC_F64, at::kDouble);
SAME(TCHC_BOOL, at::kBool);
SAME(TCHC_BF16, at::kBFloat16);
SAME(TCHC_CPU, at::kCPU);
SAME(TCHC_CUDA, at::kCUDA);
SAME(TCHC_CONTIGUOUS, at::MemoryFormat::Contiguous);
SAME(TCHC_PRESERVE, at::MemoryFormat::Preserve);
SAME(TCHC_CHANNELS_LAST, at::MemoryFormat::ChannelsLast);
#undef SAME

namespace tchc {

at::IntArrayRef dims(const int64_t *sizes, int ndim) {
  need(ndim >= 0 && (sizes || ndim == 0), E_SHAPE, "bad list of sizes");
  return at::IntArrayRef(sizes, static_cast<size_t>(ndim));
}

at::ScalarType scalar_type(tchc_dtype dt) {
  need(tchc_dtype_size(dt) != 0, E_SHAPE, "unknown element type");
  return static_cast<at::ScalarType>(dt);
}

at::Device device_of(tchc_device d) {
  need(d.type == TCHC_CPU || d.type == TCHC_CUDA, E_DEVICE, "unknown device type");
  if (d.type == TCHC_CPU) return at::Device(at::kCPU);
  need(d.index >= 0 && d.index < tchc_cuda_count(), E_DEVICE, "no such CUDA device");
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(d.index));
}

at::MemoryFormat memory_format(tchc_format f) {
  need(f == TCHC_CONTIGUOUS || f == TCHC_PRESERVE || f == TCHC_CHANNELS_LAST, E_SHAPE, "unknown memory format");
  return static_cast<at::MemoryFormat>(f);
}

} // namespace tchc

using namespace tchc;

namespace {
// Position of a dimension that may count from the end, or -1.
int64_t dim_index(const tchc_tensor *t, int dim) {
  if (!t) return -1;
  const int64_t n = t->t.dim(), i = dim < 0 ? dim + n : dim;
  return i >= 0 && i < n ? i : -1;
}

void check_bytes(const at::Tensor &t, const void *host, size_t nbytes) {
  if (t.nbytes() != nbytes)
    throw Failure(E_SHAPE, c10::str("the tensor has ", t.nbytes(), " bytes, the buffer ", nbytes));
  need(host || nbytes == 0, E_FAIL, "NULL buffer");
}
} // namespace

extern "C" {

// ---- making ----

int tchc_from_blob(void *data, const int64_t *sizes, int ndim, tchc_dtype dt, void (*free_fn)(void *), void *ctx,
                   tchc_tensor **out) {
  Context owner(ctx, free_fn);
  return guarded("from_blob", [&] {
    need(out != nullptr, E_FAIL, "NULL result pointer");
    at::TensorMaker maker = at::for_blob(data, dims(sizes, ndim));
    maker.options(options(dt, TCHC_CPU_DEVICE)).target_device(at::kCPU);
    // in a box of our own: torch calls no deleter for a NULL context
    maker.context(new Context(std::move(owner)), [](void *box) { delete static_cast<Context *>(box); });
    at::Tensor t = maker.make_tensor();
    need(data || t.numel() == 0, E_FAIL, "NULL data");
    *out = wrap(std::move(t));
  });
}

int tchc_from_host(const void *data, const int64_t *sizes, int ndim, tchc_dtype dt, tchc_device d, tchc_tensor **out) {
  return guarded("from_host", [&] {
    at::Tensor t = at::empty(dims(sizes, ndim), options(dt, TCHC_CPU_DEVICE));
    need(data || t.numel() == 0, E_FAIL, "NULL data");
    if (t.numel()) std::memcpy(t.mutable_data_ptr(), data, t.nbytes());
    give(out, t.to(device_of(d)));
  });
}

int tchc_empty(const int64_t *sizes, int ndim, tchc_dtype dt, tchc_device d, tchc_format f, tchc_tensor **out) {
  return guarded("empty", [&] { give(out, at::empty(dims(sizes, ndim), options(dt, d), memory_format(f))); });
}

int tchc_full(const int64_t *sizes, int ndim, double value, tchc_dtype dt, tchc_device d, tchc_tensor **out) {
  return guarded("full", [&] { give(out, at::full(dims(sizes, ndim), value, options(dt, d))); });
}

int tchc_zeros_like(const tchc_tensor *t, tchc_tensor **out) {
  return guarded({"zeros_like", {t}}, [&] { give(out, at::zeros_like(get(t))); });
}

int tchc_arange(int64_t n, tchc_dtype dt, tchc_device d, tchc_tensor **out) {
  return guarded("arange", [&] { give(out, at::arange(n, options(dt, d))); });
}

int tchc_randn(const int64_t *sizes, int ndim, tchc_dtype dt, tchc_device d, tchc_tensor **out) {
  return guarded("randn", [&] { give(out, at::randn(dims(sizes, ndim), options(dt, d))); });
}

// ---- asking ----

int tchc_ndim(const tchc_tensor *t) { return t ? static_cast<int>(t->t.dim()) : -1; }

int64_t tchc_size(const tchc_tensor *t, int dim) {
  const int64_t i = dim_index(t, dim);
  return i < 0 ? -1 : t->t.size(i);
}

int64_t tchc_stride(const tchc_tensor *t, int dim) {
  const int64_t i = dim_index(t, dim);
  return i < 0 ? -1 : t->t.stride(i);
}

int64_t tchc_numel(const tchc_tensor *t) { return t ? t->t.numel() : -1; }
tchc_dtype tchc_type(const tchc_tensor *t) { return t ? static_cast<tchc_dtype>(t->t.scalar_type()) : TCHC_NO_DTYPE; }

tchc_device tchc_where(const tchc_tensor *t) {
  if (!t) return tchc_device{TCHC_NO_DEVICE, -1};
  const at::Device d = t->t.device();
  return tchc_device{static_cast<tchc_device_type>(d.type()), d.is_cpu() ? 0 : d.index()};
}

bool tchc_is_format(const tchc_tensor *t, tchc_format f) {
  if (!t || (f != TCHC_CONTIGUOUS && f != TCHC_CHANNELS_LAST)) return false;
  return t->t.is_contiguous(static_cast<at::MemoryFormat>(f));
}

size_t tchc_dtype_size(tchc_dtype dt) {
  switch (dt) {
  case TCHC_U8:
  case TCHC_I8:
  case TCHC_BOOL: return 1;
  case TCHC_I16:
  case TCHC_F16:
  case TCHC_BF16: return 2;
  case TCHC_I32:
  case TCHC_F32: return 4;
  case TCHC_I64:
  case TCHC_F64: return 8;
  default: return 0;
  }
}

void *tchc_data(const tchc_tensor *t) {
  void *p = nullptr;
  if (t && guarded({"data", {t}}, [&] { p = t->t.mutable_data_ptr(); }) != OK) return nullptr;
  return p;
}

// ---- moving and converting ----

int tchc_to(const tchc_tensor *t, tchc_dtype dt, tchc_device d, tchc_format f, tchc_tensor **out) {
  return guarded({"to", {t}}, [&] {
    const at::MemoryFormat format = memory_format(f);
    at::Tensor r = get(t).to(options(dt, d), /*non_blocking=*/false, /*copy=*/false, format);
    // `to` hands back t itself where type and device are right, whatever its strides
    give(out, format == at::MemoryFormat::Preserve ? r : r.contiguous(format));
  });
}

int tchc_to_type(const tchc_tensor *t, tchc_dtype dt, tchc_tensor **out) {
  return guarded({"to_type", {t}}, [&] { give(out, get(t).to(scalar_type(dt))); });
}

int tchc_contiguous(const tchc_tensor *t, tchc_format f, tchc_tensor **out) {
  return guarded({"contiguous", {t}}, [&] { give(out, get(t).contiguous(memory_format(f))); });
}

int tchc_copy(tchc_tensor *dst, const tchc_tensor *src, bool non_blocking) {
  return guarded({"copy", {dst, src}}, [&] {
    at::NoGradGuard no_grad;
    get(dst).copy_(get(src), non_blocking);
  });
}

int tchc_to_host(const tchc_tensor *t, void *dst, size_t nbytes) {
  return guarded({"to_host", {t}}, [&] {
    at::NoGradGuard no_grad;
    const at::Tensor &src = get(t);
    check_bytes(src, dst, nbytes);
    const at::Tensor host = src.to(at::kCPU).contiguous();
    if (nbytes) std::memcpy(dst, host.const_data_ptr(), nbytes);
  });
}

int tchc_item(const tchc_tensor *t, double *out) {
  return guarded({"item", {t}}, [&] {
    need(out != nullptr, E_FAIL, "NULL result pointer");
    *out = get(t).item().toDouble();
  });
}

// ---- views ----

int tchc_reshape(const tchc_tensor *t, const int64_t *sizes, int ndim, tchc_tensor **out) {
  return guarded({"reshape", {t}}, [&] { give(out, get(t).reshape(dims(sizes, ndim))); });
}

int tchc_permute(const tchc_tensor *t, const int64_t *order, int ndim, tchc_tensor **out) {
  return guarded({"permute", {t}}, [&] { give(out, get(t).permute(dims(order, ndim))); });
}

int tchc_transpose(const tchc_tensor *t, int a, int b, tchc_tensor **out) {
  return guarded({"transpose", {t}}, [&] { give(out, get(t).transpose(a, b)); });
}

int tchc_narrow(const tchc_tensor *t, int dim, int64_t start, int64_t length, tchc_tensor **out) {
  return guarded({"narrow", {t}}, [&] { give(out, get(t).narrow(dim, start, length)); });
}

int tchc_chunk(const tchc_tensor *t, int n, int dim, tchc_tensor **out) {
  return guarded({"chunk", {t}}, [&] {
    need(out != nullptr, E_FAIL, "NULL result pointer");
    need(n > 0 && get(t).size(dim) % n == 0, E_SHAPE, "the parts would differ in size");
    give_all(out, at::chunk(get(t), n, dim));
  });
}

int tchc_expand(const tchc_tensor *t, const int64_t *sizes, int ndim, tchc_tensor **out) {
  return guarded({"expand", {t}}, [&] { give(out, get(t).expand(dims(sizes, ndim))); });
}

int tchc_unsqueeze(const tchc_tensor *t, int dim, tchc_tensor **out) {
  return guarded({"unsqueeze", {t}}, [&] { give(out, get(t).unsqueeze(dim)); });
}

int tchc_as_strided(const tchc_tensor *t, const int64_t *sizes, const int64_t *strides, int ndim, int64_t offset,
                    tchc_tensor **out) {
  return guarded({"as_strided", {t}},
                 [&] { give(out, get(t).as_strided(dims(sizes, ndim), dims(strides, ndim), offset)); });
}
}
