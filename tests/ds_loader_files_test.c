/* The loader over the real readers: rendered frames in both raw layouts, stored groups, damaged files. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "datasets/dump.h"
#include "datasets/mixer.h"
#include "tests/support/golden.h"
#include "tests/support/groups.h"
#include "tests/support/micro_batches.h"
#include "tests/support/samples.h"
#include "tests/support/tmpdir.h"

enum { GROUP = 2, PER_STEP = 4, STEPS = 3, N = STEPS * PER_STEP, H = 45, W = 70 };

static ds_loader_opts opts_of(int workers) {
  return (ds_loader_opts){.seed = 7, .group = GROUP, .groups_per_step = PER_STEP, .workers = workers};
}

static ds_source *open_kind(const char *kind, const char *root) {
  ds_opts o = sample_opts(kind, "%s", root);
  o.H = H;
  o.W = W;
  return sample_source(&o);
}

/* Two of Hypersim to one of Virtual KITTI. */
static void open_mix(ds_data data[2]) {
  data[0] = (ds_data){open_kind("hypersim", TEST_DATA "/synth/hypersim"), 2};
  data[1] = (ds_data){open_kind("vkitti2", TEST_DATA "/synth/virtual_kitti_2"), 1};
}

static void close_mix(ds_data data[2]) {
  ds_source_close(&data[0].source);
  ds_source_close(&data[1].source);
}

static void run(const ds_data *data, int n, int workers, uint64_t hashes[N]) {
  const ds_loader_opts o = opts_of(workers);
  ds_loader *l = NULL;
  check_ok(ds_loader_open(&o, data, n, &l));
  for (int i = 0; i < N; i++) hashes[i] = group_next_hash(l);
  ds_loader_close(&l);
}

/* Sample b of the group is what the reader gives for the pick. */
static void same_as_read(const ds_group *g, int b, ds_source *s, const ds_pick *pick) {
  ds_sample a = sample_read(s, pick->item, pick->flip);
  const size_t px = (size_t)(a.H * a.W);
  assert_string_equal(g->id[b], a.id);
  assert_memory_equal(g->rgb + 3 * px * b, a.rgb, 12 * px);
  assert_memory_equal(g->metric + px * b, a.metric, 4 * px);
  assert_memory_equal(g->depth + px * b, a.depth, 4 * px);
  assert_memory_equal(g->normals + 3 * px * b, a.normals, 12 * px);
  assert_memory_equal(g->mask + px * b, a.mask, px);
  assert_true(g->valid[b] == a.valid && g->domain[b] == a.domain);
  sample_free(&a);
}

static void groups_hold_what_the_readers_read(void **state) {
  ds_data data[2];
  ds_mixer *m = NULL;
  ds_loader *l = NULL;
  ds_mix_entry e[2];
  ds_pick picks[GROUP];
  int from[2] = {0};
  (void)state;
  open_mix(data);
  for (int i = 0; i < 2; i++) e[i] = (ds_mix_entry){data[i].weight, ds_source_count(data[i].source), 1, true, 0.5};
  check_ok(ds_mixer_create(7, e, 2, GROUP, PER_STEP, &m));
  const ds_loader_opts o = opts_of(2);
  check_ok(ds_loader_open(&o, data, 2, &l));
  for (int i = 0; i < N; i++) {
    ds_group *g;
    int d;
    check_ok(ds_loader_next(l, &g));
    check_ok(ds_mixer_group(m, 1 + i / PER_STEP, i % PER_STEP, &d, picks));
    assert_true(g->dataset == d && g->B == GROUP && g->H == H && g->W == W);
    for (int b = 0; b < GROUP; b++) same_as_read(g, b, data[d].source, &picks[b]);
    from[d]++;
    ds_loader_release(l, g);
  }
  assert_true(from[0] > 0 && from[1] > 0);
  assert_int_equal(ds_loader_bad_files(l), 0);
  ds_loader_close(&l);
  ds_mixer_destroy(&m);
  close_mix(data);
}

static void one_and_eight_decoders_are_bit_equal(void **state) {
  ds_data data[2];
  uint64_t want[N], got[N];
  (void)state;
  open_mix(data);
  run(data, 2, 0, want);
  run(data, 2, 1, got);
  assert_memory_equal(want, got, sizeof want);
  run(data, 2, 8, got);
  assert_memory_equal(want, got, sizeof want);
  close_mix(data);
}

static void cut_file(const char *path, size_t keep) {
  char *text = NULL;
  size_t n;
  check_ok(io_read_file(path, 1 << 26, &text, &n));
  assert_true(n > keep);
  check_ok(io_write_file(path, text, keep));
  free(text);
}

static void a_cut_file_is_skipped_or_fatal(void **state) {
  const char *root = tmpdir_at(state, "hypersim"), *log = tmpdir_at(state, "log.txt");
  const char *cut = "raw_data/ai_001_001/images/scene_cam_00_final_hdf5/frame.0001.color.hdf5";
  uint64_t want[N], got[N];
  char *text = NULL;
  size_t n;
  check_ok(io_copy_tree(TEST_DATA "/synth/hypersim", root));
  cut_file(tmpdir_at(state, "hypersim/%s", cut), 5000);
  ds_data data = {open_kind("hypersim", root), 1};
  check_ok(log_open_file(log));
  run(&data, 1, 0, want);
  run(&data, 1, 3, got);
  log_close_file();
  assert_memory_equal(want, got, sizeof want);
  check_ok(io_read_file(log, 1 << 20, &text, &n));
  const char *first = strstr(text, "bad file skipped: ");
  assert_non_null(first);
  assert_non_null(strstr(first, cut));
  assert_null(strstr(strstr(first + 1, "bad file skipped: ") + 1, "bad file skipped: ")); /* once a run */
  free(text);
  ds_source_close(&data.source);

  ds_opts o = sample_opts("hypersim", "%s", root);
  o.skip_bad_files = false;
  o.H = H;
  o.W = W;
  data.source = sample_source(&o);
  const ds_loader_opts lo = opts_of(2);
  ds_loader *l = NULL;
  ds_group *g;
  int st = OK;
  check_ok(ds_loader_open(&lo, &data, 1, &l));
  for (int i = 0; i < N && (st = ds_loader_next(l, &g)) == OK; i++) ds_loader_release(l, g);
  check_fails(E_DATA, cut, st);
  ds_loader_close(&l);
  ds_source_close(&data.source);
}

/* Frames as large as they are: room for them was reserved before any was opened. */
static void native_sizes(void **state) {
  ds_opts o = sample_opts("hypersim", TEST_DATA "/synth/hypersim");
  ds_data data = {sample_source(&o), 1};
  uint64_t want[N], got[N];
  (void)state;
  run(&data, 1, 0, want);
  run(&data, 1, 2, got);
  assert_memory_equal(want, got, sizeof want);
  ds_source_close(&data.source);
}

static void golden_micro_batches_come_as_stored(void **state) {
  const char *dir = tmpdir_at(state, "batches");
  st_file *golden = golden_open("train/micro_batches.safetensors");
  int n = 0;
  check_ok(micro_batches_split(TEST_DATA "/golden/train/micro_batches.safetensors", dir, &n));
  assert_int_equal(n, 16);
  ds_opts o = sample_opts("batches", "%s", dir);
  o.need = DS_NEED_METRIC | DS_NEED_NORMALS;
  o.group = GROUP;
  ds_data data = {sample_source(&o), 1};
  for (int workers = 0; workers < 3; workers += 2) {
    const ds_loader_opts lo = opts_of(workers);
    ds_loader *l = NULL;
    check_ok(ds_loader_open(&lo, &data, 1, &l));
    check_ok(ds_loader_seek(l, 4)); /* and over the end of the list */
    for (int i = 3 * PER_STEP; i < 6 * PER_STEP; i++) {
      ds_group *g;
      char key[64], id[DS_ID_MAX];
      static const char *const names[] = {"rgb", "metric", "normals", "val_mask"};
      check_ok(ds_loader_next(l, &g));
      const void *planes[] = {g->rgb, g->metric, g->normals, g->mask};
      for (int k = 0; k < 4; k++) {
        snprintf(key, sizeof key, "%d.%s", i % n, names[k]);
        const st_tensor *t = golden_find(golden, key);
        assert_true(t->shape[0] == g->B && t->shape[2] == g->H && t->shape[3] == g->W);
        assert_memory_equal(planes[k], t->data, t->nbytes);
      }
      snprintf(id, sizeof id, "%06d", i % n);
      assert_string_equal(g->id[0], id);
      assert_null(g->noise);
      assert_null(g->timesteps);
      ds_loader_release(l, g);
    }
    ds_loader_close(&l);
  }
  ds_source_close(&data.source);
  st_close(&golden);
}

/* What inspect --dump writes, kind batches reads, with the very same samples. */
static void dumped_samples_replay(void **state) {
  const char *dir = tmpdir_at(state, "dump");
  ds_data data[2];
  ds_loader *l = NULL, *again = NULL;
  const ds_loader_opts lo = opts_of(1);
  ds_loader_opts one = {.seed = 99, .group = 1, .groups_per_step = 3, .workers = 1};
  open_mix(data);
  check_ok(ds_dump(&lo, data, 2, dir, 2 * PER_STEP * GROUP));
  ds_opts o = sample_opts("batches", "%s", dir);
  o.group = 1;
  ds_data stored = {sample_source(&o), 1};
  assert_int_equal(ds_source_count(stored.source), 2 * PER_STEP * GROUP);
  check_ok(ds_loader_open(&lo, data, 2, &l));
  check_ok(ds_loader_open(&one, &stored, 1, &again));
  for (int i = 0; i < 2 * PER_STEP; i++) {
    ds_group *g, *s;
    check_ok(ds_loader_next(l, &g));
    const size_t px = H * W;
    for (int b = 0; b < GROUP; b++) {
      check_ok(ds_loader_next(again, &s));
      assert_memory_equal(g->rgb + 3 * px * b, s->rgb, 12 * px);
      assert_memory_equal(g->metric + px * b, s->metric, 4 * px);
      assert_memory_equal(g->normals + 3 * px * b, s->normals, 12 * px);
      assert_memory_equal(g->mask + px * b, s->mask, px);
      assert_true(g->valid[b] == s->valid[0] && g->domain[b] == s->domain[0]);
      ds_loader_release(again, s);
    }
    ds_loader_release(l, g);
  }
  ds_loader_close(&l);
  ds_loader_close(&again);
  ds_source_close(&stored.source);
  close_mix(data);
}

static void killed_decoders_change_nothing(void **state) {
  ds_data data[2];
  uint64_t want[N], got[N];
  ds_loader *l = NULL;
  const ds_loader_opts o = opts_of(2);
  int pids[2];
  (void)state;
  open_mix(data);
  run(data, 2, 0, want);
  check_ok(ds_loader_open(&o, data, 2, &l));
  check_ok(ds_loader_seek(l, 1));
  for (int i = 0; i < N; i++) {
    ds_loader_worker_pids(l, pids, 2);
    usleep(1000 * (i % 5)); /* somewhere in the middle of a file */
    if (pids[i % 2]) kill(pids[i % 2], SIGKILL);
    got[i] = group_next_hash(l);
  }
  assert_memory_equal(want, got, sizeof want);
  assert_int_equal(ds_loader_bad_files(l), 0);
  ds_loader_close(&l);
  close_mix(data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(groups_hold_what_the_readers_read),
      cmocka_unit_test(one_and_eight_decoders_are_bit_equal),
      cmocka_unit_test_setup_teardown(a_cut_file_is_skipped_or_fatal, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test(native_sizes),
      cmocka_unit_test_setup_teardown(golden_micro_batches_come_as_stored, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(dumped_samples_replay, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test(killed_decoders_change_nothing),
  };
  log_set_level(LOG_ERROR);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
