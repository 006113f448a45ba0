/* The text encoder against transformers, and the token ids of the empty prompt from a tokenizer's files. */
#include "models/clip.h"

#include <stdio.h>

#include "tests/support/model_check.h"
#include "tests/support/tmpdir.h"

#define FORWARD_REL 2e-5 /* golden/manifest.json, nets/ */
#define TMP_TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

static const char *const models[] = {"tiny-sd2", "tiny-marigold"};

typedef struct clip_model {
  md_clip_config cfg;
  md_params *p;
} clip_model;

static clip_model open_model(const char *model) {
  clip_model m = {.p = NULL};
  char dir[512];
  snprintf(dir, sizeof dir, TEST_DATA "/golden/models/%s/text_encoder", model);
  check_ok(md_clip_config_read(dir, &m.cfg));
  check_ok(md_params_create("text encoder", &m.p));
  check_ok(md_clip_declare(&m.cfg, m.p));
  check_ok(md_params_allocate(m.p, TCHC_F32, TCHC_CPU_DEVICE));
  check_ok(md_clip_load(&m.cfg, dir, m.p));
  return m;
}

static st_file *nets(const char *model) {
  char path[512];
  snprintf(path, sizeof path, "nets/%s.clip.safetensors", model);
  return golden_open(path);
}

static void test_golden(void **state) {
  static const char *const cases[] = {"max_length", "do_not_pad", "other_pad", "random_ids"};
  (void)state;
  for (int i = 0; i < 2; i++) {
    tchc_scope *s = NULL;
    check_ok(tchc_scope_open(&s));
    st_file *g = nets(models[i]);
    clip_model m = open_model(models[i]);
    for (int k = 0; k < 4; k++) {
      tchc_tensor *hidden[4], *last;
      char ids[64], key[64];
      snprintf(ids, sizeof ids, "%s.ids", cases[k]);
      snprintf(key, sizeof key, "%s.last_hidden_state", cases[k]);
      assert_int_equal(m.cfg.layers, 3);
      check_ok(md_clip_forward(&m.cfg, m.p, golden_tensor(g, ids), hidden, &last));
      golden_tensor_near(last, g, key, FORWARD_REL);
      for (int h = 0; k == 0 && h <= 3; h++) {
        snprintf(key, sizeof key, "%s.hidden_states.%d", cases[k], h);
        golden_tensor_near(hidden[h], g, key, FORWARD_REL);
      }
    }
    md_params_destroy(&m.p);
    st_close(&g);
    tchc_scope_close(&s);
  }
}

static void test_empty_prompt(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    char dir[512];
    tchc_tensor *text = NULL;
    st_file *g = nets(models[i]);
    snprintf(dir, sizeof dir, TEST_DATA "/golden/models/%s", models[i]);
    check_ok(md_clip_empty_prompt(dir, true, &text));
    golden_tensor_near(text, g, "max_length.last_hidden_state", FORWARD_REL);
    assert_false(tchc_requires_grad(text));
    tchc_free(&text);
    check_ok(md_clip_empty_prompt(dir, false, &text));
    golden_tensor_near(text, g, "do_not_pad.last_hidden_state", FORWARD_REL);
    tchc_free(&text);
    st_close(&g);
  }
}

static void test_bad_ids(void **state) {
  tchc_scope *s = NULL;
  tchc_tensor *ids, *out;
  (void)state;
  check_ok(tchc_scope_open(&s));
  clip_model m = open_model("tiny-sd2");
  check_ok(tchc_full(DIMS(1, 78), 0, TCHC_I64, TCHC_CPU_DEVICE, &ids));
  check_fails(E_SHAPE, "text encoder: ids: wanted [B,1..77], found [1,78]", md_clip_forward(&m.cfg, m.p, ids, NULL, &out));
  check_ok(tchc_full(DIMS(5), 0, TCHC_I64, TCHC_CPU_DEVICE, &ids));
  check_fails(E_SHAPE, "text encoder: ids", md_clip_forward(&m.cfg, m.p, ids, NULL, &out));
  md_params_destroy(&m.p);
  tchc_scope_close(&s);
}

/* ---- tokens ---- */

static void write_file(void **state, const char *name, const char *text) {
  check_ok(io_write_file(tmpdir_at(state, "%s", name), text, strlen(text)));
}

static void check_ids(void **state, int64_t begin, int64_t end, int64_t pad, int places) {
  int64_t *ids = NULL;
  int n = 0;
  check_ok(md_clip_empty_ids(*state, true, &ids, &n));
  assert_int_equal(n, places);
  assert_int_equal(ids[0], begin);
  assert_int_equal(ids[1], end);
  for (int i = 2; i < n; i++) assert_int_equal(ids[i], pad);
  free(ids);
  check_ok(md_clip_empty_ids(*state, false, &ids, &n));
  assert_true(n == 2 && ids[0] == begin && ids[1] == end);
  free(ids);
}

#define VOCABULARY "{\"!\": 0, \"a\": 5, \"<|startoftext|>\": 49406, \"<|endoftext|>\": 49407}"

static void test_tokens(void **state) {
  write_file(state, "vocab.json", VOCABULARY);
  check_ids(state, 49406, 49407, 49407, 77); /* CLIP's own defaults */
  write_file(state, "tokenizer_config.json", "{\"pad_token\": \"<|endoftext|>\", \"model_max_length\": 77}");
  check_ids(state, 49406, 49407, 49407, 77);
  /* Stable Diffusion 2: the map overrules the configuration */
  write_file(state, "special_tokens_map.json", "{\"pad_token\": \"!\", \"bos_token\": {\"content\": \"<|startoftext|>\"}}");
  check_ids(state, 49406, 49407, 0, 77);
  write_file(state, "special_tokens_map.json", "{\"pad_token\": {\"content\": \"!\", \"lstrip\": false}}");
  check_ids(state, 49406, 49407, 0, 77);
  /* newer files: the configuration lists the tokens itself */
  write_file(state, "tokenizer_config.json",
             "{\"pad_token\": \"<|endoftext|>\", \"model_max_length\": 20, \"added_tokens_decoder\": {\"49407\": {\"content\": \"<|endoftext|>\"}}}");
  check_ids(state, 49406, 49407, 49407, 20);
  write_file(state, "tokenizer_config.json", "{\"model_max_length\": 1000000000000000019884624838656}");
  check_ids(state, 49406, 49407, 0, 77);
  write_file(state, "tokenizer_config.json", "{\"model_max_length\": null}");
  check_ids(state, 49406, 49407, 0, 77);
  write_file(state, "added_tokens.json", "{\"<pad>\": 49408}");
  write_file(state, "special_tokens_map.json", "{\"pad_token\": \"<pad>\"}");
  check_ids(state, 49406, 49407, 49408, 77);
}

/* What transformers 5 writes: one tokenizer.json. */
static void test_tokens_of_a_fast_tokenizer(void **state) {
  write_file(state, "tokenizer.json",
             "{\"added_tokens\": [{\"id\": 7, \"content\": \"<pad>\"}], \"model\": {\"vocab\": " VOCABULARY "}}");
  write_file(state, "tokenizer_config.json", "{\"pad_token\": \"<pad>\"}");
  check_ids(state, 49406, 49407, 7, 77);
}

static void test_bad_tokenizers(void **state) {
  int64_t *ids = NULL;
  int n;
  check_fails(E_CKPT, "/nowhere: no tokenizer folder", md_clip_empty_ids("/nowhere", true, &ids, &n));
  check_fails(E_CKPT, "no vocab.json and no tokenizer.json", md_clip_empty_ids(*state, true, &ids, &n));
  write_file(state, "vocab.json", "{\"a\": 1");
  check_fails(E_CKPT, "vocab.json:1:", md_clip_empty_ids(*state, true, &ids, &n));
  write_file(state, "vocab.json", "{\"a\": 1}");
  check_fails(E_CKPT, "bos_token \"<|startoftext|>\" is in no vocabulary", md_clip_empty_ids(*state, true, &ids, &n));
  write_file(state, "vocab.json", "{\"<|startoftext|>\": \"1\"}");
  check_fails(E_CKPT, "bos_token \"<|startoftext|>\" is in no vocabulary", md_clip_empty_ids(*state, true, &ids, &n));
  write_file(state, "vocab.json", VOCABULARY);
  write_file(state, "special_tokens_map.json", "{\"pad_token\": \"?\"}");
  check_fails(E_CKPT, "pad_token \"?\" is in no vocabulary", md_clip_empty_ids(*state, true, &ids, &n));
  check_ok(md_clip_empty_ids(*state, false, &ids, &n));
  free(ids);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(test_golden),  LIVE_TEST(test_empty_prompt),              LIVE_TEST(test_bad_ids),
      TMP_TEST(test_tokens),   TMP_TEST(test_tokens_of_a_fast_tokenizer), TMP_TEST(test_bad_tokenizers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
