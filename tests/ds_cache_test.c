/* Prepared data: the manifest's reader against every cut and every flipped byte, shards, mirrors, and writing that is
 * killed at any moment. */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datasets/cache.h"
#include "datasets/cache_row.h"
#include "datasets/cache_write.h"
#include "tests/support/damage.h"
#include "tests/support/samples.h"
#include "tests/support/tmpdir.h"

enum { H = 5, W = 7, ITEMS = 11, ROWS = 4, NEED = DS_NEED_METRIC | DS_NEED_NORMALS | DS_NEED_DEPTH };
static const ds_latent_form latent = {4, 2, 3, 4};
static const ds_cache_form stored = {ITEMS, H, W, NEED, latent, ROWS};

static ds_source *names(void) {
  ds_opts o = sample_opts("hypersim", "%s/synth/hypersim", TEST_DATA);

  return sample_source(&o);
}

static ds_key key_of(const char *size) {
  ds_key k = {0};

  ds_key_add(&k, "kind", "a\tb");
  ds_key_add(&k, "size", "%s", size);
  return k;
}

/* ---- samples that are a function of (item, flip) ---- */

static float value(int64_t i, int b, size_t at) { return (float)((size_t)(31 * i + 7 * b) + at % 97) - 50; }

/* Item 3 k: the mirrored sample is the plain one mirrored. */
static ds_sample made(int64_t i, int b) {
  ds_sample s = sample_room(H, W);
  const bool exact = i % 3 == 0;

  s.latent = malloc(ds_latent_bytes(&latent));
  assert_non_null(s.latent);
  for (size_t at = 0; at < ds_latent_bytes(&latent) / 4; at++) ((float *)s.latent)[at] = value(i, b, at);
  for (size_t at = 0; at < ds_sample_floats(H, W); at++) s.rgb[at] = value(i, exact ? 0 : b, at);
  s.valid = 0;
  for (size_t at = 0; at < H * W; at++) s.valid += s.mask[at] = (at + (size_t)(exact ? 0 : b)) % 3 != 0;
  for (size_t at = 0; at < H * W; at++)
    for (size_t c = 0; c < 3 && !s.mask[at]; c++) s.normals[c * H * W + at] = 0;
  if (exact && b) ds_row_mirror(&s);
  return s;
}

static void unmake(ds_sample *s) {
  free(s->latent);
  sample_free(s);
}

/* Items 5 and 6 are none that train. */
static ds_cache_item item_of(int64_t i) {
  ds_cache_item it = {.state = i == 5 ? DS_BROKEN : i == 6 ? DS_FILTERED : DS_KEPT, .id = "scene/0", .reason = "cut\tin\ntwo"};

  if (i != 5) it.frame = (ds_hash){(uint64_t)i + 1, 7};
  return it;
}

static int put(ds_cache_writer *w, int64_t i) {
  ds_sample both[2] = {made(i, 0), made(i, 1)};
  const ds_cache_item it = item_of(i);
  const int st = ds_cache_writer_put(w, &it, both);

  for (int b = 0; b < 2; b++) unmake(&both[b]);
  return st;
}

/* From where it is to the end; after `stop` items with nothing flushed, as if killed (-1: never). */
static int write_all(const char *dir, const ds_cache_form *f, int stop) {
  int st = OK;
  ds_source *s = names();
  ds_cache_writer *w = NULL;
  const ds_key k = key_of("[5, 7]");

  TRY(ds_cache_writer_open(dir, &k, f, s, &w));
  for (int64_t i = ds_cache_writer_done(w); i < ITEMS; i++) {
    if (stop-- == 0) goto out;
    TRY(put(w, i));
  }
  TRY(ds_cache_writer_finish(w));
out:
  ds_cache_writer_close(&w);
  ds_source_close(&s);
  return st;
}

static ds_cache *opened(const char *dir) {
  ds_cache *c = NULL;
  const ds_key k = key_of("[5, 7]");

  check_ok(ds_cache_open(dir, &k, ITEMS, &c));
  return c;
}

static void expect_item(ds_cache *c, int64_t i, bool flip) {
  ds_sample got = sample_room(H, W), want = made(i, flip);
  const char *path;

  got.latent = malloc(ds_latent_bytes(&latent));
  check_ok(ds_cache_read(c, i, flip, &path, &got));
  assert_memory_equal(got.latent, want.latent, ds_latent_bytes(&latent));
  assert_true(ds_row_same(&got, &want) && got.valid == want.valid);
  unmake(&got);
  unmake(&want);
}

static void expect_all(const char *dir) {
  ds_cache *c = opened(dir);
  ds_sample none = sample_room(H, W);
  const char *path;

  for (int64_t i = 0; i < ITEMS; i++) {
    if (item_of(i).state == DS_KEPT) {
      expect_item(c, i, true);
      expect_item(c, i, false);
      check_ok(ds_cache_check_frame(c, i, item_of(i).frame));
      assert_true(ds_cache_get_index(c)->items[i].own_mirror == (i % 3 != 0));
    } else {
      check_fails(E_DATA, i == 5 ? "cut in two (broken when it was prepared)" : "data.filter",
                  ds_cache_read(c, i, false, &path, &none));
    }
  }
  check_fails(E_DATA, "not what it was", ds_cache_check_frame(c, 1, (ds_hash){1, 1}));
  sample_free(&none);
  ds_cache_close(&c);
}

static void what_is_written_is_read(void **state) {
  const char *dir = tmpdir_at(state, "c");

  check_ok(write_all(dir, &stored, -1));
  expect_all(dir);
  check_ok(write_all(dir, &stored, -1)); /* nothing is left to do */
  assert_true(io_exists(tmpdir_at(state, "c/shard-00002.h5")) && !io_exists(tmpdir_at(state, "c/manifest.part")));
}

static void other_things_are_refused(void **state) {
  const char *dir = tmpdir_at(state, "c");
  ds_cache *c = NULL;
  ds_cache_writer *w = NULL;
  ds_source *s = names();
  const ds_key same = key_of("[5, 7]"), other = key_of("[8, 8]");
  ds_cache_form more = stored;

  more.count++;
  check_fails(E_DATA, "no prepared data", ds_cache_open(dir, &same, ITEMS, &c));
  check_ok(write_all(dir, &stored, 3));
  check_fails(E_DATA, "has not come to its end", ds_cache_open(dir, &same, ITEMS, &c));
  check_fails(E_DATA, "size is now [8, 8], was [5, 7]", ds_cache_writer_open(dir, &other, &stored, s, &w));
  check_fails(E_DATA, "now 12 of", ds_cache_writer_open(dir, &same, &more, s, &w));
  check_ok(write_all(dir, &stored, -1));
  check_fails(E_DATA, "size is now [8, 8], was [5, 7]", ds_cache_open(dir, &other, ITEMS, &c));
  check_fails(E_DATA, "prepared from 11 samples, there are 12", ds_cache_open(dir, &same, ITEMS + 1, &c));
  ds_source_close(&s);
}

static void hashes_alone_make_way_for_samples(void **state) {
  const char *dir = tmpdir_at(state, "c");
  const ds_cache_form hashes = {ITEMS, 0, 0, NEED, {0}, ROWS};

  check_ok(write_all(dir, &hashes, -1));
  ds_cache *c = opened(dir);
  assert_false(ds_cache_has_samples(c));
  check_ok(ds_cache_check_frame(c, 4, item_of(4).frame));
  check_fails(E_DATA, "broken when", ds_cache_check_frame(c, 5, item_of(4).frame));
  ds_cache_close(&c);
  check_ok(write_all(dir, &stored, -1));
  expect_all(dir);
}

static void same_file(void **state, const char *name) {
  damaged a = damaged_load(tmpdir_at(state, "whole/%s", name)), b = damaged_load(tmpdir_at(state, "parts/%s", name));

  assert_int_equal(a.n, b.n);
  assert_memory_equal(a.bytes, b.bytes, a.n);
  damaged_free(&a);
  damaged_free(&b);
}

static void same_folders(void **state) {
  for (int i = 0; i < 3; i++) {
    char name[32];
    snprintf(name, sizeof name, "shard-%05d.h5", i);
    same_file(state, name);
  }
  same_file(state, "manifest.tsv");
}

/* Every number of items before the end, and each time again from there. */
static void interrupted_writing_ends_the_same(void **state) {
  check_ok(write_all(tmpdir_at(state, "whole"), &stored, -1));
  for (int step = 1; step <= 5; step++) {
    check_ok(io_remove_tree(tmpdir_at(state, "parts")));
    for (int tries = 0; tries < ITEMS && !io_exists(tmpdir_at(state, "parts/manifest.tsv")); tries++)
      check_ok(write_all(tmpdir_at(state, "parts"), &stored, step));
    check_ok(write_all(tmpdir_at(state, "parts"), &stored, -1));
    same_folders(state);
  }
}

/* ---- killed at the n-th call that writes ---- */

static int calls_left;
static void count_call(void) {
  if (calls_left-- == 0) kill(getpid(), SIGKILL);
}
static int dying_fsync(int fd) { return (void)fd, count_call(), 0; } /* a kill loses no page */
static int dying_rename(const char *a, const char *b) { return count_call(), rename(a, b); }
static ssize_t dying_write(int fd, const void *p, size_t n) {
  if (calls_left == 0 && n > 1) n /= 2; /* torn */
  const ssize_t done = write(fd, p, n);
  return count_call(), done;
}
static int plain_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

static bool killed_at(const char *dir, int n) {
  static const io_calls calls = {.open = plain_open, .write = dying_write, .read = read, .fsync = dying_fsync, .close = close,
                                 .rename = dying_rename, .mkdir = mkdir, .unlink = unlink, .rmdir = rmdir, .ftruncate = ftruncate};
  int status;

  fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0) {
    calls_left = n;
    io_set_calls(&calls);
    _exit(write_all(dir, &stored, -1) == OK ? 0 : 1);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status);
}

static void killed_at_any_call_it_goes_on(void **state) {
  const char *dir = tmpdir_at(state, "parts");
  int kills = 0;

  check_ok(write_all(tmpdir_at(state, "whole"), &stored, -1));
  for (int n = 0; killed_at(dir, n); n += 1 + n / 16, kills++) {
    for (int more = 3; killed_at(dir, n + more); more *= 2) kills++; /* and again on the way */
    same_folders(state);
    check_ok(io_remove_tree(dir));
  }
  assert_true(kills >= 20);
  print_message("%d kills\n", kills);
}

/* ---- damage ---- */

static void every_damaged_byte_of_a_row_is_seen(void **state) {
  const char *path = tmpdir_at(state, "c/shard-00000.h5");
  ds_sample got = sample_room(H, W);
  const char *read;
  int64_t seen = 0;

  check_ok(write_all(tmpdir_at(state, "c"), &stored, -1));
  damaged d = damaged_load(path);
  got.latent = malloc(ds_latent_bytes(&latent));
  for (size_t at = 0; at < d.n; at += 13) {
    damaged_flip(&d, at, (int)(at % 8), path);
    ds_cache *c = opened(tmpdir_at(state, "c"));
    for (int64_t i = 0; i < ROWS; i++)
      for (int flip = 0; flip < 2; flip++) {
        if (ds_cache_read(c, i, flip, &read, &got) != OK) {
          assert_non_null(strstr(err_text(), "is damaged"));
          assert_string_equal(read, path);
          seen++;
          continue;
        }
        ds_sample want = made(i, flip);
        assert_true(ds_row_same(&got, &want) && !memcmp(got.latent, want.latent, ds_latent_bytes(&latent)));
        unmake(&want);
      }
    ds_cache_close(&c);
  }
  assert_true(seen > 50);
  damaged_save(path, d.bytes, d.n / 2);
  ds_cache *c = opened(tmpdir_at(state, "c"));
  check_fails(E_DATA, "bytes, wanted", ds_cache_read(c, 0, false, &read, &got));
  assert_int_equal(unlink(path), 0);
  check_fails(E_DATA, "No such file", ds_cache_read(c, 0, false, &read, &got));
  ds_cache_close(&c);
  unmake(&got);
  damaged_free(&d);
}

/* A damaged manifest is refused, whatever the byte; a cut one is not complete. */
static void every_damaged_byte_of_a_manifest_is_seen(void **state) {
  const char *path = tmpdir_at(state, "c/manifest.tsv");
  const ds_key k = key_of("[5, 7]");
  ds_cache *c = NULL;

  check_ok(write_all(tmpdir_at(state, "c"), &stored, -1));
  damaged d = damaged_load(path);
  for (size_t at = 0; at < d.n; at++) {
    damaged_flip(&d, at, (int)(at % 7), path);
    if (ds_cache_open(tmpdir_at(state, "c"), &k, ITEMS, &c) == OK) fail_msg("byte %zu", at);
    damaged_save(path, d.bytes, at);
    if (ds_cache_open(tmpdir_at(state, "c"), &k, ITEMS, &c) == OK) fail_msg("cut at %zu", at);
  }
  damaged_free(&d);
}

static void bits_and_mirrors(void **state) {
  uint8_t mask[37], back[37], bits[5];
  int64_t ones = 0;

  (void)state;
  for (int i = 0; i < 37; i++) ones += mask[i] = i * i % 5 < 2;
  ds_bits_pack(mask, 37, bits);
  assert_int_equal(ds_bits_unpack(bits, 37, back), ones);
  assert_memory_equal(mask, back, 37);
  ds_sample a = made(1, 0), b = made(1, 0);
  ds_row_mirror(&a);
  assert_false(ds_row_same(&a, &b));
  ds_row_mirror(&a);
  assert_true(ds_row_same(&a, &b));
  unmake(&a);
  unmake(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bits_and_mirrors),
      cmocka_unit_test_setup_teardown(what_is_written_is_read, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(other_things_are_refused, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(hashes_alone_make_way_for_samples, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(interrupted_writing_ends_the_same, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(killed_at_any_call_it_goes_on, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(every_damaged_byte_of_a_row_is_seen, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(every_damaged_byte_of_a_manifest_is_seen, tmpdir_setup, tmpdir_teardown)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
