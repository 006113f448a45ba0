#include "checkpoints/ldm_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD = 64, GROUPS = 32, TRAIN_STEPS = 1000, SD2_BASE_STEPS = 875000 };
static const double beta_start = 0.00085, beta_end = 0.012;

/* ---- what the file says of its training ---- */

static int64_t global_step(const st_file *f) {
  const st_tensor *t = st_find(f, "global_step");
  int64_t step = 0;

  if (t && t->dtype == ST_I64 && t->nbytes == sizeof step) memcpy(&step, t->data, sizeof step);
  return step;
}

ck_prediction ck_ldm_prediction(const ck_ldm *l, bool *certain) {
  const char *said = st_metadata(ck_ldm_file(l), "modelspec.prediction_type");

  *certain = true;
  if (said && !strcmp(said, "epsilon")) return CK_PREDICTION_EPSILON;
  if (said && (!strcmp(said, "v") || !strcmp(said, "v_prediction"))) return CK_PREDICTION_V;
  if (!ck_ldm_shape_of(l)->text.openclip || global_step(ck_ldm_file(l)) == SD2_BASE_STEPS) return CK_PREDICTION_EPSILON;
  *certain = false;
  return CK_PREDICTION_V;
}

/* alphas_cumprod of scaled_linear at its last step */
static double last_alpha(void) {
  double a = 1;
  for (int i = 0; i < TRAIN_STEPS; i++)
    a *= 1 - pow(sqrt(beta_start) + (sqrt(beta_end) - sqrt(beta_start)) * i / (TRAIN_STEPS - 1), 2);
  return a;
}

static int check_schedule(const st_file *f) {
  int st = OK;
  const st_tensor *t = st_find(f, "alphas_cumprod");
  float *a = NULL;

  if (!t) goto out;
  const int64_t n = st_numel(t);
  NEED((a = malloc(sizeof *a * (size_t)n + 1)) != NULL, E_NOMEM, "%s", t->name);
  TRY_AS(E_CKPT, st_to_f32(t, a), "%s", st_path(f));
  NEED(n == TRAIN_STEPS && fabs((double)a[0] - (1 - beta_start)) < 1e-3 && fabs((double)a[n - 1] - last_alpha()) < 1e-3, E_CKPT,
       "%s: alphas_cumprod is not Stable Diffusion's noise schedule; --like FOLDER brings the one it has", st_path(f));
out:
  free(a);
  return st;
}

int ck_ldm_check_standard(const ck_ldm *l) {
  int st = OK;
  const ck_ldm_shape *s = ck_ldm_shape_of(l);
  const char *path = st_path(ck_ldm_file(l));

  for (int i = 0; i < s->unet.levels; i++)
    NEED(s->unet.widths[i] % (s->unet.linear ? HEAD : GROUPS) == 0 && s->unet.widths[i] % GROUPS == 0, E_CKPT,
         "%s: a U-Net of width %d is not Stable Diffusion's; --like FOLDER brings the settings that shapes do not tell", path,
         s->unet.widths[i]);
  for (int i = 0; i < s->vae.levels; i++)
    NEED(s->vae.widths[i] % GROUPS == 0, E_CKPT, "%s: a VAE of width %d is not Stable Diffusion's; use --like FOLDER", path,
         s->vae.widths[i]);
  NEED(s->text.hidden % HEAD == 0, E_CKPT, "%s: a text encoder of width %d is not Stable Diffusion's; use --like FOLDER", path,
       s->text.hidden);
  TRY(check_schedule(ck_ldm_file(l)));
out:
  return st;
}

/* ---- configs ---- */

static json_t *widths(const int *w, int n, int divisor) {
  json_t *list = json_array();
  for (int i = 0; list && i < n; i++) json_array_append_new(list, json_integer(w[i] / divisor));
  return list;
}

/* Types of the down path in order, of the up path in the other. */
static json_t *block_types(const ck_ldm_shape *s, bool up) {
  json_t *list = json_array();

  for (int i = 0; list && i < s->unet.levels; i++) {
    const bool attention = s->unet.attention[up ? s->unet.levels - 1 - i : i];
    json_array_append_new(list, json_string(up ? (attention ? "CrossAttnUpBlock2D" : "UpBlock2D")
                                               : (attention ? "CrossAttnDownBlock2D" : "DownBlock2D")));
  }
  return list;
}

static json_t *repeated(const char *name, int n) {
  json_t *list = json_array();
  for (int i = 0; list && i < n; i++) json_array_append_new(list, json_string(name));
  return list;
}

/* Side of the latents in training: 768 pixels for SD-2's v-prediction models, else 512. */
static int cells(ck_prediction p) { return p == CK_PREDICTION_V ? 96 : 64; }

json_t *ck_ldm_unet_config(const ck_ldm_shape *s, ck_prediction p) {
  json_t *heads = s->unet.linear ? widths(s->unet.widths, s->unet.levels, HEAD) : json_integer(8);

  return json_pack("{s:s, s:s, s:o, s:o, s:b, s:i, s:o, s:i, s:b, s:b, s:i, s:i, s:i, s:i, s:f, s:i, s:i, s:i, s:o, s:b}",
                   "_class_name", "UNet2DConditionModel", "act_fn", "silu", "attention_head_dim", heads, "block_out_channels",
                   widths(s->unet.widths, s->unet.levels, 1), "center_input_sample", 0, "cross_attention_dim",
                   s->unet.cross_attention_dim, "down_block_types", block_types(s, false), "downsample_padding", 1,
                   "dual_cross_attention", 0, "flip_sin_to_cos", 1, "freq_shift", 0, "in_channels", s->unet.in_channels,
                   "layers_per_block", s->unet.layers, "mid_block_scale_factor", 1, "norm_eps", 1e-05, "norm_num_groups", GROUPS,
                   "out_channels", s->unet.out_channels, "sample_size", cells(p), "up_block_types", block_types(s, true),
                   "use_linear_projection", s->unet.linear);
}

json_t *ck_ldm_vae_config(const ck_ldm_shape *s, ck_prediction p) {
  return json_pack("{s:s, s:s, s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:o}", "_class_name", "AutoencoderKL", "act_fn", "silu",
                   "block_out_channels", widths(s->vae.widths, s->vae.levels, 1), "down_block_types",
                   repeated("DownEncoderBlock2D", s->vae.levels), "in_channels", s->vae.in_channels, "latent_channels",
                   s->vae.latent_channels, "layers_per_block", s->vae.layers, "norm_num_groups", GROUPS, "out_channels",
                   s->vae.out_channels, "sample_size", 8 * cells(p), "scaling_factor", 0.18215, "up_block_types",
                   repeated("UpDecoderBlock2D", s->vae.levels));
}

json_t *ck_ldm_text_config(const ck_ldm_shape *s) {
  return json_pack("{s:[s], s:f, s:i, s:f, s:i, s:s, s:i, s:f, s:f, s:i, s:f, s:i, s:s, s:i, s:i, s:i, s:i, s:i}", "architectures",
                   "CLIPTextModel", "attention_dropout", 0.0, "bos_token_id", 0, "dropout", 0.0, "eos_token_id", 2, "hidden_act",
                   s->text.openclip ? "gelu" : "quick_gelu", "hidden_size", s->text.hidden, "initializer_factor", 1.0,
                   "initializer_range", 0.02, "intermediate_size", s->text.intermediate, "layer_norm_eps", 1e-05,
                   "max_position_embeddings", s->text.positions, "model_type", "clip_text_model", "num_attention_heads",
                   s->text.hidden / HEAD, "num_hidden_layers", s->text.layers, "pad_token_id", 1, "projection_dim",
                   s->text.openclip ? 512 : 768, "vocab_size", s->text.vocab);
}

json_t *ck_ldm_scheduler_config(ck_prediction p) {
  return json_pack("{s:s, s:f, s:f, s:s, s:b, s:i, s:s, s:b, s:i, s:n}", "_class_name", "DDIMScheduler", "beta_start", beta_start,
                   "beta_end", beta_end, "beta_schedule", "scaled_linear", "clip_sample", 0, "num_train_timesteps", TRAIN_STEPS,
                   "prediction_type", p == CK_PREDICTION_V ? "v_prediction" : "epsilon", "set_alpha_to_one", 0, "steps_offset", 1,
                   "trained_betas");
}

json_t *ck_ldm_index(void) {
  return json_pack("{s:s, s:s, s:[s,s], s:[s,s], s:[s,s], s:[s,s], s:[s,s], s:[n,n], s:[n,n], s:b}", "_class_name",
                   "StableDiffusionPipeline", "_diffusers_version", "0.28.0", "scheduler", "diffusers", "DDIMScheduler",
                   "text_encoder", "transformers", "CLIPTextModel", "tokenizer", "transformers", "CLIPTokenizer", "unet",
                   "diffusers", "UNet2DConditionModel", "vae", "diffusers", "AutoencoderKL", "feature_extractor", "safety_checker",
                   "requires_safety_checker", 0);
}
