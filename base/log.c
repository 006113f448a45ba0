#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"

enum { LINE_SIZE = 4096, STATUS_SIZE = 512, STATUS_PERIOD_S = 30 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  log_level level;
  io_file file;
  char status[STATUS_SIZE]; /* what the terminal's last line shows, "" for none */
  double printed_at;        /* when a status was last printed as a plain line */
  bool printed;
} lg = {.level = LOG_INFO, .file = {.fd = -1}};

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool colour(void) {
  const char *no = getenv("NO_COLOR");
  return isatty(STDERR_FILENO) && !(no && no[0]);
}

/* Progress may not touch the thread's error message, so neither io_write nor its status is used here: a line that
 * cannot be written is lost. */
static void put(int fd, const char *text, size_t n) {
  while (n) {
    const ssize_t done = write(fd, text, n);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return;
    text += done;
    n -= (size_t)done;
  }
}

static void put_stderr(const char *text) { put(STDERR_FILENO, text, strlen(text)); }

static void put_file(const char *word, const char *text) {
  char line[LINE_SIZE + 64];
  struct tm utc;
  const time_t now = time(NULL);

  if (lg.file.fd < 0) return;
  gmtime_r(&now, &utc);
  size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%SZ", &utc);
  n += (size_t)snprintf(line + n, sizeof line - n, " %-7s %s\n", word, text);
  put(lg.file.fd, line, n < sizeof line ? n : sizeof line - 1);
}

/* Cuts text to the terminal's width, so that \r can take it back; not inside a UTF-8 sequence. */
static void fit_width(char *text) {
  struct winsize w;
  size_t width = 80, columns = 0;

  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1) width = w.ws_col;
  for (char *p = text; *p; p++) {
    if (((unsigned char)*p & 0xc0) == 0x80) continue; /* goes on with a character */
    if (++columns < width) continue;
    *p = 0;
    return;
  }
}

static void draw_status(void) {
  char line[STATUS_SIZE + 8];

  if (!lg.status[0]) return;
  snprintf(line, sizeof line, "\r\033[K%s", lg.status);
  put_stderr(line);
}

void log_set_level(log_level level) {
  pthread_mutex_lock(&lock);
  lg.level = level;
  pthread_mutex_unlock(&lock);
}

int log_open_file(const char *path) {
  int st = OK;
  io_file f;

  TRY(io_append(path, &f));
  log_close_file();
  pthread_mutex_lock(&lock);
  lg.file = f;
  pthread_mutex_unlock(&lock);
out:
  return st;
}

void log_close_file(void) {
  pthread_mutex_lock(&lock);
  if (lg.file.fd >= 0) close(lg.file.fd);
  lg.file.fd = -1;
  pthread_mutex_unlock(&lock);
}

void log_line(log_level level, const char *fmt, ...) {
  static const struct { const char *word, *front, *paint; } kinds[] = {
      {"debug", "", "\033[2m"}, {"info", "", ""}, {"warning", "warning: ", "\033[33m"}, {"error", "error: ", "\033[31m"}};
  char text[LINE_SIZE], line[LINE_SIZE + 64];
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  pthread_mutex_lock(&lock);
  put_file(kinds[level].word, text);
  if (level >= lg.level) {
    const bool paint = kinds[level].paint[0] && colour();
    snprintf(line, sizeof line, "%s%s%s%s%s\n", lg.status[0] ? "\r\033[K" : "", paint ? kinds[level].paint : "",
             kinds[level].front, text, paint ? "\033[0m" : "");
    put_stderr(line);
    draw_status();
  }
  pthread_mutex_unlock(&lock);
}

void log_status(int force, const char *fmt, ...) {
  char text[STATUS_SIZE], line[STATUS_SIZE + 1];
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  pthread_mutex_lock(&lock);
  const double now = now_s();
  const bool tty = isatty(STDERR_FILENO), due = force || !lg.printed || now - lg.printed_at >= STATUS_PERIOD_S;
  if (due) {
    lg.printed = true;
    lg.printed_at = now;
    put_file("status", text);
  }
  if (tty) {
    memcpy(lg.status, text, sizeof text);
    fit_width(lg.status);
    draw_status();
  } else if (due) {
    snprintf(line, sizeof line, "%s\n", text);
    put_stderr(line);
  }
  pthread_mutex_unlock(&lock);
}

void log_status_end(void) {
  pthread_mutex_lock(&lock);
  if (lg.status[0]) put_stderr("\n");
  lg.status[0] = 0;
  pthread_mutex_unlock(&lock);
}
