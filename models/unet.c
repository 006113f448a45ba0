#include "models/unet.h"

#include <stdlib.h>
#include <string.h>

#include "models/embeddings.h"
#include "models/unet_2d_blocks.h"

struct md_unet {
  md_unet_config cfg;
  md_conv conv_in, conv_out;
  md_time_embedding time;
  md_unet_block down[MD_MAX_BLOCKS], mid, up[MD_MAX_BLOCKS];
  md_group_norm conv_norm_out;
  bool recompute;
  const kn_cuda *kernels; /* NULL: the plain way */
};

/* What the blocks at one depth have in common. */
static md_block_shape shape_at(const md_unet_config *c, int depth, int layers, bool attention) {
  return (md_block_shape){
      .layers = layers,
      .n_attentions = attention ? layers : 0,
      .out = c->block_out_channels[depth],
      .temb = 4 * c->block_out_channels[0],
      .groups = c->norm_groups,
      .eps = c->norm_eps,
      .attention = {.channels = c->block_out_channels[depth],
                    .heads = c->heads[depth],
                    .layers = c->transformer_layers[depth],
                    .context = c->cross_attention_dim,
                    .groups = c->norm_groups,
                    .linear = c->linear_projection},
  };
}

static int build_down(const md_build *b, md_unet *u, int i) {
  int st = OK;
  const md_unet_config *c = &u->cfg;
  md_block_shape s = shape_at(c, i, c->layers_per_block[i], c->down_attention[i]);

  s.in = c->block_out_channels[i > 0 ? i - 1 : 0];
  u->down[i].has_downsample = i < c->blocks - 1;
  TRY(md_name(u->down[i].name, "down_blocks.%d", i));
  TRY(md_unet_block_build(b, &s, &u->down[i]));
out:
  return st;
}

/* Up block i works at the depth that is i from the deepest, with one layer more than the down block there: the last
 * layer takes the skip that entered that down block. */
static int build_up(const md_build *b, md_unet *u, int i) {
  int st = OK;
  const md_unet_config *c = &u->cfg;
  const int depth = c->blocks - 1 - i;
  md_block_shape s = shape_at(c, depth, c->layers_per_block[depth] + 1, c->up_attention[i]);

  s.in = c->block_out_channels[i > 0 ? depth + 1 : depth];
  s.skip = s.out;
  s.last_skip = c->block_out_channels[depth > 0 ? depth - 1 : 0];
  u->up[i].has_upsample = i < c->blocks - 1;
  TRY(md_name(u->up[i].name, "up_blocks.%d", i));
  TRY(md_unet_block_build(b, &s, &u->up[i]));
out:
  return st;
}

static int build_mid(const md_build *b, md_unet *u) {
  int st = OK;
  const md_unet_config *c = &u->cfg;
  md_block_shape s = shape_at(c, c->blocks - 1, c->mid_block == MD_MID_CROSS_ATTN ? 2 : 1, false);

  if (c->mid_block == MD_MID_NONE) return OK;
  s.in = s.out;
  s.n_attentions = s.layers - 1;
  TRY(md_name(u->mid.name, "mid_block"));
  TRY(md_unet_block_build(b, &s, &u->mid));
out:
  return st;
}

/* In the order in which diffusers registers its modules. */
static int unet_build(const md_build *b, md_unet *u) {
  int st = OK;
  const md_unet_config *c = &u->cfg;
  const int width = c->block_out_channels[0];

  TRY(md_conv_build(b, c->in_channels, width, 3, 1, 1, &u->conv_in, "conv_in"));
  TRY(md_time_embedding_build(b, width, c->flip_sin_to_cos, c->freq_shift, &u->time));
  for (int i = 0; i < c->blocks; i++) TRY(build_down(b, u, i));
  for (int i = 0; i < c->blocks; i++) TRY(build_up(b, u, i));
  TRY(build_mid(b, u));
  TRY(md_group_norm_build(b, width, c->norm_groups, c->norm_eps, &u->conv_norm_out, "conv_norm_out"));
  TRY(md_conv_build(b, width, c->out_channels, 3, 1, 1, &u->conv_out, "conv_out"));
out:
  return st;
}

static int unet_make(const md_unet_config *cfg, const md_build *b, md_unet **out) {
  int st = OK;
  md_unet *u = calloc(1, sizeof *u);
  NEED(u, E_NOMEM, "unet");
  u->cfg = *cfg;
  TRY(unet_build(b, u));
  *out = u;
  u = NULL;
out:
  md_unet_destroy(&u);
  return st;
}

int md_unet_declare(const md_unet_config *cfg, md_params *p) {
  md_unet *u = NULL;
  const int st = unet_make(cfg, &(md_build){.declare = p}, &u);
  md_unet_destroy(&u);
  return st;
}

int md_unet_create(const md_unet_config *cfg, const md_params *p, md_unet **out) {
  return unet_make(cfg, &(md_build){.bind = p}, out);
}

static int fuse(const md_params *p, md_unet *u) {
  int st = OK;

  for (int i = 0; i < u->cfg.blocks; i++) {
    TRY(md_unet_block_fuse(p, false, &u->down[i]));
    TRY(md_unet_block_fuse(p, false, &u->up[i]));
  }
  TRY(md_unet_block_fuse(p, false, &u->mid));
out:
  return st;
}

int md_unet_create_fused(const md_unet_config *cfg, const md_params *p, const md_fusion *f, md_unet **out) {
  int st = OK;
  md_unet *u = NULL;

  TRY(unet_make(cfg, &(md_build){.bind = p, .wide = f->wide, .grads = f->grads}, &u));
  TRY(fuse(p, u));
  u->kernels = f->kernels;
  *out = u;
  u = NULL;
out:
  md_unet_destroy(&u);
  return st;
}

void md_unet_destroy(md_unet **u) {
  if (!u || !*u) return;
  for (int i = 0; i < (*u)->cfg.blocks; i++) {
    md_unet_block_fini(&(*u)->down[i]);
    md_unet_block_fini(&(*u)->up[i]);
  }
  md_unet_block_fini(&(*u)->mid);
  md_time_embedding_fini(&(*u)->time);
  free(*u);
  *u = NULL;
}

void md_unet_set_recompute(md_unet *u, bool on) { u->recompute = on; }

/* ---- loading ---- */

/* conv_in for twice as many channels as the file's: the kernels repeated and halved, so that an input given twice
 * gives the same output. */
static int widen_conv_in(void *ctx, const md_param *want, const st_tensor *found, float *dst) {
  bool *widened = ctx;
  const size_t kernel = 9, in = (size_t)(found->ndim == 4 ? found->shape[1] : 0), out = (size_t)want->shape[0];

  if (strcmp(want->name, "conv_in.weight") != 0 || found->ndim != 4 || found->shape[0] != want->shape[0] ||
      2 * found->shape[1] != want->shape[1] || found->shape[2] != 3 || found->shape[3] != 3)
    return 0;
  const float *half = dst + out * in * kernel; /* the file's values in the rear half: reads stay ahead of writes */
  if (st_to_f32(found, dst + out * in * kernel) != OK) return 0;
  for (size_t o = 0; o < out; o++)
    for (size_t k = 0; k < in * kernel; k++) {
      const float v = half[o * in * kernel + k] / 2;
      dst[2 * o * in * kernel + k] = dst[(2 * o + 1) * in * kernel + k] = v;
    }
  *widened = true;
  return 1;
}

static int halve_bias(md_params *p) {
  int st = OK;
  const int i = md_params_find(p, "conv_in.bias");
  tchc_tensor *half = NULL;
  TRY(tchc_affine(md_params_tensor(p, i), 0.5, 0, &half));
  TRY(tchc_copy(md_params_tensor(p, i), half, false));
out:
  tchc_free(&half);
  return st;
}

int md_unet_load(const md_unet_config *cfg, const char *dir, bool keep_bias, md_params *p) {
  int st = OK;
  bool widened = false;
  const md_load_opts o = {
      .dir = dir, .stem = "diffusion_pytorch_model", .adapt = widen_conv_in, .adapt_ctx = &widened};

  (void)cfg;
  TRY(md_params_load(p, &o));
  if (widened && !keep_bias && md_params_flat(p)) TRY(halve_bias(p));
out:
  return st;
}

/* ---- forward ---- */

static int check_inputs(const md_unet_config *c, const tchc_tensor *sample, const tchc_tensor *timesteps,
                        const tchc_tensor *text) {
  int st = OK;
  const int64_t n = tchc_size(sample, 0);
  NEED(tchc_ndim(sample) == 4 && tchc_size(sample, 1) == c->in_channels && tchc_numel(sample) > 0, E_SHAPE,
       "unet: sample: wanted [B,%d,h,w], found %s", c->in_channels, tchc_text(sample));
  NEED(tchc_ndim(timesteps) == 1 && (tchc_size(timesteps, 0) == n || tchc_size(timesteps, 0) == 1), E_SHAPE,
       "unet: timesteps: wanted [%lld] or [1], found %s", (long long)n, tchc_text(timesteps));
  NEED(tchc_ndim(text) == 3 && (tchc_size(text, 0) == n || tchc_size(text, 0) == 1) &&
           tchc_size(text, 2) == c->cross_attention_dim, E_SHAPE,
       "unet: text: wanted [%lld or 1,T,%d], found %s", (long long)n, c->cross_attention_dim, tchc_text(text));
out:
  return st;
}

/* text [B or 1,T,C] -> [batch,T,C] in type dt, in memory once for all the layers that read it. */
static int spread_text(const tchc_tensor *text, int64_t batch, tchc_dtype dt, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *typed = NULL, *wide = NULL;
  TRY(tchc_to_type(text, dt, &typed));
  TRY(tchc_expand(typed, (int64_t[]){batch, tchc_size(text, 1), tchc_size(text, 2)}, 3, &wide));
  TRY(tchc_contiguous(wide, TCHC_CONTIGUOUS, out));
out:
  tchc_free(&typed);
  tchc_free(&wide);
  return st;
}

/* down, middle and up, from the output of conv_in (the first skip) to what conv_norm_out reads. */
static int run_blocks(const md_unet *u, const md_run *run, const md_condition *c, md_skips *skips, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *h = NULL;
  for (int i = 0; i < u->cfg.blocks; i++) TRY(md_down_block_forward(&u->down[i], run, c, skips));
  TRY(tchc_share(md_skips_top(skips), &h));
  TRY(md_mid_block_forward(&u->mid, run, c, &h));
  for (int i = 0; i < u->cfg.blocks; i++) TRY(md_up_block_forward(&u->up[i], run, c, skips, &h));
  *out = h;
out:
  return st;
}

static int run_head(const md_unet *u, const md_probe *probe, tchc_tensor **h) {
  int st = OK;
  TRY(md_group_norm_forward(&u->conv_norm_out, *h, h));
  TRY(md_probe_see(probe, "conv_norm_out", NULL, *h));
  TRY(md_silu_forward(*h, h));
  TRY(md_conv_forward(&u->conv_out, *h, h));
  TRY(md_probe_see(probe, "conv_out", NULL, *h));
out:
  return st;
}

/* From the inputs in the network's type to the output of conv_out. temb [n,..] and text [m,T,..] of n, m = B or 1. */
static int fused_forward(const md_unet *u, const tchc_tensor *x, const md_condition *c, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  const md_fused_run run = {u->kernels, u->recompute};
  md_image_stack skips = {.n = 0};
  md_image h;
  tchc_tensor *image = NULL, *y = NULL, *pass[2];

  TRY(tchc_scope_open(&s));
  TRY(tchc_contiguous(x, TCHC_CHANNELS_LAST, &image));
  TRY(md_fused_conv_image(u->kernels, &u->conv_in, image, &skips.at[0]));
  skips.n = 1;
  for (int i = 0; i < u->cfg.blocks; i++) TRY(md_fused_down_block(&run, &u->down[i], c, &skips));
  TRY(md_image_share(&skips.at[skips.n - 1], &h));
  TRY(md_fused_mid_block(&run, &u->mid, c, &h));
  for (int i = 0; i < u->cfg.blocks; i++) TRY(md_fused_up_block(&run, &u->up[i], c, &skips, &h));
  TRY(md_fused_norm(u->kernels, &u->conv_norm_out, true, &h, NULL, &y, pass));
  TRY(md_conv_forward(&u->conv_out, y, &y));
  tchc_promote(y);
  *out = y;
out:
  tchc_scope_close(&s);
  return st;
}

/* The same through torch's operators one by one; temb [B,..]. */
static int plain_forward(const md_unet *u, const md_probe *probe, const tchc_tensor *x, const tchc_tensor *temb,
                         const tchc_tensor *text, tchc_tensor **out) {
  int st = OK;
  const md_run run = {.probe = probe, .recompute = u->recompute};
  md_skips skips = {.n = 0};
  tchc_tensor *wide = NULL, *first = NULL, *h = NULL;

  TRY(spread_text(text, tchc_size(x, 0), tchc_type(x), &wide));
  TRY(md_conv_forward(&u->conv_in, x, &first));
  TRY(md_probe_see(probe, "conv_in", NULL, first));
  md_skips_push(&skips, first);
  TRY(run_blocks(u, &run, &(md_condition){.temb = temb, .text = wide}, &skips, &h));
  TRY(run_head(u, probe, &h));
  *out = h;
out:
  return st; /* handles of the caller's scope */
}

int md_unet_forward(md_unet *u, const tchc_tensor *sample, const tchc_tensor *timesteps, const tchc_tensor *text,
                    const md_probe *probe, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  const tchc_dtype dt = tchc_type(u->conv_in.w);
  const bool fused = u->kernels && !probe; /* a probe wants to see what only the plain way has */
  tchc_tensor *temb = NULL, *words = NULL, *x = NULL, *h = NULL;

  TRY(tchc_scope_open(&s));
  TRY(check_inputs(&u->cfg, sample, timesteps, text));
  TRY(tchc_to_type(sample, dt, &x));
  TRY(tchc_to_type(text, dt, &words));
  /* fused, one timestep and one text serve all samples */
  TRY(md_time_embedding_forward(&u->time, probe, timesteps, tchc_size(fused ? timesteps : sample, 0), &temb));
  TRY(md_silu_forward(temb, &temb)); /* what each resnet does first with it */
  if (fused) TRY(fused_forward(u, x, &(md_condition){.temb = temb, .text = words}, &h));
  else TRY(plain_forward(u, probe, x, temb, words, &h));
  tchc_promote(h);
  *out = h;
out:
  tchc_scope_close(&s);
  return st;
}
