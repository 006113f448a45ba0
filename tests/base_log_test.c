/* base/log: what stderr and log.txt get, on a terminal and off it. */
#define _GNU_SOURCE /* posix_openpt */
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <termios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/support/tmpdir.h"

static int saved_stderr = -1;

static void stderr_to(int fd) {
  saved_stderr = dup(STDERR_FILENO);
  assert_true(saved_stderr >= 0 && dup2(fd, STDERR_FILENO) >= 0);
}

static void stderr_back(void) {
  dup2(saved_stderr, STDERR_FILENO);
  close(saved_stderr);
}

static char *content(const char *path) {
  char *data = NULL;
  size_t n = 0;
  check_ok(io_read_file(path, 1 << 20, &data, &n));
  return data;
}

static int lines_of(const char *text) {
  int n = 0;
  for (; *text; text++) n += *text == '\n';
  return n;
}

static void plain_lines_and_levels(void **state) {
  const char *err = tmpdir_at(state, "stderr"), *file = tmpdir_at(state, "log.txt");
  const int fd = open(err, O_CREAT | O_RDWR, 0600);

  check_ok(log_open_file(file));
  stderr_to(fd);
  log_debug("hidden %d", 1);
  log_info("plain %d", 2);
  log_warn("careful");
  log_error("broken");
  log_set_level(LOG_ERROR);
  log_info("hidden too");
  log_set_level(LOG_INFO);
  stderr_back();
  log_close_file();
  log_line(LOG_DEBUG, "to nobody");
  char *got = content(err), *text = content(file);
  assert_string_equal(got, "plain 2\nwarning: careful\nerror: broken\n");
  assert_int_equal(lines_of(text), 5); /* the file gets all */
  assert_non_null(strstr(text, " debug   hidden 1\n"));
  assert_non_null(strstr(text, " warning careful\n"));
  assert_true(text[0] == '2' && text[4] == '-' && text[10] == 'T' && text[19] == 'Z' && text[20] == ' ');
  free(got);
  free(text);
  close(fd);
}

static void file_is_appended_to(void **state) {
  const char *file = tmpdir_at(state, "log.txt");

  log_set_level(LOG_ERROR);
  for (int i = 0; i < 2; i++) {
    check_ok(log_open_file(file));
    log_info("start %d", i);
    log_close_file();
  }
  log_set_level(LOG_INFO);
  char *text = content(file);
  assert_int_equal(lines_of(text), 2);
  free(text);
  check_fails(E_IO, "none/log.txt: cannot append to", log_open_file(tmpdir_at(state, "none/log.txt")));
}

static void status_is_rare_off_a_terminal(void **state) {
  const char *err = tmpdir_at(state, "stderr");
  const int fd = open(err, O_CREAT | O_RDWR, 0600);

  stderr_to(fd);
  log_status(1, "first");
  for (int i = 0; i < 100; i++) log_status(0, "step %d", i);
  log_info("line");
  log_status(1, "last");
  log_status_end();
  stderr_back();
  char *got = content(err);
  assert_string_equal(got, "first\nline\nlast\n");
  free(got);
  close(fd);
}

/* A pseudo-terminal for stderr; what the other end reads. */
static void on_terminal(int columns, const char *no_colour, char *got, size_t size) {
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  struct winsize w = {.ws_col = (unsigned short)columns, .ws_row = 24};
  struct termios raw;

  assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
  const int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
  assert_true(slave >= 0 && ioctl(slave, TIOCSWINSZ, &w) == 0 && tcgetattr(slave, &raw) == 0);
  raw.c_oflag &= (tcflag_t)~OPOST; /* no \r before \n */
  tcsetattr(slave, TCSANOW, &raw);
  setenv("NO_COLOR", no_colour, 1);
  stderr_to(slave);
  log_status(0, "step 1");
  log_info("a line");
  log_status(0, "step 2 of many");
  log_status_end();
  log_status_end();
  log_warn("careful");
  stderr_back();
  unsetenv("NO_COLOR");
  assert_int_equal(write(slave, "<end>", 5), 5);
  size_t n = 0;
  char *end = NULL;
  while (!end) { /* what is written arrives in pieces, when the system likes */
    const ssize_t more = read(master, got + n, size - 1 - n);
    assert_true(more > 0);
    n += (size_t)more;
    got[n] = 0;
    end = strstr(got, "<end>");
  }
  *end = 0;
  close(slave);
  close(master);
}

static void status_is_redrawn_on_a_terminal(void **state) {
  char got[512];

  (void)state;
  on_terminal(80, "1", got, sizeof got);
  assert_string_equal(got, "\r\033[Kstep 1\r\033[Ka line\n\r\033[Kstep 1\r\033[Kstep 2 of many\nwarning: careful\n");
  on_terminal(10, "", got, sizeof got); /* cut before the last column; an empty NO_COLOR is none */
  assert_string_equal(got, "\r\033[Kstep 1\r\033[Ka line\n\r\033[Kstep 1\r\033[Kstep 2 of\n\033[33mwarning: careful\033[0m\n");
}

static void error_message_stays(void **state) {
  const int full = open("/dev/full", O_WRONLY); /* no line can be written to it */

  check_ok(log_open_file(tmpdir_at(state, "log.txt")));
  err_set(E_DATA, "f.c", 1, "what happened");
  stderr_to(full);
  log_warn("passing by");
  log_status(1, "step");
  stderr_back();
  close(full);
  assert_string_equal(err_text(), "what happened");
  log_close_file();
}

static void *chatter(void *arg) {
  for (int i = 0; i < 200; i++) log_info("thread %d line %d of some length", *(int *)arg, i);
  return NULL;
}

static void threads_do_not_mix(void **state) {
  enum { N = 4 };
  pthread_t t[N];
  int id[N] = {0, 1, 2, 3}, seen = 0;
  const char *file = tmpdir_at(state, "log.txt");

  check_ok(log_open_file(file));
  log_set_level(LOG_ERROR);
  for (int i = 0; i < N; i++) assert_int_equal(pthread_create(&t[i], NULL, chatter, &id[i]), 0);
  for (int i = 0; i < N; i++) pthread_join(t[i], NULL);
  log_set_level(LOG_INFO);
  log_close_file();
  char *text = content(file);
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), seen++) {
    int a, b, end = 0;
    assert_true(sscanf(line + 21, "info    thread %d line %d of some length%n", &a, &b, &end) == 2 && !line[21 + end]);
  }
  assert_int_equal(seen, N * 200);
  free(text);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {
      TEST(plain_lines_and_levels), TEST(file_is_appended_to), TEST(status_is_rare_off_a_terminal),
      TEST(status_is_redrawn_on_a_terminal), TEST(error_message_stays), TEST(threads_do_not_mix)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
