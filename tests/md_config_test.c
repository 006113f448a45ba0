/* Configurations: what published files say is read, what is not supported or not known is refused by name, and the
 * full-size networks have exactly the parameters of the published ones. */
#include <jansson.h>
#include <stdio.h>

#include "models/clip.h"
#include "models/scheduler.h"
#include "models/unet.h"
#include "models/vae.h"
#include "tests/support/tmpdir.h"

#define REAL TEST_DATA "/golden/real_configs/"
#define TINY TEST_DATA "/golden/models/tiny-sd2/"
#define TMP_TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

/* FROM as DIR/FILE, where `edit` (a JSON object) has replaced keys, or removed them when its value is "REMOVE". */
static const char *edited_as(void **state, const char *file, const char *from, const char *edit) {
  json_t *doc = json_load_file(from, 0, NULL), *changes = json_loads(edit, 0, NULL), *v;
  const char *key;
  assert_true(doc && changes);
  json_object_foreach(changes, key, v) {
    if (json_is_string(v) && strcmp(json_string_value(v), "REMOVE") == 0) json_object_del(doc, key);
    else json_object_set(doc, key, v);
  }
  assert_int_equal(json_dump_file(doc, tmpdir_at(state, "%s", file), JSON_INDENT(1)), 0);
  json_decref(doc);
  json_decref(changes);
  return *state;
}

static const char *edited(void **state, const char *from, const char *edit) {
  return edited_as(state, "config.json", from, edit);
}

/* ---- the published networks ---- */

/* Lines "name\tshape\tnumel" after a heading, against the declared parameters in order. */
static void check_table(const char *file, const md_params *p, int count, int64_t numel) {
  char path[512], name[256], shape[64], want[64];
  long long n;
  int i = 0;
  FILE *f;

  snprintf(path, sizeof path, REAL "%s", file);
  assert_non_null(f = fopen(path, "r"));
  assert_int_equal(fscanf(f, "%*[^\n]\n"), 0);
  for (; fscanf(f, "%255s %63s %lld\n", name, shape, &n) == 3; i++) {
    assert_true(i < md_params_count(p));
    const md_param *m = md_params_at(p, i);
    size_t at = 0;
    for (int d = 0; d < m->ndim; d++)
      at += (size_t)snprintf(want + at, sizeof want - at, "%s%lld", d ? "x" : "", (long long)m->shape[d]);
    assert_string_equal(m->name, name);
    assert_string_equal(want, shape);
    assert_int_equal(m->numel, n);
  }
  fclose(f);
  assert_int_equal(i, md_params_count(p));
  assert_int_equal(md_params_count(p), count);
  assert_int_equal(md_params_numel(p), numel);
}

static void check_unet_table(void **state, const char *config, const char *table, int count, int64_t numel) {
  md_unet_config c;
  md_params *p = NULL;
  char from[512];
  snprintf(from, sizeof from, REAL "%s", config);
  check_ok(md_unet_config_read(edited(state, from, "{}"), &c, NULL));
  check_ok(md_params_create("unet", &p));
  check_ok(md_unet_declare(&c, p));
  check_table(table, p, count, numel);
  md_params_destroy(&p);
}

static void test_published_unets(void **state) {
  check_unet_table(state, "sd2.unet.json", "sd2.unet.tensors.tsv", 686, 865910724);
  check_unet_table(state, "marigold_depth_v1-0.unet.json", "marigold.unet.tensors.tsv", 686, 865922244);
}

static void test_published_vae(void **state) {
  md_vae_config c;
  md_params *p = NULL;
  check_ok(md_vae_config_read(edited(state, REAL "sd2.vae.json", "{}"), &c));
  assert_true(c.scaling_factor == 0.18215 && c.quant_conv && c.post_quant_conv && c.mid_attention);
  assert_int_equal(md_vae_factor(&c), 8);
  check_ok(md_params_create("vae", &p));
  check_ok(md_vae_declare(&c, p));
  check_table("sd.vae.tensors.tsv", p, 248, 83653863);
  md_params_destroy(&p);
}

static void test_published_text_encoder(void **state) {
  md_clip_config c;
  md_params *p = NULL;
  check_ok(md_clip_config_read(edited(state, REAL "sd2.text_encoder.json", "{}"), &c));
  assert_true(c.layers == 23 && c.heads == 16 && !c.quick_gelu);
  check_ok(md_params_create("text encoder", &p));
  check_ok(md_clip_declare(&c, p));
  check_table("sd2.text_encoder.tensors.tsv", p, 372, 340387840);
  md_params_destroy(&p);
}

/* Values that a file does not give are diffusers' defaults. */
static void test_defaults_of_old_files(void **state) {
  md_unet_config c;
  json_t *doc = NULL;
  check_ok(md_unet_config_read(edited(state, REAL "sd2.unet.json", "{}"), &c, &doc));
  assert_int_equal(json_object_size(doc), 21);
  json_decref(doc);
  assert_int_equal(c.mid_block, MD_MID_CROSS_ATTN);
  assert_true(c.linear_projection && c.flip_sin_to_cos && !c.upcast_attention && c.freq_shift == 0 && c.norm_eps == 1e-5);
  for (int i = 0; i < 4; i++) {
    const int heads[] = {5, 10, 20, 20};
    assert_int_equal(c.heads[i], heads[i]);
    assert_int_equal(c.layers_per_block[i], 2);
    assert_int_equal(c.transformer_layers[i], 1);
    assert_int_equal(c.down_attention[i], i < 3);
    assert_int_equal(c.up_attention[i], i > 0);
  }
  /* Stable Diffusion 1.x: no key about projections, one number of heads */
  check_ok(md_unet_config_read(edited(state, REAL "sd2.unet.json",
      "{\"use_linear_projection\": \"REMOVE\", \"dual_cross_attention\": \"REMOVE\", \"attention_head_dim\": 8, \"cross_attention_dim\": 768}"), &c, NULL));
  assert_true(!c.linear_projection && c.heads[0] == 8 && c.heads[3] == 8 && c.cross_attention_dim == 768);
}

static void test_lists(void **state) {
  md_unet_config c;
  check_ok(md_unet_config_read(edited(state, TINY "unet/config.json",
      "{\"layers_per_block\": [1,2,3,1], \"transformer_layers_per_block\": [1,2,3,4], \"mid_block_type\": null,"
      " \"cross_attention_dim\": [32,32,32,32], \"norm_eps\": 0.001, \"_name_or_path\": 5, \"sample_size\": [3, 4]}"), &c, NULL));
  for (int i = 0; i < 4; i++) assert_int_equal(c.transformer_layers[i], i + 1);
  assert_true(c.layers_per_block[2] == 3 && c.mid_block == MD_MID_NONE && c.cross_attention_dim == 32);
}

/* ---- refusals ---- */

typedef struct refusal { const char *edit, *part; } refusal;

static void test_bad_unet_configs(void **state) {
  static const refusal cases[] = {
      {"{\"attention_head_dimm\": 8}", "config.json: attention_head_dimm: unknown key"},
      {"{\"in_channels\": \"REMOVE\"}", "config.json: in_channels: key is missing"},
      {"{\"block_out_channels\": \"REMOVE\"}", "config.json: block_out_channels: key is missing"},
      {"{\"attention_head_dim\": \"REMOVE\"}", "config.json: attention_head_dim: key is missing"},
      {"{\"in_channels\": \"4\"}", "in_channels: wanted an integer from 1 to 65536, found \"4\""},
      {"{\"in_channels\": 4.0}", "in_channels: wanted an integer"},
      {"{\"in_channels\": 0}", "in_channels: wanted an integer"},
      {"{\"block_out_channels\": 8}", "block_out_channels: wanted a list of 1 to 8 integers"},
      {"{\"block_out_channels\": []}", "block_out_channels: wanted a list"},
      {"{\"block_out_channels\": [8,16,24,24,24,24,24,24,24]}", "block_out_channels: wanted a list of 1 to 8"},
      {"{\"block_out_channels\": [8,16,24]}", "down_block_types: wanted a list of 3"},
      {"{\"layers_per_block\": [2,2]}", "layers_per_block: wanted an integer from 1 to 16, or a list of 4, found [2,2]"},
      {"{\"layers_per_block\": 0}", "layers_per_block"},
      {"{\"layers_per_block\": null}", "layers_per_block"},
      {"{\"attention_head_dim\": [1,2,3,\"3\"]}", "attention_head_dim"},
      {"{\"attention_head_dim\": 9}", "attention_head_dim: wanted at most 8 heads for block 0"},
      {"{\"norm_num_groups\": 5}", "norm_num_groups: wanted a divisor of block_out_channels[0] = 8, found 5"},
      {"{\"norm_num_groups\": null}", "norm_num_groups"},
      {"{\"norm_eps\": \"small\"}", "norm_eps: wanted a number"},
      {"{\"freq_shift\": 4}", "freq_shift"},
      {"{\"use_linear_projection\": 1}", "use_linear_projection: wanted true or false, found 1"},
      {"{\"cross_attention_dim\": [32,32,32,16]}", "cross_attention_dim: wanted the same width"},
      {"{\"down_block_types\": [\"CrossAttnDownBlock2D\",\"AttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"DownBlock2D\"]}",
       "down_block_types: wanted a list of 4, each \"DownBlock2D\" or \"CrossAttnDownBlock2D\""},
      {"{\"up_block_types\": \"UpBlock2D\"}", "up_block_types"},
      {"{\"mid_block_type\": \"UNetMidBlock2DSimpleCrossAttn\"}", "mid_block_type: wanted \"UNetMidBlock2D\" or \"UNetMidBlock2DCrossAttn\""},
      {"{\"_class_name\": \"UNet2DModel\"}", "_class_name: wanted \"UNet2DConditionModel\", found \"UNet2DModel\""},
      {"{\"addition_embed_type\": \"text\"}", "config.json: addition_embed_type: \"text\" is not supported (wanted null)"},
      {"{\"class_embed_type\": \"projection\"}", "class_embed_type: \"projection\" is not supported"},
      {"{\"act_fn\": \"gelu\"}", "act_fn: \"gelu\" is not supported (wanted \"silu\" or \"swish\")"},
      {"{\"center_input_sample\": true}", "center_input_sample: true is not supported"},
      {"{\"dropout\": 0.1}", "dropout: 0.1 is not supported (wanted 0)"},
      {"{\"transformer_layers_per_block\": [[1],[1],[1],[1]]}", "transformer_layers_per_block"},
  };
  md_unet_config c;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_fails(E_CKPT, cases[i].part, md_unet_config_read(edited(state, TINY "unet/config.json", cases[i].edit), &c, NULL));
}

/* Each feature that a full configuration names is refused when it is on, and only then. */
static void test_every_feature_is_checked(void **state) {
  static const char *const read[] = {"sample_size", "addition_embed_type_num_heads", "addition_time_embed_dim", NULL};
  json_t *doc = json_load_file(TINY "unet/config.json", 0, NULL), *v;
  const char *key;
  md_unet_config c;
  int refused = 0;

  json_object_foreach(doc, key, v) {
    char edit[128], part[128];
    bool skip = key[0] == '_';
    for (int i = 0; read[i]; i++) skip = skip || strcmp(key, read[i]) == 0;
    if (skip) continue;
    snprintf(edit, sizeof edit, "{\"%s\": \"nonsense\"}", key);
    snprintf(part, sizeof part, "config.json: %s: ", key);
    check_fails(E_CKPT, part, md_unet_config_read(edited(state, TINY "unet/config.json", edit), &c, NULL));
    refused++;
  }
  assert_int_equal(refused, 45);
  json_decref(doc);
}

static void test_bad_vae_configs(void **state) {
  static const refusal cases[] = {
      {"{\"latent_chanels\": 4}", "config.json: latent_chanels: unknown key"},
      {"{\"latent_channels\": \"REMOVE\"}", "latent_channels: key is missing"},
      {"{\"latent_channels\": null}", "latent_channels: wanted an integer"},
      {"{\"scaling_factor\": 0}", "scaling_factor: wanted a number"},
      {"{\"layers_per_block\": [2,2,2,2]}", "layers_per_block: wanted an integer"},
      {"{\"norm_num_groups\": 3}", "norm_num_groups: wanted a divisor of block_out_channels[0] = 8"},
      {"{\"shift_factor\": 0.1}", "shift_factor: 0.1 is not supported"},
      {"{\"latents_mean\": [0,0,0,0]}", "latents_mean"},
      {"{\"down_block_types\": [\"DownEncoderBlock2D\",\"DownEncoderBlock2D\",\"DownEncoderBlock2D\",\"AttnDownEncoderBlock2D\"]}", "down_block_types"},
      {"{\"_class_name\": \"AutoencoderTiny\"}", "_class_name: wanted \"AutoencoderKL\""},
      {"{\"use_quant_conv\": 0}", "use_quant_conv: wanted true or false"},
  };
  md_vae_config c;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_fails(E_CKPT, cases[i].part, md_vae_config_read(edited(state, TINY "vae/config.json", cases[i].edit), &c));
}

static void test_clip_configs(void **state) {
  static const refusal cases[] = {
      {"{\"hidden_sise\": 4}", "config.json: hidden_sise: unknown key"},
      {"{\"hidden_size\": \"REMOVE\"}", "hidden_size: key is missing"},
      {"{\"hidden_act\": \"relu\"}", "hidden_act: wanted \"gelu\" or \"quick_gelu\", found \"relu\""},
      {"{\"num_attention_heads\": 5}", "num_attention_heads: wanted a divisor of hidden_size = 32"},
      {"{\"model_type\": \"t5\"}", "model_type: wanted \"clip_text_model\""},
      {"{\"is_decoder\": true}", "is_decoder: true is not supported"},
  };
  md_clip_config c;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_fails(E_CKPT, cases[i].part, md_clip_config_read(edited(state, TINY "text_encoder/config.json", cases[i].edit), &c));
  /* what transformers writes besides */
  check_ok(md_clip_config_read(edited(state, TINY "text_encoder/config.json",
      "{\"_name_or_path\": \"x\", \"torch_dtype\": \"float16\", \"transformers_version\": \"4.25.0\", \"dtype\": \"float16\","
      " \"hidden_act\": \"quick_gelu\", \"pruned_heads\": {}, \"id2label\": {\"0\": \"a\"}, \"is_decoder\": false}"), &c));
  assert_true(c.quick_gelu);
}

static void test_scheduler_configs(void **state) {
  static const refusal cases[] = {
      {"{\"predicton_type\": \"epsilon\"}", "scheduler_config.json: predicton_type: unknown key"},
      {"{\"num_train_timesteps\": \"REMOVE\"}", "num_train_timesteps: key is missing"},
      {"{\"beta_start\": \"REMOVE\"}", "beta_start: key is missing"},
      {"{\"beta_schedule\": \"sigmoid\"}", "beta_schedule: wanted \"linear\", \"scaled_linear\" or \"squaredcos_cap_v2\", found \"sigmoid\""},
      {"{\"prediction_type\": \"v\"}", "prediction_type: wanted \"epsilon\", \"v_prediction\" or \"sample\""},
      {"{\"timestep_spacing\": 3}", "timestep_spacing"},
      {"{\"clip_sample\": true}", "clip_sample: true is not supported (wanted false)"},
      {"{\"thresholding\": true}", "thresholding: true is not supported"},
      {"{\"num_train_timesteps\": 100000}", "num_train_timesteps: wanted an integer from 1 to 10000"},
      {"{\"trained_betas\": [0.1, 0.2]}", "trained_betas: wanted null or a list of 1000"},
      {"{\"beta_end\": \"0.012\"}", "beta_end: wanted a number"},
  };
  static md_schedule s;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_fails(E_CKPT, cases[i].part,
                md_schedule_read(edited_as(state, "scheduler_config.json", TINY "scheduler/scheduler_config.json", cases[i].edit), &s));
  check_ok(md_schedule_read(edited_as(state, "scheduler_config.json", REAL "sd2.scheduler.json", "{}"), &s));
  assert_true(s.prediction == MD_V_PREDICTION && s.train_steps == 1000 && !s.set_alpha_to_one && s.steps_offset == 1);
  assert_string_equal(s.spacing, "leading");
  check_ok(md_schedule_read(edited_as(state, "scheduler_config.json", REAL "marigold_depth_v1-0.scheduler.json", "{}"), &s));
}

static void test_broken_files(void **state) {
  md_unet_config c;
  static const char *const bad[] = {"", "{", "[]", "{\"in_channels\": 4, \"in_channels\": 8}", "{\"norm_eps\": NaN}", "\xff\xfe"};

  check_fails(E_CKPT, "nowhere/config.json", md_unet_config_read("/nowhere", &c, NULL));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    FILE *f = fopen(tmpdir_at(state, "config.json"), "w");
    fputs(bad[i], f);
    fclose(f);
    check_fails(E_CKPT, "config.json", md_unet_config_read(*state, &c, NULL));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TMP_TEST(test_published_unets),     TMP_TEST(test_published_vae),   TMP_TEST(test_published_text_encoder),
      TMP_TEST(test_defaults_of_old_files), TMP_TEST(test_lists),         TMP_TEST(test_bad_unet_configs),
      TMP_TEST(test_every_feature_is_checked), TMP_TEST(test_bad_vae_configs), TMP_TEST(test_clip_configs),
      TMP_TEST(test_scheduler_configs),   TMP_TEST(test_broken_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
