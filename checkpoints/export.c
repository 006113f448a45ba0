#include "checkpoints/export.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "base/sha256.h"
#include "checkpoints/pyjson.h"

enum { CONFIG_MAX = 16 << 20 };

/* ---- small files ---- */

static int read_json(const char *path, json_t **out) {
  int st = OK;
  char *text = NULL;
  size_t n = 0;
  json_error_t why;
  json_t *o = NULL;

  TRY(io_read_file(path, CONFIG_MAX, &text, &n));
  o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
  NEED(o && json_is_object(o), E_CKPT, "%s:%d:%d: %s", path, why.line, why.column, o ? "no JSON object" : why.text);
  *out = o;
  o = NULL;
out:
  json_decref(o);
  free(text);
  return st;
}

/* DDIM with the base's noise schedule. One step from t = 999 needs trailing and set_alpha_to_one: the first timestep is
 * the last of training, and what comes before the first is x0. What DDIM would do by default and training does not, is
 * said; what belongs to other schedulers is left out. */
static int write_scheduler(const ck_export *e, const char *out) {
  int st = OK;
  static const char *const kept[] = {"_diffusers_version", "beta_start", "beta_end", "beta_schedule", "trained_betas",
                                     "num_train_timesteps", "prediction_type", "rescale_betas_zero_snr", "steps_offset"};
  char path[IO_PATH_MAX], dir[IO_PATH_MAX];
  json_t *base = NULL, *o = NULL;

  TRY(io_path(path, "%s/scheduler/scheduler_config.json", e->base));
  TRY(read_json(path, &base));
  o = json_pack("{s:s, s:s, s:b, s:b, s:b}", "_class_name", "DDIMScheduler", "timestep_spacing", "trailing",
                "set_alpha_to_one", 1, "clip_sample", 0, "thresholding", 0);
  NEED(o, E_NOMEM, "%s: out of memory", path);
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
    if (json_object_get(base, kept[i])) json_object_set(o, kept[i], json_object_get(base, kept[i]));
  if (e->prediction) json_object_set_new(o, "prediction_type", json_string(e->prediction));
  TRY(io_path(dir, "%s/scheduler", out));
  TRY(io_make_dirs(dir));
  TRY(io_path(path, "%s/scheduler_config.json", dir));
  TRY(ck_pyjson_write(path, o));
out:
  json_decref(o);
  json_decref(base);
  return st;
}

typedef struct pipeline_part { const char *name, *library, *class_name; } pipeline_part;

/* model_index.json: what diffusers reads to know which pipeline this is. */
static int write_index(const ck_export *e, const char *out, const pipeline_part *parts, size_t n) {
  int st = OK;
  char path[IO_PATH_MAX];
  json_t *base = NULL, *o = json_deep_copy(e->pipeline);
  const json_t *v;

  NEED(o, E_NOMEM, "model_index.json");
  TRY(io_path(path, "%s/model_index.json", e->base));
  if (io_exists(path)) TRY(read_json(path, &base));
  v = json_object_get(base, "default_processing_resolution");
  if (json_integer_value(v) > 0) json_object_set(o, "default_processing_resolution", (json_t *)v);
  v = json_object_get(base, "_diffusers_version");
  json_object_set_new(o, "_diffusers_version", json_string(json_is_string(v) ? json_string_value(v) : "0.28.0"));
  for (size_t i = 0; i < n; i++)
    json_object_set_new(o, parts[i].name, json_pack("[s, s]", parts[i].library, parts[i].class_name));
  TRY(io_path(path, "%s/model_index.json", out));
  TRY(ck_pyjson_write(path, o));
out:
  json_decref(o);
  json_decref(base);
  return st;
}

/* ---- parts ---- */

static int write_unet(const ck_export *e, const char *out) {
  int st = OK;
  char dir[IO_PATH_MAX], path[IO_PATH_MAX];
  const char **meta = malloc((2 * e->n_stamp + 2) * sizeof *meta);

  NEED(meta, E_NOMEM, "%s: %zu stamps", out, e->n_stamp);
  meta[0] = "format";
  meta[1] = "pt";
  for (size_t i = 0; i < 2 * e->n_stamp; i++) meta[2 + i] = e->stamp[i];
  TRY(io_path(dir, "%s/unet", out));
  TRY(io_make_dirs(dir));
  TRY(io_path(path, "%s/config.json", dir));
  TRY(ck_pyjson_write(path, e->unet_config));
  TRY(ck_weights_write(dir, "diffusion_pytorch_model", e->precisions, e->unet, e->n_unet, meta, e->n_stamp + 1));
out:
  free(meta);
  return st;
}

/* The terms of the base go with its weights. */
static int copy_licences(const char *base, const char *out) {
  int st = OK;
  char from[IO_PATH_MAX], to[IO_PATH_MAX], **names = NULL;
  size_t n = 0;

  TRY(io_list_dir(base, &names, &n));
  for (size_t i = 0; i < n; i++) {
    if (strncmp(names[i], "LICENSE", 7) && strncmp(names[i], "LICENCE", 7) && strncmp(names[i], "NOTICE", 6)) continue;
    TRY(io_path(from, "%s/%s", base, names[i]));
    TRY(io_path(to, "%s/%s", out, names[i]));
    if (!io_is_dir(from)) TRY(io_copy_file(from, to));
  }
out:
  io_free_names(&names, n);
  return st;
}

static int write_pipeline(const ck_export *e, const char *out) {
  int st = OK;
  const float scale = e->shrink ? CK_SHRINK : 1, x = e->flip_x ? -1 : 1;
  const ck_part_edit edits[] = {{"decoder.conv_out.weight", 0, scale}, {"decoder.conv_out.bias", 0, scale},
                                {"decoder.conv_out.weight", 1, x}, {"decoder.conv_out.bias", 1, x}, {NULL, 0, 0}};
  const bool edited = e->shrink || e->flip_x;
  pipeline_part parts[5] = {{"unet", "diffusers", "UNet2DConditionModel"}, {"scheduler", "diffusers", "DDIMScheduler"}};
  size_t n = 2;
  bool found;

  TRY(write_scheduler(e, out));
  TRY(ck_part_copy(e->base, out, "vae", "diffusion_pytorch_model", e->precisions, edited ? edits : NULL, &found));
  if (found) parts[n++] = (pipeline_part){"vae", "diffusers", "AutoencoderKL"};
  TRY(ck_part_copy(e->base, out, "text_encoder", "model", e->precisions, NULL, &found));
  if (found) parts[n++] = (pipeline_part){"text_encoder", "transformers", "CLIPTextModel"};
  TRY(ck_part_copy_files(e->base, out, "tokenizer", &found));
  if (found) parts[n++] = (pipeline_part){"tokenizer", "transformers", "CLIPTokenizer"};
  if (n < 5) log_warn("%s lacks vae/, text_encoder/ or tokenizer/: so does %s, which diffusers will not run", e->base, e->out);
  TRY(write_index(e, out, parts, n));
  TRY(copy_licences(e->base, out));
out:
  return st;
}

/* ---- checksums ---- */

/* One line a file, as sha256sum has them, by path. at: "" or "sub/folder/". */
static int sum_folder(const char *dir, const char *at, FILE *f) {
  int st = OK;
  char path[IO_PATH_MAX], below[IO_PATH_MAX], hex[65], **names = NULL;
  size_t n = 0;

  TRY(io_path(path, "%s/%s", dir, at));
  TRY(io_list_dir(path, &names, &n));
  for (size_t i = 0; i < n; i++) {
    TRY(io_path(path, "%s/%s%s", dir, at, names[i]));
    if (io_is_dir(path)) {
      TRY(io_path(below, "%s%s/", at, names[i]));
      TRY(sum_folder(dir, below, f));
    } else {
      TRY(sha256_file(path, hex));
      fprintf(f, "%s  %s%s\n", hex, at, names[i]);
    }
  }
out:
  io_free_names(&names, n);
  return st;
}

static int write_sums(const char *dir) {
  int st = OK;
  char path[IO_PATH_MAX], *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);

  NEED(f, E_NOMEM, "%s: checksums", dir);
  TRY(sum_folder(dir, "", f));
  const bool good = fclose(f) == 0;
  f = NULL;
  NEED(good, E_NOMEM, "%s: checksums", dir);
  TRY(io_path(path, "%s/SHA256SUMS", dir));
  TRY(io_write_file(path, text, n));
out:
  if (f) fclose(f);
  free(text);
  return st;
}

/* ---- the folder as a whole ---- */

/* The folder that is to be replaced must be one of ours to replace: empty, or a model. */
static int check_out(const char *out) {
  int st = OK;
  size_t n = 0;
  char **names = NULL;
  bool model = false;

  if (!io_exists(out)) return OK;
  NEED(io_is_dir(out), E_CKPT, "%s: is a file, a folder wanted", out);
  TRY(io_list_dir(out, &names, &n));
  for (size_t i = 0; i < n; i++)
    model = model || strcmp(names[i], "model_index.json") == 0 || strcmp(names[i], "unet") == 0;
  NEED(n == 0 || model, E_CKPT, "%s: is there and holds no model: not replaced", out);
out:
  io_free_names(&names, n);
  return st;
}

/* The output must not lie in the base, nor be it: the copy would eat its own tail. */
static int check_apart(const char *base, const char *out) {
  int st = OK;
  char parent[IO_PATH_MAX], a[PATH_MAX], b[PATH_MAX];

  TRY(io_path_beside(parent, out, "."));
  TRY(io_make_dirs(parent));
  NEED(realpath(base, a), E_CKPT, "%s: cannot open: %s", base, strerror(errno));
  NEED(io_is_dir(base), E_CKPT, "%s: not a folder", base);
  NEED(realpath(io_exists(out) ? out : parent, b), E_CKPT, "%s: cannot open: %s", out, strerror(errno));
  const size_t n = strlen(a);
  NEED(strncmp(a, b, n) != 0 || (b[n] != '/' && b[n] != 0), E_CKPT, "%s: lies in the base model %s", out, base);
out:
  return st;
}

/* The old folder goes only when the new one has its name. */
static int replace(const char *tmp, const char *out) {
  int st = OK;
  char old[IO_PATH_MAX];

  TRY(io_path(old, "%s.old", out));
  TRY(io_remove_tree(old));
  const bool there = io_exists(out);
  if (there) TRY(io_rename(out, old));
  if ((st = io_rename(tmp, out)) != OK) {
    err_saved why;
    err_save(&why);
    if (there) io_rename(old, out);
    err_restore(&why);
    goto out;
  }
  TRY(io_sync_parent(out));
  TRY(io_remove_tree(old));
out:
  return st;
}

static int clean_name(const char *from, char out[IO_PATH_MAX]) {
  int st = OK;

  TRY(io_path(out, "%s", from));
  for (size_t n = strlen(out); n > 1 && out[n - 1] == '/'; n--) out[n - 1] = 0;
out:
  return st;
}

void ck_export_abandon(const char *tmp) {
  err_saved why;

  if (!tmp[0]) return;
  err_save(&why);
  io_remove_tree(tmp);
  err_restore(&why);
}

int ck_export_begin(const ck_export *e, char tmp[IO_PATH_MAX]) {
  int st = OK;
  char out[IO_PATH_MAX], name[IO_PATH_MAX] = "";

  tmp[0] = 0;
  TRY(clean_name(e->out, out));
  TRY(check_out(out));
  TRY(check_apart(e->base, out));
  TRY(io_path(name, "%s.tmp", out));
  TRY(io_remove_tree(name));
  TRY(io_make_dirs(name));
  TRY(write_unet(e, name));
  if (!e->unet_only) TRY(write_pipeline(e, name));
  memcpy(tmp, name, IO_PATH_MAX);
out:
  if (st != OK) ck_export_abandon(name);
  return st == E_IO ? E_CKPT : st;
}

int ck_export_finish(const char *to, const char *tmp) {
  int st = OK;
  char out[IO_PATH_MAX];

  TRY(clean_name(to, out));
  TRY(write_sums(tmp));
  TRY(io_sync_dir(tmp));
  TRY(replace(tmp, out));
out:
  return st == E_IO ? E_CKPT : st;
}
