#include "checkpoints/ldm_names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct spelling { const char *from, *to; } spelling;

static bool begins(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

static ldm_place put(char out[LDM_NAME_MAX], const char *fmt, ...) ERR_PRINTF(2, 3);
static ldm_place put(char out[LDM_NAME_MAX], const char *fmt, ...) {
  va_list ap;

  va_start(ap, fmt);
  const int n = vsnprintf(out, LDM_NAME_MAX, fmt, ap);
  va_end(ap);
  return n >= 0 && n < LDM_NAME_MAX ? LDM_PLAIN : LDM_UNKNOWN;
}

/* The table's other word for the beginning of rest; NULL when it has none. *tail: what follows it. */
static const char *other(const spelling *table, const char *rest, const char **tail) {
  for (; table->from; table++)
    if (begins(rest, table->from)) return *tail = rest + strlen(table->from), table->to;
  return NULL;
}

/* ---- U-Net ---- */

static ldm_place resnet(char out[LDM_NAME_MAX], const char *where, int level, int layer, const char *rest) {
  static const spelling table[] = {{"in_layers.0.", "norm1."}, {"in_layers.2.", "conv1."}, {"out_layers.0.", "norm2."},
                                   {"out_layers.3.", "conv2."}, {"emb_layers.1.", "time_emb_proj."},
                                   {"skip_connection.", "conv_shortcut."}, {NULL, NULL}};
  const char *tail, *to = other(table, rest, &tail);

  if (!to) return LDM_UNKNOWN;
  if (level < 0) return put(out, "mid_block.resnets.%d.%s%s", layer, to, tail);
  return put(out, "%s_blocks.%d.resnets.%d.%s%s", where, level, layer, to, tail);
}

static ldm_place attention(char out[LDM_NAME_MAX], const char *where, int level, int layer, const char *rest) {
  if (!begins(rest, "norm.") && !begins(rest, "proj_") && !begins(rest, "transformer_blocks.")) return LDM_UNKNOWN;
  if (level < 0) return put(out, "mid_block.attentions.%d.%s", layer, rest);
  return put(out, "%s_blocks.%d.attentions.%d.%s", where, level, layer, rest);
}

static ldm_place down_block(char out[LDM_NAME_MAX], int layers, int block, int place, const char *rest) {
  const int level = (block - 1) / (layers + 1), layer = (block - 1) % (layers + 1);

  if (block == 0) return put(out, "conv_in.%s", rest);
  if (place == 0 && begins(rest, "op.")) return put(out, "down_blocks.%d.downsamplers.0.conv.%s", level, rest + 3);
  return place == 0 ? resnet(out, "down", level, layer, rest) : attention(out, "down", level, layer, rest);
}

static ldm_place up_block(char out[LDM_NAME_MAX], int layers, int block, int place, const char *rest) {
  const int level = block / (layers + 1), layer = block % (layers + 1);

  if (place > 0 && begins(rest, "conv.")) return put(out, "up_blocks.%d.upsamplers.0.%s", level, rest);
  return place == 0 ? resnet(out, "up", level, layer, rest) : attention(out, "up", level, layer, rest);
}

static ldm_place unet(const ck_ldm_shape *s, const char *name, char out[LDM_NAME_MAX]) {
  static const spelling ends[] = {{"time_embed.0.", "time_embedding.linear_1."}, {"time_embed.2.", "time_embedding.linear_2."},
                                  {"out.0.", "conv_norm_out."}, {"out.2.", "conv_out."}, {NULL, NULL}};
  int block, place, at = 0;
  const char *tail, *to = other(ends, name, &tail);

  if (to) return put(out, "%s%s", to, tail);
  if (sscanf(name, "input_blocks.%d.%d.%n", &block, &place, &at) == 2 && at)
    return down_block(out, s->unet.layers, block, place, name + at);
  if (sscanf(name, "output_blocks.%d.%d.%n", &block, &place, &at) == 2 && at)
    return up_block(out, s->unet.layers, block, place, name + at);
  if (sscanf(name, "middle_block.%d.%n", &place, &at) == 1 && at)
    return place == 1 ? attention(out, "", -1, 0, name + at) : resnet(out, "", -1, place / 2, name + at);
  return LDM_UNKNOWN;
}

/* ---- VAE ---- */

static ldm_place vae_resnet(char out[LDM_NAME_MAX], const char *where, const char *rest) {
  const char *to = begins(rest, "nin_shortcut.") ? "conv_shortcut." : "";
  return put(out, "%s%s%s", where, to, rest + (*to ? strlen("nin_shortcut.") : 0));
}

static ldm_place vae_attention(char out[LDM_NAME_MAX], const char *half, const char *rest) {
  static const spelling table[] = {{"norm.", "group_norm."}, {"q.", "to_q."}, {"k.", "to_k."}, {"v.", "to_v."},
                                   {"proj_out.", "to_out.0."}, {NULL, NULL}};
  const char *tail, *to = other(table, rest, &tail);
  return to ? put(out, "%s.mid_block.attentions.0.%s%s", half, to, tail) : LDM_UNKNOWN;
}

static ldm_place vae_level(char out[LDM_NAME_MAX], const char *half, const char *way, int level, const char *rest) {
  char where[64];
  int layer, at = 0;

  if (sscanf(rest, "block.%d.%n", &layer, &at) == 1 && at) {
    snprintf(where, sizeof where, "%s.%s_blocks.%d.resnets.%d.", half, way, level, layer);
    return vae_resnet(out, where, rest + at);
  }
  if (begins(rest, "downsample.conv.") || begins(rest, "upsample.conv."))
    return put(out, "%s.%s_blocks.%d.%ssamplers.0.%s", half, way, level, way, strchr(rest, '.') + 1);
  return LDM_UNKNOWN;
}

static ldm_place vae_half(const ck_ldm_shape *s, const char *half, const char *rest, char out[LDM_NAME_MAX]) {
  char where[64];
  int i, at = 0;

  if (begins(rest, "conv_in.") || begins(rest, "conv_out.")) return put(out, "%s.%s", half, rest);
  if (begins(rest, "norm_out.")) return put(out, "%s.conv_%s", half, rest);
  if (begins(rest, "mid.attn_1.")) return vae_attention(out, half, rest + strlen("mid.attn_1."));
  if (sscanf(rest, "mid.block_%d.%n", &i, &at) == 1 && at) {
    snprintf(where, sizeof where, "%s.mid_block.resnets.%d.", half, i - 1);
    return vae_resnet(out, where, rest + at);
  }
  if (sscanf(rest, "down.%d.%n", &i, &at) == 1 && at) return vae_level(out, half, "down", i, rest + at);
  if (sscanf(rest, "up.%d.%n", &i, &at) == 1 && at) return vae_level(out, half, "up", s->vae.levels - 1 - i, rest + at);
  return LDM_UNKNOWN;
}

static ldm_place vae(const ck_ldm_shape *s, const char *name, char out[LDM_NAME_MAX]) {
  if (begins(name, "encoder.")) return vae_half(s, "encoder", name + 8, out);
  if (begins(name, "decoder.")) return vae_half(s, "decoder", name + 8, out);
  if (begins(name, "quant_conv.") || begins(name, "post_quant_conv.")) return put(out, "%s", name);
  return begins(name, "loss.") || begins(name, "model_ema.") ? LDM_UNUSED : LDM_UNKNOWN; /* of the VAE's own training */
}

/* ---- text encoder ---- */

static ldm_place clip(const char *name, char out[LDM_NAME_MAX]) {
  const char *end = strrchr(name, '.');

  if (end && !strcmp(end, ".position_ids")) return LDM_UNUSED;
  return begins(name, "text_model.") ? put(out, "%s", name) : put(out, "text_model.%s", name);
}

static ldm_place openclip_block(int layer, const char *rest, char out[LDM_NAME_MAX]) {
  static const spelling table[] = {{"ln_1.", "layer_norm1."}, {"ln_2.", "layer_norm2."}, {"mlp.c_fc.", "mlp.fc1."},
                                   {"mlp.c_proj.", "mlp.fc2."}, {"attn.out_proj.", "self_attn.out_proj."}, {NULL, NULL}};
  const char *tail, *to = other(table, rest, &tail);

  if (to) return put(out, "text_model.encoder.layers.%d.%s%s", layer, to, tail);
  if (begins(rest, "attn.in_proj_")) {
    const ldm_place p = put(out, "text_model.encoder.layers.%d.self_attn.%%c_proj.%s", layer, rest + strlen("attn.in_proj_"));
    return p == LDM_PLAIN ? LDM_FUSED : p;
  }
  return LDM_UNKNOWN;
}

static ldm_place openclip(const ck_ldm_shape *s, const char *name, char out[LDM_NAME_MAX]) {
  static const spelling table[] = {{"positional_embedding", "text_model.embeddings.position_embedding.weight"},
                                   {"token_embedding.", "text_model.embeddings.token_embedding."},
                                   {"ln_final.", "text_model.final_layer_norm."}, {NULL, NULL}};
  int layer, at = 0;
  const char *tail, *to = other(table, name, &tail);

  if (to) return put(out, "%s%s", to, tail);
  if (sscanf(name, "transformer.resblocks.%d.%n", &layer, &at) == 1 && at)
    return layer < s->text.layers ? openclip_block(layer, name + at, out) : LDM_UNUSED;
  return !strcmp(name, "text_projection") || !strcmp(name, "logit_scale") || !strcmp(name, "attn_mask") ? LDM_UNUSED : LDM_UNKNOWN;
}

static ldm_place text(const ck_ldm_shape *s, const char *name, char out[LDM_NAME_MAX]) {
  if (begins(name, "transformer.")) return clip(name + strlen("transformer."), out);
  if (begins(name, "model.")) return openclip(s, name + strlen("model."), out);
  return LDM_UNUSED; /* of other conditioners */
}

ldm_place ldm_rename(ck_ldm_part part, const ck_ldm_shape *s, const char *name, char out[LDM_NAME_MAX]) {
  switch (part) {
  case CK_LDM_UNET: return unet(s, name, out);
  case CK_LDM_VAE: return vae(s, name, out);
  case CK_LDM_TEXT: return text(s, name, out);
  case CK_LDM_PARTS: break;
  }
  return LDM_UNKNOWN;
}
