#include "checkpoints/export.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "checkpoints/pyjson.h"

enum { CONFIG_MAX = 16 << 20 };

static bool ends_with(const char *name, const char *end) {
  const size_t n = strlen(name), m = strlen(end);
  return n >= m && strcmp(name + n - m, end) == 0;
}

/* ---- what belongs to a diffusers folder ---- */

/* A component keeps its settings in config.json or <kind>_config.json. */
static int has_settings(const char *dir, bool *yes) {
  int st = OK;
  size_t n = 0;
  char **names = NULL;

  *yes = false;
  TRY(io_list_dir(dir, &names, &n));
  for (size_t i = 0; i < n; i++) *yes = *yes || ends_with(names[i], "config.json");
out:
  io_free_names(&names, n);
  return st;
}

/* model_index.json, or NULL when the base has none. */
static int read_index(const char *base, json_t **out) {
  int st = OK;
  char path[IO_PATH_MAX], *text = NULL;
  size_t n = 0;
  json_error_t why;

  *out = NULL;
  TRY(io_path(path, "%s/model_index.json", base));
  if (!io_exists(path)) return OK;
  TRY(io_read_file(path, CONFIG_MAX, &text, &n));
  NEED((*out = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why)) != NULL, E_CKPT, "%s:%d:%d: %s", path, why.line,
       why.column, why.text);
out:
  free(text);
  return st;
}

/* Weights at the top are other forms of the whole model (5 GB in the SD repositories). */
static bool is_weights(const char *name) {
  static const char *const ends[] = {".safetensors", ".ckpt", ".bin", ".pt", ".pth", ".onnx", ".msgpack", ".gguf"};

  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    if (ends_with(name, ends[i])) return true;
  return false;
}

static int copy_entry(const char *base, const char *out, const json_t *index, const char *name) {
  int st = OK;
  bool wanted = true;
  char from[IO_PATH_MAX], to[IO_PATH_MAX];

  if (strcmp(name, "unet") == 0 || name[0] == '.') return OK;
  TRY(io_path(from, "%s/%s", base, name));
  TRY(io_path(to, "%s/%s", out, name));
  if (io_is_dir(from)) {
    wanted = json_is_array(json_object_get(index, name)); /* "vae": ["diffusers", "AutoencoderKL"] */
    if (!wanted) TRY(has_settings(from, &wanted));
    if (wanted) TRY(io_copy_tree(from, to));
  } else {
    wanted = !is_weights(name);
    if (wanted) TRY(io_copy_file(from, to));
  }
  if (!wanted) log_info("%s is not exported: no part of a diffusers folder", from);
out:
  return st;
}

static int copy_base(const char *base, const char *out) {
  int st = OK;
  size_t n = 0;
  char **names = NULL;
  json_t *index = NULL;

  TRY(read_index(base, &index));
  TRY(io_list_dir(base, &names, &n));
  for (size_t i = 0; i < n; i++) TRY(copy_entry(base, out, index, names[i]));
out:
  json_decref(index);
  io_free_names(&names, n);
  return st;
}

/* ---- what differs from the base ---- */

/* One step from t = 999 needs both: the first timestep is the last of training, and what comes before the first is x0. */
static int patch_scheduler(const char *out) {
  int st = OK;
  char path[IO_PATH_MAX], *text = NULL;
  size_t n = 0;
  json_t *o = NULL;
  json_error_t why;

  TRY(io_path(path, "%s/scheduler/scheduler_config.json", out));
  TRY(io_read_file(path, CONFIG_MAX, &text, &n));
  o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
  NEED(o && json_is_object(o), E_CKPT, "%s:%d:%d: %s", path, why.line, why.column, o ? "no JSON object" : why.text);
  NEED(json_object_set_new(o, "timestep_spacing", json_string("trailing")) == 0 &&
           json_object_set_new(o, "set_alpha_to_one", json_true()) == 0,
       E_NOMEM, "%s: out of memory", path);
  TRY(ck_pyjson_write(path, o));
out:
  json_decref(o);
  free(text);
  return st;
}

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
  TRY(io_path(path, "%s/diffusion_pytorch_model.safetensors", dir));
  TRY(st_write(path, e->unet, e->n_unet, meta, e->n_stamp + 1));
out:
  free(meta);
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

int ck_export_model(const ck_export *e) {
  int st = OK;
  char out[IO_PATH_MAX], tmp[IO_PATH_MAX] = "";

  TRY(io_path(out, "%s", e->out));
  for (size_t n = strlen(out); n > 1 && out[n - 1] == '/'; n--) out[n - 1] = 0;
  TRY(check_out(out));
  TRY(check_apart(e->base, out));
  TRY(io_path(tmp, "%s.tmp", out));
  TRY(io_remove_tree(tmp));
  TRY(io_make_dirs(tmp));
  TRY(copy_base(e->base, tmp));
  TRY(patch_scheduler(tmp));
  TRY(write_unet(e, tmp));
  TRY(io_sync_dir(tmp));
  TRY(replace(tmp, out));
out:
  if (st != OK && tmp[0]) {
    err_saved why;
    err_save(&why);
    io_remove_tree(tmp);
    err_restore(&why);
  }
  return st == E_IO ? E_CKPT : st;
}
