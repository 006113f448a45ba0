/* models/params.h: a model's named parameters in one flat tensor. Names are the checkpoint keys of diffusers.
 * Declare (from a config), allocate, load, then look tensors up by name. Master weights, moments and gradients of the
 * trainer are flat tensors of the same layout. */
#ifndef MODELS_PARAMS_H
#define MODELS_PARAMS_H
#include "base/safetensors.h"
#include "tchc/tchc.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct md_param {
  char *name;
  int ndim;
  int64_t shape[4];
  int64_t numel;
  int64_t offset; /* elements from the start of the flat tensor */
} md_param;
typedef struct md_params md_params;

/* what: how messages call the model, "unet". */
int md_params_create(const char *what, md_params **out);
void md_params_destroy(md_params **p);
/* Order of declaration is the order in memory. Errors: E_FAIL for a name declared twice. */
int md_params_declare(md_params *p, int ndim, const int64_t *shape, const char *name_fmt, ...) ERR_PRINTF(4, 5);
/* From the first one on, parameters will start at multiples of 8 elements, zeros between them: a bf16 kernel that starts
 * elsewhere has few convolutions to choose from on a GPU. Only before the first declaration, and not for parameters that
 * are trained. */
void md_params_align(md_params *p);
/* Kernels of convolutions will lie channels last ([O,kh,kw,I]) in the flat tensor, as a GPU reads them; shapes and names
 * stay. Before md_params_allocate. */
void md_params_channels_last(md_params *p);
/* Does each parameter lie row-major, as a checkpoint has it? */
bool md_params_is_plain(const md_params *p);
/* One flat tensor of dt on d, zeros; every parameter a view of it. */
int md_params_allocate(md_params *p, tchc_dtype dt, tchc_device d);
/* The same names and layout in another type, allocated, values converted. */
int md_params_clone(const md_params *p, tchc_dtype dt, md_params **out);
/* dst = src, whole flat tensor at once, converting. */
int md_params_copy(md_params *dst, const md_params *src);

int md_params_count(const md_params *p);
/* Of all parameters, gaps not counted. */
int64_t md_params_numel(const md_params *p);
/* The name given at creation, for messages. */
const char *md_params_what(const md_params *p);
const md_param *md_params_at(const md_params *p, int i);
int md_params_find(const md_params *p, const char *name); /* index or -1 */
/* Lent handles. A missing name is our own mistake (assert). */
tchc_tensor *md_params_tensor(const md_params *p, int i);
tchc_tensor *md_params_get(const md_params *p, const char *name_fmt, ...) ERR_PRINTF(2, 3);
tchc_tensor *md_params_flat(const md_params *p);
/* Parameter i's part of `flat` [numel], laid out as p's own; the caller ends it with tchc_free. */
int md_params_view(const md_params *p, int i, const tchc_tensor *flat, tchc_tensor **out);
/* Parameter i = values [numel], row-major, converted to p's type. */
int md_params_put(md_params *p, int i, const float *values);

/* Every parameter becomes a leaf whose gradient is added into its part of flat tensor `grads` [numel], which is of p's
 * type or another floating one (fp32 sums for bf16 parameters). Handles stay the same. grads NULL: no longer. */
int md_params_train(md_params *p, tchc_tensor *grads);

/* n consecutive matrices [rows_j,width] from parameter i on as one, [sum of rows_j,width]: a view of the same memory, and a
 * leaf whose gradient goes where theirs does when p is trained. The caller ends it. Errors: E_SHAPE: not such matrices. */
int md_params_span(const md_params *p, int i, int n, tchc_tensor **out);

/* Reads DIR/STEM.safetensors, or the shards that DIR/STEM.safetensors.index.json lists, or, where neither is, the same of
 * the variant fp16 (a log line says so); F32, F16, BF16. Errors: E_CKPT, all of them naming file and tensor: missing,
 * unexpected (up to 8 named), wrong shape (wanted, found), wrong type, cut file, missing shard, shard without a tensor
 * that the index says it has. Without md_params_allocate before it, only names, types and shapes are checked. */
typedef struct md_spelling {
  const char *now, *before; /* parts of a name */
} md_spelling;
typedef struct md_load_opts {
  const char *dir, *stem;
  const char *optional_prefix;  /* may be missing from all keys in the file ("text_model."); NULL: none */
  const md_spelling *spellings; /* older parts of keys, ended by a NULL `now`; NULL: none */
  const char *const *ignore;   /* NULL-ended names, or prefixes ending in '.', that may be there unused; NULL: none */
  /* NULL, or called for a tensor whose shape differs: 1 = it filled `dst` [numel floats] itself, 0 = no such rule. */
  int (*adapt)(void *ctx, const md_param *want, const st_tensor *found, float *dst);
  void *adapt_ctx;
} md_load_opts;
int md_params_load(md_params *p, const md_load_opts *o);
/* Random weights of sensible size, for benches: normal with std 1/sqrt(fan_in), norms 1 and 0; a function of seed and name. */
int md_params_randomise(md_params *p, uint64_t seed);
#ifdef __cplusplus
}
#endif
#endif
