/* Reading weights: one file, shards, half precision, older spellings, widening of conv_in; and every way a file can be
 * wrong, named by file and tensor. */
#include <jansson.h>
#include <stdio.h>

#include "base/half.h"
#include "models/clip.h"
#include "tests/support/model_check.h"
#include "tests/support/tmpdir.h"

#define TINY TEST_DATA "/golden/models/tiny-sd2/"
#define STEM "diffusion_pytorch_model"

/* Live handles and a folder for each test. */
static int setup(void **state) { return tmpdir_setup(state); }
static int64_t live;
static int before(void **state) {
  live = tchc_live();
  return setup(state);
}
static int after(void **state) {
  if (tchc_live() != live) print_error("%lld handles left\n", (long long)(tchc_live() - live));
  return tmpdir_teardown(state) || tchc_live() != live;
}
#define WEIGHTS_TEST(f) cmocka_unit_test_setup_teardown(f, before, after)

/* Parameters of the VAE in tiny-sd2, a small file with every kind of tensor. */
static md_params *vae_params(md_vae_config *c) {
  md_params *p = NULL;
  check_ok(md_vae_config_read(TINY "vae", c));
  check_ok(md_params_create("vae", &p));
  check_ok(md_vae_declare(c, p));
  check_ok(md_params_allocate(p, TCHC_F32, TCHC_CPU_DEVICE));
  return p;
}

static int load_vae(const char *dir) {
  md_vae_config c;
  md_params *p = vae_params(&c);
  const int st = md_vae_load(&c, dir, p);
  md_params_destroy(&p);
  return st;
}

/* All tensors of a file, to be changed and written again. */
typedef struct tensors {
  st_file *file;
  st_tensor t[700];
  size_t n;
} tensors;

static tensors *tensors_of(const char *path) {
  tensors *a = calloc(1, sizeof *a);
  check_ok(st_open(path, &a->file));
  a->n = st_count(a->file);
  assert_true(a->n < 700);
  for (size_t i = 0; i < a->n; i++) a->t[i] = *st_at(a->file, i);
  return a;
}

static st_tensor *tensor_in(tensors *a, const char *name) {
  for (size_t i = 0; i < a->n; i++)
    if (strcmp(a->t[i].name, name) == 0) return &a->t[i];
  fail_msg("no tensor %s", name);
  return NULL;
}

static void tensors_remove(tensors *a, const char *name) {
  st_tensor *t = tensor_in(a, name);
  *t = a->t[--a->n];
}

static void tensors_write(tensors *a, const char *path) { check_ok(st_write(path, a->t, a->n, NULL, 0)); }

static void tensors_free(tensors *a) {
  st_close(&a->file);
  free(a);
}

#define VAE_FILE TINY "vae/" STEM ".safetensors"

/* ---- one file ---- */

static void test_values_are_those_of_the_file(void **state) {
  md_vae_config c;
  md_params *p = vae_params(&c);
  st_file *f = NULL;
  (void)state;
  check_ok(st_open(VAE_FILE, &f));
  check_ok(md_vae_load(&c, TINY "vae", p));
  for (int i = 0; i < md_params_count(p); i++)
    golden_expect(md_params_at(p, i)->name, golden_tensor_diff(md_params_tensor(p, i), f, md_params_at(p, i)->name), 0, 0);
  st_close(&f);
  md_params_destroy(&p);
}

/* F16 and BF16 files give the rounded values; the variant's name is found when the plain one is not there. */
static void check_half(void **state, st_dtype dt, const char *file) {
  md_vae_config c;
  md_params *p = vae_params(&c);
  tensors *a = tensors_of(VAE_FILE);
  tchc_tensor *got = NULL;
  const st_tensor *one = tensor_in(a, "decoder.conv_in.weight");
  const size_t n = (size_t)st_numel(one);
  float *want = malloc(n * sizeof *want);
  uint16_t *bits = malloc((size_t)md_params_numel(p) * sizeof *bits), *at = bits;

  for (size_t i = 0; i < a->n; i++) {
    st_tensor *t = &a->t[i];
    const size_t m = (size_t)st_numel(t);
    float *v = malloc(m * sizeof *v);
    check_ok(st_to_f32(t, v));
    if (dt == ST_F16) half_from_f32_n(v, at, m);
    else bf16_from_f32_n(v, at, m);
    if (t == one && dt == ST_F16) half_to_f32_n(at, want, m);
    if (t == one && dt == ST_BF16) bf16_to_f32_n(at, want, m);
    free(v);
    *t = (st_tensor){t->name, dt, t->ndim, {0}, at, 2 * m};
    memcpy(t->shape, st_at(a->file, i)->shape, sizeof t->shape);
    at += m;
  }
  tensors_write(a, tmpdir_at(state, "%s", file));
  check_ok(md_vae_load(&c, *state, p));
  got = md_params_get(p, "decoder.conv_in.weight");
  assert_floats(got, want, (int64_t)n, 0);
  tensors_free(a);
  free(want);
  free(bits);
  md_params_destroy(&p);
}

static void test_half_precision(void **state) {
  check_half(state, ST_BF16, STEM ".fp16.safetensors");
  check_half(state, ST_F16, STEM ".fp16.safetensors");
  check_half(state, ST_F16, STEM ".safetensors");
}

static void test_no_file(void **state) {
  check_fails(E_CKPT, "no " STEM ".safetensors and no " STEM ".safetensors.index.json", load_vae(*state));
  FILE *f = fopen(tmpdir_at(state, STEM ".bin"), "w");
  fclose(f);
  check_fails(E_CKPT, "save them as safetensors", load_vae(*state));
}

/* A change to the VAE's file, and what the message has to say. */
static void check_changed(void **state, tensors *a, const char *part) {
  tensors_write(a, tmpdir_at(state, STEM ".safetensors"));
  check_fails(E_CKPT, part, load_vae(*state));
  check_fails(E_CKPT, "/" STEM ".safetensors: ", load_vae(*state));
  tensors_free(a);
}

static void test_wrong_tensors(void **state) {
  tensors *a = tensors_of(VAE_FILE);
  tensors_remove(a, "quant_conv.bias");
  check_changed(state, a, "missing tensor: quant_conv.bias");

  a = tensors_of(VAE_FILE);
  for (size_t i = a->n; i-- > 0;)
    if (strstr(a->t[i].name, "mid_block.resnets")) a->t[i] = a->t[--a->n];
  check_changed(state, a, "and 24 more");

  a = tensors_of(VAE_FILE);
  a->t[a->n] = *tensor_in(a, "quant_conv.bias");
  a->t[a->n++].name = "quant_conv.bias2";
  check_changed(state, a, "unexpected tensor, which config.json gives no place: quant_conv.bias2");

  a = tensors_of(VAE_FILE);
  st_tensor *t = tensor_in(a, "decoder.conv_out.weight"); /* [3,8,3,3] */
  t->shape[0] = 8, t->shape[1] = 3;
  check_changed(state, a, "decoder.conv_out.weight: wanted [3,8,3,3], found [8,3,3,3]");

  a = tensors_of(VAE_FILE);
  t = tensor_in(a, "decoder.conv_out.weight");
  t->ndim = 3, t->shape[2] = 9;
  check_changed(state, a, "decoder.conv_out.weight: wanted [3,8,3,3], found [3,8,9]");

  a = tensors_of(VAE_FILE);
  t = tensor_in(a, "decoder.conv_out.weight");
  t->dtype = ST_I32;
  check_changed(state, a, "decoder.conv_out.weight: wanted F32, F16 or BF16, found I32");
}

static void test_cut_files(void **state) {
  char *data;
  size_t n;
  check_ok(io_read_file(VAE_FILE, 1 << 24, &data, &n));
  for (size_t i = 0; i < 20; i++) {
    const size_t cut = i < 10 ? i * i : n * i / 20 - 1; /* in the length, in the header, in the data */
    check_ok(io_write_file(tmpdir_at(state, STEM ".safetensors"), data, cut));
    check_fails(E_CKPT, STEM ".safetensors", load_vae(*state));
  }
  free(data);
}

/* ---- shards ---- */

/* The VAE in two files and an index; `edit_map` is merged into weight_map. */
static void write_shards(void **state, const char *edit_map) {
  static const char *const names[] = {STEM "-00001-of-00002.safetensors", STEM "-00002-of-00002.safetensors"};
  tensors *a = tensors_of(VAE_FILE);
  const size_t half = a->n / 2, n[2] = {half, a->n - half};
  json_t *map = json_object(), *edit = json_loads(edit_map, 0, NULL), *index;

  for (int k = 0; k < 2; k++) {
    check_ok(st_write(tmpdir_at(state, "%s", names[k]), a->t + (k ? half : 0), n[k], NULL, 0));
    for (size_t i = 0; i < n[k]; i++) json_object_set_new(map, a->t[(k ? half : 0) + i].name, json_string(names[k]));
  }
  json_object_update(map, edit);
  index = json_pack("{s:{s:i},s:o}", "metadata", "total_size", 1, "weight_map", map);
  assert_int_equal(json_dump_file(index, tmpdir_at(state, STEM ".safetensors.index.json"), 0), 0);
  json_decref(index);
  json_decref(edit);
  tensors_free(a);
}

static void test_shards(void **state) {
  write_shards(state, "{}");
  check_ok(load_vae(*state));
  write_shards(state, "{\"decoder.conv_in.weight\": \"" STEM "-00002-of-00002.safetensors\"}");
  check_fails(E_CKPT, "decoder.conv_in.weight is not in shard " STEM "-00002-of-00002.safetensors", load_vae(*state));
  write_shards(state, "{\"nothing.weight\": \"" STEM "-00001-of-00002.safetensors\"}");
  check_fails(E_CKPT, "index.json: nothing.weight is not in shard", load_vae(*state));
  write_shards(state, "{\"decoder.conv_in.weight\": \"../x.safetensors\"}");
  check_fails(E_CKPT, "decoder.conv_in.weight: wanted a file's name", load_vae(*state));
  write_shards(state, "{\"decoder.conv_in.weight\": 1}");
  check_fails(E_CKPT, "decoder.conv_in.weight: wanted a file's name", load_vae(*state));
  write_shards(state, "{}");
  assert_int_equal(remove(tmpdir_at(state, STEM "-00002-of-00002.safetensors")), 0);
  check_fails(E_CKPT, "is in shard " STEM "-00002-of-00002.safetensors, which is missing", load_vae(*state));
  check_ok(io_write_file(tmpdir_at(state, STEM ".safetensors.index.json"), "{}", 2));
  check_fails(E_CKPT, "index.json: weight_map: wanted an object", load_vae(*state));
}

/* ---- older and other keys ---- */

static void test_older_spelling_of_the_vae(void **state) {
  static const char *const parts[][2] = {{"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}, {"to_out.0", "proj_attn"}};
  tensors *a = tensors_of(VAE_FILE);
  char (*names)[128] = calloc(a->n, sizeof *names);
  int renamed = 0;
  for (size_t i = 0; i < a->n; i++)
    for (int k = 0; k < 4; k++) {
      const char *at = strstr(a->t[i].name, parts[k][0]);
      if (!at) continue;
      snprintf(names[i], sizeof names[i], "%.*s%s%s", (int)(at - a->t[i].name), a->t[i].name, parts[k][1], at + strlen(parts[k][0]));
      a->t[i].name = names[i];
      renamed++;
      break;
    }
  assert_int_equal(renamed, 16);
  tensors_write(a, tmpdir_at(state, STEM ".safetensors"));
  check_ok(load_vae(*state));
  tensors_free(a);
  free(names);
}

static int load_clip(const char *dir) {
  md_clip_config c;
  md_params *p = NULL;
  check_ok(md_clip_config_read(TINY "text_encoder", &c));
  check_ok(md_params_create("text encoder", &p));
  check_ok(md_clip_declare(&c, p));
  check_ok(md_params_allocate(p, TCHC_F32, TCHC_CPU_DEVICE));
  const int st = md_clip_load(&c, dir, p);
  md_params_destroy(&p);
  return st;
}

static void test_prefix_and_buffers_of_clip(void **state) {
  const int64_t ids[77] = {0};
  tensors *a = tensors_of(TINY "text_encoder/model.safetensors");
  check_ok(load_clip(TINY "text_encoder"));
  assert_int_equal(strncmp(a->t[0].name, "text_model.", 11), 0);
  a->t[a->n++] = (st_tensor){"text_model.embeddings.position_ids", ST_I64, 2, {1, 77}, ids, sizeof ids};
  tensors_write(a, tmpdir_at(state, "model.safetensors"));
  check_ok(load_clip(*state));
  for (size_t i = 0; i < a->n; i++) a->t[i].name += strlen("text_model.");
  tensors_write(a, tmpdir_at(state, "model.safetensors"));
  check_ok(load_clip(*state));
  tensors_remove(a, "final_layer_norm.bias");
  tensors_write(a, tmpdir_at(state, "model.safetensors"));
  check_fails(E_CKPT, "missing tensor: text_model.final_layer_norm.bias", load_clip(*state));
  tensors_free(a);
}

/* ---- conv_in from 4 to 8 channels ---- */

/* A U-Net file whose conv_in is the golden one, read into parameters for 8 channels. */
static void check_widening(void **state, bool keep_bias, const char *weight, const char *bias) {
  md_unet_config c;
  md_params *p = NULL;
  st_file *g = golden_open("nets/conv_in_expand.safetensors");
  tensors *a = tensors_of(TINY "unet/" STEM ".safetensors");

  *tensor_in(a, "conv_in.weight") = *golden_find(g, "weight");
  tensor_in(a, "weight")->name = "conv_in.weight";
  *tensor_in(a, "conv_in.bias") = *golden_find(g, "bias");
  tensor_in(a, "bias")->name = "conv_in.bias";
  tensors_write(a, tmpdir_at(state, STEM ".safetensors"));
  check_ok(md_unet_config_read(TINY "unet", &c, NULL));
  c.in_channels = 8;
  check_ok(md_params_create("unet", &p));
  check_ok(md_unet_declare(&c, p));
  check_ok(md_params_allocate(p, TCHC_F32, TCHC_CPU_DEVICE));
  check_ok(md_unet_load(&c, *state, keep_bias, p));
  golden_expect(weight, golden_tensor_diff(md_params_get(p, "conv_in.weight"), g, weight), 0, 0);
  golden_expect(bias, golden_tensor_diff(md_params_get(p, "conv_in.bias"), g, bias), 0, 0);
  md_params_destroy(&p);
  tensors_free(a);
  st_close(&g);
}

static void test_conv_in_is_widened(void **state) {
  check_widening(state, false, "e2e.weight", "e2e.bias");
  check_widening(state, true, "marigold.weight", "marigold.bias");
}

static void test_other_widths_are_refused(void **state) {
  md_unet_config c;
  md_params *p = NULL;
  (void)state;
  check_ok(md_unet_config_read(TINY "unet", &c, NULL));
  c.in_channels = 12;
  check_ok(md_params_create("unet", &p));
  check_ok(md_unet_declare(&c, p));
  check_ok(md_params_allocate(p, TCHC_F32, TCHC_CPU_DEVICE));
  check_fails(E_CKPT, "conv_in.weight: wanted [8,12,3,3], found [8,4,3,3]", md_unet_load(&c, TINY "unet", false, p));
  md_params_destroy(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      WEIGHTS_TEST(test_values_are_those_of_the_file), WEIGHTS_TEST(test_half_precision),
      WEIGHTS_TEST(test_no_file),                      WEIGHTS_TEST(test_wrong_tensors),
      WEIGHTS_TEST(test_cut_files),                    WEIGHTS_TEST(test_shards),
      WEIGHTS_TEST(test_older_spelling_of_the_vae),    WEIGHTS_TEST(test_prefix_and_buffers_of_clip),
      WEIGHTS_TEST(test_conv_in_is_widened),           WEIGHTS_TEST(test_other_widths_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
