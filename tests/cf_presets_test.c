/* The shipped configs load, hold the paper's numbers, and the README's table is the schema's. */
#include "tests/support/config_file.h"

static cf_config *preset(const char *name) {
  cf_config *c = NULL;
  char path[64];

  snprintf(path, sizeof path, "configs/%s.yaml", name);
  check_ok(cf_load(path, NULL, 0, true, &c));
  return c;
}

static void test_paper_runs(void **state) {
  static const char *const names[] = {"depth_marigold", "depth_sd2", "normals_marigold", "normals_sd2"};

  (void)state;
  for (int i = 0; i < 4; i++) {
    cf_config *c = preset(names[i]);
    assert_int_equal(c->model.task, i < 2 ? CF_DEPTH : CF_NORMALS);
    assert_true(c->model.text == CF_PADDED && c->model.noise == CF_ZEROS && c->model.timestep == 999);
    assert_true(c->optim.steps == 20000 && c->optim.batch == 32 && c->optim.group == 2 && c->optim.lr == 3e-5);
    assert_true(c->optim.warmup == 100 && c->optim.decay_steps == 20000 && c->optim.final_ratio == 0.01);
    assert_true(c->optim.betas[0] == 0.9 && c->optim.betas[1] == 0.999 && c->optim.weight_decay == 0.01 && c->optim.eps == 1e-8);
    assert_true(c->optim.clip == 1 && c->run.precision == CF_FP32 && c->optim.schedule == CF_EXPONENTIAL);
    assert_int_equal(c->ndata, 2);
    assert_true(c->data[0].kind == CF_KIND_HYPERSIM && c->data[0].weight == 9 && c->data[0].size[0] == 480 && c->data[0].size[1] == 640);
    assert_true(c->data[1].kind == CF_KIND_VKITTI2 && c->data[1].weight == 1 && !c->data[1].size_set && !c->data[1].crop_set);
    assert_string_equal(c->data[0].root, "configs/../data/hypersim");
    cf_free(&c);
  }
}

static void test_quickstart(void **state) {
  cf_config *c = preset("quickstart");

  (void)state;
  assert_true(io_is_dir(c->model.path) && c->ndata == 2);
  cf_free(&c);
}

static void test_readme_table(void **state) {
  static const char head[] = "| key | value |";
  char *readme = NULL, *table = NULL;
  size_t n = 0;

  (void)state;
  check_ok(io_read_file("README.md", 1 << 20, &readme, &n));
  FILE *f = open_memstream(&table, &n);
  assert_non_null(f);
  check_ok(cf_print_keys(f));
  fclose(f);
  char *at = strstr(readme, head), *end = at ? strstr(at, "\n\n") : NULL;
  if (!end) fail_msg("README.md has no table that starts with %s", head);
  end[1] = 0;
  assert_string_equal(at, table);
  free(readme);
  free(table);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_paper_runs), cmocka_unit_test(test_quickstart), cmocka_unit_test(test_readme_table)};

  if (argc > 1 && strcmp(argv[1], "--keys") == 0) return cf_print_keys(stdout) == OK ? 0 : 1; /* to paste into the README */
  return cmocka_run_group_tests(tests, NULL, NULL);
}
