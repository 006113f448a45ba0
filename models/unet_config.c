/* The configuration of UNet2DConditionModel. Source of keys and defaults: diffusers unet_2d_condition.py, __init__.
 * The keys that say what the network is must be there, as they are in every published file; others have diffusers'
 * defaults. */
#include "models/json.h"
#include "models/unet.h"

/* What diffusers can do and Stable Diffusion does not use. */
static const md_json_off unsupported[] = {
    {"act_fn", "\"silu\"", "\"swish\""},
    {"center_input_sample", "false", NULL},
    {"downsample_padding", "1", NULL},
    {"mid_block_scale_factor", "1", NULL},
    {"dropout", "0", NULL},
    {"only_cross_attention", "false", NULL},
    {"dual_cross_attention", "false", NULL},
    {"reverse_transformer_layers_per_block", "null", NULL},
    {"encoder_hid_dim", "null", NULL},
    {"encoder_hid_dim_type", "null", NULL},
    {"num_attention_heads", "null", NULL},
    {"class_embed_type", "null", NULL},
    {"num_class_embeds", "null", NULL},
    {"projection_class_embeddings_input_dim", "null", NULL},
    {"class_embeddings_concat", "false", NULL},
    {"addition_embed_type", "null", NULL},
    {"resnet_time_scale_shift", "\"default\"", NULL},
    {"resnet_skip_time_act", "false", NULL},
    {"resnet_out_scale_factor", "1", NULL},
    {"time_embedding_type", "\"positional\"", NULL},
    {"time_embedding_dim", "null", NULL},
    {"time_embedding_act_fn", "null", NULL},
    {"timestep_post_act", "null", NULL},
    {"time_cond_proj_dim", "null", NULL},
    {"conv_in_kernel", "3", NULL},
    {"conv_out_kernel", "3", NULL},
    {"attention_type", "\"default\"", NULL},
    {"mid_block_only_cross_attention", "null", "false"},
    {"cross_attention_norm", "null", NULL},
};
/* Sizes for other uses, and parts of what is refused above. */
static const char *const without_effect[] = {"sample_size", "addition_embed_type_num_heads", "addition_time_embed_dim",
                                             NULL};

enum { CHANNELS_MAX = 1 << 16 };

static int read_mid_block(md_json *j, md_mid_block *out) {
  static const char *const types[] = {"UNetMidBlock2D", "UNetMidBlock2DCrossAttn", NULL};
  static const md_mid_block kinds[] = {MD_MID_RESNET, MD_MID_CROSS_ATTN};
  int st = OK, i;

  if (json_is_null(md_json_get(j, "mid_block_type"))) {
    *out = MD_MID_NONE;
    return OK;
  }
  TRY(md_json_choice(j, "mid_block_type", 1, types, &i));
  *out = kinds[i];
out:
  return st;
}

static int read_blocks(md_json *j, md_unet_config *c) {
  static const char *const down[] = {"DownBlock2D", "CrossAttnDownBlock2D", NULL};
  static const char *const up[] = {"UpBlock2D", "CrossAttnUpBlock2D", NULL};
  int st = OK, type[MD_MAX_BLOCKS];

  TRY(md_json_list(j, "block_out_channels", MD_MAX_BLOCKS, 1, CHANNELS_MAX, c->block_out_channels, &c->blocks));
  TRY(md_json_choices(j, "down_block_types", c->blocks, down, type));
  for (int i = 0; i < c->blocks; i++) c->down_attention[i] = type[i] == 1;
  TRY(md_json_choices(j, "up_block_types", c->blocks, up, type));
  for (int i = 0; i < c->blocks; i++) c->up_attention[i] = type[i] == 1;
  TRY(read_mid_block(j, &c->mid_block));
  TRY(md_json_ints(j, "layers_per_block", MD_NEEDED, c->blocks, 1, MD_MAX_LAYERS, c->layers_per_block));
  TRY(md_json_ints(j, "attention_head_dim", MD_NEEDED, c->blocks, 1, CHANNELS_MAX, c->heads));
  TRY(md_json_ints(j, "transformer_layers_per_block", 1, c->blocks, 1, MD_MAX_LAYERS, c->transformer_layers));
out:
  return st;
}

/* A list of widths is taken when all are the same: one text serves every block. */
static int read_cross_attention_dim(md_json *j, md_unet_config *c) {
  int st = OK, width[MD_MAX_BLOCKS];
  TRY(md_json_ints(j, "cross_attention_dim", MD_NEEDED, c->blocks, 1, CHANNELS_MAX, width));
  for (int i = 1; i < c->blocks; i++)
    if (width[i] != width[0]) return md_json_wrong(j, "cross_attention_dim", "the same width for all blocks");
  c->cross_attention_dim = width[0];
out:
  return st;
}

/* Heads and groups have to fit the widths. */
static int check_widths(const md_json *j, const md_unet_config *c) {
  for (int i = 0; i < c->blocks; i++) {
    const int width = c->block_out_channels[i];
    if (width % c->norm_groups)
      return md_json_wrong(j, "norm_num_groups", "a divisor of block_out_channels[%d] = %d", i, width);
    if (c->heads[i] > width)
      return md_json_wrong(j, "attention_head_dim", "at most %d heads for block %d of that width", width, i);
  }
  if (c->block_out_channels[0] / 2 <= c->freq_shift)
    return md_json_wrong(j, "freq_shift", "less than half of block_out_channels[0] = %d", c->block_out_channels[0]);
  return OK;
}

int md_unet_config_read(const char *dir, md_unet_config *out, json_t **json) {
  int st = OK;
  md_json j = {.root = NULL};
  md_unet_config c = {.blocks = 0};

  TRY(md_json_open("U-Net configuration", dir, "config.json", 0, &j));
  TRY(md_json_want_string(&j, "_class_name", "UNet2DConditionModel"));
  TRY(md_json_int(&j, "in_channels", MD_NEEDED, 1, CHANNELS_MAX, &c.in_channels));
  TRY(md_json_int(&j, "out_channels", MD_NEEDED, 1, CHANNELS_MAX, &c.out_channels));
  TRY(read_blocks(&j, &c));
  TRY(read_cross_attention_dim(&j, &c));
  TRY(md_json_int(&j, "norm_num_groups", MD_NEEDED, 1, CHANNELS_MAX, &c.norm_groups));
  TRY(md_json_real(&j, "norm_eps", 1e-5, 0, 1, &c.norm_eps));
  TRY(md_json_bool(&j, "use_linear_projection", false, &c.linear_projection));
  TRY(md_json_bool(&j, "flip_sin_to_cos", true, &c.flip_sin_to_cos));
  TRY(md_json_real(&j, "freq_shift", 0, -1e6, 1e6, &c.freq_shift));
  TRY(md_json_bool(&j, "upcast_attention", false, &c.upcast_attention));
  TRY(md_json_want_off(&j, unsupported, sizeof unsupported / sizeof *unsupported));
  md_json_pass(&j, without_effect);
  TRY(md_json_finish(&j));
  TRY(check_widths(&j, &c));
  *out = c;
  if (json) *json = json_incref(j.root);
out:
  md_json_close(&j);
  return st;
}
