#include "trainer/describe.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/safetensors.h"
#include "checkpoints/ldm_config.h"
#include "checkpoints/state.h"
#include "models/scheduler.h"
#include "models/unet.h"
#include "models/vae.h"

static bool has(const char *dir, const char *name) {
  char path[IO_PATH_MAX];
  return io_path(path, "%s/%s", dir, name) == OK && io_exists(path);
}

/* Tensors, numbers and types of one safetensors file. */
static int describe_tensors(const char *path, const char *label, FILE *f) {
  int st = OK;
  st_file *file = NULL;
  int64_t numel = 0;
  size_t of_type[ST_DTYPES] = {0};

  TRY_AS(E_CKPT, st_open(path, &file), "%s", label);
  for (size_t i = 0; i < st_count(file); i++) {
    numel += st_numel(st_at(file, i));
    of_type[st_at(file, i)->dtype]++;
  }
  fprintf(f, "  %-24s %zu tensors, %lld numbers:", label, st_count(file), (long long)numel);
  for (int t = 0; t < ST_DTYPES; t++)
    if (of_type[t]) fprintf(f, " %s", st_dtype_name((st_dtype)t));
  fputc('\n', f);
out:
  st_close(&file);
  return st;
}

static bool ends_with(const char *s, const char *end) {
  const size_t n = strlen(s), m = strlen(end);
  return n >= m && !strcmp(s + n - m, end);
}

static int describe_weights(const char *dir, FILE *f) {
  int st = OK;
  char path[IO_PATH_MAX], **names = NULL;
  size_t n = 0;

  TRY(io_list_dir(dir, &names, &n));
  for (size_t i = 0; i < n; i++) {
    if (!ends_with(names[i], ".safetensors")) continue;
    TRY(io_path(path, "%s/%s", dir, names[i]));
    TRY(describe_tensors(path, names[i], f));
  }
out:
  io_free_names(&names, n);
  return st;
}

static int describe_checkpoint(const char *path, FILE *f) {
  int st = OK;
  int64_t step;

  TRY(ck_step(path, &step));
  fprintf(f, "%s: checkpoint after step %lld\n", path, (long long)step);
  TRY(describe_weights(path, f));
out:
  return st;
}

static int describe_run(const char *path, FILE *f) {
  int st = OK;
  char newest[IO_PATH_MAX];
  bool found;

  fprintf(f, "%s: run folder%s%s\n", path, has(path, "model") ? ", weights exported to model/" : "",
          has(path, "portable") ? " and portable/" : "");
  TRY(ck_latest(path, newest, &found));
  if (found) TRY(describe_checkpoint(newest, f));
  else fprintf(f, "  no checkpoint\n");
out:
  return st;
}

/* Where the program's own files come from. */
static void describe_stamp(const st_file *file, FILE *f) {
  static const char *const keys[] = {"form", "task", "step", "version", "commit", "config", "base", "source_sha256"};
  char key[64];

  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    snprintf(key, sizeof key, "e2eft.%s", keys[i]);
    if (st_metadata(file, key)) fprintf(f, "  %s: %s\n", keys[i], st_metadata(file, key));
  }
}

/* What made the U-Net's file, for folders of our own. */
static int describe_origin(const char *path, FILE *f) {
  int st = OK;
  static const char *const names[] = {"", ".fp16"};
  char weights[IO_PATH_MAX];
  st_file *file = NULL;

  for (int i = 0; i < 2 && !file; i++) {
    TRY(io_path(weights, "%s/unet/diffusion_pytorch_model%s.safetensors", path, names[i]));
    if (io_exists(weights)) TRY_AS(E_CKPT, st_open(weights, &file), "unet");
  }
  if (file) describe_stamp(file, f);
out:
  st_close(&file);
  return st;
}

static const char *class_of(const json_t *index) {
  const char *name = json_string_value(json_object_get(index, "_class_name"));
  return name ? name : "a diffusers folder";
}

static int describe_unet(const char *path, FILE *f) {
  int st = OK;
  char dir[IO_PATH_MAX];
  md_unet_config c;

  TRY(io_path(dir, "%s/unet", path));
  TRY(md_unet_config_read(dir, &c, NULL));
  fprintf(f, "unet: %d -> %d channels, blocks of", c.in_channels, c.out_channels);
  for (int i = 0; i < c.blocks; i++) fprintf(f, " %d", c.block_out_channels[i]);
  fprintf(f, ", text of %d\n", c.cross_attention_dim);
  TRY(describe_weights(dir, f));
out:
  return st;
}

static int describe_vae(const char *path, FILE *f) {
  int st = OK;
  char dir[IO_PATH_MAX];
  md_vae_config c;

  TRY(io_path(dir, "%s/vae", path));
  TRY(md_vae_config_read(dir, &c));
  fprintf(f, "vae: %d latent channels, %d pixels a cell, scaling factor %g\n", c.latent_channels, md_vae_factor(&c),
          c.scaling_factor);
  TRY(describe_weights(dir, f));
out:
  return st;
}

static int describe_scheduler(const char *path, FILE *f) {
  int st = OK;
  const char *const names[] = {[MD_EPSILON] = "epsilon", [MD_V_PREDICTION] = "v_prediction", [MD_SAMPLE] = "sample"};
  char dir[IO_PATH_MAX];
  md_schedule *s = malloc(sizeof *s);

  NEED(s, E_NOMEM, "schedule");
  TRY(io_path(dir, "%s/scheduler", path));
  TRY(md_schedule_read(dir, s));
  fprintf(f, "scheduler: %s, %d steps, %s spacing\n", names[s->prediction], s->train_steps, s->spacing);
out:
  free(s);
  return st;
}

static int describe_model(const char *path, FILE *f) {
  int st = OK;
  char index[IO_PATH_MAX];
  json_t *doc = NULL;

  TRY(io_path(index, "%s/model_index.json", path));
  doc = json_load_file(index, 0, NULL);
  fprintf(f, "%s: model, %s\n", path, class_of(doc));
  TRY(describe_origin(path, f));
  TRY(describe_unet(path, f));
  if (has(path, "vae")) TRY(describe_vae(path, f));
  if (has(path, "scheduler")) TRY(describe_scheduler(path, f));
out:
  json_decref(doc);
  return st;
}

static int describe_ldm(const char *path, FILE *f) {
  int st = OK;
  bool certain;
  ck_ldm *l = NULL;

  TRY(ck_ldm_open(path, false, &l));
  const ck_ldm_shape *s = ck_ldm_shape_of(l);
  const bool v = ck_ldm_prediction(l, &certain) == CK_PREDICTION_V;
  fprintf(f, "%s: model in one file, latent-diffusion layout of Stable Diffusion %s: e2eft import makes a folder of it\n", path,
          s->text.openclip ? "2.x" : "1.x");
  fprintf(f, "unet: %d -> %d channels, blocks of", s->unet.in_channels, s->unet.out_channels);
  for (int i = 0; i < s->unet.levels; i++) fprintf(f, " %d", s->unet.widths[i]);
  fprintf(f, ", text of %d, %s%s%s\n", s->unet.cross_attention_dim, v ? "v_prediction" : "epsilon", certain ? "" : " or epsilon",
          s->unet.has_mean ? ", running mean too" : "");
  fprintf(f, "vae: %d latent channels, %d pixels a cell\n", s->vae.latent_channels, 1 << (s->vae.levels - 1));
  fprintf(f, "text encoder: %s, %d layers of %d\n", s->text.openclip ? "OpenCLIP" : "CLIP", s->text.layers, s->text.hidden);
out:
  ck_ldm_close(&l);
  return st;
}

int tr_describe_file(const char *path, FILE *f) {
  int st = OK;
  st_file *file = NULL;

  if (ck_ldm_is(path)) {
    TRY(describe_ldm(path, f));
    TRY(describe_tensors(path, "tensors", f));
    goto out;
  }
  TRY_AS(E_CKPT, st_open(path, &file), "safetensors file");
  fprintf(f, "%s: safetensors file\n", path);
  describe_stamp(file, f);
  TRY(describe_tensors(path, "tensors", f));
out:
  st_close(&file);
  return st;
}

int tr_describe_folder(const char *path, FILE *f) {
  int st = OK;

  if (has(path, "manifest.json")) TRY(describe_checkpoint(path, f));
  else if (has(path, "unet")) TRY(describe_model(path, f));
  else if (has(path, "checkpoints") || has(path, "metrics.jsonl")) TRY(describe_run(path, f));
  else FAIL(E_CKPT, "%s: neither a model folder (unet/), a checkpoint (manifest.json) nor a run folder", path);
out:
  return st;
}
