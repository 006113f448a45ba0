/* trainer/cmd_prepare.c: e2eft prepare. */
#include "trainer/commands.h"
#include "trainer/prepare.h"
#include "trainer/store_normals.h"

typedef struct prepare_args {
  const char *config, *normals;
  cli_list sets;
} prepare_args;

static int run_prepare(const void *arguments, int argc, char **argv) {
  int st = OK;
  const prepare_args *a = arguments;
  cf_config *c = NULL;

  (void)argc, (void)argv;
  TRY(cf_load(a->config, a->sets.at, a->sets.n, false, &c));
  TRY(a->normals ? tr_store_normals(c, a->normals, stdout) : tr_prepare(c, stdout));
out:
  cf_free(&c);
  return st;
}

#define AT(field) offsetof(prepare_args, field)
static const cli_option options[] = {
    {"set", 's', CLI_LIST, AT(sets), "key=value", NULL, "override a key of the config: data.0.cache=DIR, ..."},
    {"normals", 0, CLI_TEXT, AT(normals), "DIR", NULL, "only store Virtual KITTI 2's normals, made from its depth, as DIR/vkitti_DAG_normals"},
    {0}};

const cli_command tr_prepare_command = {
    .name = "prepare",
    .operand = "CONFIG",
    .operand_offset = AT(config),
    .options = options,
    .summary = "decode and check every file once, store what training needs",
    .details = "Fills data.N.cache of every data set that names such a folder: hashes of all samples, and with model.path\n"
               "the VAE's latents of both flips with depth, normals and masks at training size. train reads from there.\n"
               "Says beforehand how much disk it takes. Stopped or killed, the same command goes on where it was.",
    .args_size = sizeof(prepare_args),
    .run = run_prepare};
