/* trainer/cmd_inspect.c: e2eft inspect: what is in a config's data, a checkpoint, a run folder, a model folder. */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "datasets/dump.h"
#include "datasets/sheet.h"
#include "trainer/bind.h"
#include "trainer/commands.h"
#include "trainer/describe.h"
#include "trainer/shown_data.h"

typedef struct inspect_args {
  const char *path;
  cli_list sets;
  const char *dump, *sheet;
  int64_t count;
} inspect_args;

enum { DEFAULT_COUNT = 8 };

static int draw_sheet(const cf_config *c, const ds_loader_opts *lo, int64_t rows, const char *path) {
  int st = OK;
  tr_data data = {0};

  TRY(tr_shown_data_open(c, &data));
  TRY(ds_sheet(stdout, lo, data.entries, data.n, rows, path));
out:
  tr_data_close(&data);
  return st;
}

static int inspect_config(const inspect_args *a) {
  int st = OK;
  cf_config *c = NULL;
  tr_data data = {0};
  ds_loader_opts lo;
  const int64_t count = a->count ? a->count : DEFAULT_COUNT;

  TRY(cf_load(a->path, a->sets.at, a->sets.n, false, &c));
  TRY(tr_data_open(c, &data));
  tr_bind_loader(c, &lo);
  if (a->dump) TRY(ds_dump(&lo, data.entries, data.n, a->dump, count));
  else TRY(ds_describe_all(stdout, &lo, data.entries, data.n, count));
  if (a->sheet) TRY(draw_sheet(c, &lo, count, a->sheet));
out:
  tr_data_close(&data);
  cf_free(&c);
  return st;
}

static bool is_safetensors(const char *path) {
  const char *end = strrchr(path, '.');
  return end && !strcmp(end, ".safetensors");
}

static int run_inspect(const void *arguments, int argc, char **argv) {
  int st = OK;
  const inspect_args *a = arguments;

  (void)argc, (void)argv;
  NEED(io_exists(a->path), E_CONFIG, "%s: no such file or folder", a->path);
  const bool folder = io_is_dir(a->path), weights = !folder && is_safetensors(a->path);
  if (!folder && !weights) {
    TRY(inspect_config(a));
    goto out;
  }
  NEED(!a->dump && !a->sheet && !a->count && !a->sets.n, E_CONFIG, "--dump, --sheet, --count and -s go with a config, %s is a %s", a->path,
       folder ? "folder" : "weights file");
  TRY(folder ? tr_describe_folder(a->path, stdout) : tr_describe_file(a->path, stdout));
out:
  return st;
}

#define AT(field) offsetof(inspect_args, field)
static const cli_option options[] = {
    {"set", 's', CLI_LIST, AT(sets), "key=value", NULL, "override a key of the config"},
    {"dump", 0, CLI_TEXT, AT(dump), "DIR", NULL, "write samples to DIR, one a file, in training order"},
    {"sheet", 0, CLI_TEXT, AT(sheet), "FILE", NULL, "draw samples as a PNG, one a row: RGB, depth, normals, mask, depth histogram"},
    {"count", 0, CLI_COUNT, AT(count), "N", NULL, "how many samples to write, to draw, to look at of each data set (8)"},
    {0}};

const cli_command tr_inspect_command = {
    .name = "inspect",
    .operand = "PATH",
    .operand_offset = AT(path),
    .options = options,
    .summary = "show what is in a config's data, a checkpoint, a run folder, a model folder or file",
    .details = "Dumped samples are safetensors files of kind 'batches'. No model is needed, no run folder is made.",
    .args_size = sizeof(inspect_args),
    .run = run_inspect};
