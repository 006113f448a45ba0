/* base/err: message, trail, classes. */
#include <errno.h>

#include "tests/support/check.h"

static int inner(void) {
  int st = OK;
  FAIL(E_FORMAT, "%s: cut at byte %d", "a.bin", 7);
out:
  return st;
}

static int middle(void) {
  int st = OK;
  TRY(inner());
out:
  return st;
}

static int outer(void) {
  int st = OK;
  TRY_AS(E_DATA, middle(), "scene %d", 3);
out:
  return st;
}

static void message_and_trail(void **state) {
  (void)state;
  check_fails(E_FORMAT, "a.bin: cut at byte 7", middle());
  assert_string_equal(err_text(), "a.bin: cut at byte 7");
  assert_non_null(strstr(err_trail(), "tests/base_err_test.c:"));
  assert_non_null(strstr(err_trail(), " <- "));
  err_clear();
  assert_string_equal(err_text(), "");
}

static void wrap_keeps_the_cause(void **state) {
  (void)state;
  check_fails(E_DATA, "", outer());
  assert_string_equal(err_text(), "scene 3: a.bin: cut at byte 7");
}

static void text_may_be_its_own_argument(void **state) {
  (void)state;
  err_set(E_FAIL, "f.c", 1, "first");
  err_set(E_FAIL, "f.c", 2, "second after %s", err_text());
  assert_string_equal(err_text(), "second after first");
}

static void long_texts_are_cut(void **state) {
  static char big[10000];

  (void)state;
  memset(big, 'x', sizeof big - 1);
  err_set(E_FAIL, "f.c", 1, "%s", big);
  for (int i = 0; i < 400; i++) err_wrap(E_FAIL, "some/folder/f.c", i, "%s", big);
  assert_in_range(strlen(err_text()), 1000, sizeof(err_saved));
}

static void saved_and_restored(void **state) {
  err_saved saved;

  (void)state;
  check_fails(E_FORMAT, "a.bin", middle());
  err_save(&saved);
  err_set(E_FAIL, "f.c", 1, "another");
  err_restore(&saved);
  assert_string_equal(err_text(), "a.bin: cut at byte 7");
  assert_non_null(strstr(err_trail(), " <- "));
}

static void exit_statuses(void **state) {
  static const int want[][2] = {{OK, 0},       {E_FAIL, 1},   {E_CONFIG, 2}, {E_DATA, 3},   {E_CKPT, 4},  {E_DISK, 5},
                                {E_DEVICE, 6}, {E_NOMEM, 6},  {E_NUMERIC, 7}, {E_STOPPED, 75}, {E_IO, 1}, {E_FORMAT, 1},
                                {E_SHAPE, 1},  {-12345, 1}};

  (void)state;
  for (size_t i = 0; i < sizeof want / sizeof *want; i++) assert_int_equal(err_exit_status(want[i][0]), want[i][1]);
}

static void disk_errors(void **state) {
  (void)state;
  assert_int_equal(err_of_errno(ENOSPC, E_IO), E_DISK);
  assert_int_equal(err_of_errno(EDQUOT, E_IO), E_DISK);
  assert_int_equal(err_of_errno(EROFS, E_IO), E_DISK);
  assert_int_equal(err_of_errno(EIO, E_IO), E_DISK);
  assert_int_equal(err_of_errno(EACCES, E_CKPT), E_CKPT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(message_and_trail), cmocka_unit_test(wrap_keeps_the_cause),
      cmocka_unit_test(text_may_be_its_own_argument), cmocka_unit_test(long_texts_are_cut),
      cmocka_unit_test(saved_and_restored), cmocka_unit_test(exit_statuses), cmocka_unit_test(disk_errors)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
