/* models/layers.h: the layers that all blocks are made of, and the one description that both declares and binds them.
 *
 * A block is described once, by its *_build function: with `declare` set the walk declares names and shapes, with
 * `bind` set it looks the tensors up. So the names in a checkpoint cannot drift from the ones that run.
 *
 * Forward functions read x and put the result into *out, which is NULL or x itself: f(l, h, &h) ends the handle on
 * the old h, and an intermediate lives no longer than the next layer needs it. Handles made belong to the innermost
 * scope. Borrowed weights: the md_params outlives the block. */
#ifndef MODELS_LAYERS_H
#define MODELS_LAYERS_H
#include "models/params.h"
#include "models/probe.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { MD_NAME_MAX = 160 };

typedef struct md_build {
  md_params *declare;
  const md_params *bind;
  const md_params *wide; /* f32, laid out as bind, for md_vector; NULL: the layers get none */
  tchc_tensor *grads;    /* f32 [numel], or NULL: frozen */
} md_build;

/* A bias or the scale of a norm as this program's kernels take it: f32 whatever the network's type, on its device. */
typedef struct md_vector {
  const float *value; /* NULL: there is none */
  float *grad;        /* backward adds to it; NULL: frozen */
} md_vector;

/* How a forward pass runs. With a probe nothing is recomputed, so that each block is seen once. */
typedef struct md_run {
  const md_probe *probe; /* may be NULL */
  bool recompute;        /* blocks run again in backward instead of keeping their activations */
} md_run;

typedef struct md_conv {
  const tchc_tensor *w, *b; /* [out,in,k,k], [out] */
  md_vector bias;           /* b again */
  int stride, pad;
} md_conv;
typedef struct md_linear {
  const tchc_tensor *w, *b; /* [out,in], [out] or NULL */
  md_vector bias;           /* b again */
} md_linear;
typedef struct md_group_norm {
  const tchc_tensor *w, *b;
  md_vector scale, shift; /* w and b again */
  int groups;
  double eps;
} md_group_norm;
typedef struct md_layer_norm {
  const tchc_tensor *w, *b;
  md_vector scale, shift; /* w and b again */
  double eps;
} md_layer_norm;

/* The last argument of each is the layer's name as a printf format. Errors: E_FAIL (name too long, declared twice,
 * not in `bind`), E_SHAPE (`bind` has another shape: parameters of another configuration). */
int md_conv_build(const md_build *b, int in, int out, int kernel, int stride, int pad, md_conv *c,
                  const char *name_fmt, ...) ERR_PRINTF(8, 9);
int md_linear_build(const md_build *b, int in, int out, bool bias, md_linear *l, const char *name_fmt, ...)
    ERR_PRINTF(6, 7);
int md_group_norm_build(const md_build *b, int channels, int groups, double eps, md_group_norm *n,
                        const char *name_fmt, ...) ERR_PRINTF(6, 7);
int md_layer_norm_build(const md_build *b, int channels, double eps, md_layer_norm *n, const char *name_fmt, ...)
    ERR_PRINTF(5, 6);
/* A table of rows, as an embedding has: weight [rows,width]. */
int md_table_build(const md_build *b, int rows, int width, const tchc_tensor **w, const char *name_fmt, ...)
    ERR_PRINTF(5, 6);
/* printf into a block's name. Errors: E_FAIL when it does not fit. */
int md_name(char out[MD_NAME_MAX], const char *fmt, ...) ERR_PRINTF(2, 3);

int md_conv_forward(const md_conv *c, const tchc_tensor *x, tchc_tensor **out);
int md_linear_forward(const md_linear *l, const tchc_tensor *x, tchc_tensor **out);
int md_group_norm_forward(const md_group_norm *n, const tchc_tensor *x, tchc_tensor **out);
int md_layer_norm_forward(const md_layer_norm *n, const tchc_tensor *x, tchc_tensor **out);
int md_silu_forward(const tchc_tensor *x, tchc_tensor **out);
/* silu(group_norm(x)): the pair before every 3x3 convolution, in one place for a fused kernel. */
int md_group_norm_silu_forward(const md_group_norm *n, const tchc_tensor *x, tchc_tensor **out);
/* x itself as a new node of the graph. A block that uses its input twice takes it so: the gradients meet here first, in
 * the order in which they do when the block is run again in backward, and sums come out the same to the bit. */
int md_block_input(const tchc_tensor *x, tchc_tensor **out);
/* x + y */
int md_add_forward(const tchc_tensor *x, const tchc_tensor *y, tchc_tensor **out);
/* What follows a tchc call that made y from x: y takes the place of *out, whose old handle (x, or none) ends.
 * Returns st, so that the pair is one expression. */
int md_settle(int st, const tchc_tensor *x, tchc_tensor *y, tchc_tensor **out);
#ifdef __cplusplus
}
#endif
#endif
