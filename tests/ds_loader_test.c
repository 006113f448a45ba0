#include "datasets/loader.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/safetensors.h"
#include "datasets/dump.h"
#include "datasets/mixer.h"
#include "tests/support/fake_source.h"
#include "tests/support/groups.h"
#include "tests/support/tmpdir.h"

enum { GROUP = 2, PER_STEP = 4, STEPS = 12 };

/* ---- helpers ---- */

static ds_loader_opts opts_of(int workers) {
  return (ds_loader_opts){.seed = 42, .group = GROUP, .groups_per_step = PER_STEP, .workers = workers};
}

static ds_loader *open_on(ds_loader_opts o, ds_source *s, int n) {
  ds_loader *l = NULL;
  ds_data data[4];
  for (int i = 0; i < n; i++) data[i] = (ds_data){&s[i], 1 + i};
  check_ok(ds_loader_open(&o, data, n, &l));
  return l;
}

static void run(ds_loader *l, int64_t from, int steps, uint64_t *hashes) {
  check_ok(ds_loader_seek(l, from));
  for (int i = 0; i < steps * PER_STEP; i++) hashes[i] = group_next_hash(l);
}

static void run_all(ds_loader_opts o, ds_source *s, int n, uint64_t hashes[STEPS * PER_STEP]) {
  ds_loader *l = open_on(o, s, n);
  run(l, 1, STEPS, hashes);
  ds_loader_close(&l);
}

/* A mix with everything in it: several shapes, a stored source, bad files. */
static void make_mix(ds_source s[3]) {
  s[0] = fake_source(0, 11, 5, 7);
  s[1] = fake_source(1, 6, 8, 16);
  s[2] = fake_stored(2, 5, GROUP, 16, 8);
  s[0].bad[0] = 1 + 3;
  s[0].bad[1] = 1 + 9;
  s[1].bad[0] = 1 + 5;
  s[1].opts.need = DS_NEED_DEPTH;
}

static int *shared_ints(void) {
  int *p = mmap(NULL, FAKE_MARKS * sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(p != MAP_FAILED);
  return p;
}

static void nap(double s) {
  const struct timespec t = {(time_t)s, (long)(1e9 * (s - (double)(time_t)s))};
  nanosleep(&t, NULL);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Text of the log so far, to be freed. */
static char *log_text(const char *path) {
  char *text = NULL;
  size_t n;
  check_ok(io_read_file(path, 1 << 20, &text, &n));
  return text;
}

static int times_in(const char *text, const char *part) {
  int n = 0;
  for (const char *p = text; (p = strstr(p, part)); p++) n++;
  return n;
}

/* The fourth field of /proc/PID/stat. */
static int parent_of(int pid) {
  char path[64], line[512] = "";
  int parent = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *f = fopen(path, "r");
  if (!f) return 0;
  if (fgets(line, sizeof line, f) && strrchr(line, ')')) sscanf(strrchr(line, ')') + 1, " %*c %d", &parent);
  fclose(f);
  return parent;
}

/* What a process has for itself; pages of the ring count for whoever touched them. */
static long private_kb(int pid) {
  char path[64];
  long total = 0, resident = 0, shared = 0;
  snprintf(path, sizeof path, "/proc/%d/statm", pid);
  FILE *f = fopen(path, "r");
  if (!f) return 0;
  assert_int_equal(fscanf(f, "%ld %ld %ld", &total, &resident, &shared), 3);
  fclose(f);
  return (resident - shared) * (sysconf(_SC_PAGESIZE) / 1024);
}

static long address_kb(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  assert_non_null(f);
  assert_int_equal(fscanf(f, "%ld", &pages), 1);
  fclose(f);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int open_files(int pid) {
  char path[64];
  int n = 0;
  snprintf(path, sizeof path, "/proc/%d/fd", pid);
  DIR *d = opendir(path);
  assert_non_null(d);
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

/* ---- what comes out ---- */

static void samples_are_those_of_the_mixer(void **state) {
  ds_source s[3];
  ds_mixer *m = NULL;
  (void)state;
  make_mix(s);
  s[0].bad[0] = s[0].bad[1] = s[1].bad[0] = 0;
  const ds_mix_entry e[] = {{1, 11, 1, true, 0.5}, {2, 6, 1, true, 0.5}, {3, 5, GROUP, false, 0}};
  check_ok(ds_mixer_create(42, e, 3, GROUP, PER_STEP, &m));
  ds_loader *l = open_on(opts_of(2), s, 3);
  for (int i = 0; i < STEPS * PER_STEP; i++) {
    ds_group *g;
    ds_pick pick[GROUP];
    int d, k = 0;
    check_ok(ds_loader_next(l, &g));
    assert_int_equal(g->step, 1 + i / PER_STEP);
    assert_int_equal(g->g, i % PER_STEP);
    check_ok(ds_mixer_group(m, g->step, g->g, &d, pick));
    assert_int_equal(g->dataset, d);
    assert_true(g->B == GROUP && g->H == s[d].H && g->W == s[d].W);
    assert_true(!g->metric == (d == 1) && !g->normals == (d == 1) && !g->depth == (d != 1));
    assert_null(g->noise);
    assert_true(!!g->timesteps == (d == 2 && pick[0].item % 2 == 0));
    for (int j = 0; j < (d == 2 ? 1 : GROUP); j++)
      for (int b = 0; b < s[d].per_item; b++, k++) {
        const int px = g->H * g->W;
        char id[DS_ID_MAX];
        snprintf(id, sizeof id, "set%d/%04lld/%d", d, (long long)pick[j].item, b);
        assert_string_equal(g->id[k], id);
        assert_int_equal(g->domain[k], d);
        assert_true(g->rgb[3 * px * k + 2 * px + 1] ==
                    fake_pixel(d, pick[j].item, b, pick[j].flip, 0, 2 * px + 1));
        if (g->normals)
          assert_true(g->normals[3 * px * k] == fake_pixel(d, pick[j].item, b, pick[j].flip, 3, 0));
        int ones = 0;
        for (int p = 0; p < px; p++) ones += g->mask[px * k + p];
        assert_int_equal(g->valid[k], ones);
      }
    ds_loader_release(l, g);
  }
  ds_loader_close(&l);
  assert_null(l);
  ds_mixer_destroy(&m);
}

static void any_number_of_workers_gives_the_same(void **state) {
  uint64_t want[STEPS * PER_STEP], got[STEPS * PER_STEP];
  ds_source s[3];
  (void)state;
  make_mix(s);
  run_all(opts_of(0), s, 3, want);
  for (int workers = 1; workers <= 8; workers += workers < 3 ? 1 : 5) {
    run_all(opts_of(workers), s, 3, got);
    assert_memory_equal(want, got, sizeof want);
  }
}

static void seek_gives_the_same(void **state) {
  uint64_t want[STEPS * PER_STEP], got[STEPS * PER_STEP];
  ds_source s[3];
  (void)state;
  make_mix(s);
  for (int workers = 0; workers <= 3; workers += 3) {
    ds_loader *l = open_on(opts_of(workers), s, 3);
    run(l, 1, STEPS, want);
    for (int from = STEPS; from >= 1; from -= 4) {
      run(l, from, STEPS + 1 - from, got);
      assert_memory_equal(want + (from - 1) * PER_STEP, got,
                          sizeof *got * (size_t)((STEPS + 1 - from) * PER_STEP));
    }
    run(l, 20000, 1, got);
    run(l, 3, 2, got);
    assert_memory_equal(want + 2 * PER_STEP, got, sizeof *got * 2 * PER_STEP);
    check_fails(E_FAIL, "start at 1", ds_loader_seek(l, 0));
    ds_loader_close(&l);
  }
}

static void held_groups_keep_their_samples(void **state) {
  uint64_t want[STEPS * PER_STEP];
  ds_source s[3];
  ds_group *held[PER_STEP];
  (void)state;
  make_mix(s);
  run_all(opts_of(0), s, 3, want);
  ds_loader *l = open_on(opts_of(3), s, 3);
  for (int step = 0; step < STEPS; step++) {
    for (int g = 0; g < PER_STEP; g++) check_ok(ds_loader_next(l, &held[g]));
    nap(0.002);
    for (int g = 0; g < PER_STEP; g++) assert_true(group_hash(held[g]) == want[step * PER_STEP + g]);
    for (int g = PER_STEP; g-- > 0;) ds_loader_release(l, held[g]); /* in any order */
  }
  check_ok(ds_loader_next(l, &held[0])); /* also over a seek */
  const uint64_t h = group_hash(held[0]);
  check_ok(ds_loader_seek(l, 2));
  for (int i = 0; i < 3 * PER_STEP; i++) assert_true(group_next_hash(l) == want[PER_STEP + i]);
  assert_true(group_hash(held[0]) == h);
  ds_loader_close(&l);
}

/* Jobs that a seek finds at work hold their slots until they are done; then the slots are used again. */
static void seeks_lose_no_slot(void **state) {
  ds_source s = fake_source(0, 9, 4, 4);
  uint64_t want[STEPS * PER_STEP];
  (void)state;
  run_all(opts_of(0), &s, 1, want);
  s.busy_ns = 2000000;
  ds_loader_opts o = opts_of(1);
  for (o.ahead = 1; o.ahead < 3; o.ahead++) {
    ds_loader *l = open_on(o, &s, 1);
    for (int i = 0; i < 8; i++) {
      check_ok(ds_loader_seek(l, 1 + i));
      nap(0.001);
      if (i % 2) assert_true(group_next_hash(l) == want[i * PER_STEP]);
    }
    ds_loader_close(&l);
  }
}

static void a_ring_all_lent_is_an_error(void **state) {
  ds_source s = fake_source(0, 9, 3, 3);
  ds_group *g[4];
  (void)state;
  for (int workers = 0; workers < 3; workers++) {
    ds_loader_opts o = opts_of(workers);
    o.ahead = 3;
    ds_loader *l = open_on(o, &s, 1);
    for (int i = 0; i < 3; i++) check_ok(ds_loader_next(l, &g[i]));
    check_fails(E_FAIL, "ring of 3 groups is all lent", ds_loader_next(l, &g[3]));
    ds_loader_release(l, g[1]);
    check_ok(ds_loader_next(l, &g[3]));
    assert_true(g[3]->step == 1 && g[3]->g == 3);
    ds_loader_close(&l);
  }
}

static void odd_shapes_and_groups(void **state) {
  (void)state;
  for (int workers = 0; workers < 2; workers++) {
    ds_source s = fake_source(0, 1, 1, 1);
    ds_loader_opts o = {.seed = 1, .group = 5, .groups_per_step = 1, .workers = workers, .ahead = 1};
    ds_loader *l = open_on(o, &s, 1);
    ds_group *g;
    for (int step = 1; step < 5; step++) {
      check_ok(ds_loader_next(l, &g));
      assert_true(g->B == 5 && g->H == 1 && g->W == 1 && g->step == step && g->g == 0);
      ds_loader_release(l, g);
    }
    ds_loader_close(&l);
  }
}

static void shapes_in_a_group_must_agree(void **state) {
  ds_source s = fake_source(0, 2, 8, 8);
  ds_group *g;
  (void)state;
  s.wide[0] = 1 + 1;
  s.opts.shuffle = false;
  for (int workers = 0; workers < 2; workers++) {
    ds_loader *l = open_on(opts_of(workers), &s, 1);
    for (int again = 0; again < 2; again++)
      check_fails(E_DATA,
                  "set0/0000 is 8x8 but set0/0001 is 8x16 and a group has one shape: set data.0.size",
                  ds_loader_next(l, &g));
    ds_loader_close(&l);
  }
  s.wide[1] = 1 + 0; /* both the same, but larger than item 0 said */
  s.opts.H = s.opts.W = 0;
  ds_loader *l = open_on(opts_of(1), &s, 1);
  check_ok(ds_loader_next(l, &g)); /* native: room was reserved */
  assert_int_equal(g->W, 16);
  ds_loader_close(&l);
}

static void native_shapes_beyond_the_reserve_are_named(void **state) {
  ds_source s = fake_source(0, 2, 4096, 4096);
  ds_group *g;
  (void)state;
  s.opts.H = s.opts.W = 0;
  s.wide[0] = 1;
  s.wide[1] = 2;
  ds_loader *l = open_on(opts_of(1), &s, 1);
  check_fails(E_DATA, "4096x4104 is too large for the buffers: set data.0.size", ds_loader_next(l, &g));
  ds_loader_close(&l);
}

static void wrong_options_are_refused(void **state) {
  ds_source s[2] = {fake_source(0, 4, 2, 2), fake_source(1, 0, 2, 2)};
  const ds_data data[2] = {{&s[0], 1}, {&s[1], 1}};
  ds_loader *l = NULL;
  ds_loader_opts o = opts_of(1);
  (void)state;
  check_fails(E_DATA, "data.1 (fake, /fake): no samples", ds_loader_open(&o, data, 2, &l));
  check_fails(E_CONFIG, "no entries", ds_loader_open(&o, data, 0, &l));
  s[1] = fake_stored(1, 4, 3, 2, 2);
  check_fails(E_DATA, "data.1 (fake, /fake): files of 3 samples, optim.group is 2",
              ds_loader_open(&o, data, 2, &l));
  o.workers = -1;
  check_fails(E_CONFIG, "loader.workers", ds_loader_open(&o, data, 1, &l));
  o = opts_of(1);
  o.group = 0;
  check_fails(E_CONFIG, "groups of 0", ds_loader_open(&o, data, 1, &l));
  o = opts_of(1);
  o.timeout_s = -1;
  check_fails(E_CONFIG, "loader.timeout", ds_loader_open(&o, data, 1, &l));
  assert_null(l);
  ds_loader_close(&l);
}

static void waiting_is_measured(void **state) {
  ds_source s = fake_source(0, 4, 2, 2);
  ds_group *g;
  (void)state;
  s.busy_ns = 20000000; /* 40 ms a group */
  ds_loader *l = open_on(opts_of(1), &s, 1);
  for (int i = 0; i < 2; i++) check_ok(ds_loader_next(l, &g));
  double waited = ds_loader_waited(l);
  assert_true(waited > 0.06 && waited < 0.24); /* of the 8 jobs that are out the oldest are done first */
  assert_true(ds_loader_waited(l) == 0);
  ds_loader_release(l, g);
  nap(0.6); /* the worker gets on meanwhile, also with the job that the release made room for */
  for (int i = 0; i < 7; i++) check_ok(ds_loader_next(l, &g));
  waited = ds_loader_waited(l);
  assert_true(waited < 0.03);
  ds_loader_close(&l);
}

/* ---- bad files ---- */

static void bad_files_are_reported_once_and_skipped(void **state) {
  const char *path = tmpdir_at(state, "log.txt");
  ds_source s[3];
  uint64_t h[STEPS * PER_STEP];
  make_mix(s);
  for (int workers = 0; workers < 4; workers += 3) {
    check_ok(log_open_file(path));
    ds_loader *l = open_on(opts_of(workers), s, 3);
    run(l, 1, STEPS, h);
    run(l, 1, STEPS, h);
    assert_int_equal(ds_loader_bad_files(l), 3);
    ds_loader_close(&l);
    log_close_file();
    char *text = log_text(path);
    assert_int_equal(times_in(text, "bad file skipped: /fake/set0/0003.file: cut"), 1 + (workers > 0));
    assert_int_equal(times_in(text, "bad file skipped"), 3 * (1 + (workers > 0)));
    free(text);
  }
}

static void a_fatal_bad_file_ends_at_its_turn(void **state) {
  ds_source s = fake_source(0, 8, 2, 2);
  ds_group *g;
  (void)state;
  s.opts.shuffle = false;
  s.opts.skip_bad_files = false;
  s.bad[0] = 1 + 5;
  for (int workers = 0; workers < 4; workers += 3) {
    ds_loader *l = open_on(opts_of(workers), &s, 1);
    group_next_hash(l);
    group_next_hash(l);
    for (int again = 0; again < 2; again++)
      check_fails(E_DATA, "/fake/set0/0005.file: cut", ds_loader_next(l, &g));
    check_ok(ds_loader_seek(l, 2)); /* the only other way on */
    check_ok(ds_loader_next(l, &g));
    ds_loader_close(&l);
  }
}

static void a_bad_stored_group_is_never_replaced(void **state) {
  ds_source s = fake_stored(0, 8, GROUP, 2, 2);
  ds_group *g;
  (void)state;
  s.bad[0] = 1 + 1;
  for (int workers = 0; workers < 2; workers++) {
    ds_loader *l = open_on(opts_of(workers), &s, 1);
    group_next_hash(l);
    check_fails(E_DATA, "/fake/set0/0001.file: cut", ds_loader_next(l, &g));
    ds_loader_close(&l);
  }
}

static void replacements_end(void **state) {
  ds_source s = fake_source(0, 400, 2, 2);
  ds_group *g;
  (void)state;
  for (int workers = 0; workers < 3; workers += 2) {
    ds_source two = fake_source(0, 2, 2, 2);
    two.bad[0] = 1;
    two.bad[1] = 2;
    ds_loader *l = open_on(opts_of(workers), &two, 1);
    check_fails(E_DATA, "data.0: all 2 items were tried", ds_loader_next(l, &g));
    assert_int_equal(ds_loader_bad_files(l), 2);
    ds_loader_close(&l);
    s.nomem = 0;
    s.bad_from = 1;
    l = open_on(opts_of(workers), &s, 1);
    check_fails(E_DATA, "data.0: 8 replacements in a row were bad too, the last: /fake/set0/",
                ds_loader_next(l, &g));
    assert_true(ds_loader_bad_files(l) >= 9);
    ds_loader_close(&l);
    s.bad_from = 0;
    s.nomem = 1;
    s.opts.shuffle = false;
    l = open_on(opts_of(workers), &s, 1);
    s.opts.shuffle = true;
    check_fails(E_NOMEM, "no memory for a sample", ds_loader_next(l, &g)); /* no file's fault */
    ds_loader_close(&l);
  }
}

/* ---- workers that die ---- */

static void a_crashing_file_is_named_and_skipped(void **state) {
  const char *path = tmpdir_at(state, "log.txt");
  ds_source s = fake_source(0, 9, 4, 4), bad = s;
  uint64_t want[STEPS * PER_STEP], got[STEPS * PER_STEP];
  ds_group *g;
  bad.bad[0] = 1 + 4;
  run_all(opts_of(0), &bad, 1, want); /* as if its reader had refused it */
  s.crash[0] = 1 + 4;
  check_ok(log_open_file(path));
  run_all(opts_of(3), &s, 1, got);
  assert_memory_equal(want, got, sizeof want);
  log_close_file();
  char *text = log_text(path);
  assert_int_equal(
      times_in(text, "bad file skipped: /fake/set0/0004.file: its decoder ended 2 times (signal 11, "), 1);
  free(text);
  s.opts.skip_bad_files = false;
  s.opts.shuffle = false;
  ds_loader *l = open_on(opts_of(2), &s, 1);
  group_next_hash(l);
  group_next_hash(l);
  check_fails(E_DATA, "/fake/set0/0004.file: its decoder ended 2 times (signal 11, ", ds_loader_next(l, &g));
  ds_loader_close(&l);
}

/* Each file has the deaths that it may have, whatever died in the same group or in the same place. */
static void a_crash_that_does_not_come_again_changes_nothing(void **state) {
  ds_source s = fake_source(0, 90, 4, 4);
  const ds_mix_entry e = {1, 90, 1, false, 0.5};
  uint64_t want[STEPS * PER_STEP], got[STEPS * PER_STEP];
  int *left = shared_ints();
  ds_mixer *m = NULL;
  ds_pick other;
  (void)state;
  s.opts.shuffle = false;
  s.bad[0] = 1 + 6;
  run_all(opts_of(0), &s, 1, want);
  s.bad[0] = 0;
  check_ok(ds_mixer_create(42, &e, 1, GROUP, PER_STEP, &m));
  check_ok(ds_mixer_replace(m, 1, 3, 0, 1, 0, &other));
  assert_true(other.item > 9);
  s.crashes = left;
  s.crash[0] = 1 + 4; /* the first of a group, and the second */
  s.crash[1] = 1 + 5;
  s.crash[2] = 1 + 6; /* twice is too often; what comes instead crashes once */
  s.crash[3] = 1 + other.item;
  left[0] = left[1] = left[3] = 1;
  left[2] = 2;
  ds_loader *l = open_on(opts_of(2), &s, 1);
  run(l, 1, STEPS, got);
  assert_memory_equal(want, got, sizeof want);
  assert_true(left[0] == 0 && left[1] == 0 && left[2] == 0 && left[3] == 0);
  assert_int_equal(ds_loader_bad_files(l), 1);
  ds_loader_close(&l);
  ds_mixer_destroy(&m);
  munmap(left, FAKE_MARKS * sizeof *left);
}

static void a_hanging_file_is_named_and_skipped(void **state) {
  const char *path = tmpdir_at(state, "log.txt");
  ds_source s = fake_source(0, 9, 4, 4), bad = s;
  uint64_t want[STEPS * PER_STEP], got[STEPS * PER_STEP];
  ds_loader_opts o = opts_of(2);
  bad.bad[0] = 1 + 4;
  run_all(opts_of(0), &bad, 1, want);
  s.hang[0] = 1 + 4;
  o.timeout_s = 0.3;
  check_ok(log_open_file(path));
  const double start = seconds();
  run_all(o, &s, 1, got);
  assert_true(seconds() - start < 10); /* once, 0.3 s */
  assert_memory_equal(want, got, sizeof want);
  log_close_file();
  char *text = log_text(path);
  assert_int_equal(times_in(text, "bad file skipped: /fake/set0/0004.file: its decoder was silent for 0.3 s"),
                   1);
  free(text);
}

/* SIGKILL from outside, at any moment, idle or at work: the same groups. */
static void killed_workers_change_nothing(void **state) {
  enum { KILLS = 20, N = KILLS * PER_STEP };
  ds_source s[3];
  uint64_t want[N], got[N];
  int first[3], pids[3], now[3], replaced = 0;
  (void)state;
  make_mix(s);
  ds_loader *l = open_on(opts_of(0), s, 3);
  run(l, 1, KILLS, want);
  ds_loader_close(&l);
  for (int i = 0; i < 3; i++) s[i].busy_ns = 300000;
  l = open_on(opts_of(3), s, 3);
  assert_int_equal(ds_loader_worker_pids(l, first, 3), 3);
  check_ok(ds_loader_seek(l, 1));
  for (int i = 0; i < N; i++) {
    if (i % PER_STEP == 0) {
      ds_loader_worker_pids(l, pids, 3);
      nap(1e-4 * ((i * 7919) % 23));
      const int w = i / PER_STEP % 3;
      if (pids[w]) kill(pids[w], i % 8 ? SIGTERM : SIGKILL);
    }
    got[i] = group_next_hash(l);
  }
  assert_memory_equal(want, got, sizeof want);
  assert_int_equal(ds_loader_bad_files(l), 3); /* the really bad ones */
  for (int i = 0, there = 0; there < 3; i++) { /* soon there are as many as before */
    assert_true(i < 1000);
    nap(0.01);
    ds_loader_worker_pids(l, now, 3);
    for (int w = there = 0; w < 3; w++) there += now[w] > 0 && kill(now[w], 0) == 0;
  }
  for (int w = 0; w < 3; w++) replaced += now[w] != first[w];
  assert_int_equal(replaced, 3);
  ds_loader_close(&l);
}

static void a_killed_supervisor_is_replaced(void **state) { /* and its workers die with it */
  ds_source s[3];
  uint64_t want[STEPS * PER_STEP], got[STEPS * PER_STEP];
  int pids[2];
  ds_loader_opts o = opts_of(2);
  (void)state;
  make_mix(s);
  run_all(o, s, 3, want);
  for (int i = 0; i < 3; i++) s[i].busy_ns = 500000;
  o.ahead = 2; /* so that each loss is seen before the next */
  ds_loader *l = open_on(o, s, 3);
  check_ok(ds_loader_seek(l, 1));
  for (int i = 0; i < STEPS * PER_STEP; i++) {
    if (i % 6 == 5) {
      ds_loader_worker_pids(l, pids, 2);
      const int supervisor = parent_of(pids[0]);
      assert_int_equal(parent_of(supervisor), getpid());
      kill(supervisor, SIGKILL);
      nap(0.05);
      for (int w = 0; w < 2; w++) assert_true(kill(pids[w], 0) < 0 || parent_of(pids[w]) != supervisor);
    }
    got[i] = group_next_hash(l);
  }
  assert_memory_equal(want, got, sizeof want);
  ds_loader_close(&l);
}

/* Ctrl-C reaches every process of the terminal's group: only the trainer may act on it. */
static void the_terminals_signals_are_left_to_the_trainer(void **state) {
  static const int signals[] = {SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};
  ds_source s = fake_source(0, 9, 4, 4);
  int before[2], after[2];
  (void)state;
  ds_loader *l = open_on(opts_of(2), &s, 1);
  ds_loader_worker_pids(l, before, 2);
  const int supervisor = parent_of(before[0]);
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    for (int w = 0; w < 3; w++) kill(w < 2 ? before[w] : supervisor, signals[i]);
  kill(supervisor, SIGTERM);
  nap(0.05);
  for (int i = 0; i < 20; i++) group_next_hash(l);
  ds_loader_worker_pids(l, after, 2);
  assert_memory_equal(before, after, sizeof before);
  ds_loader_close(&l);
}

/* Whatever ends the trainer, nobody is left. */
static void nobody_outlives_the_trainer(void **state) {
  (void)state;
  assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* orphans become ours: the test can wait for them */
  for (int how = 0; how < 4; how++) {
    int pipe_of[2];
    char ready;
    assert_int_equal(pipe(pipe_of), 0);
    const pid_t trainer = fork();
    assert_true(trainer >= 0);
    if (trainer == 0) {
      ds_source s = fake_source(0, 9, 4, 4);
      ds_group *g;
      s.hang[0] = 1 + 5; /* one of them hangs, as long as it likes */
      ds_loader *l = open_on(opts_of(4), &s, 1);
      if (how == 3) ds_loader_close(&l);
      else check_ok(ds_loader_next(l, &g));
      if (write(pipe_of[1], "r", 1) != 1) _exit(1);
      while (how < 2) pause();
      _exit(0);
    }
    assert_int_equal(read(pipe_of[0], &ready, 1), 1);
    if (how < 2) kill(trainer, how ? SIGTERM : SIGKILL);
    close(pipe_of[0]);
    close(pipe_of[1]);
    pid_t pid = 1;
    for (int i = 0; i < 500 && pid >= 0; i++)
      if ((pid = waitpid(-1, NULL, WNOHANG)) == 0) nap(0.01);
    assert_true(pid < 0 && errno == ECHILD);
  }
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* 5,000 groups later every process has the memory and the files it had. */
static void nothing_grows(void **state) {
  enum { WARM = 500, GROUPS = 5000 };
  ds_source s[3];
  int pids[4], files[4];
  long kb[4];
  (void)state;
  make_mix(s);
  ds_loader *l = open_on(opts_of(2), s, 3);
  for (int i = 0; i < WARM; i++) group_next_hash(l);
  ds_loader_worker_pids(l, pids, 2);
  pids[2] = parent_of(pids[0]);
  pids[3] = getpid();
  for (int i = 0; i < 4; i++) kb[i] = private_kb(pids[i]), files[i] = open_files(pids[i]);
  const double start = seconds();
  for (int i = 0; i < GROUPS; i++) group_next_hash(l);
  print_message("%.0f tiny groups a second through the ring\n", GROUPS / (seconds() - start));
  for (int i = 0; i < 4; i++) {
    assert_true(private_kb(pids[i]) - kb[i] < 1024);
    assert_int_equal(open_files(pids[i]), files[i]);
  }
  ds_loader_close(&l);
}

static void loaders_open_and_close_without_a_trace(void **state) {
  ds_source s = fake_source(0, 9, 4, 4);
  (void)state;
  s.opts.H = s.opts.W = 0; /* rings of gigabytes, of address space */
  const int files = open_files(getpid());
  const long before_kb = address_kb();
  for (int i = 0; i < 10; i++) {
    ds_loader *a = open_on(opts_of(2), &s, 1),
              *b = open_on(opts_of(1), &s, 1); /* training and validation, say */
    assert_true(group_next_hash(a) == group_next_hash(b));
    ds_loader_close(i % 2 ? &a : &b);
    group_next_hash(i % 2 ? b : a);
    ds_loader_close(&a);
    ds_loader_close(&b);
  }
  assert_int_equal(open_files(getpid()), files);
  assert_true(address_kb() - before_kb < 1 << 20);
  assert_true(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
}

/* ---- files ---- */

static void groups_are_saved_as_stored_groups(void **state) {
  const char *path = tmpdir_at(state, "g.safetensors");
  ds_source s = fake_stored(0, 3, GROUP, 8, 16);
  ds_group *g;
  st_file *f = NULL;
  s.opts.need = DS_NEED_METRIC | DS_NEED_NORMALS | DS_NEED_DEPTH;
  ds_loader *l = open_on(opts_of(0), &s, 1);
  check_ok(ds_loader_next(l, &g));
  float noise[GROUP * 4 * 1 * 2] = {1, 2, 3};
  g->noise = noise;
  check_ok(ds_group_save(g, path));
  check_ok(st_open(path, &f));
  const struct {
    const char *name;
    const void *data;
    st_dtype dtype;
    int ndim;
    int64_t shape[4];
  } want[] = {{"rgb", g->rgb, ST_F32, 4, {GROUP, 3, 8, 16}},
              {"metric", g->metric, ST_F32, 4, {GROUP, 1, 8, 16}},
              {"depth", g->depth, ST_F32, 4, {GROUP, 1, 8, 16}},
              {"normals", g->normals, ST_F32, 4, {GROUP, 3, 8, 16}},
              {"mask", g->mask, ST_U8, 4, {GROUP, 1, 8, 16}},
              {"noise", g->noise, ST_F32, 4, {GROUP, 4, 1, 2}},
              {"timesteps", g->timesteps, ST_I64, 1, {GROUP}},
              {"domain", g->domain, ST_I64, 1, {GROUP}}};
  assert_int_equal(st_count(f), 8);
  for (size_t i = 0; i < 8; i++) {
    const st_tensor *t = st_find(f, want[i].name);
    assert_non_null(t);
    assert_true(t->dtype == want[i].dtype && t->ndim == want[i].ndim);
    assert_memory_equal(t->shape, want[i].shape, (size_t)t->ndim * sizeof *t->shape);
    assert_memory_equal(t->data, want[i].data, t->nbytes);
  }
  assert_string_equal(st_metadata(f, "ids"), "set0/0000/0\nset0/0000/1");
  st_close(&f);
  assert_int_not_equal(ds_group_save(g, tmpdir_at(state, "no/such/folder.safetensors")), OK);
  ds_loader_close(&l);
}

static void dumped_samples_are_those_of_training(void **state) {
  enum { N = 2 * PER_STEP * GROUP - 1 };
  ds_source s[3];
  ds_group *g;
  make_mix(s);
  s[0].wide[0] = 1 + 2; /* shapes may differ from sample to sample */
  s[0].opts.H = s[0].opts.W = 0;
  for (int workers = 0; workers < 3; workers += 2) {
    ds_loader_opts o = opts_of(workers);
    const ds_data data[3] = {{&s[0], 1}, {&s[1], 2}, {&s[2], 3}};
    check_ok(ds_dump(&o, data, 3, tmpdir_at(state, "deep/dump%d", workers), N));
    assert_false(io_exists(tmpdir_at(state, "deep/dump%d/%06d.safetensors", workers, N)));
    s[0].wide[0] = 0; /* where a group needs one shape */
    ds_loader *l = open_on(o, s, 3);
    for (int i = 0; i < N; i += g->B) {
      if (i) ds_loader_release(l, g);
      check_ok(ds_loader_next(l, &g));
      for (int b = 0; b < g->B && i + b < N; b++) {
        st_file *f = NULL;
        check_ok(st_open(tmpdir_at(state, "deep/dump%d/%06d.safetensors", workers, i + b), &f));
        assert_string_equal(st_metadata(f, "ids"), g->id[b]);
        const st_tensor *rgb = st_find(f, "rgb"), *mask = st_find(f, "mask");
        const size_t px = (size_t)(g->H * g->W);
        assert_true(rgb->shape[0] == 1 && rgb->shape[2] == g->H);
        if (rgb->shape[3] == g->W) {
          assert_memory_equal(rgb->data, g->rgb + 3 * px * b, 12 * px);
          assert_memory_equal(mask->data, g->mask + px * b, px);
        } else assert_non_null(strstr(g->id[b], "set0/0002"));
        st_close(&f);
      }
    }
    ds_loader_close(&l);
    s[0].wide[0] = 1 + 2;
  }
}

static void descriptions_name_what_is_there(void **state) {
  ds_source s[3];
  char *text = NULL;
  size_t size = 0;
  ds_loader_opts o = opts_of(1);
  (void)state;
  make_mix(s);
  const ds_data data[3] = {{&s[0], 1}, {&s[1], 2}, {&s[2], 1}};
  FILE *f = open_memstream(&text, &size);
  assert_non_null(f);
  check_ok(ds_describe_all(f, &o, data, 3, 4));
  fclose(f);
  static const char *const want[] = {
      "data.0: fake /fake", "samples  11, 25 % of the groups",   "size     5x7", "first    set0/0000",
      "last     set1/0005",  "samples  10 in 5 files of 2, 25 %", "valid    66.", "checked  4 samples kept, 0 left out by the filter, 1 broken"};
  for (size_t i = 0; i < sizeof want / sizeof *want; i++)
    if (!strstr(text, want[i])) fail_msg("no \"%s\" in:\n%s", want[i], text);
  free(text);
}

/* A filter that leaves out most items: others are drawn, with any number of workers the same; no file is to blame. */
static void left_out_items_are_replaced(void **state) {
  uint64_t want[STEPS * PER_STEP], got[STEPS * PER_STEP];
  ds_group *g;
  (void)state;
  ds_source s = fake_source(0, 40, 5, 7);
  s.opts.filter = DS_FILTER_MARIGOLD;
  s.opts.skip_bad_files = false;
  s.left_out_from = 6;
  run_all(opts_of(0), &s, 1, want);
  for (int workers = 1; workers < 4; workers++) {
    run_all(opts_of(workers), &s, 1, got);
    assert_memory_equal(want, got, sizeof want);
  }
  ds_loader *l = open_on(opts_of(2), &s, 1);
  for (int i = 0; i < STEPS * PER_STEP; i++) {
    check_ok(ds_loader_next(l, &g));
    for (int b = 0; b < g->B; b++) assert_true(strcmp(g->id[b], "set0/0006") < 0);
    ds_loader_release(l, g);
  }
  assert_true(ds_loader_left_out(l, 0) > 20 && ds_loader_bad_files(l) == 0);
  ds_loader_close(&l);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(samples_are_those_of_the_mixer),
      cmocka_unit_test(any_number_of_workers_gives_the_same),
      cmocka_unit_test(seek_gives_the_same),
      cmocka_unit_test(left_out_items_are_replaced),
      cmocka_unit_test(held_groups_keep_their_samples),
      cmocka_unit_test(seeks_lose_no_slot),
      cmocka_unit_test(a_ring_all_lent_is_an_error),
      cmocka_unit_test(odd_shapes_and_groups),
      cmocka_unit_test(shapes_in_a_group_must_agree),
      cmocka_unit_test(native_shapes_beyond_the_reserve_are_named),
      cmocka_unit_test(wrong_options_are_refused),
      cmocka_unit_test(waiting_is_measured),
      cmocka_unit_test_setup_teardown(bad_files_are_reported_once_and_skipped, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test(a_fatal_bad_file_ends_at_its_turn),
      cmocka_unit_test(a_bad_stored_group_is_never_replaced),
      cmocka_unit_test(replacements_end),
      cmocka_unit_test_setup_teardown(a_crashing_file_is_named_and_skipped, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test(a_crash_that_does_not_come_again_changes_nothing),
      cmocka_unit_test_setup_teardown(a_hanging_file_is_named_and_skipped, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test(killed_workers_change_nothing),
      cmocka_unit_test(a_killed_supervisor_is_replaced),
      cmocka_unit_test(the_terminals_signals_are_left_to_the_trainer),
      cmocka_unit_test(nobody_outlives_the_trainer),
      cmocka_unit_test(nothing_grows),
      cmocka_unit_test(loaders_open_and_close_without_a_trace),
      cmocka_unit_test_setup_teardown(groups_are_saved_as_stored_groups, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(dumped_samples_are_those_of_training, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test(descriptions_name_what_is_there),
  };
  log_set_level(LOG_ERROR);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
