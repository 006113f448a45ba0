/* checkpoints/export and part: a diffusers folder made from a base and a U-Net, file by file. That diffusers loads it is
 * tr_export_peer's to show. */
#include "checkpoints/export.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/half.h"
#include "base/io.h"
#include "base/sha256.h"
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

static int export_with(const char *base, const char *out, ck_precisions p, bool flip_x, bool unet_only) {
  static const char *const stamp[] = {"e2eft", "0.1.0", "step", "7"};
  char tmp[IO_PATH_MAX];
  json_t *config = json_pack("{s:i, s:[i,i], s:f, s:n, s:b, s:s}", "in_channels", 8, "block_out_channels", 8, 16,
                             "norm_eps", 1e-05, "act", "flag", 1, "_class_name", "UNet2DConditionModel");
  json_t *pipeline = json_pack("{s:s, s:i}", "_class_name", "MarigoldDepthPipeline", "default_processing_resolution", 640);
  const ck_export e = {.base = base, .out = out, .unet_config = config, .unet = unet, .n_unet = 2, .stamp = stamp,
                       .n_stamp = 2, .precisions = p, .pipeline = pipeline, .flip_x = flip_x, .unet_only = unet_only};
  int st = ck_export_begin(&e, tmp);

  if (st == OK && (st = ck_export_finish(out, tmp)) != OK) ck_export_abandon(tmp);
  json_decref(config);
  json_decref(pipeline);
  return st;
}

static int export_to(const char *base, const char *out) {
  return export_with(base, out, (ck_precisions){true, false}, false, false);
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
  static const char *const same[] = {"vae/config.json", "vae/diffusion_pytorch_model.safetensors",
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
  assert_int_equal(n, 7); /* sums, index, scheduler, text_encoder, tokenizer, unet, vae */
  io_free_names(&names, n);
  check_ok(io_list_dir(tmpdir_at(state, "deep/er"), &names, &n));
  assert_int_equal(n, 1); /* no .tmp */
  io_free_names(&names, n);
}

static json_t *read_json(const char *path) {
  json_t *o = json_load_file(path, 0, NULL);
  assert_non_null(o);
  return o;
}

/* The base's schedule, in DDIM's words; keys of other schedulers go, what DDIM would do by default is said. */
static void scheduler(void **state) {
  static const char pndm[] = "{\"_class_name\": \"PNDMScheduler\", \"beta_start\": 0.00085, \"beta_end\": 0.012, \"skip_prk_steps\": true, "
                             "\"beta_schedule\": \"scaled_linear\", \"num_train_timesteps\": 1000, \"set_alpha_to_one\": false}";
  const char *base = tmpdir_at(state, "base");

  check_ok(io_copy_tree(base_model, base));
  tmpdir_put(tmpdir_at(state, "base/scheduler/scheduler_config.json"), pndm, strlen(pndm));
  check_ok(export_to(base, tmpdir_at(state, "m")));
  json_t *want = json_pack("{s:s, s:f, s:f, s:s, s:i, s:s, s:b, s:b, s:b}", "_class_name", "DDIMScheduler", "beta_start", 0.00085,
                           "beta_end", 0.012, "beta_schedule", "scaled_linear", "num_train_timesteps", 1000,
                           "timestep_spacing", "trailing", "set_alpha_to_one", 1, "clip_sample", 0, "thresholding", 0);
  json_t *got = read_json(tmpdir_at(state, "m/scheduler/scheduler_config.json"));
  assert_true(json_equal(want, got));
  json_decref(want);
  json_decref(got);
}

/* Parts and settings; the resolution is the base's where it has one. */
static void index_of_the_pipeline(void **state) {
  const char *base = tmpdir_at(state, "base");

  check_ok(export_to(base_model, tmpdir_at(state, "m")));
  json_t *o = read_json(tmpdir_at(state, "m/model_index.json"));
  assert_int_equal(json_object_size(o), 8);
  assert_int_equal(json_integer_value(json_object_get(o, "default_processing_resolution")), 64);
  assert_string_equal(json_string_value(json_object_get(o, "_class_name")), "MarigoldDepthPipeline");
  assert_string_equal(json_string_value(json_array_get(json_object_get(o, "text_encoder"), 1)), "CLIPTextModel");
  json_decref(o);
  check_ok(io_copy_tree(base_model, base));
  check_ok(io_remove_tree(tmpdir_at(state, "base/model_index.json")));
  check_ok(io_remove_tree(tmpdir_at(state, "base/text_encoder")));
  check_ok(export_to(base, tmpdir_at(state, "n")));
  o = read_json(tmpdir_at(state, "n/model_index.json"));
  assert_int_equal(json_integer_value(json_object_get(o, "default_processing_resolution")), 640);
  assert_null(json_object_get(o, "text_encoder"));
  assert_non_null(json_object_get(o, "vae"));
  json_decref(o);
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

/* A base with what repositories hold besides: other weights, variants, hidden folders, folders of no part. */
static void base_with_more(void **state) {
  static const char *const files[] = {"LICENSE.md", "NOTICE", "tokenizer/extra.txt", "vae/diffusion_pytorch_model.bin",
                                      "unet/diffusion_pytorch_model-00001-of-00002.safetensors", "README.md",
                                      "feature_extractor/preprocessor_config.json", "safety_checker/config.json",
                                      "vae/diffusion_pytorch_model.non_ema.safetensors", "v2-1_768-ema-pruned.safetensors",
                                      "model.ckpt", "assets/teaser.png", ".git/config.json", "tokenizer/.cache/x"};
  enum { KEPT = 3 }; /* of these, the first ones */
  const char *base = tmpdir_at(state, "base");

  check_ok(io_copy_tree(base_model, base));
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    const char *path = tmpdir_at(state, "base/%s", files[i]);
    char dir[IO_PATH_MAX];
    check_ok(io_path_beside(dir, path, "."));
    check_ok(io_make_dirs(dir));
    tmpdir_put(path, files[i], strlen(files[i]));
  }
  assert_int_equal(chmod(base, 0555), 0); /* a base may be read-only */
  check_ok(export_to(base, tmpdir_at(state, "m")));
  assert_int_equal(chmod(base, 0755), 0);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    const bool there = io_exists(tmpdir_at(state, "m/%s", files[i]));
    if (there != (i < KEPT)) fail_msg("%s is %s", files[i], there ? "there" : "missing");
  }
}

/* ---- weights of the base in other forms ---- */

enum { VAE_TENSORS = 1 << 10 };

/* Every tensor of a, as f32, against b's: times the factor that `factor` gives (NULL: 1). */
static void check_values(const char *a, const char *b, st_dtype dtype, float (*factor)(const char *name, size_t row)) {
  st_file *x = NULL, *y = NULL;

  check_ok(st_open(a, &x));
  check_ok(st_open(b, &y));
  assert_int_equal(st_count(x), st_count(y));
  for (size_t i = 0; i < st_count(x); i++) {
    const st_tensor *t = st_at(x, i), *u = st_find(y, t->name);
    const size_t n = (size_t)st_numel(t), row = t->ndim ? n / (size_t)t->shape[0] : 1;
    float *v = malloc(n * sizeof *v + 1), *w = malloc(n * sizeof *w + 1);
    assert_true(v && w && u);
    assert_int_equal(u->dtype, dtype);
    check_ok(st_to_f32(t, v));
    check_ok(st_to_f32(u, w));
    for (size_t k = 0; k < n; k++) {
      const float want = v[k] * (factor ? factor(t->name, k / row) : 1);
      if (dtype == ST_F16 ? half_to_f32(half_from_f32(want)) != w[k] : want != w[k])
        fail_msg("%s: %s[%zu] is %g, %g wanted", b, t->name, k, (double)w[k], (double)want);
    }
    free(v);
    free(w);
  }
  st_close(&x);
  st_close(&y);
}

#define WEIGHTS "diffusion_pytorch_model"

static void both_precisions(void **state) {
  check_ok(export_with(base_model, tmpdir_at(state, "m"), (ck_precisions){true, true}, false, false));
  check_values(data_at("tiny-marigold/", "vae/" WEIGHTS ".safetensors"), tmpdir_at(state, "m/vae/" WEIGHTS ".fp16.safetensors"), ST_F16, NULL);
  check_values(data_at("tiny-marigold/", "text_encoder/model.safetensors"), tmpdir_at(state, "m/text_encoder/model.fp16.safetensors"), ST_F16, NULL);
  check_ok(export_with(base_model, tmpdir_at(state, "h"), (ck_precisions){false, true}, false, false));
  assert_false(io_exists(tmpdir_at(state, "h/vae/" WEIGHTS ".safetensors")));
  assert_false(io_exists(tmpdir_at(state, "h/unet/" WEIGHTS ".safetensors")));
  assert_true(io_exists(tmpdir_at(state, "h/unet/" WEIGHTS ".fp16.safetensors")));
}

/* A base that has half-precision files alone gives both; one in shards gives whole files. */
static void other_bases(void **state) {
  st_file *f = NULL;
  st_tensor part[2][VAE_TENSORS];
  size_t n[2] = {0, 0};

  check_ok(export_with(base_model, tmpdir_at(state, "half"), (ck_precisions){false, true}, false, false));
  check_ok(export_with(tmpdir_at(state, "half"), tmpdir_at(state, "m"), (ck_precisions){true, true}, false, false));
  check_values(tmpdir_at(state, "half/vae/" WEIGHTS ".fp16.safetensors"), tmpdir_at(state, "m/vae/" WEIGHTS ".safetensors"), ST_F32, NULL);
  check_same_file(tmpdir_at(state, "half/vae/" WEIGHTS ".fp16.safetensors"), tmpdir_at(state, "m/vae/" WEIGHTS ".fp16.safetensors"));

  check_ok(io_copy_tree(base_model, tmpdir_at(state, "base")));
  check_ok(st_open(data_at("tiny-marigold/", "vae/" WEIGHTS ".safetensors"), &f));
  for (size_t i = 0; i < st_count(f); i++) part[i % 2][n[i % 2]++] = *st_at(f, i);
  check_ok(st_write(tmpdir_at(state, "base/vae/" WEIGHTS "-00001-of-00002.safetensors"), part[0], n[0], NULL, 0));
  check_ok(st_write(tmpdir_at(state, "base/vae/" WEIGHTS "-00002-of-00002.safetensors"), part[1], n[1], NULL, 0));
  st_close(&f);
  check_ok(io_remove_tree(tmpdir_at(state, "base/vae/" WEIGHTS ".safetensors")));
  check_ok(export_to(tmpdir_at(state, "base"), tmpdir_at(state, "s")));
  check_same_file(data_at("tiny-marigold/", "vae/" WEIGHTS ".safetensors"), tmpdir_at(state, "s/vae/" WEIGHTS ".safetensors"));
}

static float flipped(const char *name, size_t row) { return strncmp(name, "decoder.conv_out.", 17) || row ? 1.0f : -1.0f; }

static void x_to_the_right(void **state) {
  check_ok(export_with(base_model, tmpdir_at(state, "m"), (ck_precisions){true, true}, true, false));
  check_values(data_at("tiny-marigold/", "vae/" WEIGHTS ".safetensors"), tmpdir_at(state, "m/vae/" WEIGHTS ".safetensors"), ST_F32, flipped);
  check_values(data_at("tiny-marigold/", "vae/" WEIGHTS ".safetensors"), tmpdir_at(state, "m/vae/" WEIGHTS ".fp16.safetensors"), ST_F16, flipped);
}

static void unet_alone(void **state) {
  char **names = NULL;
  size_t n = 0;

  check_ok(export_with(base_model, tmpdir_at(state, "m"), (ck_precisions){true, true}, false, true));
  check_ok(io_list_dir(tmpdir_at(state, "m"), &names, &n));
  assert_int_equal(n, 2);
  assert_string_equal(names[0], "SHA256SUMS");
  assert_string_equal(names[1], "unet");
  io_free_names(&names, n);
  check_unet(tmpdir_at(state, "m"));
}

static void beyond_half(void **state) {
  static const float large[6] = {1, 2, -65520, 4, 5, 6}; /* rounds to infinity; 65519 would be the largest */
  const st_tensor t = {"conv.weight", ST_F32, 1, {6}, large, 24};

  check_ok(io_make_dirs(tmpdir_at(state, "d")));
  check_ok(ck_weights_write(tmpdir_at(state, "d"), "w", (ck_precisions){true, false}, &t, 1, NULL, 0));
  check_fails(E_NUMERIC, "conv.weight has -65520, which half precision cannot hold",
              ck_weights_write(tmpdir_at(state, "d"), "w", (ck_precisions){false, true}, &t, 1, NULL, 0));
  assert_false(io_exists(tmpdir_at(state, "d/w.fp16.safetensors")));
}

/* As `sha256sum -c` reads them. */
static void checksums(void **state) {
  char *text = NULL, *line, *rest, hex[65];
  size_t n = 0;
  int count = 0;

  check_ok(export_to(base_model, tmpdir_at(state, "m")));
  check_ok(io_read_file(tmpdir_at(state, "m/SHA256SUMS"), 1 << 20, &text, &n));
  for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), count++) {
    check_ok(sha256_file(tmpdir_at(state, "m/%s", line + 66), hex));
    assert_memory_equal(hex, line, 64);
    assert_memory_equal(line + 64, "  ", 2);
  }
  assert_int_equal(count, 12); /* index, scheduler, 2 files of three parts, 4 of the tokenizer */
  free(text);
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
  assert_non_null(strstr(faults.log, "rename m m.old\nrename m.tmp m\nfsync "));
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
  check_ok(io_remove_tree(tmpdir_at(state, "base/scheduler")));
  check_ok(io_copy_tree(data_at("tiny-marigold/", "scheduler"), tmpdir_at(state, "base/scheduler")));
  check_ok(io_remove_tree(tmpdir_at(state, "base/text_encoder/model.safetensors")));
  check_fails(E_CKPT, "base/text_encoder: no model.safetensors", export_to(base, tmpdir_at(state, "m")));
  tmpdir_put(tmpdir_at(state, "base/text_encoder/model.safetensors"), "cut", 3);
  check_fails(E_CKPT, "text_encoder/model.safetensors: 3 bytes", export_to(base, tmpdir_at(state, "m")));
  check_ok(io_remove_tree(tmpdir_at(state, "base/text_encoder")));
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
  check_ok(st_write(tmpdir_at(state, "base/vae/" WEIGHTS ".safetensors"), unet, 2, NULL, 0));
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
  const struct CMUnitTest tests[] = {TEST(whole_tree), TEST(scheduler), TEST(index_of_the_pipeline), TEST(json_as_python),
                                     TEST(base_with_more), TEST(both_precisions), TEST(other_bases), TEST(x_to_the_right),
                                     TEST(unet_alone), TEST(beyond_half), TEST(checksums), TEST(replaces_a_model),
                                     TEST(refuses), TEST(failing_calls)};
  return cmocka_run_group_tests(tests, faults_no_sync, NULL);
}
