/* models/clip.h: the CLIP text encoder, run once for the empty prompt. */
#ifndef MODELS_CLIP_H
#define MODELS_CLIP_H
#include "models/params.h"
#include "models/probe.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct md_clip_config {
  int vocab_size, hidden_size, intermediate_size, layers, heads, max_positions;
  double norm_eps;
  bool quick_gelu; /* hidden_act "quick_gelu", else "gelu" */
} md_clip_config;
int md_clip_config_read(const char *dir, md_clip_config *out);
int md_clip_declare(const md_clip_config *cfg, md_params *p);
int md_clip_load(const md_clip_config *cfg, const char *dir, md_params *p);
/* ids [B,T] i64 -> last_hidden_state [B,T,hidden]. hidden (may be NULL): layers+1 handles, hidden_states of transformers. */
int md_clip_forward(const md_clip_config *cfg, const md_params *p, const tchc_tensor *ids, tchc_tensor **hidden,
                    tchc_tensor **out);
/* Token ids of "": begin, end; padded: and the tokenizer's pad token up to its model_max_length. Read from the
 * tokenizer folder's vocab.json, special_tokens_map.json, tokenizer_config.json. *ids from malloc. Errors: E_CKPT. */
int md_clip_empty_ids(const char *tokenizer_dir, bool padded, int64_t **ids, int *n);
/* Reads MODEL_DIR/text_encoder and MODEL_DIR/tokenizer, gives [1,T,hidden] f32 on the CPU, and lets the encoder go. */
int md_clip_empty_prompt(const char *model_dir, bool padded, tchc_tensor **out);
#ifdef __cplusplus
}
#endif
#endif
