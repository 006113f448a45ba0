/* trainer/cmd_import.c: e2eft import: a diffusers folder from a single file in the original latent-diffusion layout. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "checkpoints/export.h"
#include "checkpoints/import.h"
#include "models/clip.h"
#include "models/scheduler.h"
#include "models/unet.h"
#include "models/vae.h"
#include "trainer/commands.h"

typedef struct import_args {
  const char *file, *out, *like, *tokenizer, *prediction;
  bool ema;
} import_args;

static int check_unet(const char *dir) {
  int st = OK;
  char path[IO_PATH_MAX];
  md_unet_config c;
  md_params *p = NULL;

  TRY(io_path(path, "%s/unet", dir));
  TRY(md_unet_config_read(path, &c, NULL));
  TRY(md_params_create("unet", &p));
  TRY(md_unet_declare(&c, p));
  TRY(md_unet_load(&c, path, false, p));
out:
  md_params_destroy(&p);
  return st;
}

static int check_vae(const char *dir) {
  int st = OK;
  char path[IO_PATH_MAX];
  md_vae_config c;
  md_params *p = NULL;

  TRY(io_path(path, "%s/vae", dir));
  TRY(md_vae_config_read(path, &c));
  TRY(md_params_create("vae", &p));
  TRY(md_vae_declare(&c, p));
  TRY(md_vae_load(&c, path, p));
out:
  md_params_destroy(&p);
  return st;
}

static int check_text(const char *dir) {
  int st = OK, n;
  char path[IO_PATH_MAX];
  md_clip_config c;
  md_params *p = NULL;
  int64_t *ids = NULL;

  TRY(io_path(path, "%s/text_encoder", dir));
  TRY(md_clip_config_read(path, &c));
  TRY(md_params_create("text_encoder", &p));
  TRY(md_clip_declare(&c, p));
  TRY(md_clip_load(&c, path, p));
  TRY(io_path(path, "%s/tokenizer", dir));
  TRY(md_clip_empty_ids(path, false, &ids, &n));
  for (int i = 0; i < n; i++)
    NEED(ids[i] < c.vocab_size, E_CKPT, "%s: token %lld, the text encoder has %d words", path, (long long)ids[i], c.vocab_size);
out:
  free(ids);
  md_params_destroy(&p);
  return st;
}

/* Everything that training will look for has its place: names and shapes of all weights, the configs' keys. */
static int check_folder(const char *dir) {
  int st = OK;
  char path[IO_PATH_MAX];
  md_schedule *s = malloc(sizeof *s);

  NEED(s, E_NOMEM, "schedule");
  TRY(check_unet(dir));
  TRY(check_vae(dir));
  TRY(check_text(dir));
  TRY(io_path(path, "%s/scheduler", dir));
  TRY(md_schedule_read(path, s));
out:
  free(s);
  return st;
}

static int read_prediction(const char *text, ck_prediction *p) {
  int st = OK;

  *p = !text ? CK_PREDICTION_UNKNOWN : strcmp(text, "epsilon") ? CK_PREDICTION_V : CK_PREDICTION_EPSILON;
  NEED(!text || !strcmp(text, "epsilon") || !strcmp(text, "v_prediction"), E_CONFIG, "--prediction %s: wanted epsilon or v_prediction", text);
out:
  return st;
}

static int run_import(const void *arguments, int argc, char **argv) {
  int st = OK;
  const import_args *a = arguments;
  char tmp[IO_PATH_MAX] = "";
  ck_import i = {.file = a->file, .out = a->out, .like = a->like, .tokenizer = a->tokenizer, .mean = a->ema};

  (void)argc, (void)argv;
  NEED(a->out, E_CONFIG, "-o DIR is missing");
  NEED(io_exists(a->file), E_CONFIG, "%s: no such file", a->file);
  NEED(!a->like || !a->prediction, E_CONFIG, "--prediction and --like: the folder's scheduler says what is predicted");
  TRY(read_prediction(a->prediction, &i.prediction));
  TRY(ck_import_begin(&i, tmp));
  TRY_AS(st == E_FORMAT ? E_CKPT : st, check_folder(tmp), "%s, imported", a->file);
  TRY(ck_export_finish(a->out, tmp));
  tmp[0] = 0;
  log_info("imported into %s: model.path of a config", a->out);
out:
  ck_export_abandon(tmp);
  return st;
}

#define AT(field) offsetof(import_args, field)
static const cli_option options[] = {
    {"out", 'o', CLI_TEXT, AT(out), "DIR", NULL, "the folder to make"},
    {"like", 0, CLI_TEXT, AT(like), "DIR", NULL, "a model folder to take configs, scheduler and tokenizer from"},
    {"tokenizer", 0, CLI_TEXT, AT(tokenizer), "DIR", NULL, "a tokenizer folder, or a model folder that has one"},
    {"prediction", 0, CLI_TEXT, AT(prediction), "epsilon|v_prediction", NULL, "what the U-Net predicts, where the file does not say"},
    {"ema", 0, CLI_FLAG, AT(ema), NULL, NULL, "the U-Net's running mean (model_ema.*)"},
    {0}};

const cli_command tr_import_command = {
    .name = "import",
    .operand = "FILE",
    .operand_offset = AT(file),
    .options = options,
    .summary = "make a diffusers folder from a single .safetensors file (Stable Diffusion 1.x, 2.x)",
    .details = "Tensors keep their bits. The file holds neither settings nor tokenizer: those are Stable Diffusion's, and a\n"
               "tokenizer that knows the empty prompt, unless --like or --tokenizer name a folder that has them.",
    .args_size = sizeof(import_args),
    .run = run_import};
