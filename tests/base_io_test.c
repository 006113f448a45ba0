/* base/io: files and folders, each failing call, interrupted and short writes. */
#include "base/io.h"

#include <sys/stat.h>

#include "tests/support/faults.h"
#include "tests/support/tmpdir.h"

static void check_content(const char *path, const char *want) {
  char *data = NULL;
  size_t n = 0;

  check_ok(io_read_file(path, 1 << 20, &data, &n));
  assert_int_equal(n, strlen(want));
  assert_string_equal(data, want); /* the 0 byte behind it is there */
  free(data);
}

static void create_write_append(void **state) {
  const char *path = tmpdir_at(state, "a.txt");
  io_file f;

  check_ok(io_create(path, &f));
  check_ok(io_write(&f, "one\n", 4));
  check_ok(io_write(&f, "", 0));
  check_ok(io_sync(&f));
  check_ok(io_close(&f));
  check_ok(io_close(&f)); /* again: nothing */
  check_ok(io_append(path, &f));
  check_ok(io_write(&f, "two\n", 4));
  check_ok(io_close(&f));
  check_content(path, "one\ntwo\n");
  check_ok(io_create(path, &f));
  check_ok(io_close(&f));
  check_content(path, "");
}

static void add_bytes(void *ctx, const void *buf, size_t n) {
  char *seen = ctx;
  strncat(seen, buf, n);
}

static void tap_sees_what_was_written(void **state) {
  char seen[32] = "";
  io_file f;

  faults_begin(0, 0, FAULTS_SLOW);
  check_ok(io_create(tmpdir_at(state, "a"), &f));
  f.tap = add_bytes;
  f.tap_ctx = seen;
  check_ok(io_write(&f, "hello, ", 7));
  check_ok(io_write(&f, "far away world", 14));
  check_ok(io_close(&f));
  faults_end();
  assert_string_equal(seen, "hello, far away world");
}

/* Writes of 7 bytes at most, each second call interrupted: the file is whole all the same. */
static void interrupted_and_short(void **state) {
  char text[1001];
  const char *path = tmpdir_at(state, "a");

  for (int i = 0; i < 1000; i++) text[i] = (char)('a' + i % 26);
  text[1000] = 0;
  faults_begin(0, 0, FAULTS_SLOW);
  check_ok(io_write_file(path, text, 1000));
  faults_end();
  check_content(path, text);
}

/* Whichever call fails, the old content or the new one is there, no temporary file, and the message names the path. */
static void write_file_is_all_or_nothing(void **state) {
  static const int errors[] = {ENOSPC, EDQUOT, EROFS, EIO, EACCES};
  int sites = 0;

  for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
    const char *path = tmpdir_at(state, "file%zu", e);
    check_ok(io_write_file(path, "old", 3));
    for (int i = 1;; i++) {
      faults_begin(i, errors[e], FAULTS_ONCE);
      const int st = io_write_file(path, "newer", 5);
      if (!faults_end()) break;
      sites++;
      if (strncmp(faults.what, "close", 5) != 0 || st != OK) /* of the folder: nothing was lost */
        check_fails(errors[e] == EACCES ? E_IO : E_DISK, strerror(errors[e]), st);
      if (st != OK) assert_non_null(strstr(err_text(), (const char *)*state));
      check_content(path, io_exists(path) && i > 5 ? "newer" : "old");
      assert_false(io_exists(tmpdir_at(state, "file%zu.tmp", e)));
      check_ok(io_write_file(path, "old", 3));
    }
    check_content(path, "newer");
  }
  assert_int_equal(sites, 8 * 5); /* open write fsync close rename; open fsync close of the folder */
}

static void make_dirs(void **state) {
  check_ok(io_make_dirs(tmpdir_at(state, "a/b//c/")));
  assert_true(io_is_dir(tmpdir_at(state, "a/b/c")));
  check_ok(io_make_dirs(tmpdir_at(state, "a/b/c")));
  check_ok(io_write_file(tmpdir_at(state, "a/file"), "", 0));
  check_fails(E_IO, "a/file: cannot make the folder: a file of that name is there",
              io_make_dirs(tmpdir_at(state, "a/file/x")));
  assert_false(io_is_dir(tmpdir_at(state, "a/file")));
  check_fails(E_IO, "cannot make the folder", io_make_dirs(""));
}

static void make_dirs_faults(void **state) {
  for (int i = 1;; i++) {
    const char *path = tmpdir_at(state, "d%d/e", i);
    faults_begin(i, EROFS, FAULTS_ONCE);
    const int st = io_make_dirs(path);
    const int hit = faults_end();
    if (!hit) break;
    if (strncmp(faults.what, "close", 5) != 0) check_fails(E_DISK, "Read-only file system", st);
  }
}

static void make_tree(void **state) {
  check_ok(io_make_dirs(tmpdir_at(state, "t/u/empty")));
  check_ok(io_write_file(tmpdir_at(state, "t/one"), "1", 1));
  check_ok(io_write_file(tmpdir_at(state, "t/u/two"), "22", 2));
  check_ok(io_write_file(tmpdir_at(state, "outside"), "o", 1));
  assert_int_equal(symlink("../outside", tmpdir_at(state, "t/link")), 0);
  assert_int_equal(symlink("nowhere", tmpdir_at(state, "t/u/dangling")), 0);
}

static void remove_tree(void **state) {
  make_tree(state);
  check_ok(io_remove_tree(tmpdir_at(state, "t")));
  assert_false(io_exists(tmpdir_at(state, "t")));
  check_content(tmpdir_at(state, "outside"), "o"); /* the link was not followed */
  check_ok(io_remove_tree(tmpdir_at(state, "t")));
  check_ok(io_remove_tree(tmpdir_at(state, "outside")));
  assert_false(io_exists(tmpdir_at(state, "outside")));
}

static void remove_tree_faults(void **state) {
  make_tree(state);
  for (int i = 1;; i++) {
    faults_begin(i, EIO, FAULTS_ONCE);
    const int st = io_remove_tree(tmpdir_at(state, "t"));
    if (!faults_end()) break;
    check_fails(E_DISK, "cannot remove", st);
    assert_true(io_exists(tmpdir_at(state, "t")));
    check_ok(io_remove_tree(tmpdir_at(state, "t")));
    check_ok(io_remove_tree(tmpdir_at(state, "outside")));
    make_tree(state);
  }
}

static void copy_tree(void **state) {
  make_tree(state);
  check_fails(E_IO, "dangling: cannot open", io_copy_tree(tmpdir_at(state, "t"), tmpdir_at(state, "x")));
  assert_int_equal(unlink(tmpdir_at(state, "t/u/dangling")), 0);
  assert_int_equal(chmod(tmpdir_at(state, "t/one"), 0400), 0);
  check_ok(io_copy_tree(tmpdir_at(state, "t"), tmpdir_at(state, "copy/deep")));
  check_content(tmpdir_at(state, "copy/deep/one"), "1");
  check_content(tmpdir_at(state, "copy/deep/u/two"), "22");
  check_content(tmpdir_at(state, "copy/deep/link"), "o");
  assert_true(io_is_dir(tmpdir_at(state, "copy/deep/u/empty")));
  struct stat s;
  assert_int_equal(lstat(tmpdir_at(state, "copy/deep/link"), &s), 0);
  assert_true(S_ISREG(s.st_mode));
  assert_int_equal(stat(tmpdir_at(state, "copy/deep/one"), &s), 0);
  assert_true(s.st_mode & 0200); /* a read-only source gives a folder one can work with */
}

static void copy_file_long(void **state) {
  enum { N = (1 << 20) + 12345 };
  char *data = malloc(N), *back = NULL;
  size_t n = 0;

  assert_non_null(data);
  for (int i = 0; i < N; i++) data[i] = (char)(i * 31 >> 3);
  check_ok(io_write_file(tmpdir_at(state, "a"), data, N));
  check_ok(io_copy_file(tmpdir_at(state, "a"), tmpdir_at(state, "b")));
  check_ok(io_read_file(tmpdir_at(state, "b"), N, &back, &n));
  assert_int_equal(n, N);
  assert_memory_equal(back, data, N);
  free(back);
  free(data);
  check_fails(E_IO, "none: cannot open", io_copy_file(tmpdir_at(state, "none"), tmpdir_at(state, "c")));
  assert_false(io_exists(tmpdir_at(state, "c")));
}

static void read_file_refuses(void **state) {
  char *data = NULL;
  size_t n = 0;

  check_ok(io_write_file(tmpdir_at(state, "a"), "12345", 5));
  check_fails(E_FORMAT, "5 bytes, at most 4", io_read_file(tmpdir_at(state, "a"), 4, &data, &n));
  check_fails(E_IO, "none: cannot open: No such file", io_read_file(tmpdir_at(state, "none"), 4, &data, &n));
  check_fails(E_IO, "not a file but a folder", io_read_file(*state, 4, &data, &n));
  assert_int_equal(mkfifo(tmpdir_at(state, "fifo"), 0600), 0);
  check_fails(E_IO, "fifo: not a file", io_read_file(tmpdir_at(state, "fifo"), 4, &data, &n));
  check_fails(E_IO, "fifo: not a file", io_copy_file(tmpdir_at(state, "fifo"), tmpdir_at(state, "copy")));
  assert_false(io_exists(tmpdir_at(state, "copy")));
  assert_null(data);
}

static void list_dir(void **state) {
  char **names = NULL;
  size_t n = 99;

  check_ok(io_list_dir(*state, &names, &n));
  assert_int_equal(n, 0);
  io_free_names(&names, n);
  for (int i = 99; i >= 0; i--) check_ok(io_write_file(tmpdir_at(state, "n%02d", i), "", 0));
  check_ok(io_list_dir(*state, &names, &n));
  assert_int_equal(n, 100);
  for (size_t i = 0; i < n; i++) assert_int_equal(atoi(names[i] + 1), i);
  io_free_names(&names, n);
  assert_null(names);
  check_fails(E_IO, "cannot open the folder", io_list_dir(tmpdir_at(state, "n00"), &names, &n));
}

static void paths(void **state) {
  char out[IO_PATH_MAX], big[IO_PATH_MAX + 10];

  (void)state;
  check_ok(io_path(out, "%s/%d", "a", 7));
  assert_string_equal(out, "a/7");
  check_ok(io_path_beside(out, "x/y/run.yaml", "data"));
  assert_string_equal(out, "x/y/data");
  check_ok(io_path_beside(out, "run.yaml", "data"));
  assert_string_equal(out, "data");
  check_ok(io_path_beside(out, "x/run.yaml", "/data"));
  assert_string_equal(out, "/data");
  check_ok(io_path_beside(out, "/run.yaml", "data"));
  assert_string_equal(out, "/data");
  memset(big, 'x', sizeof big - 1);
  big[sizeof big - 1] = 0;
  check_fails(E_FAIL, "a path of 4105 bytes", io_path(out, "%s", big));
  big[IO_PATH_MAX] = 0;
  check_fails(E_FAIL, "a path of 4096 bytes, at most 4095 fit", io_path(out, "%s", big));
  big[IO_PATH_MAX - 1] = 0;
  check_ok(io_path(out, "%s", big));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {
      TEST(create_write_append), TEST(tap_sees_what_was_written), TEST(interrupted_and_short),
      TEST(write_file_is_all_or_nothing), TEST(make_dirs), TEST(make_dirs_faults), TEST(remove_tree),
      TEST(remove_tree_faults), TEST(copy_tree), TEST(copy_file_long), TEST(read_file_refuses), TEST(list_dir),
      TEST(paths)};
  return cmocka_run_group_tests(tests, faults_no_sync, NULL);
}
