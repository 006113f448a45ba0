/* trainer/main.c: the command table, and the only place that turns a status into an exit status. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "trainer/cli.h"
#include "trainer/commands.h"
#include "trainer/version.h"

static const cli_command *const commands[] = {&tr_train_command, &tr_prepare_command, &tr_predict_command,
                                              &tr_eval_command, &tr_report_command, &tr_export_command, &tr_import_command,
                                              &tr_inspect_command, &tr_synth_command, &tr_bench_command};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *f) {
  fprintf(f, "usage: e2eft COMMAND ...\n"
             "one-step depth and normal estimators from latent diffusion U-Nets\n\ncommands:\n");
  for (int i = 0; i < COMMANDS; i++) fprintf(f, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
  fprintf(f, "\noptions:\n  -h, --help   this text; 'e2eft COMMAND --help' for a command's own\n"
             "      --version   version, commit and libtorch\n"
             "\nexit status: 0 success, 1 failure, 2 usage or config, 3 data, 4 checkpoint or run folder, 5 disk,\n"
             "  6 device or memory, 7 numeric, 75 stopped by a signal with the state saved\n");
}

static const cli_command *find_command(const char *name) {
  for (int i = 0; i < COMMANDS; i++)
    if (!strcmp(commands[i]->name, name)) return commands[i];
  return NULL;
}

static int unknown_command(const char *name) {
  const char *names[COMMANDS + 1] = {0}, *near;

  for (int i = 0; i < COMMANDS; i++) names[i] = commands[i]->name;
  if ((near = cli_nearest(name, names)))
    return err_set(E_CONFIG, __FILE__, __LINE__, "unknown command '%s'; did you mean '%s'?", name, near);
  return err_set(E_CONFIG, __FILE__, __LINE__, "unknown command '%s'; see 'e2eft --help'", name);
}

static int run_command(const cli_command *c, int argc, char **argv) {
  int st = OK;
  bool help = false;
  void *args = calloc(1, c->args_size);
  char **words = calloc((size_t)argc + 1, sizeof *words); /* to be reordered; run.json wants them as typed */

  NEED(args && words, E_NOMEM, "command line: out of memory");
  memcpy(words, argv, sizeof *words * (size_t)argc);
  TRY(cli_parse(c, argc - 1, words + 1, args, &help));
  if (help) cli_print_help(c, stdout);
  else TRY(c->run(args, argc, argv));
out:
  if (args) cli_args_fini(c, args);
  free(args);
  free(words);
  return st;
}

static int dispatch(int argc, char **argv) {
  int st = OK;

  NEED(argc > 1, E_CONFIG, "a command is missing; see 'e2eft --help'");
  if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
    print_help(stdout);
  } else if (!strcmp(argv[1], "--version")) {
    tr_version_print(stdout);
  } else {
    const cli_command *c = find_command(argv[1]);
    if (c) TRY(run_command(c, argc, argv));
    else TRY(unknown_command(argv[1]));
  }
  NEED(!fflush(stdout) && !ferror(stdout), E_DISK, "standard output: cannot write");
out:
  return st;
}

/* A descriptor that was closed by whoever started the program would be given to the next file opened, and what is
 * printed would end up there. */
static int fill_standard_descriptors(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) return -1;
  return 0;
}

int main(int argc, char **argv) {
  if (fill_standard_descriptors()) return err_exit_status(E_FAIL);
  const int st = dispatch(argc, argv);

  log_status_end();
  if (st != OK) {
    fprintf(stderr, "e2eft: %s\n", err_text());
    log_debug("exit %d: %s [%s]", err_exit_status(st), err_text(), err_trail());
  }
  log_close_file();
  return err_exit_status(st);
}
