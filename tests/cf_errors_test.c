/* Every kind of mistake in a config, with the exact words that the user sees. */
#include "tests/support/config_file.h"

static void test_unknown_keys(void **state) {
  config_fails(state, "optim:\n  warmup_stpes: 5\n" DATA_LINES, NULL, "c.yaml:2:3: optim.warmup_stpes: unknown key; did you mean warmup");
  config_fails(state, "optim:\n  Lr: 5\n" DATA_LINES, NULL, "c.yaml:2:3: optim.Lr: unknown key; did you mean lr");
  config_fails(state, "optm:\n  lr: 5\n" DATA_LINES, NULL, "c.yaml:1:1: optm: unknown key; did you mean optim");
  config_fails(state, "lr: 5\n" DATA_LINES, NULL, "c.yaml:1:1: lr: unknown key; did you mean optim.lr");
  config_fails(state, "run:\n  lr: 5\n" DATA_LINES, NULL, "c.yaml:2:3: run.lr: unknown key; did you mean optim.lr");
  config_fails(state, "run:\n  xylophone: 5\n" DATA_LINES, NULL, "c.yaml:2:3: run.xylophone: unknown key");
  config_fails(state, "data:\n- {root: /d, wieght: 2}\n", NULL, "c.yaml:2:14: data.0.wieght: unknown key; did you mean weight");
  config_fails(state, "? [a, b]\n: 1\n" DATA_LINES, NULL, "c.yaml:1:3: a key must be one word");
}

static void test_duplicates(void **state) {
  config_fails(state, "optim:\n  lr: 1\n  steps: 2\n  lr: 1\n" DATA_LINES, NULL,
               "c.yaml:4:3: optim.lr: duplicate key; the first is in line 2");
  config_fails(state, "run:\n  seed: 1\nrun:\n  seed: 1\n" DATA_LINES, NULL, "c.yaml:3:1: run: duplicate key; the first is in line 1");
  config_fails(state, "data:\n- {root: /d,\n   root: /e}\n", NULL, "c.yaml:3:4: data.0.root: duplicate key; the first is in line 2");
}

static void test_numbers(void **state) {
  config_fails(state, "optim: {lr: fast}\n" DATA_LINES, NULL, "c.yaml:1:13: optim.lr: wants a number, found fast");
  config_fails(state, "optim: {lr: '1'}\n" DATA_LINES, NULL,
               "c.yaml:1:13: optim.lr: wants a number, found the text \"1\"; without the quotes?");
  config_fails(state, "optim: {lr: 3e-5x}\n" DATA_LINES, NULL, "c.yaml:1:13: optim.lr: wants a number, found 3e-5x");
  config_fails(state, "optim: {lr: .nan}\n" DATA_LINES, NULL, "c.yaml:1:13: optim.lr: wants a number, found .nan");
  config_fails(state, "optim: {lr: 0x10}\n" DATA_LINES, NULL, "c.yaml:1:13: optim.lr: wants a number, found 0x10");
  config_fails(state, "optim: {lr: [1]}\n" DATA_LINES, NULL, "c.yaml:1:13: optim.lr: wants a number, found a list");
  config_fails(state, "optim: {lr: {a: 1}}\n" DATA_LINES, NULL, "c.yaml:1:13: optim.lr: wants a number, found a section");
  config_fails(state, "optim:\n  lr:\n" DATA_LINES, NULL, "c.yaml:2:6: optim.lr: wants a number, found nothing");
  config_fails(state, "optim: {steps: 1.5}\n" DATA_LINES, NULL, "c.yaml:1:16: optim.steps: wants an integer, found 1.5");
  config_fails(state, "optim: {steps: many}\n" DATA_LINES, NULL, "c.yaml:1:16: optim.steps: wants an integer, found many");
  config_fails(state, "run: {seed: -1}\n" DATA_LINES, NULL, "c.yaml:1:13: run.seed: wants an integer, 0 or more, found -1");
  config_fails(state, "run: {seed: 18446744073709551616}\n" DATA_LINES, NULL,
               "c.yaml:1:13: run.seed: 18446744073709551616 is out of range: wants 0 to 18446744073709551615");
  config_fails(state, "optim: {betas: [0.9]}\n" DATA_LINES, NULL, "c.yaml:1:16: optim.betas: wants two numbers, [a, b], found a list of 1");
  config_fails(state, "optim: {betas: 0.9}\n" DATA_LINES, NULL, "c.yaml:1:16: optim.betas: wants two numbers, [a, b], found 0.9");
}

static void test_ranges(void **state) {
  config_fails(state, "optim: {steps: 0}\n" DATA_LINES, NULL, "c.yaml:1:16: optim.steps: 0 is out of range: wants 1 to 1000000000");
  config_fails(state, "optim: {lr: -1e-5}\n" DATA_LINES, NULL, "c.yaml:1:13: optim.lr: -1e-5 is out of range: wants 0 to 1000");
  config_fails(state, "optim: {lr: 1e999}\n" DATA_LINES, NULL, "c.yaml:1:13: optim.lr: 1e999 is out of range: wants 0 to 1000");
  config_fails(state, "optim: {ema: 1}\n" DATA_LINES, NULL, "c.yaml:1:14: optim.ema: 1 is out of range: wants 0 to below 1");
  config_fails(state, "optim: {final_ratio: 0}\n" DATA_LINES, NULL, "c.yaml:1:22: optim.final_ratio: 0 is out of range: wants above 0 to 1");
  config_fails(state, "optim: {betas: [0.9, 1]}\n" DATA_LINES, NULL, "c.yaml:1:22: optim.betas: 1 is out of range: wants 0 to below 1");
  config_fails(state, "data: [{root: /d, size: [0, 8]}]\n", NULL, "c.yaml:1:26: data.0.size: 0 is out of range: wants 1 to 65536");
  config_fails(state, "data: [{root: /d, flip: 1.5}]\n", NULL, "c.yaml:1:25: data.0.flip: 1.5 is out of range: wants 0 to 1");
}

static void test_words(void **state) {
  config_fails(state, "model: {task: depht}\n" DATA_LINES, NULL,
               "c.yaml:1:15: model.task: depht is none of depth, normals, joint; did you mean depth");
  config_fails(state, "model: {task: 3}\n" DATA_LINES, NULL, "c.yaml:1:15: model.task: 3 is none of depth, normals, joint");
  config_fails(state, "model: {task: [depth]}\n" DATA_LINES, NULL,
               "c.yaml:1:15: model.task: wants one of depth, normals, joint, found a list");
  config_fails(state, "data: [{root: /d, shuffle: yes}]\n", NULL,
               "c.yaml:1:28: data.0.shuffle: wants true or false, found yes; did you mean true");
  config_fails(state, "run: {deterministic: 'true'}\n" DATA_LINES, NULL,
               "c.yaml:1:22: run.deterministic: wants true or false, found the text \"true\"; without the quotes?");
  config_fails(state, "run: {deterministic: 1}\n" DATA_LINES, NULL, "c.yaml:1:22: run.deterministic: wants true or false, found 1");
  config_fails(state, "data: [{root: /d, size: big}]\n", NULL, "c.yaml:1:25: data.0.size: wants [H, W] or native, found big");
  config_fails(state, "data: [{root: /d, crop: native}]\n", NULL, "c.yaml:1:25: data.0.crop: wants [H, W], found native");
  config_fails(state, "data: [{root: /d, size: [8, 8, 8]}]\n", NULL, "c.yaml:1:25: data.0.size: wants [H, W] or native, found a list of 3");
  config_fails(state, "validate: {sets: nyu}\n" DATA_LINES, NULL, "c.yaml:1:18: validate.sets: wants a list of sets, found nyu");
  config_fails(state, "model: {path: [a]}\n" DATA_LINES, NULL, "c.yaml:1:15: model.path: wants a path, found a list");
  config_fails(state, "model: {path: ''}\n" DATA_LINES, NULL, "c.yaml:1:15: model.path: is empty");
}

static void test_structure(void **state) {
  config_fails(state, "optim: 3\n" DATA_LINES, NULL, "c.yaml:1:8: optim: wants keys below it, found a single value");
  config_fails(state, "optim: [3]\n" DATA_LINES, NULL, "c.yaml:1:8: optim: wants keys below it, found a list");
  config_fails(state, "data: {root: /d}\n", NULL, "c.yaml:1:7: data: wants a list of data sets, each `- {kind: ..., root: ...}`");
  config_fails(state, "data:\n- hypersim\n", NULL, "c.yaml:2:3: data.0: wants keys below it, found a single value");
  config_fails(state, "data:\n- kind: hypersim\n", NULL, "c.yaml:2:3: data.0.root: missing; wants the data set's folder");
  config_fails(state, "- a\n", NULL, "c.yaml:1:1: wants sections such as `optim:` at the top, found a list");
  config_fails(state, "words\n", NULL, "c.yaml:1:1: wants sections such as `optim:` at the top, found a single text");
  config_fails(state, "", NULL, "c.yaml: data: no data set is given");
  config_fails(state, "# only a comment\n", NULL, "c.yaml: data: no data set is given");
  config_fails(state, "data: []\n", NULL, "c.yaml: data: no data set is given");
}

static void test_syntax(void **state) {
  config_fails(state, "optim:\n  lr: [1,\n", NULL,
               "c.yaml:3:1: not YAML: did not find expected node content, while parsing a flow node");
  config_fails(state, "optim: &a {lr: 1}\n" DATA_LINES, NULL, "c.yaml:1:8: optim: anchors (&a) are not supported; write the value out");
  config_fails(state, "optim: *a\n" DATA_LINES, NULL, "c.yaml:1:8: optim: aliases (*a) are not supported; write the value out");
  config_fails(state, "optim: {lr: !!float 1}\n" DATA_LINES, NULL,
               "c.yaml:1:13: optim.lr: tags (tag:yaml.org,2002:float) are not supported");
  config_fails(state, DATA_LINES "---\nrun: {seed: 1}\n", NULL, "c.yaml:3:1: a second document; a config is one");
  config_fails(state, "run:\n\tseed: 1\n", NULL,
               "c.yaml:2:1: not YAML: found character that cannot start any token, while scanning for the next token");
  config_fails(state, "a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", NULL, "c.yaml:1:19: nested more than 16 deep");
  config_fails(state, "run: {dir: \"a\\0b\"}\n" DATA_LINES, NULL, "c.yaml:1:12: run.dir: a text with a zero byte in it");
  config_fails(state, "run: {dir: a}\nok: \x01\n", NULL, "c.yaml:2:5: not a text file: control characters are not allowed");
  config_fails(state, "run: {dir: \xff}\n", NULL, "c.yaml:1:12: not a text file: invalid leading UTF-8 octet");
}

static void test_files(void **state) {
  cf_config *c = NULL;
  char *big = calloc(1, (1 << 20) + 2);

  assert_non_null(big);
  check_fails(E_CONFIG, "nothing.yaml: cannot open: No such file or directory", cf_load(tmpdir_at(state, "nothing.yaml"), NULL, 0, false, &c));
  check_fails(E_CONFIG, "not a file but a folder", cf_load(*state, NULL, 0, false, &c));
  check_ok(io_write_file(tmpdir_at(state, "zeros"), big, 1000));
  check_fails(E_CONFIG, "not a text file: control characters are not allowed", cf_load(tmpdir_at(state, "zeros"), NULL, 0, false, &c));
  memset(big, '#', (1 << 20) + 1);
  check_fails(E_CONFIG, "1048577 bytes, at most 1048576 are allowed", cf_load(config_write(state, "big", big), NULL, 0, false, &c));
  free(big);
  config_fails(state, "base: none.yaml\n" DATA_LINES, NULL, "c.yaml:1:7: base: none.yaml: cannot open: No such file or directory");
  config_fails(state, "base: [a]\n" DATA_LINES, NULL, "c.yaml:1:7: base: wants the path of a config file");
  config_fails(state, "base: c.yaml\n" DATA_LINES, NULL, "c.yaml:1:7: base: c.yaml inherits from itself");
  config_write(state, "d.yaml", "base: c.yaml\n");
  config_fails(state, "base: d.yaml\n" DATA_LINES, NULL, "d.yaml:1:7: base: c.yaml inherits from itself");
}

static void test_keys_that_must_fit(void **state) {
  config_fails(state, "optim: {batch: 7}\n" DATA_LINES, NULL, "c.yaml:1:16: optim.batch: 7 is not divisible by optim.group, 2");
  config_fails(state, "optim: {group: 3}\n" DATA_LINES, NULL, "c.yaml:1:16: optim.batch: 32 is not divisible by optim.group, 3");
  config_fails(state, "optim: {micro_batch: 3}\n" DATA_LINES, NULL, "c.yaml:1:22: optim.micro_batch: 3 is not a multiple of optim.group, 2");
  config_fails(state, "objective: {loss: angular}\n" DATA_LINES, NULL,
               "c.yaml:1:19: objective.loss: angular does not fit model.task depth; did you mean affine_l1");
  config_fails(state, "model: {task: normals}\nobjective: {loss: affine_l1}\n" DATA_LINES, NULL,
               "c.yaml:2:19: objective.loss: affine_l1 does not fit model.task normals; did you mean angular");
  config_fails(state, "model: {task: joint}\n" DATA_LINES, NULL,
               "c.yaml:1:15: model.task: joint training is not built yet; wants depth or normals");
  config_fails(state, "data: [{root: /d, near: 70}]\n", NULL, "c.yaml:1:25: data.0.near: 70 is not below data.0.far, 65");
  config_fails(state, "data: [{root: /d, weight: 0}]\n", NULL, "c.yaml:1:27: data.0.weight: every data set has weight 0");
  config_fails(state, "data:\n- kind: batches\n  root: /d\n  flip: 0.5\n  shuffle: true\n  size: native\n  crop: [8, 8]\n"
               "  near: 1\n  far: 2\n  filter: none\n", NULL,
               "c.yaml:6:9: data.0.size: does not apply to kind batches, whose groups are used as stored\n"
               "c.yaml:7:9: data.0.crop: does not apply to kind batches, whose groups are used as stored\n"
               "c.yaml:8:9: data.0.near: does not apply to kind batches, whose groups are used as stored\n"
               "c.yaml:9:8: data.0.far: does not apply to kind batches, whose groups are used as stored\n"
               "c.yaml:4:9: data.0.flip: does not apply to kind batches, whose groups are used as stored\n"
               "c.yaml:5:12: data.0.shuffle: does not apply to kind batches, whose groups are used as stored\n"
               "c.yaml:10:11: data.0.filter: does not apply to kind batches, whose groups are used as stored");
}

static void test_model_is_needed(void **state) {
  cf_config *c = NULL;

  check_fails(E_CONFIG, "c.yaml: model.path: not set; wants the base model's diffusers folder",
              cf_load(config_write(state, "c.yaml", DATA_LINES), NULL, 0, true, &c));
}

static void test_all_at_once(void **state) {
  config_fails(state, "run: {sed: 1}\nmodel:\n  task: dpeth\n  path: &x m\noptim: {lr: -1, batch: 5, lr: 2}\ndata:\n- {weight: x}\n", NULL,
               "c.yaml:4:9: model.path: anchors (&x) are not supported; write the value out\n"
               "c.yaml:5:27: optim.lr: duplicate key; the first is in line 5\n"
               "c.yaml:1:7: run.sed: unknown key; did you mean seed\n"
               "c.yaml:3:9: model.task: dpeth is none of depth, normals, joint; did you mean depth\n"
               "c.yaml:5:13: optim.lr: -1 is out of range: wants 0 to 1000\n"
               "c.yaml:7:12: data.0.weight: wants a number, found x\n"
               "c.yaml:7:3: data.0.root: missing; wants the data set's folder\n"
               "c.yaml:5:24: optim.batch: 5 is not divisible by optim.group, 2");
}

static void test_very_many(void **state) {
  enum { LINES = 400 };
  char *text = calloc(1, LINES * 16 + 64), *at = text;
  cf_config *c = NULL;

  assert_non_null(text);
  at += sprintf(at, "run:\n");
  for (int i = 0; i < LINES; i++) at += sprintf(at, "  k%d: 1\n", i);
  strcat(at, DATA_LINES);
  check_fails(E_CONFIG, "and 300 more", cf_load(config_write(state, "c.yaml", text), NULL, 0, false, &c));
  free(text);
}

static void test_overrides(void **state) {
  config_fails(state, DATA_LINES, "optim.lrr=3", "-s optim.lrr=3: optim.lrr: unknown key; did you mean lr");
  config_fails(state, DATA_LINES, "optim.lr=abc", "-s optim.lr=abc: optim.lr: wants a number, found abc");
  config_fails(state, DATA_LINES, "optim.lr", "-s optim.lr: wants key=value, such as optim.lr=1e-5");
  config_fails(state, DATA_LINES, "=3", "-s =3: wants key=value, such as optim.lr=1e-5");
  config_fails(state, DATA_LINES, "optim..lr=3", "-s optim..lr=3: wants key=value, such as optim.lr=1e-5");
  config_fails(state, DATA_LINES, "data.4.root=/x", "-s data.4.root=/x: data.4.root: beyond the list, which holds 1");
  config_fails(state, DATA_LINES, "optim.betas=[0.9", "-s optim.betas=[0.9: not YAML: did not find expected ',' or ']', while parsing a flow sequence");
  config_fails(state, DATA_LINES, "base=x.yaml", "-s base=x.yaml: base: belongs in a config file; it is read before overrides");
  config_fails(state, DATA_LINES, "optim.lr.x=1", "-s optim.lr.x=1: optim.lr: wants a number, found a section");
  config_fails(state, "data:\n- kind: manifest\n  root: /d\n  as_reference: true\n  mm_wrap: true\n", NULL,
               "c.yaml:4:17: data.0.as_reference: does not apply to kind manifest\n"
               "c.yaml:5:12: data.0.mm_wrap: does not apply to kind manifest");
  config_fails(state, "data: [{kind: batches, root: /d}]\n", "data.0.flip=0",
               "-s data.0.flip=0: data.0.flip: does not apply to kind batches, whose groups are used as stored");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_unknown_keys), TEST(test_duplicates),          TEST(test_numbers),         TEST(test_ranges),      TEST(test_words),
      TEST(test_structure),    TEST(test_syntax),              TEST(test_files),           TEST(test_all_at_once), TEST(test_very_many),
      TEST(test_overrides),    TEST(test_keys_that_must_fit), TEST(test_model_is_needed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
