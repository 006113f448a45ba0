/* 5,000 samples and no process has grown: trainer, decoders, open files; from files, and from prepared data. */
#include <dirent.h>
#include <unistd.h>

#include "datasets/cache.h"
#include "datasets/cache_write.h"
#include "datasets/loader.h"
#include "tests/support/samples.h"
#include "tests/support/tmpdir.h"

/* IN_HAND: files that a decoder may have open when it is looked at in the middle of a sample; a leak would leave thousands. */
enum { H = 24, W = 32, SAMPLES = 5000, WARM = 1000, WORKERS = 2, GROUP = 2, IN_HAND = 4 };
static const ds_latent_form latent = {4, H / 8, W / 8, 4};

/* Private memory of a process in KiB. */
static long memory_of(int pid) {
  char path[64], line[256];
  long kib = -1;

  snprintf(path, sizeof path, "/proc/%d/status", pid);
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  while (fgets(line, sizeof line, f)) sscanf(line, "RssAnon: %ld", &kib);
  fclose(f);
  assert_true(kib >= 0);
  return kib;
}

static int files_of(int pid) {
  char path[64];
  int n = 0;

  snprintf(path, sizeof path, "/proc/%d/fd", pid);
  DIR *d = opendir(path);
  assert_non_null(d);
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

typedef struct usage {
  int n, pid[WORKERS + 1], files[WORKERS + 1];
  long kib[WORKERS + 1];
} usage;

static usage look(const ds_loader *l) {
  usage u = {.n = WORKERS + 1, .pid = {getpid()}};

  assert_int_equal(ds_loader_worker_pids(l, u.pid + 1, WORKERS), WORKERS);
  for (int i = 0; i < u.n; i++) {
    u.kib[i] = memory_of(u.pid[i]);
    u.files[i] = files_of(u.pid[i]);
  }
  return u;
}

static void take(ds_loader *l, int samples) {
  ds_group *g = NULL;

  for (int i = 0; i < samples; i += GROUP) {
    check_ok(ds_loader_next(l, &g));
    ds_loader_release(l, g);
  }
}

static void stays(ds_source *s) {
  const ds_loader_opts o = {.seed = 1, .group = GROUP, .groups_per_step = 4, .workers = WORKERS};
  const ds_data data = {s, 1};
  ds_loader *l = NULL;

  check_ok(ds_loader_open(&o, &data, 1, &l));
  take(l, WARM);
  const usage before = look(l);
  take(l, SAMPLES - WARM);
  const usage after = look(l);
  for (int i = 0; i < after.n; i++) {
    print_message("process %d: %ld KiB, then %ld; %d files, then %d\n", i, before.kib[i], after.kib[i], before.files[i], after.files[i]);
    assert_int_equal(before.pid[i], after.pid[i]);
    assert_true(after.kib[i] <= before.kib[i] + 256 && after.files[i] <= before.files[i] + IN_HAND);
  }
  ds_loader_close(&l);
}

static ds_source *open_small(void) {
  ds_opts o = sample_opts("hypersim", "%s/synth/hypersim", TEST_DATA);

  o.H = H;
  o.W = W;
  return sample_source(&o);
}

static void from_files(void **state) {
  ds_source *s = open_small();

  (void)state;
  stays(s);
  ds_source_close(&s);
}

/* Shards of three samples, so that there are several. */
static void prepare(ds_source *s, const char *dir, const ds_key *k) {
  const ds_cache_form f = {ds_source_count(s), H, W, ds_source_opts(s)->need, latent, 3};
  float numbers[2][4 * (H / 8) * (W / 8)] = {{0}};
  ds_cache_writer *w = NULL;

  check_ok(ds_cache_writer_open(dir, k, &f, s, &w));
  for (int64_t i = 0; i < f.count; i++) {
    ds_sample both[2] = {sample_room(H, W), sample_room(H, W)};
    ds_cache_item it = {.state = DS_KEPT, .id = "x", .reason = ""};
    check_ok(ds_source_read_both(s, i, both, &it.frame));
    for (int b = 0; b < 2; b++) both[b].latent = numbers[b];
    check_ok(ds_cache_writer_put(w, &it, both));
    for (int b = 0; b < 2; b++) sample_free(&both[b]);
  }
  check_ok(ds_cache_writer_finish(w));
  ds_cache_writer_close(&w);
}

static void from_prepared_data(void **state) {
  ds_source *s = open_small();
  ds_cache *c = NULL;
  ds_key k = {0};

  check_ok(ds_source_key(s, true, &k));
  prepare(s, tmpdir_at(state, "c"), &k);
  check_ok(ds_cache_open(tmpdir_at(state, "c"), &k, ds_source_count(s), &c));
  ds_source_use_cache(s, c);
  stays(s);
  ds_source_close(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(from_files),
                                     cmocka_unit_test_setup_teardown(from_prepared_data, tmpdir_setup, tmpdir_teardown)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
