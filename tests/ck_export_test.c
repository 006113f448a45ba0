/* checkpoints/export: a diffusers folder made from a base and a U-Net. That diffusers loads it was checked by hand with
 * MarigoldDepthPipeline and StableDiffusionPipeline.from_pretrained; here its files are compared. */
#include "checkpoints/export.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "checkpoints/pyjson.h"
#include "tests/support/faults.h"
#include "tests/support/tmpdir.h"

static const char base_model[] = TEST_DATA "/golden/models/tiny-marigold";
static const float weights[6] = {1, 2, 3, 4, 5, 6};
static const st_tensor unet[2] = {{"conv_in.weight", ST_F32, 2, {2, 2}, weights, 16},
                                  {"conv_in.bias", ST_F32, 1, {2}, weights + 4, 8}};

/* A file of the models in the test data; good until the next call. */
static const char *data_at(const char *folder, const char *name) {
  static char path[IO_PATH_MAX];
  check_ok(io_path(path, "%s/golden/models/%s%s", TEST_DATA, folder, name));
  return path;
}

static int export_to(const char *base, const char *out) {
  static const char *const stamp[] = {"e2eft", "0.1.0", "step", "7"};
  json_t *config = json_pack("{s:i, s:[i,i], s:f, s:n, s:b, s:s}", "in_channels", 8, "block_out_channels", 8, 16,
                             "norm_eps", 1e-05, "act", "flag", 1, "_class_name", "UNet2DConditionModel");
  const ck_export e = {.base = base, .out = out, .unet_config = config, .unet = unet, .n_unet = 2, .stamp = stamp,
                       .n_stamp = 2};
  const int st = ck_export_model(&e);

  json_decref(config);
  return st;
}

static void check_text(const char *path, const char *want) {
  char *got = NULL;
  size_t n = 0;
  check_ok(io_read_file(path, 1 << 24, &got, &n));
  assert_string_equal(got, want);
  free(got);
}

static void check_same_file(const char *a, const char *b) {
  char *x = NULL, *y = NULL;
  size_t n = 0, m = 0;

  check_ok(io_read_file(a, 1 << 24, &x, &n));
  check_ok(io_read_file(b, 1 << 24, &y, &m));
  if (n != m || memcmp(x, y, n) != 0) fail_msg("%s and %s differ", a, b);
  free(x);
  free(y);
}

static void check_unet(const char *out) {
  st_file *f = NULL;
  char path[IO_PATH_MAX];

  check_ok(io_path(path, "%s/unet/diffusion_pytorch_model.safetensors", out));
  check_ok(st_open(path, &f));
  assert_int_equal(st_count(f), 2);
  assert_memory_equal(st_find(f, "conv_in.weight")->data, weights, 16);
  assert_string_equal(st_metadata(f, "format"), "pt");
  assert_string_equal(st_metadata(f, "e2eft"), "0.1.0");
  assert_string_equal(st_metadata(f, "step"), "7");
  st_close(&f);
}

static void whole_tree(void **state) {
  static const char *const same[] = {"model_index.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
                                     "text_encoder/config.json", "text_encoder/model.safetensors",
                                     "tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/tokenizer_config.json",
                                     "tokenizer/special_tokens_map.json"};
  const char *out = tmpdir_at(state, "deep/er/model");
  char **names = NULL;
  size_t n = 0;

  check_ok(export_to(base_model, tmpdir_at(state, "deep/er/model/"))); /* a slash at the end is no name */
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    check_same_file(tmpdir_at(state, "deep/er/model/%s", same[i]), data_at("tiny-marigold/", same[i]));
  check_unet(out);
  check_text(tmpdir_at(state, "deep/er/model/unet/config.json"),
             "{\n  \"_class_name\": \"UNet2DConditionModel\",\n  \"act\": null,\n  \"block_out_channels\": [\n    8,\n"
             "    16\n  ],\n  \"flag\": true,\n  \"in_channels\": 8,\n  \"norm_eps\": 1e-05\n}\n");
  check_ok(io_list_dir(out, &names, &n));
  assert_int_equal(n, 6); /* index, scheduler, text_encoder, tokenizer, unet, vae */
  io_free_names(&names, n);
  check_ok(io_list_dir(tmpdir_at(state, "deep/er"), &names, &n));
  assert_int_equal(n, 1); /* no .tmp */
  io_free_names(&names, n);
}

/* The two keys are set, all others stay as the base has them, byte for byte. */
static void scheduler(void **state) {
  char *text = NULL, *want = NULL;
  size_t n = 0;
  json_t *a, *b;

  check_ok(export_to(base_model, tmpdir_at(state, "m")));
  check_ok(io_read_file(TEST_DATA "/golden/models/tiny-marigold/scheduler/scheduler_config.json", 1 << 20, &want, &n));
  check_ok(io_read_file(tmpdir_at(state, "m/scheduler/scheduler_config.json"), 1 << 20, &text, &n));
  a = json_loads(want, 0, NULL);
  b = json_loads(text, 0, NULL);
  assert_string_equal(json_string_value(json_object_get(b, "timestep_spacing")), "trailing");
  assert_true(json_is_true(json_object_get(b, "set_alpha_to_one")));
  json_object_set_new(a, "timestep_spacing", json_string("trailing"));
  json_object_set_new(a, "set_alpha_to_one", json_true());
  assert_true(json_equal(a, b));
  json_decref(a);
  json_decref(b);
  free(text);
  free(want);
}

/* Config files that Python wrote come out with the same bytes. */
static void json_as_python(void **state) {
  static const char *const configs[] = {"tiny-marigold/unet/config.json", "tiny-marigold/vae/config.json",
                                        "tiny-sd2/scheduler/scheduler_config.json",
                                        "tiny-marigold/scheduler/scheduler_config.json"};
  static const char odd[] = "{\n  \"\": {},\n  \"a\": [],\n  \"b\": [\n    {\n      \"c\": -0.0\n    },\n    []\n  ],\n"
                            "  \"q\": \"\\\"\\\\\\n/\xc3\xa9\",\n  \"r\": [\n    1e-05,\n    0.0001,\n    0.00085,\n"
                            "    100000.0,\n    1e+16,\n    1234567890123456.0,\n    0.1,\n    1.5e+300,\n    5e-324,\n"
                            "    -2.5,\n    9007199254740993,\n    0.30000000000000004\n  ]\n}\n";

  for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
    const char *path = data_at("", configs[i]);
    json_t *o = json_load_file(path, 0, NULL);
    assert_non_null(o);
    check_ok(ck_pyjson_write(tmpdir_at(state, "out.json"), o));
    check_same_file(path, tmpdir_at(state, "out.json"));
    json_decref(o);
  }
  json_t *o = json_loads(odd, 0, NULL);
  assert_non_null(o);
  check_ok(ck_pyjson_write(tmpdir_at(state, "odd.json"), o));
  check_text(tmpdir_at(state, "odd.json"), odd);
  json_decref(o);
}

/* A base with what repositories hold besides: other weights, variants, hidden folders, folders of no component. */
static void base_with_more(void **state) {
  static const char *const files[] = {"vae/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.fp16.safetensors",
                                      "unet/diffusion_pytorch_model-00001-of-00002.safetensors", "README.md",
                                      "feature_extractor/preprocessor_config.json", "safety_checker/config.json",
                                      "named/vocab.txt", "v2-1_768-ema-pruned.safetensors", "model.ckpt",
                                      "assets/teaser.png", ".git/config.json"};
  static const char index[] = "{\"named\": [\"a\", \"B\"], \"assets\": null}";
  enum { KEPT = 7 }; /* of these; the third is of the U-Net */
  const char *base = tmpdir_at(state, "base");

  check_ok(io_copy_tree(base_model, base));
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    const char *path = tmpdir_at(state, "base/%s", files[i]);
    char dir[IO_PATH_MAX];
    check_ok(io_path_beside(dir, path, "."));
    check_ok(io_make_dirs(dir));
    tmpdir_put(path, files[i], strlen(files[i]));
  }
  tmpdir_put(tmpdir_at(state, "base/model_index.json"), index, strlen(index));
  assert_int_equal(chmod(base, 0555), 0); /* a base may be read-only */
  check_ok(export_to(base, tmpdir_at(state, "m")));
  assert_int_equal(chmod(base, 0755), 0);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    const bool there = io_exists(tmpdir_at(state, "m/%s", files[i]));
    if (there != (i < KEPT && i != 2)) fail_msg("%s is %s", files[i], there ? "there" : "missing");
  }
}

static void replaces_a_model(void **state) {
  const char *out = tmpdir_at(state, "m");

  check_ok(io_make_dirs(tmpdir_at(state, "m.tmp/torn")));
  check_ok(io_make_dirs(tmpdir_at(state, "m.old/torn")));
  check_ok(io_make_dirs(out)); /* empty */
  check_ok(export_to(base_model, out));
  assert_false(io_exists(tmpdir_at(state, "m/torn")));
  tmpdir_put(tmpdir_at(state, "m/stale"), "", 0);
  faults_begin(0, 0, FAULTS_COUNT);
  check_ok(export_to(base_model, out));
  assert_non_null(strstr(faults.log, "fsync m.tmp\nrename m m.old\nrename m.tmp m\nfsync "));
  assert_false(io_exists(tmpdir_at(state, "m/stale")));
  assert_false(io_exists(tmpdir_at(state, "m.old")));
  assert_false(io_exists(tmpdir_at(state, "m.tmp")));
  check_unet(out);
}

static void refuses(void **state) {
  const char *base = tmpdir_at(state, "base");

  check_ok(io_copy_tree(base_model, base));
  check_ok(io_make_dirs(tmpdir_at(state, "home/photos")));
  check_fails(E_CKPT, "home: is there and holds no model: not replaced", export_to(base, tmpdir_at(state, "home")));
  assert_true(io_exists(tmpdir_at(state, "home/photos")));
  tmpdir_put(tmpdir_at(state, "file"), "", 0);
  check_fails(E_CKPT, "file: is a file, a folder wanted", export_to(base, tmpdir_at(state, "file")));
  check_fails(E_CKPT, "lies in the base model", export_to(base, base));
  check_fails(E_CKPT, "lies in the base model", export_to(base, tmpdir_at(state, "base/out")));
  check_fails(E_CKPT, "lies in the base model", export_to(base, tmpdir_at(state, "home/../base")));
  check_fails(E_CKPT, "lies in the base model", export_to(base, tmpdir_at(state, "base/vae/out")));
  check_ok(export_to(base, tmpdir_at(state, "base-2"))); /* only its name begins as the base's */
  check_fails(E_CKPT, "none: cannot open", export_to(tmpdir_at(state, "none"), tmpdir_at(state, "m")));
  check_fails(E_CKPT, "file: not a folder", export_to(tmpdir_at(state, "file"), tmpdir_at(state, "m")));
  tmpdir_put(tmpdir_at(state, "base/scheduler/scheduler_config.json"), "{\"a\": 1", 7);
  check_fails(E_CKPT, "scheduler/scheduler_config.json:1:", export_to(base, tmpdir_at(state, "m")));
  tmpdir_put(tmpdir_at(state, "base/scheduler/scheduler_config.json"), "[]", 2);
  check_fails(E_CKPT, "scheduler_config.json", export_to(base, tmpdir_at(state, "m")));
  check_ok(io_remove_tree(tmpdir_at(state, "base/scheduler/scheduler_config.json")));
  check_fails(E_CKPT, "scheduler_config.json: cannot open", export_to(base, tmpdir_at(state, "m")));
  tmpdir_put(tmpdir_at(state, "base/model_index.json"), "{", 1);
  check_fails(E_CKPT, "base/model_index.json:1:", export_to(base, tmpdir_at(state, "m")));
  assert_false(io_exists(tmpdir_at(state, "m")));
  assert_false(io_exists(tmpdir_at(state, "m.tmp")));
}

/* Whichever call fails, `out` is the old model or the new one, and a second try succeeds. */
static void failing_calls(void **state) {
  const char *out = tmpdir_at(state, "m"), *base = tmpdir_at(state, "base");

  check_ok(io_make_dirs(tmpdir_at(state, "base/scheduler")));
  tmpdir_put(tmpdir_at(state, "base/scheduler/scheduler_config.json"), "{}", 2);
  check_ok(io_make_dirs(tmpdir_at(state, "base/vae")));
  tmpdir_put(tmpdir_at(state, "base/vae/config.json"), "{}", 2);
  for (int i = 1, failed = 1; failed; i++) {
    check_ok(io_remove_tree(out));
    check_ok(io_make_dirs(tmpdir_at(state, "m/unet")));
    faults_begin(i, i % 2 ? ENOSPC : EACCES, FAULTS_ONCE);
    const int st = export_to(base, out);
    failed = faults_end();
    if (st != OK) check_fails(i % 2 ? E_DISK : E_CKPT, strerror(i % 2 ? ENOSPC : EACCES), st);
    assert_true(io_is_dir(tmpdir_at(state, "m/unet")));
    if (st == OK || io_exists(tmpdir_at(state, "m/vae"))) check_unet(out);
    check_ok(export_to(base, out));
    check_unet(out);
    assert_true(failed || i > 30);
  }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(whole_tree),     TEST(scheduler),        TEST(json_as_python),
                                     TEST(base_with_more), TEST(replaces_a_model), TEST(refuses), TEST(failing_calls)};
  return cmocka_run_group_tests(tests, faults_no_sync, NULL);
}
