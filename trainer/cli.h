/* trainer/cli.h: command lines from one table: what getopt_long accepts is what --help prints. */
#ifndef TRAINER_CLI_H
#define TRAINER_CLI_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { CLI_FLAG, CLI_TEXT, CLI_COUNT, CLI_NUMBER, CLI_REAL, CLI_LIST } cli_kind;

/* CLI_FLAG fills a bool, CLI_TEXT a const char *, CLI_COUNT an int64_t >= 1, CLI_NUMBER one >= 0, CLI_REAL
 * a double >= 0, CLI_LIST a cli_list. */
typedef struct cli_option {
  const char *name;    /* long name; NULL ends a table */
  char letter;         /* 0: none */
  cli_kind kind;
  size_t offset;       /* of the field in the command's arguments */
  const char *value;   /* what the help calls the value */
  const char *implied; /* value of the bare option ("--resume" is "--resume=auto"); NULL: a value is needed */
  const char *help;
} cli_option;

/* Values in the order given; strings are borrowed from argv, the array is from malloc. */
typedef struct cli_list { const char **at; size_t n; } cli_list;

typedef struct cli_command {
  const char *name;
  const char *operand;          /* the one operand's name, "CONFIG"; NULL: it takes none */
  size_t operand_offset;        /* its const char * in the arguments */
  const cli_option *options;
  const char *summary;          /* one line */
  const char *details;          /* paragraphs below the options, "" when none */
  size_t args_size;
  int (*run)(const void *args, int argc, char **argv);
  bool operands;                /* it takes one operand or more: its field is a cli_list */
} cli_command;

/* argv[0] is the command's name; argv is reordered, operands last. args [args_size], zeroed, is filled; *help: --help was given and nothing else counts.
 * Errors: E_CONFIG: unknown option (with the nearest one), a value that is missing or wrong, a missing or extra operand. */
int cli_parse(const cli_command *c, int argc, char **argv, void *args, bool *help);
/* Frees the lists in args. */
void cli_args_fini(const cli_command *c, void *args);
void cli_print_help(const cli_command *c, FILE *f);
/* A name of a NULL-ended list that `word` may be a mistyped form of, or NULL. */
const char *cli_nearest(const char *word, const char *const *names);
#ifdef __cplusplus
}
#endif
#endif
