/* Values, their defaults, what is inherited, overridden, and where each came from. */
#include <unistd.h>

#include "tests/support/config_file.h"

static void test_defaults(void **state) {
  cf_config *c = config_load(state, "data:\n- root: d\n", NULL, NULL, NULL);

  assert_string_equal(c->run.dir, "runs/c");
  assert_int_equal(c->run.seed, 0);
  assert_null(c->model.path);
  assert_int_equal(c->model.timestep, 999);
  assert_int_equal(c->model.noise, CF_ZEROS);
  assert_null(c->objective.loss);
  assert_int_equal(c->ndata, 1);
  assert_int_equal(c->data[0].kind, CF_KIND_HYPERSIM);
  assert_string_equal(c->data[0].root, tmpdir_at(state, "d"));
  assert_string_equal(c->data[0].split, "train");
  assert_false(c->data[0].size_set);
  assert_false(c->data[0].crop_set);
  assert_true(c->data[0].near_m == 1e-5 && c->data[0].far_m == 0 && c->data[0].flip == 0.5 && c->data[0].weight == 1);
  assert_true(c->data[0].shuffle);
  assert_int_equal(c->data[0].domain, CF_DOMAIN_UNSET);
  assert_int_equal(c->loader.workers, 0);
  assert_true(c->optim.steps == 20000 && c->optim.batch == 32 && c->optim.group == 2 && c->optim.micro_batch == 0);
  assert_true(c->optim.lr == 3e-5 && c->optim.warmup == 100 && c->optim.decay_steps == 0 && c->optim.final_ratio == 0.01);
  assert_true(c->optim.betas[0] == 0.9 && c->optim.betas[1] == 0.999 && c->optim.weight_decay == 0.01 && c->optim.eps == 1e-8);
  assert_true(c->optim.clip == 1 && c->optim.ema == 0 && c->optim.max_nonfinite == 10);
  cf_free(&c);
  assert_null(c);
  cf_free(&c);
}

static void test_ways_to_write_numbers(void **state) {
  static const char *const same[] = {"3e-5", "3.0e-5", "0.00003", "+3E-05", ".00003"};
  char text[128];

  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    snprintf(text, sizeof text, "optim: {lr: %s, clip: 2, steps: 1e4, weight_decay: 1}\n" DATA_LINES, same[i]);
    cf_config *c = config_load(state, text, NULL, NULL, NULL);
    assert_true(c->optim.lr == 3e-5 && c->optim.clip == 2 && c->optim.steps == 10000 && c->optim.weight_decay == 1);
    cf_free(&c);
  }
}

static void test_every_type(void **state) {
  cf_config *c = config_load(state,
                             "run: {dir: /r, seed: 18446744073709551615, device: cpu, precision: bf16, deterministic: true}\n"
                             "model: {path: ../m, task: normals, text: padded}\n"
                             "objective: {loss: angular}\n"
                             "optim: {micro_batch: 4, decay_steps: 7, betas: [0, 0.5], nonfinite: reference}\n"
                             "loader: {workers: 3}\n"
                             "validate: {sets: [a, 'b c', 'nyuv2:x/y.tar', 'eth3d:/z'], best: abs_rel}\n"
                             "data:\n"
                             "- {kind: vkitti2, root: /v, size: native, crop: [352, 1216], near: 1, far: 2.5, domain: outdoor}\n"
                             "- {kind: hypersim, root: '~/h', size: [3, 5], layout: marigold, filter: marigold, bad_file: fatal}\n"
                             "- {kind: batches, root: b}\n",
                             NULL, NULL, NULL);

  assert_true(c->run.seed == UINT64_MAX && c->run.device == CF_CPU && c->run.precision == CF_BF16 && c->run.deterministic);
  assert_string_equal(c->model.path, tmpdir_at(state, "../m"));
  assert_true(c->model.task == CF_NORMALS && c->model.text == CF_PADDED);
  assert_string_equal(c->objective.loss, "angular");
  assert_true(c->optim.micro_batch == 4 && c->optim.decay_steps == 7 && c->optim.betas[0] == 0 && c->optim.betas[1] == 0.5);
  assert_int_equal(c->optim.nonfinite, CF_REFERENCE);
  assert_int_equal(c->loader.workers, 3);
  assert_int_equal(c->validate.nsets, 4);
  assert_string_equal(c->validate.sets[1], "b c");
  assert_true(!strncmp(c->validate.sets[2], "nyuv2:", 6)); /* a path in it is relative to the file, as all are */
  assert_string_equal(c->validate.sets[2] + 6, tmpdir_at(state, "x/y.tar"));
  assert_string_equal(c->validate.sets[3], "eth3d:/z");
  assert_string_equal(c->validate.best, "abs_rel");
  assert_int_equal(c->ndata, 3);
  assert_true(c->data[0].size_set && c->data[0].size[0] == 0 && c->data[0].crop_set && c->data[0].crop[1] == 1216);
  assert_true(c->data[0].near_m == 1 && c->data[0].far_m == 2.5 && c->data[0].domain == CF_OUTDOOR);
  assert_string_equal(c->data[1].root, tmpdir_at(state, "~/h")); /* no shell here: ~ is a folder's name */
  assert_true(c->data[1].size[0] == 3 && c->data[1].size[1] == 5 && c->data[1].layout == CF_LAYOUT_MARIGOLD);
  assert_true(c->data[1].filter == CF_FILTER_MARIGOLD && c->data[1].bad_file == CF_BAD_FATAL);
  assert_string_equal(cf_kind_name(c->data[2].kind), "batches");
  cf_free(&c);
}

static void test_null_and_empty_sections(void **state) {
  cf_config *c = config_load(state, "run:\n  # seed: 3\nmodel: {path: null}\nobjective: {loss: ~}\ndata: [{root: /d, size: null, far: null}]\n",
                             NULL, NULL, NULL);

  assert_null(c->model.path);
  assert_null(c->objective.loss);
  assert_true(!c->data[0].size_set && c->data[0].far_m == 0);
  cf_free(&c);
}

static void test_base(void **state) {
  check_ok(io_make_dirs(tmpdir_at(state, "sub")));
  config_write(state, "sub/bottom.yaml", "run: {dir: out, seed: 1}\noptim: {lr: 1, steps: 1}\nmodel: {path: m}\ndata: [{root: a}, {root: b}]\n");
  config_write(state, "middle.yaml", "base: sub/bottom.yaml\noptim: {lr: 2, batch: 4}\nrun:\n  # nothing of its own\n");
  cf_config *c = config_load(state, "base: middle.yaml\noptim: {lr: 3}\ndata: [{root: c}]\n", NULL, NULL, NULL);

  assert_true(c->optim.lr == 3 && c->optim.steps == 1 && c->optim.batch == 4 && c->run.seed == 1);
  assert_int_equal(c->ndata, 1); /* lists are replaced whole */
  assert_string_equal(c->data[0].root, tmpdir_at(state, "c"));
  assert_string_equal(c->model.path, tmpdir_at(state, "sub/m")); /* beside the file that says it */
  assert_string_equal(c->run.dir, tmpdir_at(state, "sub/out"));
  cf_free(&c);
  config_write(state, "bottom.yaml", "optim: {lr: x}\n");
  config_fails(state, "base: bottom.yaml\nrun: {sed: 1}\n" DATA_LINES, NULL,
               "bottom.yaml:1:13: optim.lr: wants a number, found x\nc.yaml:2:7: run.sed: unknown key; did you mean seed");
}

static void test_overrides(void **state) {
  cf_config *c = config_load(state, "optim: {lr: 1}\ndata: [{root: a}]\n", "optim.lr=2", "optim.lr=3e-4", "data.0.root=here");
  assert_true(c->optim.lr == 3e-4);
  assert_string_equal(c->data[0].root, "here"); /* of the working folder */
  cf_free(&c);

  c = config_load(state, "run: {seed: 3}\n", "data.0.kind=vkitti2", "data.0.root=/v", "data.1.root=/w");
  assert_int_equal(c->ndata, 2);
  assert_int_equal(c->data[0].kind, CF_KIND_VKITTI2);
  cf_free(&c);

  c = config_load(state, DATA_LINES, "data=[{kind: batches, root: b}]", "optim={lr: 5, batch: 6}", "optim.betas=[0, 0]");
  assert_true(c->ndata == 1 && c->data[0].kind == CF_KIND_BATCHES && c->optim.lr == 5 && c->optim.batch == 6);
  assert_true(c->optim.betas[0] == 0 && c->optim.group == 2);
  assert_string_equal(c->data[0].root, "b");
  cf_free(&c);

  c = config_load(state, "model: {path: m}\n" DATA_LINES, "model.path=null", "run.dir=a=b: c", "data.0.size=[8, 16]");
  assert_null(c->model.path);
  assert_string_equal(c->run.dir, "a=b: c"); /* the rest of the word as it is */
  assert_true(c->data[0].size_set && c->data[0].size[1] == 16);
  cf_free(&c);
}

static void test_line_ends_and_byte_order_mark(void **state) {
  cf_config *c = config_load(state, "\xef\xbb\xbfoptim:\r\n  lr: 3e-4\r\n\r\ndata:\r\n- root: /d\r\n", NULL, NULL, NULL);

  assert_true(c->optim.lr == 3e-4);
  assert_string_equal(c->data[0].root, "/d");
  cf_free(&c);
}

static void test_relative_config_path(void **state) {
  char before[IO_PATH_MAX];
  cf_config *c = NULL;

  assert_non_null(getcwd(before, sizeof before));
  config_write(state, "x.y.yaml", "data: [{root: d}]\nmodel: {path: /m}\n");
  assert_int_equal(chdir(*state), 0);
  check_ok(cf_load("x.y.yaml", NULL, 0, true, &c));
  assert_string_equal(c->data[0].root, "d");
  assert_string_equal(c->run.dir, "runs/x.y");
  cf_free(&c);
  assert_int_equal(chdir(before), 0);
}

/* A good file cut at every byte either loads or says why, and never crashes. */
static void test_cut_at_every_byte(void **state) {
  static const char good[] = "# a comment\nbase: b.yaml\nrun: {dir: \"x\\ty\", seed: 7}\nmodel:\n  path: ../m\n  task: 'normals'\n"
                             "optim: {lr: 3.0e-5, betas: [0.9, 0.99]}\ndata:\n- kind: vkitti2\n  root: /v\n  size: [8, 8]\n"
                             "- {kind: batches, root: /b}\nvalidate: {sets: [a, b]}\nlog: {every: 2}\n";
  char cut[sizeof good];
  size_t loaded = 0;

  config_write(state, "b.yaml", "optim: {steps: 5}\n");
  for (size_t n = 0; n < sizeof good; n++) {
    cf_config *c = NULL;
    memcpy(cut, good, n);
    cut[n] = 0;
    const int st = cf_load(config_write(state, "c.yaml", cut), NULL, 0, false, &c);
    assert_true(st == OK || (st == E_CONFIG && *err_text() && !c));
    loaded += st == OK;
    cf_free(&c);
  }
  assert_in_range(loaded, 10, sizeof good - 1);
}

/* And with each byte changed. */
static void test_every_byte_changed(void **state) {
  static const char good[] = "run: {seed: 7}\nmodel:\n  task: 'normals'\noptim: {lr: 3.0e-5, betas: [0.9, 0.99]}\n"
                             "data:\n- kind: vkitti2\n  root: /v\n  size: [8, 8]\n";
  static const char bytes[] = {0, '\n', '[', '{', '"', '&', '*', '!', ':', '-', ' ', '\t', '9', (char)0xff, '|', '%', '#', ','};
  char text[sizeof good];

  for (size_t n = 0; n < sizeof good - 1; n++)
    for (size_t b = 0; b < sizeof bytes; b++) {
      cf_config *c = NULL;
      memcpy(text, good, sizeof good);
      text[n] = bytes[b];
      check_ok(io_write_file(tmpdir_at(state, "c.yaml"), text, sizeof good - 1));
      const int st = cf_load(tmpdir_at(state, "c.yaml"), NULL, 0, false, &c);
      assert_true(st == OK || (st == E_CONFIG && *err_text()));
      cf_free(&c);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_defaults),  TEST(test_ways_to_write_numbers), TEST(test_every_type),        TEST(test_null_and_empty_sections), TEST(test_base),
      TEST(test_overrides), TEST(test_relative_config_path), TEST(test_line_ends_and_byte_order_mark),  TEST(test_cut_at_every_byte), TEST(test_every_byte_changed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
