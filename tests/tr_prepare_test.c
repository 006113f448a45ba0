/* e2eft prepare, and training from what it made: the same bits as from the files. */
#include <sys/statvfs.h>

#include "base/rng.h"
#include "tests/support/damage.h"
#include "tests/support/runs.h"

enum { H = 40, W = 56 };

/* Rooms and streets in both layouts, once for all tests. */
static char data_dir[IO_PATH_MAX];

static int render(void **state) {
  if (tmpdir_setup(state)) return -1;
  snprintf(data_dir, sizeof data_dir, "%s", (const char *)*state);
  program p = program_run(60, "synth", "-o", data_dir, "--seed", "3", "--rooms", "3", "--frames", "3", "--streets", "1",
                          "--street-frames", "2", "--weathers", "2", "--size", "48x64", NULL);
  const int status = p.status;
  program_free(&p);
  return status;
}

/* Two data sets with their caches c0 and c1; `more` is added to the first. */
static const char *config_of(void **state, const char *task, const char *more) {
  const char *config = tmpdir_at(state, "%s.yaml", task);
  FILE *f = fopen(config, "w");

  assert_non_null(f);
  fprintf(f,
          "run: {dir: run, device: cpu}\nmodel: {path: %s/golden/models/%s, task: %s}\n"
          "data:\n  - {kind: hypersim, root: %s/hypersim, size: [%d, %d], weight: 2, cache: c0%s}\n"
          "  - {kind: vkitti2, root: %s/virtual_kitti_2, size: native, crop: [%d, %d], cache: c1}\n"
          "loader: {workers: 2}\noptim: {steps: 3, batch: 8, group: 2, lr: 1e-3, warmup: 0}\n",
          TEST_DATA, !strcmp(task, "depth") ? "tiny-marigold" : "tiny-sd2", task, data_dir, H, W, more, data_dir, H, W);
  fclose(f);
  return config;
}

static program prepare(const char *config, const char *set) {
  program p = program_run(120, "prepare", config, set ? "-s" : NULL, set, NULL);
  return p;
}

static void prepare_well(const char *config) {
  program p = prepare(config, NULL);
  program_expect(&p, 0);
  program_free(&p);
}

static void same_file(const char *a, const char *b) {
  damaged x = damaged_load(a), y = damaged_load(b);

  if (x.n != y.n || memcmp(x.bytes, y.bytes, x.n)) fail_msg("%s and %s differ", a, b);
  damaged_free(&x);
  damaged_free(&y);
}

/* The files' metadata tells the configs apart. */
static void same_weights(const char *a, const char *b) {
  size_t n;
  float *d = runs_differences(a, b, &n);

  assert_true(n > 0 && d[n - 1] == 0);
  free(d);
}

static const char weights[] = "model/unet/diffusion_pytorch_model.safetensors";

/* Trains from the caches in `cached`, from files in `files`: the same numbers, the same weights. */
static void trains_the_same(void **state, const char *config, const char *workers) {
  const char *cached = tmpdir_at(state, "cached"), *files = tmpdir_at(state, "files");

  RUNS_TRAIN(0, config, cached, "-s", workers);
  if (!io_exists(files)) RUNS_TRAIN(0, config, files, "-s", "data.0.cache=null", "-s", "data.1.cache=null");
  runs_same_metrics(cached, files, 0);
  same_weights(tmpdir_at(state, "cached/%s", weights), tmpdir_at(state, "files/%s", weights));
  check_ok(io_remove_tree(cached));
}

static void depth_from_the_cache_is_depth_from_files(void **state) {
  const char *config = config_of(state, "depth", "");

  prepare_well(config);
  trains_the_same(state, config, "loader.workers=1");
  trains_the_same(state, config, "loader.workers=16");
  /* one of two data sets prepared, packed together with the other */
  trains_the_same(state, config, "data.1.cache=null");
}

static void normals_from_the_cache_are_normals_from_files(void **state) {
  const char *config = config_of(state, "normals", "");

  prepare_well(config);
  trains_the_same(state, config, "loader.workers=2");
}

/* Weights of bf16 runs: the latents stored are those that the encoder gives in bf16. */
static void bf16_too(void **state) {
  const char *config = config_of(state, "depth", "");
  const char *cached = tmpdir_at(state, "cached"), *files = tmpdir_at(state, "files");
  program p = prepare(config, "run.precision=bf16");

  program_expect(&p, 0);
  program_free(&p);
  RUNS_TRAIN(0, config, cached, "-s", "run.precision=bf16");
  RUNS_TRAIN(0, config, files, "-s", "run.precision=bf16", "-s", "data.0.cache=null", "-s", "data.1.cache=null");
  runs_same_metrics(cached, files, 0);
  RUNS_TRAIN(3, config, tmpdir_at(state, "other"), "-s", "run.precision=fp32");
}

static void resuming_from_the_cache_changes_nothing(void **state) {
  const char *config = config_of(state, "depth", "");
  const char *whole = tmpdir_at(state, "whole"), *parts = tmpdir_at(state, "parts");

  prepare_well(config);
  RUNS_TRAIN(0, config, whole, "-s", "checkpoint.every=1", "-s", "checkpoint.keep=0");
  char from[IO_PATH_MAX];
  check_ok(io_path(from, "--resume=%s/checkpoints/step-000001", whole));
  RUNS_TRAIN(0, config, parts, from, "-s", "data.0.cache=null"); /* and the cache is no part of what a run is */
  same_weights(tmpdir_at(state, "whole/%s", weights), tmpdir_at(state, "parts/%s", weights));
}

/* ---- what is refused ---- */

static void what_was_made_from_something_else_is_refused(void **state) {
  static const struct { const char *set, *words; } changes[] = {
      {"data.0.near=0.5", "data.0.cache: "},
      {"data.0.near=0.5", "near is now 0.5, was 1.0000000000000001e-05"},
      {"data.0.far=20", "far is now 20, was 65"},
      {"data.0.size=[48, 56]", "size is now [48, 56], was [40, 56]"},
      {"data.0.as_reference=true", "as_reference is now true, was false"},
      {"data.0.intrinsics=fixed", " is now "},
      {"data.1.crop=[32, 56]", "crop is now [32, 56], was [40, 56]"},
      {"run.precision=bf16", "precision is now bf16, was fp32"},
      {"model.init=random", "vae is now "},
  };
  const char *config = config_of(state, "depth", "");

  prepare_well(config);
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    program p = runs_train(3, config, tmpdir_at(state, "r%zu", i), "-s", changes[i].set, NULL);
    program_expect_error(&p, 3, changes[i].words);
    program_free(&p);
    p = prepare(config, changes[i].set);
    program_expect_error(&p, 3, changes[i].words);
    program_free(&p);
  }
}

static void mistakes_are_said(void **state) {
  const char *config = config_of(state, "depth", "");
  program p = program_run(60, "prepare", config, "-s", "data.0.cache=null", "-s", "data.1.cache=null", NULL);

  program_expect_error(&p, 2, "data.0.cache: not set");
  program_free(&p);
  p = program_run(60, "prepare", config, "-s", "data.0.cache=c", "-s", "data.1.cache=c", NULL);
  program_expect_error(&p, 2, "needs a folder of its own");
  program_free(&p);
  p = prepare(config, "data.0.size=[44, 56]");
  program_expect_error(&p, 2, "44 x 56: training needs multiples of 8");
  program_free(&p);
  p = runs_train(3, config, tmpdir_at(state, "r"), "-s", "data.1.cache=nowhere", NULL);
  program_expect_error(&p, 3, "no prepared data");
  program_free(&p);
}

static void a_disk_that_is_too_small_is_refused(void **state) {
  const char *config = config_of(state, "normals", ""), *small = "/dev/shm";
  struct statvfs v;
  char cache[64];

  if (statvfs(small, &v) || (double)v.f_bavail * (double)v.f_frsize > 50e9) skip();
  snprintf(cache, sizeof cache, "data.0.cache=%s/e2eft-test-%ld", small, (long)getpid());
  program p = program_run(60, "prepare", config, "-s", cache, "-s", "data.0.size=[16000, 16000]", NULL);
  check_ok(io_remove_tree(cache + strlen("data.0.cache=")));
  program_expect_error(&p, 5, "are needed there in all");
  assert_non_null(strstr(p.err, "at most"));
  program_free(&p);
}

/* ---- damage ---- */

static const char *a_file(void **state, char *copy) {
  /* a tree of its own, to be damaged */
  snprintf(copy, IO_PATH_MAX, "%s/copy", (const char *)*state);
  check_ok(io_copy_tree(data_dir, copy));
  return tmpdir_at(state, "copy/hypersim/raw_data/ai_001_002/images/scene_cam_00_geometry_hdf5/frame.0001.depth_meters.hdf5");
}

static void broken_files_are_listed_and_passed_over(void **state) {
  const char *config = config_of(state, "depth", "");
  char copy[IO_PATH_MAX], root[IO_PATH_MAX + 32];
  const char *file = a_file(state, copy);
  damaged d = damaged_load(file);

  damaged_save(file, d.bytes, d.n / 3);
  damaged_free(&d);
  snprintf(root, sizeof root, "data.0.root=%.4000s/hypersim", copy);
  program p = prepare(config, root);
  program_expect(&p, 0);
  assert_non_null(strstr(p.out, "8 kept, 0 filtered, 1 broken"));
  assert_non_null(strstr(p.out, "broken   ai_001_002/cam_00/0001: "));
  assert_non_null(strstr(p.out, file));
  program_free(&p);
  damaged report = damaged_load(tmpdir_at(state, "c0/report.txt"));
  assert_non_null(strstr(report.bytes, file));
  damaged_free(&report);
  RUNS_TRAIN(0, config, tmpdir_at(state, "cached"), "-s", root);
  RUNS_TRAIN(0, config, tmpdir_at(state, "files"), "-s", root, "-s", "data.0.cache=null");
  runs_same_metrics(tmpdir_at(state, "cached"), tmpdir_at(state, "files"), 0);
  p = program_run(60, "prepare", config, "-s", root, "-s", "data.0.bad_file=fatal", NULL);
  program_expect_error(&p, 3, "1 broken files, and bad_file is fatal");
  program_free(&p);
}

static int count(const char *text, const char *word) {
  int n = 0;

  while ((text = strstr(text, word))) text++, n++;
  return n;
}

/* A few rows of a shard damaged: each is reported once, training goes on with the rest. */
static void a_damaged_shard_is_reported_and_passed_over(void **state) {
  const char *config = config_of(state, "depth", ""), *shard = tmpdir_at(state, "c0/shard-00000.h5");

  prepare_well(config);
  damaged d = damaged_load(shard);
  for (size_t at = 0; at < 20000; at += 4000) d.bytes[d.n * 2 / 3 + at] ^= 1;
  damaged_save(shard, d.bytes, d.n);
  program p = runs_train(0, config, tmpdir_at(state, "skip"), "-s", "optim.steps=6", NULL);
  const int bad = count(p.err, "is damaged: its hash is not the manifest's");
  assert_true(bad > 0 && bad <= 3 && bad == count(p.err, "bad file skipped"));
  assert_non_null(strstr(p.err, shard));
  program_free(&p);
  p = runs_train(3, config, tmpdir_at(state, "fatal"), "-s", "data.0.bad_file=fatal", "-s", "optim.steps=6", NULL);
  program_expect_error(&p, 3, "is damaged: its hash is not the manifest's");
  program_free(&p);
  damaged_free(&d);
}

/* Without a model hashes alone are kept; training from files then takes no frame that has changed since. */
static void a_file_that_changed_since_is_not_trained_on(void **state) {
  const char *config = config_of(state, "depth", "");
  char copy[IO_PATH_MAX], root[IO_PATH_MAX + 32];
  const char *file = a_file(state, copy);

  snprintf(root, sizeof root, "data.0.root=%.4000s/hypersim", copy);
  program p = program_run(120, "prepare", config, "-s", root, "-s", "model.path=null", NULL);
  program_expect(&p, 0);
  assert_non_null(strstr(p.out, "9 kept, 0 filtered, 0 broken; hashes alone"));
  program_free(&p);
  p = runs_train(0, config, tmpdir_at(state, "before"), "-s", root, "-s", "optim.steps=6", NULL);
  assert_null(strstr(p.err, "bad file"));
  program_free(&p);
  check_ok(io_copy_file(tmpdir_at(state, "copy/hypersim/raw_data/ai_001_001/images/scene_cam_00_geometry_hdf5/"
                                         "frame.0000.depth_meters.hdf5"), file));
  p = runs_train(0, config, tmpdir_at(state, "after"), "-s", root, "-s", "optim.steps=6", NULL);
  assert_int_equal(count(p.err, "ai_001_002/cam_00/0001: not what it was when"), 1);
  assert_int_equal(count(p.err, "bad file skipped"), 1);
  program_free(&p);
}

/* ---- kills ---- */

static void killed_preparing_goes_on(void **state) {
  const char *config = config_of(state, "depth", "");
  const rng_key k = rng_stream(1, "kills", 0, 0);
  static const char *const files[] = {"shard-00000.h5", "manifest.tsv"};
  char sets[2][IO_PATH_MAX];
  int kills = 0;

  for (int c = 0; c < 2; c++) check_ok(io_path(sets[c], "data.%d.cache=%s", c, tmpdir_at(state, "k%d", c)));
  const char *const args[] = {"prepare", config, "-s", sets[0], "-s", sets[1], NULL};
  prepare_well(config);
  for (int n = 0; n < 200 && kills < 20; n++) {
    program p = program_start_v(args);
    for (int naps = (int)rng_below(&k, (uint64_t)n, 400); naps > 0 && !waitpid(p.pid, &(int){0}, WNOHANG | WNOWAIT); naps--)
      program_nap();
    kill(-p.pid, SIGKILL);
    program_wait(&p, 60);
    kills += p.status == 128 + SIGKILL;
    if (p.status != 128 + SIGKILL) {
      program_expect(&p, 0);
      check_ok(io_remove_tree(tmpdir_at(state, "k0")));
      check_ok(io_remove_tree(tmpdir_at(state, "k1")));
    }
    program_free(&p);
  }
  assert_int_equal(kills, 20);
  program p = program_start_v(args);
  program_wait(&p, 60);
  program_expect(&p, 0);
  program_free(&p);
  for (int c = 0; c < 2; c++)
    for (int i = 0; i < 2; i++) same_file(tmpdir_at(state, "c%d/%s", c, files[i]), tmpdir_at(state, "k%d/%s", c, files[i]));
}

static void a_signal_stops_it_with_status_75(void **state) {
  const char *config = config_of(state, "depth", "");
  program p = program_start_v((const char *[]){"prepare", config, NULL});

  for (int naps = 0; naps < 5000 && !io_exists(tmpdir_at(state, "c1/manifest.part")); naps++) program_nap();
  for (int naps = 0; naps < 50; naps++) program_nap(); /* until the handler is there */
  kill(p.pid, SIGTERM);
  program_wait(&p, 60);
  if (p.status != 0 && p.status != 128 + SIGTERM) program_expect_error(&p, 75, "the same command goes on");
  program_free(&p);
  prepare_well(config);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(depth_from_the_cache_is_depth_from_files),
                                     TEST(normals_from_the_cache_are_normals_from_files),
                                     TEST(bf16_too),
                                     TEST(resuming_from_the_cache_changes_nothing),
                                     TEST(what_was_made_from_something_else_is_refused),
                                     TEST(mistakes_are_said),
                                     TEST(a_disk_that_is_too_small_is_refused),
                                     TEST(broken_files_are_listed_and_passed_over),
                                     TEST(a_damaged_shard_is_reported_and_passed_over),
                                     TEST(a_file_that_changed_since_is_not_trained_on),
                                     TEST(killed_preparing_goes_on),
                                     TEST(a_signal_stops_it_with_status_75)};

  return cmocka_run_group_tests(tests, render, tmpdir_teardown);
}
