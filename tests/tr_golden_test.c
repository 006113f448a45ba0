/* The reference's own trajectories, replayed from the command line: losses, gradient norms, rates and final weights. */
#include "tests/support/runs.h"

static void check_trajectory(const char *dir, const char *task) {
  static runs_line lines[RUNS_STEPS];
  char name[64];
  size_t nloss, nnorm;

  snprintf(name, sizeof name, "train/%s.trajectory.safetensors", task);
  st_file *g = golden_open(name);
  double *loss = golden_f64(g, "loss", &nloss), *norm = golden_f64(g, "grad_norm", &nnorm), *lr = golden_f64(g, "lr", NULL);

  assert_int_equal(runs_metrics(dir, lines), nnorm);
  for (size_t i = 0; i < nnorm; i++) {
    double sum = 0;
    assert_int_equal(lines[i].step, i + 1);
    assert_int_equal(lines[i].groups, nloss / nnorm);
    for (int j = 0; j < lines[i].groups; j++) {
      const double want = loss[i * (nloss / nnorm) + (size_t)j], got = lines[i].group[j];
      sum += want;
      if (isnan(got) ? want != 0 : !(fabs(got - want) <= runs_loss_rel * fabs(want)))
        fail_msg("step %zu, group %d: loss %.9g, %.9g wanted", i + 1, j, got, want);
    }
    sum /= lines[i].groups;
    if (!(fabs(lines[i].loss - sum) <= runs_loss_rel * sum)) fail_msg("step %zu: loss %.9g, %.9g wanted", i + 1, lines[i].loss, sum);
    if (!(fabs(lines[i].grad_norm - norm[i]) <= runs_norm_rel * norm[i]))
      fail_msg("step %zu: grad_norm %.9g, %.9g wanted", i + 1, lines[i].grad_norm, norm[i]);
    if (!(fabs(lines[i].lr - lr[i]) <= runs_lr_rel * lr[i]))
      fail_msg("step %zu: lr %.17g, %.17g wanted", i + 1, lines[i].lr, lr[i]);
  }
  free(loss);
  free(norm);
  free(lr);
  st_close(&g);
}

static void replay(void **state, const char *task, const char *set, const char *set2) {
  const char *dir = tmpdir_at(state, "%s", task);
  char golden[IO_PATH_MAX];

  RUNS_TRAIN(0, runs_config(state, task), dir, "-s", set, "-s", set2);
  check_trajectory(dir, task);
  snprintf(golden, sizeof golden, "%s/golden/train/%s.final_unet.safetensors", TEST_DATA, task);
  runs_close_weights(tmpdir_at(state, "%s/" RUNS_UNET, task), golden);
}

static const char *const small = "optim.micro_batch=2", *const packed = "optim.micro_batch=auto";
static const char *const plain = "run.kernels=plain", *const fused = "run.kernels=fused";

static void depth_as_the_reference(void **state) { replay(state, "depth", small, plain); }
static void depth_with_packed_groups(void **state) { replay(state, "depth", packed, plain); }
static void normals_as_the_reference(void **state) { replay(state, "normals", small, plain); }
static void normals_with_packed_groups(void **state) { replay(state, "normals", packed, plain); }
/* the fused networks, losses and optimizer, each kernel by its C reference */
static void depth_through_fused_kernels(void **state) { replay(state, "depth", packed, fused); }
static void normals_through_fused_kernels(void **state) { replay(state, "normals", small, fused); }

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
int main(void) {
  const struct CMUnitTest tests[] = {IN_FOLDER(depth_as_the_reference), IN_FOLDER(depth_with_packed_groups),
                                     IN_FOLDER(normals_as_the_reference), IN_FOLDER(normals_with_packed_groups),
                                     IN_FOLDER(depth_through_fused_kernels), IN_FOLDER(normals_through_fused_kernels)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
