#include "models/clip.h"

#include <stdlib.h>

#include "models/json.h"
#include "models/layers.h"

/* Shared by all transformers models or of the task around the encoder: none reaches the forward pass. */
static const char *const without_effect[] = {
    "architectures", "attention_dropout", "bos_token_id", "chunk_size_feed_forward", "dropout", "dtype", "eos_token_id",
    "finetuning_task", "gradient_checkpointing", "id2label", "initializer_factor", "initializer_range", "label2id",
    "output_attentions", "output_hidden_states", "pad_token_id", "problem_type", "projection_dim", "return_dict",
    "sep_token_id", "decoder_start_token_id", "task_specific_params", "tf_legacy_loss", "tie_word_embeddings",
    "tokenizer_class", "torch_dtype", "torchscript", "transformers_version", "use_bfloat16", "use_cache", "prefix",
    /* settings of text generation that older versions wrote into every configuration */
    "bad_words_ids", "begin_suppress_tokens", "diversity_penalty", "do_sample", "early_stopping",
    "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id",
    "length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups", "num_beams",
    "num_return_sequences", "output_scores", "remove_invalid_values", "repetition_penalty", "return_dict_in_generate",
    "suppress_tokens", "temperature", "top_k", "top_p", "typical_p", NULL};
static const md_json_off unsupported[] = {
    {"add_cross_attention", "false", NULL}, {"cross_attention_hidden_size", "null", NULL},
    {"is_decoder", "false", NULL},          {"is_encoder_decoder", "false", NULL},
    {"pruned_heads", "{}", NULL},
};

int md_clip_config_read(const char *dir, md_clip_config *out) {
  enum { WIDTH_MAX = 1 << 16, VOCABULARY_MAX = 1 << 24 };
  static const char *const activations[] = {"gelu", "quick_gelu", NULL};
  int st = OK, activation;
  md_json j = {.root = NULL};
  md_clip_config c = {.layers = 0};

  TRY(md_json_open("text encoder configuration", dir, "config.json", 0, &j));
  TRY(md_json_want_string(&j, "model_type", "clip_text_model"));
  TRY(md_json_int(&j, "vocab_size", MD_NEEDED, 1, VOCABULARY_MAX, &c.vocab_size));
  TRY(md_json_int(&j, "hidden_size", MD_NEEDED, 1, WIDTH_MAX, &c.hidden_size));
  TRY(md_json_int(&j, "intermediate_size", MD_NEEDED, 1, WIDTH_MAX, &c.intermediate_size));
  TRY(md_json_int(&j, "num_hidden_layers", MD_NEEDED, 1, 1000, &c.layers));
  TRY(md_json_int(&j, "num_attention_heads", MD_NEEDED, 1, WIDTH_MAX, &c.heads));
  TRY(md_json_int(&j, "max_position_embeddings", 77, 2, WIDTH_MAX, &c.max_positions));
  TRY(md_json_real(&j, "layer_norm_eps", 1e-5, 0, 1, &c.norm_eps));
  TRY(md_json_choice(&j, "hidden_act", 1, activations, &activation));
  c.quick_gelu = activation == 1;
  TRY(md_json_want_off(&j, unsupported, sizeof unsupported / sizeof *unsupported));
  md_json_pass(&j, without_effect);
  TRY(md_json_finish(&j));
  if (c.hidden_size % c.heads)
    TRY(md_json_wrong(&j, "num_attention_heads", "a divisor of hidden_size = %d", c.hidden_size));
  *out = c;
out:
  md_json_close(&j);
  return st;
}

/* Parameters in module order; the encoder runs once, so blocks are bound as they are reached. */
typedef struct clip_layer {
  md_linear k_proj, v_proj, q_proj, out_proj, fc1, fc2;
  md_layer_norm layer_norm1, layer_norm2;
} clip_layer;

static int build_embeddings(const md_build *b, const md_clip_config *c, const tchc_tensor **tokens,
                            const tchc_tensor **positions) {
  int st = OK;
  const char *const name = "text_model.embeddings";
  TRY(md_table_build(b, c->vocab_size, c->hidden_size, tokens, "%s.token_embedding", name));
  TRY(md_table_build(b, c->max_positions, c->hidden_size, positions, "%s.position_embedding", name));
out:
  return st;
}

static int build_layer(const md_build *b, const md_clip_config *c, int i, clip_layer *l) {
  int st = OK;
  const int w = c->hidden_size, wide = c->intermediate_size;
  char name[MD_NAME_MAX];

  TRY(md_name(name, "text_model.encoder.layers.%d", i));
  TRY(md_linear_build(b, w, w, true, &l->k_proj, "%s.self_attn.k_proj", name));
  TRY(md_linear_build(b, w, w, true, &l->v_proj, "%s.self_attn.v_proj", name));
  TRY(md_linear_build(b, w, w, true, &l->q_proj, "%s.self_attn.q_proj", name));
  TRY(md_linear_build(b, w, w, true, &l->out_proj, "%s.self_attn.out_proj", name));
  TRY(md_layer_norm_build(b, w, c->norm_eps, &l->layer_norm1, "%s.layer_norm1", name));
  TRY(md_linear_build(b, w, wide, true, &l->fc1, "%s.mlp.fc1", name));
  TRY(md_linear_build(b, wide, w, true, &l->fc2, "%s.mlp.fc2", name));
  TRY(md_layer_norm_build(b, w, c->norm_eps, &l->layer_norm2, "%s.layer_norm2", name));
out:
  return st;
}

static int build_final_norm(const md_build *b, const md_clip_config *c, md_layer_norm *n) {
  return md_layer_norm_build(b, c->hidden_size, c->norm_eps, n, "text_model.final_layer_norm");
}

int md_clip_declare(const md_clip_config *cfg, md_params *p) {
  int st = OK;
  const md_build b = {.declare = p};
  const tchc_tensor *tokens, *positions;
  clip_layer l;
  md_layer_norm n;

  TRY(build_embeddings(&b, cfg, &tokens, &positions));
  for (int i = 0; i < cfg->layers; i++) TRY(build_layer(&b, cfg, i, &l));
  TRY(build_final_norm(&b, cfg, &n));
out:
  return st;
}

int md_clip_load(const md_clip_config *cfg, const char *dir, md_params *p) {
  /* a buffer that older files hold, and the head of CLIPTextModelWithProjection */
  static const char *const ignore[] = {"text_model.embeddings.position_ids", "embeddings.position_ids",
                                       "text_projection.weight", NULL};
  (void)cfg;
  return md_params_load(
      p, &(md_load_opts){.dir = dir, .stem = "model", .optional_prefix = "text_model.", .ignore = ignore});
}

/* x [B,T,C] -> [B,heads,T,C/heads] */
static int heads_of(const md_linear *l, int heads, const tchc_tensor *x, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *p = NULL, *split = NULL;
  TRY(md_linear_forward(l, x, &p));
  TRY(tchc_reshape(p, (int64_t[]){tchc_size(p, 0), tchc_size(p, 1), heads, -1}, 4, &split));
  TRY(tchc_transpose(split, 1, 2, out));
out:
  tchc_free(&p);
  tchc_free(&split);
  return st;
}

static int self_attention(const clip_layer *l, int heads, const tchc_tensor *x, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *q = NULL, *k = NULL, *v = NULL, *o = NULL, *rows = NULL, *h = NULL;

  TRY(tchc_scope_open(&s));
  TRY(heads_of(&l->q_proj, heads, x, &q));
  TRY(heads_of(&l->k_proj, heads, x, &k));
  TRY(heads_of(&l->v_proj, heads, x, &v));
  TRY(tchc_attention(q, k, v, true, &o));
  TRY(tchc_transpose(o, 1, 2, &rows));
  TRY(tchc_reshape(rows, (int64_t[]){tchc_size(x, 0), tchc_size(x, 1), -1}, 3, &h));
  TRY(md_linear_forward(&l->out_proj, h, &h));
  tchc_promote(h);
  *out = h;
out:
  tchc_scope_close(&s);
  return st;
}

static int mlp(const clip_layer *l, bool quick_gelu, const tchc_tensor *x, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *h = NULL, *a = NULL;
  TRY(md_linear_forward(&l->fc1, x, &h));
  TRY(quick_gelu ? tchc_quick_gelu(h, &a) : tchc_gelu(h, &a));
  TRY(md_linear_forward(&l->fc2, a, out));
out:
  tchc_free(&h);
  tchc_free(&a);
  return st;
}

static int layer_forward(const clip_layer *l, const md_clip_config *c, const tchc_tensor *x, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *norm1 = NULL, *attn = NULL, *h = NULL, *norm2 = NULL, *ff = NULL;

  TRY(tchc_scope_open(&s));
  TRY(md_layer_norm_forward(&l->layer_norm1, x, &norm1));
  TRY(self_attention(l, c->heads, norm1, &attn));
  TRY(md_add_forward(x, attn, &h));
  TRY(md_layer_norm_forward(&l->layer_norm2, h, &norm2));
  TRY(mlp(l, c->quick_gelu, norm2, &ff));
  TRY(md_add_forward(h, ff, &h));
  tchc_promote(h);
  *out = h;
out:
  tchc_scope_close(&s);
  return st;
}

/* Token and position rows added: [B,T,hidden]. */
static int embed(const md_build *b, const md_clip_config *c, const tchc_tensor *ids, tchc_tensor **out) {
  int st = OK;
  const tchc_tensor *tokens, *positions;
  tchc_tensor *rows = NULL, *places = NULL;

  NEED(tchc_ndim(ids) == 2 && tchc_size(ids, 1) >= 1 && tchc_size(ids, 1) <= c->max_positions, E_SHAPE,
       "text encoder: ids: wanted [B,1..%d], found %s", c->max_positions, tchc_text(ids));
  TRY(build_embeddings(b, c, &tokens, &positions));
  TRY(tchc_embedding(tokens, ids, &rows));
  TRY(tchc_narrow(positions, 0, 0, tchc_size(ids, 1), &places));
  TRY(md_add_forward(rows, places, &rows));
  *out = rows;
  rows = NULL;
out:
  tchc_free(&rows);
  tchc_free(&places);
  return st;
}

int md_clip_forward(const md_clip_config *cfg, const md_params *p, const tchc_tensor *ids, tchc_tensor **hidden,
                    tchc_tensor **out) {
  int st = OK;
  const md_build b = {.bind = p};
  tchc_scope *s = NULL;
  tchc_tensor *last = NULL, **h = calloc((size_t)cfg->layers + 1, sizeof(tchc_tensor *));
  clip_layer l;
  md_layer_norm n;

  TRY(tchc_scope_open(&s));
  NEED(h, E_NOMEM, "text encoder");
  TRY(embed(&b, cfg, ids, &h[0]));
  for (int i = 0; i < cfg->layers; i++) {
    TRY(build_layer(&b, cfg, i, &l));
    TRY(layer_forward(&l, cfg, h[i], &h[i + 1]));
    if (!hidden) tchc_free(&h[i]);
  }
  TRY(build_final_norm(&b, cfg, &n));
  TRY(md_layer_norm_forward(&n, h[cfg->layers], &last));
  tchc_promote(last);
  for (int i = 0; hidden && i <= cfg->layers; i++) {
    tchc_promote(h[i]);
    hidden[i] = h[i];
  }
  *out = last;
out:
  tchc_scope_close(&s);
  free(h);
  return st;
}

/* Begin, end, and as many pads as the encoder has places for. */
static int encode_ids(const char *dir, const int64_t *ids, int n, tchc_tensor **out) {
  int st = OK;
  const bool graph = tchc_grad_mode(false);
  md_clip_config c;
  md_params *p = NULL;
  tchc_tensor *in = NULL;

  TRY(md_clip_config_read(dir, &c));
  TRY(md_params_create("text encoder", &p));
  TRY(md_clip_declare(&c, p));
  TRY(md_params_allocate(p, TCHC_F32, TCHC_CPU_DEVICE));
  TRY(md_clip_load(&c, dir, p));
  for (int i = 0; i < n; i++)
    NEED(ids[i] >= 0 && ids[i] < c.vocab_size, E_CKPT, "%s: the tokenizer's token %lld is beyond vocab_size %d", dir,
         (long long)ids[i], c.vocab_size);
  TRY(tchc_from_host(ids, (int64_t[]){1, n < c.max_positions ? n : c.max_positions}, 2, TCHC_I64, TCHC_CPU_DEVICE, &in));
  TRY(md_clip_forward(&c, p, in, NULL, out));
out:
  tchc_free(&in);
  md_params_destroy(&p);
  tchc_grad_mode(graph);
  return st;
}

int md_clip_empty_prompt(const char *model_dir, bool padded, tchc_tensor **out) {
  int st = OK, n = 0;
  int64_t *ids = NULL;
  char dir[IO_PATH_MAX];

  TRY(io_path(dir, "%s/tokenizer", model_dir));
  TRY(md_clip_empty_ids(dir, padded, &ids, &n));
  TRY(io_path(dir, "%s/text_encoder", model_dir));
  TRY(encode_ids(dir, ids, n, out));
out:
  free(ids);
  return st;
}
