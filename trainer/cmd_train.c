/* trainer/cmd_train.c: e2eft train. */
#include "trainer/commands.h"
#include "trainer/run.h"

typedef struct train_args {
  const char *config;
  cli_list sets;
  const char *resume;
  bool dry_run, force;
} train_args;

static int run_train(const void *arguments, int argc, char **argv) {
  int st = OK;
  const train_args *a = arguments;
  const tr_run_opts o = {a->resume, a->force, argc, argv};
  cf_config *c = NULL;

  TRY(cf_load(a->config, a->sets.at, a->sets.n, true, &c));
  if (a->dry_run) TRY(tr_run_dry(c, stdout));
  else TRY(tr_run(c, &o));
out:
  cf_free(&c);
  return st;
}

#define AT(field) offsetof(train_args, field)
static const cli_option options[] = {
    {"set", 's', CLI_LIST, AT(sets), "key=value", NULL, "override a key of the config: optim.lr=1e-5, data.0.root=..."},
    {"resume", 0, CLI_TEXT, AT(resume), "auto|DIR", "auto", "go on from the newest checkpoint, or from this one"},
    {"dry-run", 0, CLI_FLAG, AT(dry_run), NULL, NULL, "check config, data and model, print the plan, write nothing"},
    {"force", 0, CLI_FLAG, AT(force), NULL, NULL, "resume although settings changed that change the result"},
    {0}};

const cli_command tr_train_command = {
    .name = "train",
    .operand = "CONFIG",
    .operand_offset = AT(config),
    .options = options,
    .summary = "fine-tune the U-Net of a base model end to end",
    .details = "Writes checkpoints, metrics.jsonl, log.txt and, at the end, the weights folder model/ into run.dir.\n"
               "SIGINT, SIGTERM and SIGUSR1 save after the step and exit 75; a second one leaves at once.\n"
               "--resume=auto starts fresh where there is no checkpoint and does nothing on a finished run.",
    .args_size = sizeof(train_args),
    .run = run_train};
