/* Options from one table: values, implied values, lists; mistakes are E_CONFIG with a hint; --help shows every option. */
#include <stdio.h>

#include "tests/support/check.h"
#include "trainer/cli.h"

typedef struct args {
  const char *path;
  cli_list sets;
  const char *resume;
  bool dry;
  int64_t count;
  double real;
} args;

static int ignore(const void *a, int argc, char **argv) {
  (void)a, (void)argc, (void)argv;
  return OK;
}

#define AT(field) offsetof(args, field)
static const cli_option options[] = {{"set", 's', CLI_LIST, AT(sets), "key=value", NULL, "override"},
                                     {"resume", 0, CLI_TEXT, AT(resume), "auto|DIR", "auto", "go on"},
                                     {"dry-run", 0, CLI_FLAG, AT(dry), NULL, NULL, "check"},
                                     {"count", 0, CLI_COUNT, AT(count), "N", NULL, "how many"},
                                     {0}};
static const cli_command command = {.name = "train", .operand = "CONFIG", .operand_offset = AT(path), .options = options,
                                     .summary = "trains", .details = "", .args_size = sizeof(args), .run = ignore};

static int parse(args *a, bool *help, char **words) {
  int n = 0;
  while (words[n]) n++;
  *a = (args){0};
  return cli_parse(&command, n, words, a, help);
}
#define PARSE(...) parse(&a, &help, (char *[]){"train", __VA_ARGS__, NULL})

static void values_land_in_their_fields(void **state) {
  args a;
  bool help;
  (void)state;
  check_ok(PARSE("-s", "a.b=1", "c.yaml", "--dry-run", "--set=d=2", "--resume", "--count", "12"));
  assert_string_equal(a.path, "c.yaml");
  assert_int_equal(a.sets.n, 2);
  assert_string_equal(a.sets.at[0], "a.b=1");
  assert_string_equal(a.sets.at[1], "d=2");
  assert_string_equal(a.resume, "auto");
  assert_true(a.dry && !help);
  assert_int_equal(a.count, 12);
  cli_args_fini(&command, &a);
  assert_null(a.sets.at);
  check_ok(PARSE("--resume=runs/x/checkpoints/step-000003", "c.yaml"));
  assert_string_equal(a.resume, "runs/x/checkpoints/step-000003");
  check_ok(PARSE("--help"));
  assert_true(help);
}

static void mistakes_say_what_to_do(void **state) {
  args a;
  bool help;
  (void)state;
  check_fails(E_CONFIG, "unknown option '--resme'; did you mean '--resume'?", PARSE("c.yaml", "--resme"));
  check_fails(E_CONFIG, "unknown option '--dry-rn=3'; did you mean '--dry-run'?", PARSE("c.yaml", "--dry-rn=3"));
  check_fails(E_CONFIG, "unknown option '--zzzzzz'; see 'e2eft train --help'", PARSE("--zzzzzz", "c.yaml"));
  check_fails(E_CONFIG, "unknown option '-x'", PARSE("-x", "c.yaml"));
  check_fails(E_CONFIG, "'--dry-run=1': the option takes no value", PARSE("c.yaml", "--dry-run=1"));
  check_fails(E_CONFIG, "'-s' needs a value", PARSE("c.yaml", "-s"));
  check_fails(E_CONFIG, "--count: wanted a number of at least 1, found '0'", PARSE("c.yaml", "--count", "0"));
  check_fails(E_CONFIG, "found '3x'", PARSE("c.yaml", "--count=3x"));
  check_fails(E_CONFIG, "CONFIG is missing", PARSE("--dry-run"));
  check_fails(E_CONFIG, "found 'd.yaml' after 'c.yaml'", PARSE("c.yaml", "d.yaml"));
}

static void a_command_may_take_no_operand(void **state) {
  static const cli_option numbers[] = {{"seed", 0, CLI_NUMBER, AT(count), "N", NULL, "any"}, {0}};
  const cli_command bare = {.name = "synth", .options = numbers, .summary = "renders", .details = "", .args_size = sizeof(args), .run = ignore};
  args a = {.count = 7};
  bool help;
  (void)state;
  check_ok(cli_parse(&bare, 3, (char *[]){"synth", "--seed", "0", NULL}, &a, &help));
  assert_int_equal(a.count, 0);
  check_fails(E_CONFIG, "found 'x', but it takes options alone", cli_parse(&bare, 2, (char *[]){"synth", "x", NULL}, &a, &help));
  check_fails(E_CONFIG, "wanted a number of at least 0, found '-1'",
              cli_parse(&bare, 2, (char *[]){"synth", "--seed=-1", NULL}, &a, &help));
}

static void a_command_may_take_many_operands(void **state) {
  static const cli_option reals[] = {{"tolerance", 0, CLI_REAL, AT(real), "X", NULL, "any"}, {0}};
  const cli_command many = {.name = "predict", .operand = "IMAGE...", .operand_offset = AT(sets), .operands = true, .options = reals,
                            .summary = "predicts", .details = "", .args_size = sizeof(args), .run = ignore};
  args a = {0};
  bool help;
  (void)state;
  check_ok(cli_parse(&many, 5, (char *[]){"predict", "x", "--tolerance", "2.5e-3", "y", NULL}, &a, &help));
  assert_int_equal(a.sets.n, 2);
  assert_string_equal(a.sets.at[1], "y");
  assert_true(a.real == 2.5e-3);
  cli_args_fini(&many, &a);
  assert_null(a.sets.at);
  check_fails(E_CONFIG, "IMAGE... is missing", cli_parse(&many, 1, (char *[]){"predict", NULL}, &a, &help));
  check_fails(E_CONFIG, "--tolerance: wanted a number of at least 0, found 'nan'",
              cli_parse(&many, 3, (char *[]){"predict", "x", "--tolerance=nan", NULL}, &a, &help));
  cli_args_fini(&many, &a);
}

static void help_shows_every_option(void **state) {
  char *text = NULL;
  size_t n;
  FILE *f = open_memstream(&text, &n);
  (void)state;
  cli_print_help(&command, f);
  fclose(f);
  assert_non_null(strstr(text, "usage: e2eft train CONFIG"));
  assert_non_null(strstr(text, "-s, --set key=value"));
  assert_non_null(strstr(text, "--resume[=auto|DIR]"));
  assert_non_null(strstr(text, "--dry-run"));
  assert_non_null(strstr(text, "--help"));
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(values_land_in_their_fields),
                                     cmocka_unit_test(mistakes_say_what_to_do),
                                     cmocka_unit_test(a_command_may_take_no_operand),
                                     cmocka_unit_test(a_command_may_take_many_operands),
                                     cmocka_unit_test(help_shows_every_option)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
