/* Damaged and missing input from the command line: one error that says what, the documented exit status, no hang. */
#define _GNU_SOURCE /* unshare */
#include "tests/support/runs.h"
#include "tests/support/stored.h"
#include "tests/support/tmpfs.h"

enum { CUTS = 20, LIMIT_S = 60 };

static program train(const char *config, const char *dir, const char *set) {
  char run_dir[IO_PATH_MAX];
  snprintf(run_dir, sizeof run_dir, "run.dir=%.4000s", dir);
  program p = program_start_v((const char *[]){"train", config, "-s", run_dir, "-s", set, "-s", "optim.steps=2", NULL});
  program_wait(&p, LIMIT_S);
  return p;
}

static void expect_error(void **state, const char *set, int status, const char *part) {
  program p = train(runs_config(state, "depth"), tmpdir_at(state, "run"), set);
  program_expect_error(&p, status, part);
  program_free(&p);
}

static void wrong_words(void **state) {
  const struct { const char *args[4]; const char *part; } all[] = {
      {{NULL}, "a command is missing"},
      {{"trian", NULL}, "did you mean 'train'?"},
      {{"train", NULL}, "CONFIG is missing"},
      {{"train", "none.yaml", NULL}, "none.yaml"},
      {{"train", "none.yaml", "--dry", NULL}, "none.yaml"},
      {{"inspect", "nothing", NULL}, "nothing: no such file"}};

  (void)state;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    program p = program_start_v(all[i].args);
    program_wait(&p, LIMIT_S);
    program_expect_error(&p, 2, all[i].part);
    program_free(&p);
  }
  program p = program_run(LIMIT_S, "--version", NULL);
  program_expect(&p, 0);
  assert_non_null(strstr(p.out, "libtorch"));
  program_free(&p);
  p = program_run(LIMIT_S, "train", "--help", NULL);
  program_expect(&p, 0);
  assert_non_null(strstr(p.out, "--dry-run"));
  program_free(&p);
}

static void config_mistakes(void **state) {
  expect_error(state, "optim.setps=3", 2, "did you mean");
  expect_error(state, "optim.batch=5", 2, "optim.group");
  expect_error(state, "optim.micro_batch=3", 2, "optim.micro_batch");
  expect_error(state, "data.0.flip=1", 2, "flip");
  expect_error(state, "objective.loss=angular", 2, "objective.loss");
  expect_error(state, "model.timestep=5000", 2, "model.timestep");
}

static void what_is_not_there(void **state) {
  expect_error(state, "data.0.root=/nowhere", 3, "/nowhere");
  expect_error(state, "model.path=/nowhere", 4, "/nowhere");
  expect_error(state, "optim.group=4", 3, "optim.group");
  expect_error(state, "run.device=cuda", 6, "run.device: cuda");
}

static void sizes_that_do_not_fit(void **state) {
  const char *config = tmpdir_at(state, "sizes.yaml");
  FILE *f = fopen(config, "w");

  assert_non_null(f);
  fprintf(f,
          "run: {device: cpu}\nmodel: {path: %s/golden/models/tiny-marigold}\n"
          "data: [{kind: hypersim, root: %s/synth/hypersim, size: [45, 64]}]\noptim: {batch: 2}\n",
          TEST_DATA, TEST_DATA);
  fclose(f);
  program p = train(config, tmpdir_at(state, "run"), "optim.lr=1e-3");
  program_expect_error(&p, 2, "data.0 (hypersim");
  assert_non_null(strstr(p.err, "45 x 64"));
  program_free(&p);
}

/* ---- cut files ---- */

static void cut(const char *path, const char *data, size_t size) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, size, f), size);
  fclose(f);
}

/* Runs `args` with `path` cut at CUTS places, from nothing to one byte short; all must be errors of this status that
 * name the file. */
static void cut_everywhere(const char *path, const char *const *args, int status) {
  const char *name = strrchr(path, '/') + 1;
  char *data = NULL;
  size_t size;

  check_ok(io_read_file(path, 1 << 26, &data, &size));
  for (int i = 0; i < CUTS; i++) {
    cut(path, data, i == CUTS - 1 ? size - 1 : size * (size_t)i / CUTS);
    program p = program_start_v(args);
    program_wait(&p, LIMIT_S);
    program_expect_error(&p, status, name);
    program_free(&p);
  }
  cut(path, data, size);
  program p = program_start_v(args);
  program_wait(&p, LIMIT_S);
  program_expect(&p, 0);
  program_free(&p);
  free(data);
}

static void cut_stored_groups(void **state) {
  const char *config = runs_config(state, "depth"), *dump = tmpdir_at(state, "dump");
  const char *const args[] = {"inspect", config, "--dump", dump, "--count", "1", NULL};
  cut_everywhere(tmpdir_at(state, "batches/000000.safetensors"), args, 3);
}

static const char *dump_config(void **state, const char *kind, const char *folder, const char *task) {
  const char *config = tmpdir_at(state, "%s.yaml", kind), *root = tmpdir_at(state, "%s", kind);
  char source[IO_PATH_MAX];
  FILE *f = fopen(config, "w");

  snprintf(source, sizeof source, "%s/synth/%s", TEST_DATA, folder);
  check_ok(io_copy_tree(source, root));
  assert_non_null(f);
  fprintf(f,
          "model: {task: %s}\ndata: [{kind: %s, root: %s, size: [48, 64], shuffle: false, flip: 0, bad_file: fatal}]\n"
          "loader: {workers: 1}\n",
          task, kind, root);
  fclose(f);
  return config;
}

static void cut_hdf5(void **state) {
  const char *config = dump_config(state, "hypersim", "hypersim", "depth"), *dump = tmpdir_at(state, "dump");
  const char *const args[] = {"inspect", config, "--dump", dump, "--count", "1", NULL};
  const char *images = "hypersim/raw_data/ai_001_001/images";
  cut_everywhere(tmpdir_at(state, "%s/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5", images), args, 3);
}

static void cut_png_and_jpeg(void **state) {
  const char *config = dump_config(state, "vkitti2", "virtual_kitti_2", "depth"), *dump = tmpdir_at(state, "dump");
  const char *const args[] = {"inspect", config, "--dump", dump, "--count", "1", NULL};
  const char *frames = "Scene01/morning/frames";
  cut_everywhere(tmpdir_at(state, "vkitti2/vkitti_2.0.3_depth/%s/depth/Camera_0/depth_00000.png", frames), args, 3);
  cut_everywhere(tmpdir_at(state, "vkitti2/vkitti_2.0.3_rgb/%s/rgb/Camera_0/rgb_00000.jpg", frames), args, 3);
}

static void cut_weights(void **state) {
  const char *model = tmpdir_at(state, "model"), *config = runs_config(state, "depth");
  char set[IO_PATH_MAX];
  const char *const args[] = {"train", config, "--dry-run", "-s", set, NULL};

  snprintf(set, sizeof set, "model.path=%.4000s", model);
  check_ok(io_copy_tree(TEST_DATA "/golden/models/tiny-marigold", model));
  cut_everywhere(tmpdir_at(state, "model/unet/diffusion_pytorch_model.safetensors"), args, 4);
}

/* With bad_file: skip, a damaged file costs its sample and nothing else. */
static void damaged_files_are_passed_over(void **state) {
  const char *config = dump_config(state, "vkitti2", "virtual_kitti_2", "depth");
  char model[IO_PATH_MAX], dir[IO_PATH_MAX];

  cut(tmpdir_at(state, "vkitti2/vkitti_2.0.3_depth/Scene01/morning/frames/depth/Camera_0/depth_00000.png"), "", 0);
  snprintf(model, sizeof model, "model.path=%s/golden/models/tiny-marigold", TEST_DATA);
  snprintf(dir, sizeof dir, "run.dir=%.4000s", tmpdir_at(state, "run"));
  program p = program_run(LIMIT_S, "train", config, "-s", model, "-s", dir, "-s", "data.0.bad_file=skip", "-s",
                          "optim.steps=1", "-s", "optim.batch=4", "-s", "run.device=cpu", NULL);
  program_expect(&p, 0);
  assert_non_null(strstr(p.err, "depth_00000.png"));
  program_free(&p);
}

/* ---- folders that cannot be written ---- */

static void expect_disk_error(void **state, const tmpfs *t, const char *part) {
  char dir[IO_PATH_MAX];

  snprintf(dir, sizeof dir, "run.dir=%.4000s", t->at);
  const char *const args[] = {"train", runs_config(state, "depth"), "-s", dir, NULL};
  program p = program_start_in(tmpfs_mount, t, args);
  program_wait(&p, LIMIT_S);
  const bool unprepared = p.status == PROGRAM_UNPREPARED;
  if (!unprepared) program_expect_error(&p, 5, part);
  program_free(&p);
  if (unprepared) skip();
}

static void a_full_disk(void **state) {
  const tmpfs t = {tmpdir_at(state, "small"), "size=1m", 0};
  check_ok(io_make_dirs(t.at));
  expect_disk_error(state, &t, t.at);
}

static void a_read_only_disk(void **state) {
  const tmpfs t = {tmpdir_at(state, "locked"), "", MS_RDONLY};
  check_ok(io_make_dirs(t.at));
  expect_disk_error(state, &t, t.at);
}

/* ---- decoders ---- */

typedef struct process { pid_t parent, group; } process;

static process look_at(pid_t pid) {
  char path[64], line[1024];
  process p = {0};
  FILE *f;

  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  if (!(f = fopen(path, "r"))) return p;
  const char *end = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL; /* "pid (name) state ppid pgrp ..." */
  if (end && sscanf(end, ") %*c %d %d", &p.parent, &p.group) != 2) p = (process){0};
  fclose(f);
  return p;
}

/* The nth process of the group besides its first, the trainer, or 0; decoders: those that are not the trainer's own
 * children, as their supervisor is. */
static pid_t other_of_group(pid_t group, bool decoders, int nth) {
  char **names = NULL;
  size_t n = 0;
  pid_t found = 0;

  check_ok(io_list_dir("/proc", &names, &n));
  for (size_t i = 0; i < n && !found; i++) {
    const pid_t pid = atoi(names[i]);
    if (pid <= 0 || pid == group) continue;
    const process p = look_at(pid);
    if (p.group == group && !(decoders && p.parent == group) && nth-- == 0) found = pid;
  }
  io_free_names(&names, n);
  return found;
}

static bool running(pid_t pid) {
  siginfo_t info = {0};
  return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

static void killed_decoders_are_replaced(void **state) {
  const char *config = runs_config(state, "depth");
  char dir[IO_PATH_MAX];

  RUNS_TRAIN(0, config, tmpdir_at(state, "calm"), "-s", "optim.steps=30");
  snprintf(dir, sizeof dir, "run.dir=%.4000s", tmpdir_at(state, "killed"));
  program p = program_start_v((const char *[]){"train", config, "-s", dir, "-s", "loader.workers=2", "-s", "optim.steps=30", NULL});
  int kills = 0;
  for (int i = 0; running(p.pid); i++) {
    const pid_t victim = other_of_group(p.pid, true, i % 2);
    if (victim && kills < 6) kills += kill(victim, SIGKILL) == 0;
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
  }
  program_wait(&p, LIMIT_S);
  program_expect(&p, 0);
  program_free(&p);
  assert_true(kills > 0);
  runs_same_metrics(tmpdir_at(state, "calm"), tmpdir_at(state, "killed"), 0);
}

static void decoders_end_with_a_killed_trainer(void **state) {
  char dir[IO_PATH_MAX];
  const char *config = runs_config(state, "depth");

  snprintf(dir, sizeof dir, "run.dir=%.4000s", tmpdir_at(state, "run"));
  program p = program_start_v((const char *[]){"train", config, "-s", dir, "-s", "optim.steps=100000", "-s",
                                               "loader.workers=2", NULL});
  const pid_t group = p.pid;
  const double end = program_now() + 30;

  while (!other_of_group(p.pid, false, 2) && program_now() < end) program_nap();
  assert_true(other_of_group(group, false, 2) > 0); /* a supervisor and two decoders */
  kill(p.pid, SIGKILL);
  program_wait(&p, LIMIT_S);
  program_free(&p);
  while (other_of_group(group, false, 0) && program_now() < end) program_nap();
  assert_int_equal(other_of_group(group, false, 0), 0);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      IN_FOLDER(wrong_words),       IN_FOLDER(config_mistakes),  IN_FOLDER(what_is_not_there),
      IN_FOLDER(sizes_that_do_not_fit), IN_FOLDER(cut_stored_groups), IN_FOLDER(cut_hdf5),
      IN_FOLDER(cut_png_and_jpeg),  IN_FOLDER(cut_weights),      IN_FOLDER(damaged_files_are_passed_over),
      IN_FOLDER(a_full_disk),       IN_FOLDER(a_read_only_disk), IN_FOLDER(killed_decoders_are_replaced),
      IN_FOLDER(decoders_end_with_a_killed_trainer)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
