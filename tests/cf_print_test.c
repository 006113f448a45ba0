/* The config as text: with origins, as a file that reads back, and what differs between two. */
#include "tests/support/config_file.h"

static char *printed(const cf_config *c) {
  char *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);

  assert_non_null(f);
  check_ok(cf_print(c, f));
  fclose(f);
  return text;
}

static void has_line(const char *text, const char *line) {
  const size_t n = strlen(line);

  for (const char *at = text; (at = strstr(at, line)) != NULL; at++)
    if ((at == text || at[-1] == '\n') && at[n] == '\n') return;
  fail_msg("no line \"%s\" in:\n%s", line, text);
}

static void test_origins(void **state) {
  char line[IO_PATH_MAX];

  config_write(state, "b.yaml", "optim:\n  steps: 5\n");
  cf_config *c = config_load(state, "base: b.yaml\noptim: {lr: 3.0e-5}\ndata:\n- {root: d}\n- {kind: vkitti2, root: /v}\n- {kind: batches, root: /b}\n",
                             "run.seed=4", NULL, NULL);
  char *text = printed(c);

  has_line(text, "run.dir: runs/c    # default");
  has_line(text, "run.seed: 4    # -s run.seed=4");
  has_line(text, "model.path: null    # default");
  has_line(text, "objective.loss: affine_l1    # default");
  snprintf(line, sizeof line, "optim.steps: 5    # %s:2:10", tmpdir_at(state, "b.yaml"));
  has_line(text, line);
  snprintf(line, sizeof line, "optim.lr: 3e-05    # %s:2:13", tmpdir_at(state, "c.yaml"));
  has_line(text, line);
  has_line(text, "optim.micro_batch: auto    # default");
  has_line(text, "optim.betas: [0.9, 0.999]    # default");
  has_line(text, "data.0.size: [480, 640]    # default");
  has_line(text, "data.0.crop: null    # default");
  has_line(text, "data.0.far: 65    # default");
  has_line(text, "data.1.size: native    # default");
  has_line(text, "data.1.crop: [352, 1216]    # default");
  has_line(text, "data.1.far: 80    # default");
  assert_null(strstr(text, "data.2.flip")); /* does not apply */
  free(text);
  cf_free(&c);
}

/* The merged file reads back as the same config. */
static void test_yaml_reads_back(void **state) {
  cf_config *a = config_load(state,
                             "run: {dir: \"odd: 'name'\\n#\", seed: 9}\nmodel: {task: normals, path: m}\n"
                             "optim: {lr: 0.1234567890123456789, decay_steps: 9}\nvalidate: {sets: [x, 'y, z', 'null']}\n"
                             "data:\n- {root: d, split: 'on'}\n- {kind: vkitti2, root: /v, size: native}\n- {kind: batches, root: /b}\n",
                             NULL, NULL, NULL);
  cf_config *b = NULL;
  char *text = NULL, *lines = NULL;
  bool meaning = true;

  check_ok(cf_to_yaml(a, &text));
  check_ok(cf_load(config_write(state, "again.yaml", text), NULL, 0, true, &b));
  check_ok(cf_diff(a, b, &lines, &meaning));
  assert_string_equal(lines, "");
  assert_false(meaning);
  assert_string_equal(a->run.dir, b->run.dir);
  assert_true(a->optim.lr == b->optim.lr);
  assert_true(b->data[1].size_set && !b->data[0].size_set && !b->data[1].crop_set);
  free(text);
  free(lines);
  cf_free(&a);
  cf_free(&b);
}

static void differs(void **state, const char *was, const char *now, bool want_meaning, const char *want) {
  cf_config *a = config_load(state, was, NULL, NULL, NULL), *b = config_load(state, now, NULL, NULL, NULL);
  char *lines = NULL;
  bool meaning = !want_meaning;

  check_ok(cf_diff(a, b, &lines, &meaning));
  assert_string_equal(lines, want);
  assert_int_equal(meaning, want_meaning);
  free(lines);
  cf_free(&a);
  cf_free(&b);
}

static void test_diff(void **state) {
  differs(state, DATA_LINES, DATA_LINES, false, "");
  differs(state, "optim: {lr: 3e-5}\n" DATA_LINES, "optim: {lr: 1e-5}\n" DATA_LINES, true, "optim.lr: 3e-05 -> 1e-05\n");
  differs(state, "loader: {workers: 2}\n" DATA_LINES, "optim: {micro_batch: 4}\n" DATA_LINES, false,
          "loader.workers: 2 -> auto\noptim.micro_batch: auto -> 4\n");
  differs(state, "optim: {steps: 5}\n" DATA_LINES, "optim: {steps: 6}\n" DATA_LINES, true,
          "optim.steps: 5 -> 6\noptim.decay_steps: 5 -> 6 (it follows optim.steps)\n");
  differs(state, "optim: {steps: 5, decay_steps: 9}\n" DATA_LINES, "optim: {steps: 6, decay_steps: 9}\n" DATA_LINES, false,
          "optim.steps: 5 -> 6\n");
  differs(state, "data: [{root: /a}]\n", "data: [{root: /a, flip: 0}, {root: /b}]\n", true,
          "data sets: 1 -> 2\ndata.0.flip: 0.5 -> 0\n");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_origins), TEST(test_yaml_reads_back), TEST(test_diff)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
