/* checkpoints/ldm: a file with the keys and shapes of Stable Diffusion 2, whose bytes are a hole, read as the parts of a
 * diffusers folder and compared with the published folder's names, shapes and settings. That values are right too is
 * tr_import_peer's to show, with diffusers' own converter. */
#include "checkpoints/ldm.h"

#include <jansson.h>
#include <unistd.h>

#include "checkpoints/ldm_config.h"
#include "tests/support/tmpdir.h"

enum { ROWS = 1024, LAYERS = 2, LEVELS = 4 };
#define REAL TEST_DATA "/golden/real_configs/"

typedef struct row { char name[160]; int ndim; int64_t shape[4]; } row;
static row unet[ROWS], vae[ROWS], text[ROWS];

/* name <tab> 320x4x3x3 <tab> numel, behind a line of headings */
static int read_table(const char *path, row *rows) {
  char line[512], shape[64];
  int n = 0;
  FILE *f = fopen(path, "r");

  assert_non_null(f);
  assert_non_null(fgets(line, sizeof line, f));
  while (fgets(line, sizeof line, f)) {
    row *r = &rows[n++];
    assert_true(n < ROWS && sscanf(line, "%159s %63s", r->name, shape) == 2);
    r->ndim = 0;
    for (char *p = shape; *p; p += *p == 'x') r->shape[r->ndim++] = strtoll(p, &p, 10);
  }
  fclose(f);
  return n;
}

/* ---- diffusers' names as the original has them ---- */

typedef struct swap { const char *now, *was; } swap;

static const char *tail_of(const char *rest, const swap *table, char out[160]) {
  for (; table->now; table++)
    if (!strncmp(rest, table->now, strlen(table->now))) return snprintf(out, 160, "%.40s%.100s", table->was, rest + strlen(table->now)), out;
  return snprintf(out, 160, "%.159s", rest), out;
}

static void old_unet(const char *name, char out[256]) {
  static const swap top[] = {{"conv_in.", "input_blocks.0.0."}, {"time_embedding.linear_1.", "time_embed.0."},
                             {"time_embedding.linear_2.", "time_embed.2."}, {"conv_norm_out.", "out.0."}, {"conv_out.", "out.2."},
                             {NULL, NULL}};
  static const swap in[] = {{"norm1.", "in_layers.0."}, {"conv1.", "in_layers.2."}, {"norm2.", "out_layers.0."},
                            {"conv2.", "out_layers.3."}, {"time_emb_proj.", "emb_layers.1."}, {"conv_shortcut.", "skip_connection."},
                            {NULL, NULL}};
  char part[160], kind[32];
  int level, layer, at = 0;

  if (sscanf(name, "down_blocks.%d.%31[a-z].%d.%n", &level, kind, &layer, &at) == 3 && at) {
    const int block = 1 + level * (LAYERS + 1) + (strcmp(kind, "downsamplers") ? layer : LAYERS);
    if (!strcmp(kind, "downsamplers")) snprintf(out, 256, "input_blocks.%d.0.op.%s", block, name + at + strlen("conv."));
    else snprintf(out, 256, "input_blocks.%d.%d.%s", block, !strcmp(kind, "attentions"),
                  strcmp(kind, "resnets") ? name + at : tail_of(name + at, in, part));
  } else if (sscanf(name, "up_blocks.%d.%31[a-z].%d.%n", &level, kind, &layer, &at) == 3 && at) {
    const int block = level * (LAYERS + 1) + (strcmp(kind, "upsamplers") ? layer : LAYERS);
    if (!strcmp(kind, "upsamplers")) snprintf(out, 256, "output_blocks.%d.%d.%s", block, level ? 2 : 1, name + at);
    else snprintf(out, 256, "output_blocks.%d.%d.%s", block, !strcmp(kind, "attentions"),
                  strcmp(kind, "resnets") ? name + at : tail_of(name + at, in, part));
  } else if (sscanf(name, "mid_block.%31[a-z].%d.%n", kind, &layer, &at) == 2 && at) {
    if (!strcmp(kind, "attentions")) snprintf(out, 256, "middle_block.1.%s", name + at);
    else snprintf(out, 256, "middle_block.%d.%s", 2 * layer, tail_of(name + at, in, part));
  } else {
    snprintf(out, 256, "%s", tail_of(name, top, part));
  }
}

static void old_vae(const char *name, char out[256]) {
  static const swap top[] = {{"conv_norm_out.", "norm_out."}, {NULL, NULL}};
  static const swap in[] = {{"conv_shortcut.", "nin_shortcut."}, {NULL, NULL}};
  static const swap attention[] = {{"group_norm.", "norm."}, {"to_q.", "q."}, {"to_k.", "k."}, {"to_v.", "v."},
                                   {"to_out.0.", "proj_out."}, {NULL, NULL}};
  char half[16], part[160], way[8], kind[32];
  int level, layer, at = 0;

  if (sscanf(name, "%15[a-z].%n", half, &at) != 1 || !at || (strcmp(half, "encoder") && strcmp(half, "decoder"))) {
    snprintf(out, 256, "%.255s", name);
    return;
  }
  const char *rest = name + at;
  at = 0;
  if (sscanf(rest, "%7[a-z]_blocks.%d.%31[a-z].%d.%n", way, &level, kind, &layer, &at) == 4 && at) {
    if (!strcmp(way, "up")) level = LEVELS - 1 - level;
    if (strcmp(kind, "resnets")) snprintf(out, 256, "%s.%s.%d.%ssample.%s", half, way, level, way, rest + at);
    else snprintf(out, 256, "%s.%s.%d.block.%d.%s", half, way, level, layer, tail_of(rest + at, in, part));
  } else if (sscanf(rest, "mid_block.resnets.%d.%n", &layer, &at) == 1 && at) {
    snprintf(out, 256, "%s.mid.block_%d.%s", half, layer + 1, rest + at);
  } else if (!strncmp(rest, "mid_block.attentions.0.", 23)) {
    snprintf(out, 256, "%s.mid.attn_1.%s", half, tail_of(rest + 23, attention, part));
  } else {
    snprintf(out, 256, "%s.%s", half, tail_of(rest, top, part));
  }
}

/* "" for k and v, which come with q. */
static void old_text(const char *name, char out[256]) {
  static const swap top[] = {{"text_model.embeddings.position_embedding.weight", "positional_embedding"},
                             {"text_model.embeddings.token_embedding.", "token_embedding."},
                             {"text_model.final_layer_norm.", "ln_final."}, {NULL, NULL}};
  static const swap in[] = {{"layer_norm1.", "ln_1."}, {"layer_norm2.", "ln_2."}, {"mlp.fc1.", "mlp.c_fc."},
                            {"mlp.fc2.", "mlp.c_proj."}, {"self_attn.out_proj.", "attn.out_proj."},
                            {"self_attn.q_proj.", "attn.in_proj_"}, {NULL, NULL}};
  char part[160];
  int layer, at = 0;

  out[0] = 0;
  if (strstr(name, "k_proj") || strstr(name, "v_proj")) return;
  if (sscanf(name, "text_model.encoder.layers.%d.%n", &layer, &at) == 1 && at)
    snprintf(out, 256, "transformer.resblocks.%d.%s", layer, tail_of(name + at, in, part));
  else snprintf(out, 256, "%s", tail_of(name, top, part));
}

/* ---- the file ---- */

static void list_tensor(json_t *header, int64_t *at, const char *prefix, const char *name, const row *r, int times, bool conv) {
  int64_t shape[4], bytes = 4;
  int ndim = r->ndim;
  char key[512];
  json_t *list = json_array();

  memcpy(shape, r->shape, sizeof shape);
  shape[0] *= times;
  if (conv && ndim == 2) shape[ndim++] = 1, shape[ndim++] = 1;
  for (int i = 0; i < ndim; i++) {
    bytes *= shape[i];
    json_array_append_new(list, json_integer(shape[i]));
  }
  snprintf(key, sizeof key, "%s%s", prefix, name);
  json_object_set_new(header, key, json_pack("{s:s, s:o, s:[I,I]}", "dtype", "F32", "shape", list, "data_offsets", (json_int_t)*at,
                                             (json_int_t)(*at + bytes)));
  *at += bytes;
}

static void write_hole(const char *path, const json_t *header, int64_t bytes) {
  char *json = json_dumps(header, JSON_COMPACT);
  FILE *f = fopen(path, "wb");

  assert_true(json && f);
  const uint64_t n = strlen(json);
  assert_int_equal(fwrite(&n, 8, 1, f), 1);
  assert_int_equal(fwrite(json, 1, n, f), n);
  fflush(f);
  assert_int_equal(ftruncate(fileno(f), (off_t)(8 + n + (uint64_t)bytes)), 0);
  fclose(f);
  free(json);
}

/* SD-2's single file as published: with the unused last block, the projection and the schedule's buffers. */
static void write_sd2(const char *path, const char *extra) {
  static const row last = {"", 1, {1024}}, buffer = {"", 1, {1000}};
  json_t *header = json_object();
  int64_t at = 0;
  char old[256];
  int n = read_table(REAL "sd2.unet.tensors.tsv", unet);

  for (int i = 0; i < n; i++) {
    old_unet(unet[i].name, old);
    list_tensor(header, &at, "model.diffusion_model.", old, &unet[i], 1, false);
  }
  n = read_table(REAL "sd.vae.tensors.tsv", vae);
  for (int i = 0; i < n; i++) {
    old_vae(vae[i].name, old);
    list_tensor(header, &at, "first_stage_model.", old, &vae[i], 1, strstr(vae[i].name, "attentions.0.to_") != NULL);
  }
  n = read_table(REAL "sd2.text_encoder.tensors.tsv", text);
  for (int i = 0; i < n; i++) {
    old_text(text[i].name, old);
    if (old[0]) list_tensor(header, &at, "cond_stage_model.model.", old, &text[i], strstr(old, "in_proj") ? 3 : 1, false);
  }
  list_tensor(header, &at, "cond_stage_model.model.", "transformer.resblocks.23.ln_1.weight", &last, 1, false);
  list_tensor(header, &at, "cond_stage_model.model.", "text_projection", &last, 1, false);
  list_tensor(header, &at, "", "sqrt_alphas_cumprod", &buffer, 1, false);
  if (extra) list_tensor(header, &at, "", extra, &last, 1, false);
  write_hole(path, header, at);
  json_decref(header);
}

static void check_part(const ck_ldm *l, ck_ldm_part part, const row *rows, int n) {
  size_t count;
  const st_tensor *t = ck_ldm_tensors(l, part, &count);

  assert_int_equal(count, n);
  for (int i = 0; i < n; i++) {
    size_t k = 0;
    while (k < count && strcmp(t[k].name, rows[i].name)) k++;
    if (k == count) fail_msg("no %s", rows[i].name);
    if (strcmp(st_shape_text(t[k].ndim, t[k].shape), st_shape_text(rows[i].ndim, rows[i].shape)))
      fail_msg("%s: %s, %s wanted", rows[i].name, st_shape_text(t[k].ndim, t[k].shape), st_shape_text(rows[i].ndim, rows[i].shape));
    assert_int_equal(t[k].nbytes, 4 * (size_t)st_numel(&t[k]));
  }
}

static void names_and_shapes(void **state) {
  const char *path = tmpdir_at(state, "sd2.safetensors");
  ck_ldm *l = NULL;

  write_sd2(path, NULL);
  assert_true(ck_ldm_is(path));
  check_ok(ck_ldm_open(path, false, &l));
  check_part(l, CK_LDM_UNET, unet, read_table(REAL "sd2.unet.tensors.tsv", unet));
  check_part(l, CK_LDM_VAE, vae, read_table(REAL "sd.vae.tensors.tsv", vae));
  check_part(l, CK_LDM_TEXT, text, read_table(REAL "sd2.text_encoder.tensors.tsv", text));
  ck_ldm_close(&l);
}

/* All that the published config says must be said, but for its history. */
static void check_config(json_t *ours, const char *published, const char *const *skip) {
  const char *key;
  json_t *theirs = json_load_file(published, 0, NULL), *v;

  assert_true(ours && theirs);
  json_object_foreach(theirs, key, v) {
    bool skipped = key[0] == '_';
    for (const char *const *s = skip; *s; s++) skipped = skipped || !strcmp(key, *s);
    if (!skipped && !json_equal(json_object_get(ours, key), v)) fail_msg("%s: %s", published, key);
  }
  json_decref(ours);
  json_decref(theirs);
}

static void settings(void **state) {
  const char *path = tmpdir_at(state, "sd2.safetensors");
  ck_ldm *l = NULL;
  bool certain;

  write_sd2(path, NULL);
  check_ok(ck_ldm_open(path, false, &l));
  const ck_ldm_shape *s = ck_ldm_shape_of(l);
  check_ok(ck_ldm_check_standard(l));
  assert_int_equal(ck_ldm_prediction(l, &certain), CK_PREDICTION_V);
  assert_false(certain);
  check_config(ck_ldm_unet_config(s, CK_PREDICTION_V), REAL "sd2.unet.json", (const char *[]){NULL});
  check_config(ck_ldm_vae_config(s, CK_PREDICTION_V), REAL "sd2.vae.json", (const char *[]){NULL});
  check_config(ck_ldm_text_config(s), REAL "sd2.text_encoder.json", (const char *[]){NULL});
  check_config(ck_ldm_scheduler_config(CK_PREDICTION_V), REAL "sd2.scheduler.json", (const char *[]){"skip_prk_steps", NULL});
  ck_ldm_close(&l);
}

static void refused(void **state) {
  static const float ones[4] = {1, 1, 1, 1};
  const char *path = tmpdir_at(state, "f.safetensors");
  ck_ldm *l = NULL;

  write_sd2(path, "model.diffusion_model.input_blocks.1.0.odd.weight");
  check_fails(E_CKPT, "input_blocks.1.0.odd.weight has no place in a U-Net", ck_ldm_open(path, false, &l));
  write_sd2(path, "first_stage_model.encoder.mid.block_1.odd");
  check_fails(E_CKPT, "no running mean", ck_ldm_open(path, true, &l));
  write_sd2(path, "model.diffusion_model.label_emb.0.0.weight");
  check_fails(E_CKPT, "not of Stable Diffusion 1.x or 2.x", ck_ldm_open(path, false, &l));
  write_sd2(path, "conditioner.embedders.0.model.text_projection");
  check_fails(E_CKPT, "Stable Diffusion XL", ck_ldm_open(path, false, &l));
  check_ok(st_write(path, &(st_tensor){"a", ST_F32, 1, {4}, ones, 16}, 1, NULL, 0));
  check_fails(E_CKPT, "not in the original layout", ck_ldm_open(path, false, &l));
  assert_false(ck_ldm_is(path));
  check_ok(st_write(path, &(st_tensor){"conv_in.weight", ST_F32, 1, {4}, ones, 16}, 1, NULL, 0));
  check_fails(E_CKPT, "diffusers' own names", ck_ldm_open(path, false, &l));
  check_ok(st_write(path, &(st_tensor){"model.diffusion_model.input_blocks.0.0.weight", ST_F32, 1, {4}, ones, 16}, 1, NULL, 0));
  check_fails(E_CKPT, "its U-Net is not complete", ck_ldm_open(path, false, &l));
  tmpdir_put(path, "short", 5);
  check_fails(E_CKPT, "f.safetensors", ck_ldm_open(path, false, &l));
  assert_null(l);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(names_and_shapes), TEST(settings), TEST(refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
