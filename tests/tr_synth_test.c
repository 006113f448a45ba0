/* Rendered data from the command line, and through it: what synth writes, inspect finds and train trains on. */
#include "tests/support/program.h"
#include "tests/support/tmpdir.h"

static void synth(const char *out, const char *rooms, const char *streets) {
  program p = program_run(60, "synth", "-o", out, "--seed", "3", "--rooms", rooms, "--frames", "2", "--streets", streets,
                          "--street-frames", "1", "--weathers", "2", "--size", "40x56", "--truth", NULL);

  program_expect(&p, 0);
  if (atoi(rooms)) assert_non_null(strstr(p.out, "/hypersim\n"));
  program_free(&p);
}

static void rendered_data_trains(void **state) {
  const char *config = tmpdir_at(state, "c.yaml"), *data = tmpdir_at(state, "data");
  FILE *f = fopen(config, "w");

  assert_non_null(f);
  fprintf(f,
          "run: {dir: run, device: cpu}\nmodel: {path: %s/golden/models/tiny-marigold}\n"
          "data:\n  - {kind: hypersim, root: data/hypersim, size: [40, 56], weight: 2}\n"
          "  - {kind: vkitti2, root: data/virtual_kitti_2, size: [40, 56]}\n"
          "loader: {workers: 2}\noptim: {steps: 2, batch: 8, group: 2, lr: 1e-3, warmup: 0}\n",
          TEST_DATA);
  fclose(f);
  synth(data, "3", "1");
  program p = program_run(60, "inspect", config, NULL);
  program_expect(&p, 0);
  assert_non_null(strstr(p.out, "6")); /* three rooms of two frames */
  program_free(&p);
  p = program_run(120, "train", config, NULL);
  program_expect(&p, 0);
  program_free(&p);
  assert_true(io_exists(tmpdir_at(state, "run/model/unet/diffusion_pytorch_model.safetensors")));
}

static void none_of_a_layout_is_none(void **state) {
  const char *out = tmpdir_at(state, "out");

  synth(out, "0", "1");
  assert_false(io_exists(tmpdir_at(state, "out/hypersim")));
  assert_true(io_is_dir(tmpdir_at(state, "out/virtual_kitti_2/vkitti_2.0.3_rgb/Scene01/fog/frames/rgb/Camera_1")));
}

static void mistakes_are_usage_errors(void **state) {
  const char *out = tmpdir_at(state, "out");
  const struct { const char *option, *value, *words; } bad[] = {{"--size", "40", "--size: wanted HxW"},
                                                                {"--rooms", "many", "--rooms: wanted a number"},
                                                                {"--streets", "9", "streets 9, want 0 to 5"},
                                                                {"--weathers", "7", "weathers 7, want 1 to 6"}};

  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    program p = program_run(30, "synth", "-o", out, bad[i].option, bad[i].value, NULL);
    program_expect_error(&p, 2, bad[i].words);
    program_free(&p);
  }
  program p = program_run(30, "synth", NULL);
  program_expect_error(&p, 2, "--output DIR is missing");
  program_free(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(rendered_data_trains, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(none_of_a_layout_is_none, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(mistakes_are_usage_errors, tmpdir_setup, tmpdir_teardown)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
