/* tchc/tchc.h: an ATen-free C API over libtorch. Plain C17, also valid C++; no torch or CUDA header is needed.
 *
 * Status: every fallible call returns OK or a code of base/err.h; a C++ exception becomes a status whose text is the
 * exception's own: E_NOMEM for out of memory, E_SHAPE for operands that torch refuses (shapes, types, ranges), E_DEVICE
 * for what fails in the device or has no kernel for it, E_FAIL for a NULL handle or pointer, a callback's own status for
 * a callback. It starts with the operator's name and its operands' shapes. Nothing is thrown past this header, also not
 * out of autograd's threads.
 *
 * Handles: a tchc_tensor owns one reference to a tensor. One made while a scope is open on this thread belongs to
 * the innermost scope and ends with it, on error paths too; one made without a scope belongs to the caller, who
 * ends it with tchc_free. `out` is written only on success. NULL where an argument may be left out means "none".
 *
 * No state of its own besides the thread-local scope stack and the count of live handles. */
#ifndef TCHC_TCHC_H
#define TCHC_TCHC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#define TCHC_CHECKED __attribute__((warn_unused_result))
#else
#define TCHC_CHECKED
#endif

typedef struct tchc_tensor tchc_tensor;
typedef struct tchc_scope tchc_scope;

/* Values of c10::ScalarType, c10::DeviceType and c10::MemoryFormat; checked inside at compile time. */
typedef enum {
  TCHC_NO_DTYPE = -1, TCHC_U8 = 0, TCHC_I8 = 1, TCHC_I16 = 2, TCHC_I32 = 3, TCHC_I64 = 4, TCHC_F16 = 5, TCHC_F32 = 6,
  TCHC_F64 = 7, TCHC_BOOL = 11, TCHC_BF16 = 15
} tchc_dtype;
typedef enum { TCHC_NO_DEVICE = -1, TCHC_CPU = 0, TCHC_CUDA = 1 } tchc_device_type;
typedef struct tchc_device { tchc_device_type type; int index; } tchc_device;
typedef enum { TCHC_CONTIGUOUS = 0, TCHC_PRESERVE = 1, TCHC_CHANNELS_LAST = 2 } tchc_format;
#define TCHC_CPU_DEVICE ((tchc_device){TCHC_CPU, 0})

/* ---- start-up; tchc_cuda_open must be the process's first torch call (torch caches "no CUDA" at its first query) ---- */
/* dlopens libtorch_cuda from beside libtorch_cpu. Errors: E_DEVICE with the loader's reason (not there: CPU-only). */
TCHC_CHECKED int tchc_cuda_open(void);
/* 0 without tchc_cuda_open, driver or device. */
int tchc_cuda_count(void);
/* Device's name into out. */
TCHC_CHECKED int tchc_cuda_name(int device, char *out, size_t size);
/* The current stream as a cudaStream_t. */
TCHC_CHECKED int tchc_cuda_stream(int device, void **stream);
TCHC_CHECKED int tchc_synchronize(tchc_device d);
const char *tchc_torch_version(void); /* "2.11.0" */
void tchc_set_threads(int n);         /* intra-op, >= 1 */
int tchc_threads(void);
/* Which attention is tried first on a GPU; AUTO leaves the order as it is. */
typedef enum {
  TCHC_ATTENTION_AUTO = 0, TCHC_ATTENTION_MATH = 1, TCHC_ATTENTION_FLASH = 2, TCHC_ATTENTION_EFFICIENT = 3,
  TCHC_ATTENTION_CUDNN = 4
} tchc_attention_kernel;
typedef struct tchc_backend_opts {
  bool deterministic;    /* only algorithms that give the same bits each time */
  bool cudnn_benchmark;  /* measure convolutions at first use; has no effect with deterministic */
  bool tf32;             /* off: fp32 means fp32 */
  tchc_attention_kernel attention;
} tchc_backend_opts;
TCHC_CHECKED int tchc_set_backend(const tchc_backend_opts *o);
/* torch's own generators (CPU and all devices). The program draws from base/rng.h; this is for dropout and tests. */
TCHC_CHECKED int tchc_manual_seed(uint64_t seed);

/* ---- memory ---- */
typedef struct tchc_memory { int64_t allocated, allocated_peak, reserved, reserved_peak, ooms, retries; } tchc_memory;
/* CUDA: the caching allocator. CPU: what tchc_memory_count counts, 0 where it is off. */
TCHC_CHECKED int tchc_memory_stats(tchc_device d, tchc_memory *out);
TCHC_CHECKED int tchc_memory_reset_peak(tchc_device d);
/* Counts the bytes of tensors that this thread makes on the CPU from now on, until `false`; those made before count for
 * nothing; when one of them ends torch may warn of it on stderr. For bench and tests. E_FAIL when it is on (or off) already. */
TCHC_CHECKED int tchc_memory_count(bool on);
/* Total and free bytes of a CUDA device. */
TCHC_CHECKED int tchc_memory_info(tchc_device d, int64_t *free_bytes, int64_t *total_bytes);
TCHC_CHECKED int tchc_memory_empty_cache(tchc_device d);
/* The allocator fails above this many bytes; 0 lifts the cap. CUDA only, of a build with a CUDA toolkit. */
TCHC_CHECKED int tchc_memory_cap(tchc_device d, int64_t bytes);

/* ---- scopes and handles ---- */
TCHC_CHECKED int tchc_scope_open(tchc_scope **out);
/* Ends every handle of the scope. Scopes close in reverse order (assert). Takes NULL, nulls the pointer. */
void tchc_scope_close(tchc_scope **s);
/* The handle leaves its scope for the enclosing one (or for the caller, when there is none): how a function
 * returns a tensor from a scope of its own. */
void tchc_promote(tchc_tensor *t);
/* The handle leaves all scopes: the caller ends it with tchc_free. */
void tchc_keep(tchc_tensor *t);
/* Ends one handle now, wherever it belongs. Takes NULL, nulls the pointer. */
void tchc_free(tchc_tensor **t);
/* A second handle on the same tensor. */
TCHC_CHECKED int tchc_share(const tchc_tensor *t, tchc_tensor **out);
/* Handles alive in the process: tests compare before and after. */
int64_t tchc_live(void);

/* ---- making ---- */
/* Takes host memory: free_fn(ctx) ends it once the last tensor on it is gone, or at once on failure. With free_fn NULL
 * the memory is borrowed for as long as a tensor on it lives. */
TCHC_CHECKED int tchc_from_blob(void *data, const int64_t *sizes, int ndim, tchc_dtype dt, void (*free_fn)(void *),
                                void *ctx, tchc_tensor **out);
/* A copy of host memory (row-major). */
TCHC_CHECKED int tchc_from_host(const void *data, const int64_t *sizes, int ndim, tchc_dtype dt, tchc_device d,
                                tchc_tensor **out);
TCHC_CHECKED int tchc_empty(const int64_t *sizes, int ndim, tchc_dtype dt, tchc_device d, tchc_format f, tchc_tensor **out);
TCHC_CHECKED int tchc_full(const int64_t *sizes, int ndim, double value, tchc_dtype dt, tchc_device d, tchc_tensor **out);
TCHC_CHECKED int tchc_zeros_like(const tchc_tensor *t, tchc_tensor **out);
TCHC_CHECKED int tchc_arange(int64_t n, tchc_dtype dt, tchc_device d, tchc_tensor **out);
/* From torch's generator: for tests. */
TCHC_CHECKED int tchc_randn(const int64_t *sizes, int ndim, tchc_dtype dt, tchc_device d, tchc_tensor **out);

/* ---- asking; -1, TCHC_NO_* or NULL for a NULL handle ---- */
int tchc_ndim(const tchc_tensor *t);
int64_t tchc_size(const tchc_tensor *t, int dim); /* negative dims count from the end; -1 when out of range */
int64_t tchc_stride(const tchc_tensor *t, int dim);
int64_t tchc_numel(const tchc_tensor *t);
tchc_dtype tchc_type(const tchc_tensor *t);
tchc_device tchc_where(const tchc_tensor *t);
bool tchc_is_format(const tchc_tensor *t, tchc_format f);
size_t tchc_dtype_size(tchc_dtype dt);
/* Address of element 0, on the tensor's own device. Borrowed. */
void *tchc_data(const tchc_tensor *t);
/* "[2,4,8,12] f32", for messages; borrowed from a thread-local ring of 4 buffers. */
const char *tchc_text(const tchc_tensor *t);

/* ---- moving and converting ---- */
TCHC_CHECKED int tchc_to(const tchc_tensor *t, tchc_dtype dt, tchc_device d, tchc_format f, tchc_tensor **out);
TCHC_CHECKED int tchc_to_type(const tchc_tensor *t, tchc_dtype dt, tchc_tensor **out);
TCHC_CHECKED int tchc_contiguous(const tchc_tensor *t, tchc_format f, tchc_tensor **out);
/* dst = src, converting type and device; no autograd. non_blocking needs pinned host memory to matter. */
TCHC_CHECKED int tchc_copy(tchc_tensor *dst, const tchc_tensor *src, bool non_blocking);
/* Row-major bytes of t into dst; waits for the device. Errors: E_SHAPE when nbytes is not the tensor's. */
TCHC_CHECKED int tchc_to_host(const tchc_tensor *t, void *dst, size_t nbytes);
/* The one element as double; waits for the device. */
TCHC_CHECKED int tchc_item(const tchc_tensor *t, double *out);

/* ---- views (share memory, take part in autograd) ---- */
TCHC_CHECKED int tchc_reshape(const tchc_tensor *t, const int64_t *sizes, int ndim, tchc_tensor **out);
TCHC_CHECKED int tchc_permute(const tchc_tensor *t, const int64_t *dims, int ndim, tchc_tensor **out);
TCHC_CHECKED int tchc_transpose(const tchc_tensor *t, int a, int b, tchc_tensor **out);
TCHC_CHECKED int tchc_narrow(const tchc_tensor *t, int dim, int64_t start, int64_t length, tchc_tensor **out);
/* n equal parts along dim, one graph node for all. Errors: E_SHAPE when n does not divide the size. */
TCHC_CHECKED int tchc_chunk(const tchc_tensor *t, int n, int dim, tchc_tensor **out);
TCHC_CHECKED int tchc_expand(const tchc_tensor *t, const int64_t *sizes, int ndim, tchc_tensor **out);
TCHC_CHECKED int tchc_unsqueeze(const tchc_tensor *t, int dim, tchc_tensor **out);
TCHC_CHECKED int tchc_as_strided(const tchc_tensor *t, const int64_t *sizes, const int64_t *strides, int ndim,
                                 int64_t offset, tchc_tensor **out);

/* ---- arithmetic ---- */
TCHC_CHECKED int tchc_add(const tchc_tensor *a, const tchc_tensor *b, double alpha, tchc_tensor **out); /* a + alpha b */
TCHC_CHECKED int tchc_mul(const tchc_tensor *a, const tchc_tensor *b, tchc_tensor **out);
TCHC_CHECKED int tchc_div(const tchc_tensor *a, const tchc_tensor *b, tchc_tensor **out);
/* scale t + shift; whole numbers leave an integer tensor's type. */
TCHC_CHECKED int tchc_affine(const tchc_tensor *t, double scale, double shift, tchc_tensor **out);
TCHC_CHECKED int tchc_clamp(const tchc_tensor *t, double lo, double hi, tchc_tensor **out);
TCHC_CHECKED int tchc_sqrt(const tchc_tensor *t, tchc_tensor **out);
TCHC_CHECKED int tchc_exp(const tchc_tensor *t, tchc_tensor **out);
TCHC_CHECKED int tchc_sin(const tchc_tensor *t, tchc_tensor **out);
TCHC_CHECKED int tchc_cos(const tchc_tensor *t, tchc_tensor **out);
TCHC_CHECKED int tchc_sum(const tchc_tensor *t, tchc_tensor **out);
TCHC_CHECKED int tchc_mean_dim(const tchc_tensor *t, int dim, bool keepdim, tchc_tensor **out);
TCHC_CHECKED int tchc_norm_dim(const tchc_tensor *t, int dim, bool keepdim, tchc_tensor **out); /* L2 */
TCHC_CHECKED int tchc_cat(const tchc_tensor *const *t, int n, int dim, tchc_tensor **out);
TCHC_CHECKED int tchc_flip(const tchc_tensor *t, const int *dims, int n, tchc_tensor **out); /* a copy */
TCHC_CHECKED int tchc_matmul(const tchc_tensor *a, const tchc_tensor *b, tchc_tensor **out);
/* In place, no autograd. */
TCHC_CHECKED int tchc_zero_(tchc_tensor *t);
TCHC_CHECKED int tchc_add_(tchc_tensor *t, const tchc_tensor *b, double alpha); /* b is converted to t's type */

/* ---- network operators; shapes as torch's functions of these names ---- */
TCHC_CHECKED int tchc_conv2d(const tchc_tensor *x, const tchc_tensor *w, const tchc_tensor *b, int stride, int pad,
                             tchc_tensor **out);
TCHC_CHECKED int tchc_conv_transpose2d(const tchc_tensor *x, const tchc_tensor *w, const tchc_tensor *b, int stride, int pad,
                                       tchc_tensor **out);
TCHC_CHECKED int tchc_linear(const tchc_tensor *x, const tchc_tensor *w, const tchc_tensor *b, tchc_tensor **out);
TCHC_CHECKED int tchc_group_norm(const tchc_tensor *x, int groups, const tchc_tensor *w, const tchc_tensor *b, double eps,
                                 tchc_tensor **out);
TCHC_CHECKED int tchc_layer_norm(const tchc_tensor *x, const tchc_tensor *w, const tchc_tensor *b, double eps,
                                 tchc_tensor **out); /* over the last dimension */
TCHC_CHECKED int tchc_silu(const tchc_tensor *x, tchc_tensor **out);
TCHC_CHECKED int tchc_gelu(const tchc_tensor *x, tchc_tensor **out);       /* exact, by erf */
TCHC_CHECKED int tchc_quick_gelu(const tchc_tensor *x, tchc_tensor **out); /* x sigmoid(1.702 x) */
TCHC_CHECKED int tchc_softmax(const tchc_tensor *x, int dim, tchc_tensor **out);
/* From torch's generator; always drops. */
TCHC_CHECKED int tchc_dropout(const tchc_tensor *x, double p, tchc_tensor **out);
/* q, k, v [B,heads,n,d]; causal masks the future. */
TCHC_CHECKED int tchc_attention(const tchc_tensor *q, const tchc_tensor *k, const tchc_tensor *v, bool causal, tchc_tensor **out);
/* The same with one way of computing tried first on a GPU, for this call and its backward. */
TCHC_CHECKED int tchc_attention_by(tchc_attention_kernel first, const tchc_tensor *q, const tchc_tensor *k,
                                   const tchc_tensor *v, tchc_tensor **out);
TCHC_CHECKED int tchc_upsample_nearest(const tchc_tensor *x, int64_t h, int64_t w, tchc_tensor **out);
TCHC_CHECKED int tchc_pad(const tchc_tensor *x, int left, int right, int top, int bottom, tchc_tensor **out); /* zeros */
TCHC_CHECKED int tchc_embedding(const tchc_tensor *table, const tchc_tensor *ids, tchc_tensor **out);

/* ---- autograd ---- */
TCHC_CHECKED int tchc_requires_grad_(tchc_tensor *t, bool on); /* leaves only */
bool tchc_requires_grad(const tchc_tensor *t);
TCHC_CHECKED int tchc_detach(const tchc_tensor *t, tchc_tensor **out);
/* A leaf that shares t's memory and collects its own gradient. */
TCHC_CHECKED int tchc_leaf(const tchc_tensor *t, tchc_tensor **out);
/* Gradient of root (scalar, or with grad of its shape) into the .grad of all leaves. Frees the graph. */
TCHC_CHECKED int tchc_backward(const tchc_tensor *root, const tchc_tensor *grad);
/* *out = NULL, and OK, when there is none. */
TCHC_CHECKED int tchc_grad(const tchc_tensor *t, tchc_tensor **out);
/* Gradients of t, a leaf, are added into g's memory from now on. g has t's shape; it may be a strided view, or of
 * another floating type (fp32 sums of a bf16 leaf's gradients). NULL drops the gradient. */
TCHC_CHECKED int tchc_set_grad(tchc_tensor *t, const tchc_tensor *g);
/* Returns what it was, to be given back: no graph is made while off. */
bool tchc_grad_mode(bool on);

/* An operator whose forward and backward are C. Callbacks return OK or a status with err_set; they run without a
 * graph and inside a scope of their own. `in`/`gout` are lent; what they put into `out`/`gin` is taken over (gin NULL:
 * no gradient). They may run on other threads than the caller's (CUDA backward); err text is carried over.
 * gout[i] may be NULL (that output was not used), expanded, or of any memory format. */
typedef struct tchc_call tchc_call; /* one application of an operator; lives as long as its graph node */
typedef struct tchc_op {
  const char *name; /* for messages; outlives the graph, as the functions do. The struct itself is copied. */
  int (*forward)(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout);
  int (*backward)(void *ctx, tchc_call *call, tchc_tensor *const *gout, int nout, tchc_tensor **gin, int nin);
  void (*free_ctx)(void *ctx); /* once, when the graph node dies, or at once on failure; may be NULL */
} tchc_op;
/* ctx holds the operator's options and workspaces. */
TCHC_CHECKED int tchc_apply(const tchc_op *op, void *ctx, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout);
/* Tensors that backward needs (NULL entries allowed); once, from forward. */
TCHC_CHECKED int tchc_call_save(tchc_call *call, tchc_tensor *const *t, int n);
/* From backward; handles of the callback's scope. */
TCHC_CHECKED int tchc_call_saved(tchc_call *call, tchc_tensor **t, int n);
/* Does input i need a gradient? */
bool tchc_call_needs(const tchc_call *call, int i);

/* Activation checkpointing: run is called now without a graph and again in backward with one, inside a scope, with the
 * same random state (of torch's generators). NULL inputs are handed on as NULL. Parameters that it reaches through ctx get
 * their gradients as usual, also when no input needs one. run must give the same tensors both times; free_ctx as in
 * tchc_op. */
typedef int (*tchc_segment)(void *ctx, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout);
TCHC_CHECKED int tchc_checkpoint(tchc_segment run, void *ctx, void (*free_ctx)(void *), tchc_tensor *const *in, int nin,
                                 tchc_tensor **out, int nout);
#ifdef __cplusplus
}
#endif
#endif
