#include "models/vae.h"

#include <stdlib.h>

#include "models/json.h"
#include "models/unet_2d_blocks.h"

/* mid_block: two resnets around an attention over pixels. */
typedef struct vae_mid {
  char name[MD_NAME_MAX];
  md_resnet resnets[2];
  md_pixel_attention attention;
} vae_mid;

/* Encoder or decoder. */
typedef struct vae_half {
  const char *name;
  md_conv conv_in, conv_out;
  md_unet_block blocks[MD_VAE_MAX_BLOCKS]; /* down or up */
  vae_mid mid;
  md_group_norm conv_norm_out;
} vae_half;

struct md_vae {
  md_vae_config cfg;
  vae_half encoder, decoder;
  md_conv quant_conv, post_quant_conv;
  bool recompute;
  const kn_cuda *kernels;            /* NULL: the plain way */
  tchc_tensor *conv_out_w, *conv_out_b; /* fused: the decoder's conv_out filled up to PADDED channels */
};

/* Tensor cores take channels eight at a time; an image of three would go the slow way. */
enum { PADDED = 8 };

static const double norm_eps = 1e-6; /* of every norm; no config key reaches it */

/* ---- configuration: diffusers autoencoder_kl.py, __init__ ---- */

static const md_json_off unsupported[] = {
    {"act_fn", "\"silu\"", "\"swish\""}, {"shift_factor", "null", "0"},
    {"latents_mean", "null", NULL},      {"latents_std", "null", NULL},
};
static const char *const without_effect[] = {"sample_size", "force_upcast", NULL};

int md_vae_config_read(const char *dir, md_vae_config *out) {
  enum { CHANNELS_MAX = 1 << 16 };
  static const char *const down[] = {"DownEncoderBlock2D", NULL}, *const up[] = {"UpDecoderBlock2D", NULL};
  int st = OK, type[MD_VAE_MAX_BLOCKS];
  md_json j = {.root = NULL};
  md_vae_config c = {.blocks = 0};

  TRY(md_json_open("VAE configuration", dir, "config.json", 0, &j));
  TRY(md_json_want_string(&j, "_class_name", "AutoencoderKL"));
  TRY(md_json_int(&j, "in_channels", MD_NEEDED, 1, CHANNELS_MAX, &c.in_channels));
  TRY(md_json_int(&j, "out_channels", MD_NEEDED, 1, CHANNELS_MAX, &c.out_channels));
  TRY(md_json_int(&j, "latent_channels", MD_NEEDED, 1, CHANNELS_MAX, &c.latent_channels));
  TRY(md_json_list(&j, "block_out_channels", MD_VAE_MAX_BLOCKS, 1, CHANNELS_MAX, c.block_out_channels, &c.blocks));
  TRY(md_json_choices(&j, "down_block_types", c.blocks, down, type));
  TRY(md_json_choices(&j, "up_block_types", c.blocks, up, type));
  TRY(md_json_int(&j, "layers_per_block", MD_NEEDED, 1, 16, &c.layers_per_block));
  TRY(md_json_int(&j, "norm_num_groups", MD_NEEDED, 1, CHANNELS_MAX, &c.norm_groups));
  TRY(md_json_real(&j, "scaling_factor", 0.18215, 1e-6, 1e6, &c.scaling_factor));
  TRY(md_json_bool(&j, "use_quant_conv", true, &c.quant_conv));
  TRY(md_json_bool(&j, "use_post_quant_conv", true, &c.post_quant_conv));
  TRY(md_json_bool(&j, "mid_block_add_attention", true, &c.mid_attention));
  TRY(md_json_want_off(&j, unsupported, sizeof unsupported / sizeof *unsupported));
  md_json_pass(&j, without_effect);
  TRY(md_json_finish(&j));
  for (int i = 0; i < c.blocks; i++)
    if (c.block_out_channels[i] % c.norm_groups)
      TRY(md_json_wrong(&j, "norm_num_groups", "a divisor of block_out_channels[%d] = %d", i, c.block_out_channels[i]));
  *out = c;
out:
  md_json_close(&j);
  return st;
}

/* ---- building ---- */

static int build_mid(const md_build *b, const md_vae_config *c, vae_half *h) {
  int st = OK;
  const int width = c->block_out_channels[c->blocks - 1];

  TRY(md_name(h->mid.name, "%s.mid_block", h->name));
  if (c->mid_attention)
    TRY(md_pixel_attention_build(b, width, c->norm_groups, norm_eps, &h->mid.attention, "%s.attentions.0", h->mid.name));
  for (int i = 0; i < 2; i++)
    TRY(md_resnet_build(b, width, width, 0, c->norm_groups, norm_eps, &h->mid.resnets[i], "%s.resnets.%d", h->mid.name, i));
out:
  return st;
}

static int build_blocks(const md_build *b, const md_vae_config *c, bool up, vae_half *h) {
  int st = OK;
  for (int i = 0; i < c->blocks; i++) {
    md_unet_block *k = &h->blocks[i];
    const int depth = up ? c->blocks - 1 - i : i, before = up ? depth + 1 : depth - 1;
    const md_block_shape s = {.layers = c->layers_per_block + (up ? 1 : 0),
                              .in = c->block_out_channels[i > 0 ? before : depth],
                              .out = c->block_out_channels[depth],
                              .groups = c->norm_groups,
                              .eps = norm_eps,
                              .one_sided = true};
    k->has_downsample = !up && i < c->blocks - 1;
    k->has_upsample = up && i < c->blocks - 1;
    TRY(md_name(k->name, "%s.%s_blocks.%d", h->name, up ? "up" : "down", i));
    TRY(md_unet_block_build(b, &s, k));
  }
out:
  return st;
}

static int build_half(const md_build *b, const md_vae_config *c, bool up, vae_half *h) {
  int st = OK;
  const int first = c->block_out_channels[0], last = c->block_out_channels[c->blocks - 1];

  h->name = up ? "decoder" : "encoder";
  TRY(md_conv_build(b, up ? c->latent_channels : c->in_channels, up ? last : first, 3, 1, 1, &h->conv_in, "%s.conv_in", h->name));
  TRY(build_blocks(b, c, up, h));
  TRY(build_mid(b, c, h));
  TRY(md_group_norm_build(b, up ? first : last, c->norm_groups, norm_eps, &h->conv_norm_out, "%s.conv_norm_out", h->name));
  TRY(md_conv_build(b, up ? first : last, up ? c->out_channels : 2 * c->latent_channels, 3, 1, 1, &h->conv_out,
                    "%s.conv_out", h->name));
out:
  return st;
}

static int vae_make(const md_vae_config *cfg, const md_build *b, md_vae **out) {
  int st = OK;
  const int z = cfg->latent_channels;
  md_vae *v = calloc(1, sizeof *v);

  NEED(v, E_NOMEM, "vae");
  v->cfg = *cfg;
  TRY(build_half(b, cfg, false, &v->encoder));
  TRY(build_half(b, cfg, true, &v->decoder));
  if (cfg->quant_conv) TRY(md_conv_build(b, 2 * z, 2 * z, 1, 1, 0, &v->quant_conv, "quant_conv"));
  if (cfg->post_quant_conv) TRY(md_conv_build(b, z, z, 1, 1, 0, &v->post_quant_conv, "post_quant_conv"));
  *out = v;
  v = NULL;
out:
  md_vae_destroy(&v);
  return st;
}

int md_vae_declare(const md_vae_config *cfg, md_params *p) {
  md_vae *v = NULL;
  int st;

  md_params_align(p);
  st = vae_make(cfg, &(md_build){.declare = p}, &v);
  md_vae_destroy(&v);
  return st;
}

int md_vae_create(const md_vae_config *cfg, const md_params *p, md_vae **out) {
  return vae_make(cfg, &(md_build){.bind = p}, out);
}

/* t [3,..] -> [PADDED,..], zeros behind; layout kept. */
static int pad_first(const tchc_tensor *t, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *wide = NULL, *place = NULL;
  const int ndim = tchc_ndim(t);
  const int64_t shape[] = {PADDED, tchc_size(t, 1), tchc_size(t, 2), tchc_size(t, 3)};

  TRY(tchc_scope_open(&s));
  TRY(tchc_empty(shape, ndim, tchc_type(t), tchc_where(t), ndim == 4 ? TCHC_CHANNELS_LAST : TCHC_CONTIGUOUS, &wide));
  TRY(tchc_zero_(wide));
  TRY(tchc_narrow(wide, 0, 0, tchc_size(t, 0), &place));
  TRY(tchc_copy(place, t, false));
  tchc_keep(wide);
  *out = wide;
out:
  tchc_scope_close(&s);
  return st;
}

static int fuse(const md_params *p, md_vae *v) {
  int st = OK;

  for (int i = 0; i < v->cfg.blocks; i++) TRY(md_unet_block_fuse(p, true, &v->decoder.blocks[i]));
  TRY(pad_first(v->decoder.conv_out.w, &v->conv_out_w));
  TRY(pad_first(v->decoder.conv_out.b, &v->conv_out_b));
out:
  return st;
}

int md_vae_create_fused(const md_vae_config *cfg, const md_params *p, const md_fusion *f, md_vae **out) {
  int st = OK;
  md_vae *v = NULL;

  TRY(vae_make(cfg, &(md_build){.bind = p, .wide = f->wide}, &v));
  if (cfg->out_channels <= PADDED) TRY(fuse(p, v));
  if (v->conv_out_w) v->kernels = f->kernels;
  *out = v;
  v = NULL;
out:
  md_vae_destroy(&v);
  return st;
}

void md_vae_destroy(md_vae **v) {
  if (!v || !*v) return;
  tchc_free(&(*v)->conv_out_w);
  tchc_free(&(*v)->conv_out_b);
  for (int i = 0; i < (*v)->cfg.blocks; i++) {
    md_unet_block_fini(&(*v)->encoder.blocks[i]);
    md_unet_block_fini(&(*v)->decoder.blocks[i]);
  }
  free(*v);
  *v = NULL;
}

int md_vae_load(const md_vae_config *cfg, const char *dir, md_params *p) {
  static const md_spelling spellings[] = {
      {".to_q.", ".query."}, {".to_k.", ".key."}, {".to_v.", ".value."}, {".to_out.0.", ".proj_attn."}, {NULL, NULL}};
  (void)cfg;
  return md_params_load(
      p, &(md_load_opts){.dir = dir, .stem = "diffusion_pytorch_model", .spellings = spellings});
}

void md_vae_set_recompute(md_vae *v, bool on) { v->recompute = on; }

int md_vae_factor(const md_vae_config *cfg) { return 1 << (cfg->blocks - 1); }

/* ---- forward ---- */

static int block_forward(const md_unet_block *k, const md_run *run, tchc_tensor **h) {
  int st = OK;
  for (int i = 0; i < k->layers; i++) TRY(md_resnet_forward(&k->resnets[i], run, *h, NULL, NULL, h));
  if (k->has_downsample) TRY(md_downsample_forward(&k->downsample, run->probe, *h, h));
  if (k->has_upsample)
    TRY(md_upsample_forward(&k->upsample, run->probe, *h, 2 * tchc_size(*h, 2), 2 * tchc_size(*h, 3), h));
out:
  return st;
}

static int mid_forward(const vae_mid *m, bool attention, const md_run *run, tchc_tensor **h) {
  int st = OK;
  TRY(md_resnet_forward(&m->resnets[0], run, *h, NULL, NULL, h));
  if (attention) TRY(md_pixel_attention_forward(&m->attention, run, *h, h));
  TRY(md_resnet_forward(&m->resnets[1], run, *h, NULL, NULL, h));
  TRY(md_probe_see(run->probe, m->name, NULL, *h));
out:
  return st;
}

/* x is replaced by the half's output. The middle comes last in the encoder and first in the decoder. */
static int half_forward(const md_vae *v, const vae_half *half, const md_run *run, tchc_tensor **x) {
  int st = OK;
  const bool up = half == &v->decoder;

  TRY(md_conv_forward(&half->conv_in, *x, x));
  TRY(md_probe_see(run->probe, half->name, "conv_in", *x));
  if (up) TRY(mid_forward(&half->mid, v->cfg.mid_attention, run, x));
  for (int i = 0; i < v->cfg.blocks; i++) TRY(block_forward(&half->blocks[i], run, x));
  if (!up) TRY(mid_forward(&half->mid, v->cfg.mid_attention, run, x));
  TRY(md_group_norm_forward(&half->conv_norm_out, *x, x));
  TRY(md_probe_see(run->probe, half->name, "conv_norm_out", *x));
  TRY(md_silu_forward(*x, x));
  TRY(md_conv_forward(&half->conv_out, *x, x));
  TRY(md_probe_see(run->probe, half->name, "conv_out", *x));
out:
  return st;
}

/* ---- the same on fused blocks ---- */

static int fused_block(const md_vae *v, const md_fused_run *run, const md_unet_block *k, md_image *h) {
  int st = OK;
  md_image y;

  for (int i = 0; i < k->layers; i++) {
    TRY(md_fused_resnet(run, &k->resnets[i], h, NULL, NULL, &y));
    md_image_free(h);
    *h = y;
  }
  if (!k->has_downsample && !k->has_upsample) goto out;
  if (k->has_downsample) TRY(md_fused_downsample(v->kernels, &k->downsample, h, &y));
  else TRY(md_fused_upsample(v->kernels, &k->upsample, h, 2 * tchc_size(h->t, 2), 2 * tchc_size(h->t, 3), &y));
  md_image_free(h);
  *h = y;
out:
  return st;
}

static int fused_mid(const md_vae *v, const md_fused_run *run, const vae_mid *m, md_image *h) {
  int st = OK;
  md_image y;

  TRY(md_fused_resnet(run, &m->resnets[0], h, NULL, NULL, &y));
  md_image_free(h);
  *h = y;
  if (v->cfg.mid_attention) {
    TRY(md_fused_pixel_attention(v->kernels, &m->attention, h, &y));
    md_image_free(h);
    *h = y;
  }
  TRY(md_fused_resnet(run, &m->resnets[1], h, NULL, NULL, &y));
  md_image_free(h);
  *h = y;
out:
  return st;
}

/* conv_out; the decoder's by way of more channels than it has. */
static int fused_conv_out(const md_vae *v, const vae_half *half, const tchc_tensor *y, tchc_tensor **out) {
  int st = OK;
  const bool up = half == &v->decoder;
  const md_conv padded = {.w = v->conv_out_w, .stride = 1, .pad = 1};
  tchc_tensor *h = NULL, *wide = NULL, *b = NULL;

  TRY(md_fused_conv(up ? &padded : &half->conv_out, y, &h));
  TRY(tchc_reshape(up ? v->conv_out_b : half->conv_out.b, (int64_t[]){1, -1, 1, 1}, 4, &b));
  TRY(tchc_add(h, b, 1, &wide));
  if (up) TRY(tchc_narrow(wide, 1, 0, v->cfg.out_channels, out));
  else TRY(tchc_share(wide, out));
out:
  tchc_free(&h);
  tchc_free(&wide);
  tchc_free(&b);
  return st;
}

static int fused_half(const md_vae *v, const vae_half *half, bool recompute, tchc_tensor **x) {
  int st = OK;
  tchc_scope *s = NULL;
  const bool up = half == &v->decoder;
  const md_fused_run run = {v->kernels, recompute};
  tchc_tensor *image = NULL, *y = NULL, *pass[2], *o = NULL;
  md_image h;

  TRY(tchc_scope_open(&s));
  TRY(tchc_contiguous(*x, TCHC_CHANNELS_LAST, &image));
  TRY(md_fused_conv_image(v->kernels, &half->conv_in, image, &h));
  if (up) TRY(fused_mid(v, &run, &half->mid, &h));
  for (int i = 0; i < v->cfg.blocks; i++) TRY(fused_block(v, &run, &half->blocks[i], &h));
  if (!up) TRY(fused_mid(v, &run, &half->mid, &h));
  TRY(md_fused_norm(v->kernels, &half->conv_norm_out, true, &h, NULL, &y, pass));
  TRY(fused_conv_out(v, half, y, &o));
  tchc_promote(o);
  tchc_free(x);
  *x = o;
out:
  tchc_scope_close(&s);
  return st;
}

/* Nothing is kept for a backward pass that no input asks for. */
static md_run run_of(const md_vae *v, const md_probe *probe, const tchc_tensor *input) {
  return (md_run){.probe = probe, .recompute = v->recompute && tchc_requires_grad(input)};
}

int md_vae_encode(md_vae *v, const tchc_tensor *rgb, const md_probe *probe, tchc_tensor **moments) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *h = NULL;
  const md_run run = run_of(v, probe, rgb);
  const int f = md_vae_factor(&v->cfg);

  TRY(tchc_scope_open(&s));
  NEED(tchc_ndim(rgb) == 4 && tchc_size(rgb, 1) == v->cfg.in_channels && tchc_numel(rgb) > 0 &&
           tchc_size(rgb, 2) >= f && tchc_size(rgb, 3) >= f, E_SHAPE,
       "vae: image: wanted [B,%d,H,W], H and W at least %d, found %s", v->cfg.in_channels, f, tchc_text(rgb));
  TRY(tchc_to_type(rgb, tchc_type(v->encoder.conv_in.w), &h));
  TRY(v->kernels && !probe ? fused_half(v, &v->encoder, run.recompute, &h) : half_forward(v, &v->encoder, &run, &h));
  if (v->cfg.quant_conv) TRY(md_conv_forward(&v->quant_conv, h, &h));
  tchc_promote(h);
  *moments = h;
out:
  tchc_scope_close(&s);
  return st;
}

/* Image i of rgb [B,3,H,W] -> mean of its moments times scaling_factor, [1,latent,h,w]. */
static int latent_of(md_vae *v, const tchc_tensor *rgb, int64_t i, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *image = NULL, *moments = NULL, *mean = NULL, *latent = NULL;

  TRY(tchc_scope_open(&s));
  TRY(tchc_narrow(rgb, 0, i, 1, &image));
  TRY(md_vae_encode(v, image, NULL, &moments));
  TRY(tchc_narrow(moments, 1, 0, v->cfg.latent_channels, &mean));
  TRY(tchc_affine(mean, v->cfg.scaling_factor, 0, &latent));
  tchc_promote(latent);
  *out = latent;
out:
  tchc_scope_close(&s);
  return st;
}

int md_vae_latent(md_vae *v, const tchc_tensor *rgb, tchc_tensor **latent) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor **each = NULL, *all = NULL;
  const int64_t n = tchc_ndim(rgb) == 4 ? tchc_size(rgb, 0) : 0;
  const bool graph = tchc_grad_mode(false);

  TRY(tchc_scope_open(&s));
  NEED(n > 0, E_SHAPE, "vae: image: wanted [B,%d,H,W], found %s", v->cfg.in_channels, tchc_text(rgb));
  NEED((each = calloc((size_t)n, sizeof(tchc_tensor *))) != NULL, E_NOMEM, "vae: %lld latents", (long long)n);
  for (int64_t i = 0; i < n; i++) TRY(latent_of(v, rgb, i, &each[i]));
  TRY(tchc_cat((const tchc_tensor *const *)each, (int)n, 0, &all));
  tchc_promote(all);
  *latent = all;
out:
  tchc_scope_close(&s);
  tchc_grad_mode(graph);
  free(each);
  return st;
}

int md_vae_decode(md_vae *v, const tchc_tensor *z, const md_probe *probe, tchc_tensor **image) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *h = NULL;
  const md_run run = run_of(v, probe, z);

  TRY(tchc_scope_open(&s));
  NEED(tchc_ndim(z) == 4 && tchc_size(z, 1) == v->cfg.latent_channels && tchc_numel(z) > 0, E_SHAPE,
       "vae: latent: wanted [B,%d,h,w], found %s", v->cfg.latent_channels, tchc_text(z));
  TRY(tchc_to_type(z, tchc_type(v->decoder.conv_in.w), &h));
  if (v->cfg.post_quant_conv) TRY(md_conv_forward(&v->post_quant_conv, h, &h));
  TRY(v->kernels && !probe ? fused_half(v, &v->decoder, run.recompute, &h) : half_forward(v, &v->decoder, &run, &h));
  tchc_promote(h);
  *image = h;
out:
  tchc_scope_close(&s);
  return st;
}
