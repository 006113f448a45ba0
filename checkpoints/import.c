#include "checkpoints/import.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sha256.h"
#include "checkpoints/export.h"
#include "checkpoints/pyjson.h"
#include "checkpoints/tokenizer.h"

typedef struct part { ck_ldm_part part; const char *dir, *stem; } part;
static const part parts[CK_LDM_PARTS] = {{CK_LDM_UNET, "unet", "diffusion_pytorch_model"},
                                         {CK_LDM_VAE, "vae", "diffusion_pytorch_model"},
                                         {CK_LDM_TEXT, "text_encoder", "model"}};

static int write_weights(const ck_ldm *l, const part *p, const char *dir, const char *sum) {
  int st = OK;
  size_t n;
  char path[IO_PATH_MAX];
  const st_tensor *t = ck_ldm_tensors(l, p->part, &n);
  const char *const meta[] = {"format", "pt", "e2eft.source_sha256", sum};

  TRY(io_path(path, "%s/%s.safetensors", dir, p->stem));
  TRY(st_write(path, t, n, meta, 2));
out:
  return st;
}

/* unet/config.json of `like`, with the file's number of input channels. */
static int copy_config(const ck_import *i, const ck_ldm_shape *s, const part *p, const char *dir) {
  int st = OK;
  char path[IO_PATH_MAX];
  json_error_t why;
  json_t *o = NULL;

  TRY(io_path(path, "%s/%s/config.json", i->like, p->dir));
  NEED((o = json_load_file(path, JSON_REJECT_DUPLICATES, &why)) != NULL, E_CKPT, "%s:%d:%d: %s", path, why.line, why.column, why.text);
  if (p->part == CK_LDM_UNET) json_object_set_new(o, "in_channels", json_integer(s->unet.in_channels));
  TRY(ck_pyjson_write_in(dir, "config.json", o));
out:
  json_decref(o);
  return st;
}

static int write_config(const ck_ldm_shape *s, ck_prediction prediction, const part *p, const char *dir) {
  int st = OK;
  json_t *o = p->part == CK_LDM_UNET  ? ck_ldm_unet_config(s, prediction)
              : p->part == CK_LDM_VAE ? ck_ldm_vae_config(s, prediction)
                                      : ck_ldm_text_config(s);

  TRY(ck_pyjson_write_in(dir, "config.json", o));
out:
  json_decref(o);
  return st;
}

static int write_scheduler(const ck_import *i, ck_prediction prediction, const char *tmp) {
  int st = OK;
  bool found;
  char dir[IO_PATH_MAX];
  json_t *o = NULL;

  if (i->like) {
    TRY(ck_part_copy_files(i->like, tmp, "scheduler", &found));
    NEED(found, E_CKPT, "%s: no scheduler/", i->like);
    goto out;
  }
  TRY(io_path(dir, "%s/scheduler", tmp));
  TRY(io_make_dirs(dir));
  o = ck_ldm_scheduler_config(prediction);
  TRY(ck_pyjson_write_in(dir, "scheduler_config.json", o));
out:
  json_decref(o);
  return st;
}

/* DIR itself or DIR/tokenizer. */
static int copy_tokenizer(const char *from, const char *tmp) {
  int st = OK;
  bool found = false;
  char path[IO_PATH_MAX];

  TRY(io_path(path, "%s/tokenizer", from));
  if (io_is_dir(path)) {
    TRY(ck_part_copy_files(from, tmp, "tokenizer", &found));
  } else {
    TRY(io_path(path, "%s/vocab.json", from));
    const bool vocab = io_exists(path);
    TRY(io_path(path, "%s/tokenizer.json", from));
    NEED(vocab || io_exists(path), E_CKPT, "%s: no tokenizer: neither vocab.json nor tokenizer.json", from);
    TRY(io_path(path, "%s/tokenizer", tmp));
    TRY(io_copy_tree(from, path));
  }
out:
  return st;
}

static int write_tokenizer(const ck_import *i, const ck_ldm_shape *s, const char *tmp) {
  int st = OK;
  char dir[IO_PATH_MAX];

  if (i->tokenizer) return copy_tokenizer(i->tokenizer, tmp);
  if (i->like) return copy_tokenizer(i->like, tmp);
  NEED(s->text.vocab == CK_CLIP_VOCAB, E_CKPT, "%s: a vocabulary of %d words, CLIP's has %d: --tokenizer FOLDER is needed", i->file,
       s->text.vocab, CK_CLIP_VOCAB);
  TRY(io_path(dir, "%s/tokenizer", tmp));
  TRY(ck_tokenizer_write(dir, s->text.openclip ? "!" : "<|endoftext|>"));
  log_info("the file holds no tokenizer: one is written that knows the empty prompt, all that depth and normals need "
           "(--tokenizer FOLDER takes a whole one)");
out:
  return st;
}

static int write_parts(const ck_import *i, const ck_ldm *l, ck_prediction prediction, const char *tmp) {
  int st = OK;
  char dir[IO_PATH_MAX], sum[65];
  const ck_ldm_shape *s = ck_ldm_shape_of(l);

  TRY_AS(E_CKPT, sha256_file(i->file, sum), "single file");
  for (int p = 0; p < CK_LDM_PARTS; p++) {
    TRY(io_path(dir, "%s/%s", tmp, parts[p].dir));
    TRY(io_make_dirs(dir));
    TRY(i->like ? copy_config(i, s, &parts[p], dir) : write_config(s, prediction, &parts[p], dir));
    TRY(write_weights(l, &parts[p], dir, sum));
  }
out:
  return st;
}

static int write_all(const ck_import *i, const ck_ldm *l, const char *tmp) {
  int st = OK;
  bool certain = true;
  json_t *index = ck_ldm_index();
  const ck_prediction prediction = i->prediction ? i->prediction : ck_ldm_prediction(l, &certain);

  if (!i->like) TRY(ck_ldm_check_standard(l));
  if (!i->like && !certain)
    log_warn("%s does not say what it predicts: v_prediction, as SD 2.x for 768 pixels (the -base models: --prediction epsilon)", i->file);
  if (ck_ldm_shape_of(l)->unet.has_mean && !i->mean)
    log_info("%s holds a running mean of the U-Net too (--ema takes it)", i->file);
  TRY(write_parts(i, l, prediction, tmp));
  TRY(write_scheduler(i, prediction, tmp));
  TRY(write_tokenizer(i, ck_ldm_shape_of(l), tmp));
  TRY(ck_pyjson_write_in(tmp, "model_index.json", index));
out:
  json_decref(index);
  return st;
}

int ck_import_begin(const ck_import *i, char tmp[IO_PATH_MAX]) {
  int st = OK;
  char out[IO_PATH_MAX], name[IO_PATH_MAX] = "";
  ck_ldm *l = NULL;

  tmp[0] = 0;
  TRY(io_path(out, "%s", i->out));
  for (size_t n = strlen(out); n > 1 && out[n - 1] == '/'; n--) out[n - 1] = 0;
  TRY_AS(E_CKPT, io_need_free(out), "-o");
  TRY(ck_ldm_open(i->file, i->mean, &l));
  TRY(io_path(name, "%s.tmp", out));
  TRY(io_remove_tree(name));
  TRY(io_make_dirs(name));
  TRY(write_all(i, l, name));
  memcpy(tmp, name, IO_PATH_MAX);
out:
  ck_ldm_close(&l);
  if (st != OK) ck_export_abandon(name);
  return st == E_IO ? E_CKPT : st;
}
