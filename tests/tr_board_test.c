/* TensorBoard's event files: the checksum's published values, the records' framing, what a torn file leaves; the real
 * tensorboard reads one back in tr_board_peer.py. */
#define _GNU_SOURCE /* memmem */
#include <math.h>

#include "base/io.h"
#include "tests/support/check.h"
#include "tests/support/damage.h"
#include "tests/support/tmpdir.h"
#include "trainer/board.h"

static void the_checksum_is_crc32c(void **state) {
  uint8_t zeros[32] = {0}, ones[32], up[32];
  (void)state;
  for (int i = 0; i < 32; i++) {
    ones[i] = 0xff;
    up[i] = (uint8_t)i;
  }
  /* RFC 3720, appendix B.4 */
  assert_int_equal(tr_crc32c(zeros, 32), 0x8a9136aau);
  assert_int_equal(tr_crc32c(ones, 32), 0x62a8ab43u);
  assert_int_equal(tr_crc32c(up, 32), 0x46dd794eu);
  assert_int_equal(tr_crc32c("", 0), 0);
}

static uint64_t get_le(const uint8_t *p, int bytes) {
  uint64_t v = 0;
  for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << 8 * i;
  return v;
}

static uint32_t masked(const void *p, size_t n) {
  const uint32_t c = tr_crc32c(p, n);
  return (c >> 15 | c << 17) + 0xa282ead8u;
}

/* Walks the file's records; returns their number. */
static int records(const char *data, size_t n) {
  const uint8_t *p = (const uint8_t *)data, *end = p + n;
  int count = 0;
  while (p < end) {
    const uint64_t size = get_le(p, 8);
    assert_true((size_t)(end - p) >= 16 + size);
    assert_int_equal(get_le(p + 8, 4), masked(p, 8));
    assert_int_equal(get_le(p + 12 + size, 4), masked(p + 12, size));
    p += 16 + size;
    count++;
  }
  return count;
}

static char *only_file(void **state, size_t *n) {
  char **names = NULL, path[IO_PATH_MAX], *data = NULL;
  size_t count = 0;
  check_ok(io_list_dir(tmpdir_at(state, "run/tensorboard"), &names, &count));
  assert_int_equal(count, 1);
  assert_int_equal(strncmp(names[0], "events.out.tfevents.", 20), 0);
  check_ok(io_path(path, "%s/%s", tmpdir_at(state, "run/tensorboard"), names[0]));
  io_free_names(&names, count);
  check_ok(io_read_file(path, 1 << 20, &data, n));
  return data;
}

static void steps_become_records(void **state) {
  const double losses[] = {1, 3, 5};
  const bool empty[] = {false, false, true};
  ds_group a = {.dataset = 0}, b = {.dataset = 1}, c = {.dataset = 1};
  ds_group *const groups[] = {&a, &b, &c};
  const char *const names[] = {"0-hypersim", "1-vkitti2"};
  const tr_metrics m = {.step = 7, .loss = 3, .group_loss = losses, .group_empty = empty, .groups = 3, .lr = 1e-5};
  tr_board *board = NULL;
  size_t n;
  check_ok(tr_board_open(tmpdir_at(state, "run"), 6, &board));
  check_ok(tr_board_step(board, &m, groups, names, 2));
  check_ok(tr_board_scalar(board, "odd", 7, (double)NAN));
  tr_board_close(&board);
  char *data = only_file(state, &n);
  assert_int_equal(records(data, n), 2 + 6 + 2 + 1); /* version, restart, scalars, one a data set, the odd one */
  assert_non_null(memmem(data, n, "loss/0-hypersim", 15));
  assert_non_null(memmem(data, n, "loss/1-vkitti2\x15\0\0\x40\x40", 19)); /* 3: the empty group does not count */
  free(data);
}

static void a_folder_that_cannot_be_written_is_named(void **state) {
  tr_board *board = NULL;
  damaged_save(tmpdir_at(state, "run"), "x", 1);
  assert_int_equal(tr_board_open(tmpdir_at(state, "run"), 0, &board), E_IO);
  assert_non_null(strstr(err_text(), "/run"));
  assert_null(board);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_checksum_is_crc32c),
      cmocka_unit_test_setup_teardown(steps_become_records, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(a_folder_that_cannot_be_written_is_named, tmpdir_setup, tmpdir_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
