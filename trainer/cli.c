#include "trainer/cli.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "configs/schema.h"

enum { MAX_OPTIONS = 40, MAX_WORD = 48, HELP_ID = 1000 };

const char *cli_nearest(const char *word, const char *const *names) {
  for (; *names; names++)
    if (cf_is_near(word, *names)) return *names;
  return NULL;
}

static size_t count_options(const cli_option *o) {
  size_t n = 0;
  while (o[n].name) n++;
  return n;
}

/* getopt_long's tables from ours. letters: ":" first, so that a missing value is told from an unknown option. */
static void make_tables(const cli_option *o, size_t n, struct option *longs, char *letters) {
  *letters++ = ':';
  *letters++ = 'h';
  for (size_t i = 0; i < n; i++) {
    const int has = o[i].kind == CLI_FLAG ? no_argument : o[i].implied ? optional_argument : required_argument;
    longs[i] = (struct option){o[i].name, has, NULL, (int)i + HELP_ID + 1};
    if (!o[i].letter) continue;
    *letters++ = o[i].letter;
    if (has != no_argument) *letters++ = ':';
    if (has == optional_argument) *letters++ = ':';
  }
  longs[n] = (struct option){"help", no_argument, NULL, HELP_ID};
  longs[n + 1] = (struct option){0};
  *letters = 0;
}

static const cli_option *option_of(const cli_option *o, size_t n, int id) {
  if (id > HELP_ID) return &o[id - HELP_ID - 1];
  for (size_t i = 0; i < n; i++)
    if (o[i].letter == id) return &o[i];
  return NULL;
}

static int append(cli_list *l, const char *value) {
  int st = OK;
  const char **grown = realloc(l->at, sizeof *grown * (l->n + 1));

  NEED(grown, E_NOMEM, "command line: out of memory");
  l->at = grown;
  l->at[l->n++] = value;
out:
  return st;
}

static int store(const cli_option *o, const char *value, void *args) {
  int st = OK;
  char *end = NULL;
  void *field = (char *)args + o->offset;

  switch (o->kind) {
  case CLI_FLAG: *(bool *)field = true; break;
  case CLI_TEXT: *(const char **)field = value ? value : o->implied; break;
  case CLI_LIST: TRY(append(field, value)); break;
  case CLI_REAL: {
    const double x = strtod(value, &end);
    NEED(end != value && !*end && x >= 0 && isfinite(x), E_CONFIG, "--%s: wanted a number of at least 0, found '%s'", o->name, value);
    *(double *)field = x;
    break;
  }
  case CLI_COUNT:
  case CLI_NUMBER: {
    const long long least = o->kind == CLI_COUNT;
    errno = 0;
    const long long n = strtoll(value, &end, 10);
    NEED(!errno && end != value && !*end && n >= least, E_CONFIG, "--%s: wanted a number of at least %lld, found '%s'",
         o->name, least, value);
    *(int64_t *)field = n;
  }
  }
out:
  return st;
}

static int unknown_option(const cli_command *c, const char *given) {
  const char *names[MAX_OPTIONS + 2], *near;
  char word[MAX_WORD];
  size_t n = 0;

  for (; c->options[n].name; n++) names[n] = c->options[n].name;
  names[n] = "help";
  names[n + 1] = NULL;
  snprintf(word, sizeof word, "%s", given + strspn(given, "-"));
  word[strcspn(word, "=")] = 0;
  near = cli_nearest(word, names);
  if (near)
    return err_set(E_CONFIG, __FILE__, __LINE__, "%s: unknown option '%s'; did you mean '--%s'?", c->name, given, near);
  return err_set(E_CONFIG, __FILE__, __LINE__, "%s: unknown option '%s'; see 'e2eft %s --help'", c->name, given, c->name);
}

/* What getopt_long stopped at. It has moved past a long option already, but not past one letter of several. */
static int refuse(const cli_command *c, int id, char **argv) {
  char letter[3] = {'-', 0, 0};

  if (id == ':') return err_set(E_CONFIG, __FILE__, __LINE__, "%s: '%s' needs a value", c->name, argv[optind - 1]);
  if (optopt >= HELP_ID)
    return err_set(E_CONFIG, __FILE__, __LINE__, "%s: '%s': the option takes no value", c->name, argv[optind - 1]);
  letter[1] = (char)optopt;
  return unknown_option(c, optopt ? letter : argv[optind - 1]);
}

static int take_operand(const cli_command *c, int argc, char **argv, void *args) {
  int st = OK;

  if (!c->operand) {
    NEED(optind == argc, E_CONFIG, "%s: found '%s', but it takes options alone; see 'e2eft %s --help'", c->name,
         argv[optind], c->name);
    goto out;
  }
  NEED(optind < argc, E_CONFIG, "%s: %s is missing; see 'e2eft %s --help'", c->name, c->operand, c->name);
  if (c->operands) {
    for (; optind < argc; optind++) TRY(append((cli_list *)((char *)args + c->operand_offset), argv[optind]));
    goto out;
  }
  NEED(optind + 1 == argc, E_CONFIG, "%s: one %s is wanted, found '%s' after '%s'", c->name, c->operand,
       argv[optind + 1], argv[optind]);
  *(const char **)((char *)args + c->operand_offset) = argv[optind];
out:
  return st;
}

int cli_parse(const cli_command *c, int argc, char **argv, void *args, bool *help) {
  int st = OK, id;
  const size_t n = count_options(c->options);
  struct option longs[MAX_OPTIONS + 2];
  char letters[3 * MAX_OPTIONS + 3];

  NEED(n <= MAX_OPTIONS, E_FAIL, "%s: more options than MAX_OPTIONS", c->name);
  make_tables(c->options, n, longs, letters);
  *help = false;
  opterr = 0;
  optind = 0; /* glibc: start anew */
  while ((id = getopt_long(argc, argv, letters, longs, NULL)) >= 0) {
    if (id == HELP_ID || id == 'h') {
      *help = true;
      goto out;
    }
    if (id == ':' || id == '?') {
      st = refuse(c, id, argv);
      goto out;
    }
    TRY(store(option_of(c->options, n, id), optarg, args));
  }
  TRY(take_operand(c, argc, argv, args));
out:
  return st;
}

void cli_args_fini(const cli_command *c, void *args) {
  if (c->operands) {
    cli_list *l = (cli_list *)((char *)args + c->operand_offset);
    free(l->at);
    *l = (cli_list){0};
  }
  for (const cli_option *o = c->options; o->name; o++) {
    cli_list *l = (cli_list *)((char *)args + o->offset);
    if (o->kind != CLI_LIST) continue;
    free(l->at);
    *l = (cli_list){0};
  }
}

static void print_option(const cli_option *o, FILE *f) {
  char left[64];
  int n = o->letter ? snprintf(left, sizeof left, "-%c, --%s", o->letter, o->name)
                    : snprintf(left, sizeof left, "    --%s", o->name);

  if (o->value)
    snprintf(left + n, sizeof left - (size_t)n, o->implied ? "[=%s]" : " %s", o->value);
  fprintf(f, "  %-26s %s\n", left, o->help);
}

void cli_print_help(const cli_command *c, FILE *f) {
  fprintf(f, "usage: e2eft %s %s%s[options]\n%s\n\noptions:\n", c->name, c->operand ? c->operand : "",
          c->operand ? " " : "", c->summary);
  for (const cli_option *o = c->options; o->name; o++) print_option(o, f);
  fprintf(f, "  -h, --help                 this text\n");
  if (*c->details) fprintf(f, "\n%s\n", c->details);
}
