#include "base/err.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE = sizeof((err_saved *)0)->text, TRAIL_SIZE = sizeof((err_saved *)0)->trail };
static _Thread_local char text[TEXT_SIZE];
static _Thread_local char trail[TRAIL_SIZE];

static const char *short_path(const char *file) {
  const char *slash = strrchr(file, '/'), *dir = slash;
  while (dir && dir > file && dir[-1] != '/') dir--;
  return dir ? dir : file;
}

int err_set(int code, const char *file, int line, const char *fmt, ...) {
  char fresh[TEXT_SIZE]; /* an argument may be the old text itself */
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(fresh, sizeof fresh, fmt, ap);
  va_end(ap);
  memcpy(text, fresh, sizeof text);
  snprintf(trail, sizeof trail, "%s:%d", short_path(file), line);
  if (getenv("ERR_BREAK")) raise(SIGTRAP);
  return code;
}

int err_wrap(int code, const char *file, int line, const char *fmt, ...) {
  char front[TEXT_SIZE], fresh[2 * TEXT_SIZE + 2];
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(front, sizeof front, fmt, ap);
  va_end(ap);
  snprintf(fresh, sizeof fresh, "%s: %s", front, text);
  memcpy(text, fresh, sizeof text);
  text[sizeof text - 1] = 0;
  return err_hop(code, file, line);
}

int err_hop(int code, const char *file, int line) {
  const size_t n = strlen(trail);

  snprintf(trail + n, sizeof trail - n, " <- %s:%d", short_path(file), line);
  return code;
}

const char *err_text(void) { return text; }
const char *err_trail(void) { return trail; }
void err_clear(void) { text[0] = trail[0] = 0; }

void err_save(err_saved *out) {
  memcpy(out->text, text, sizeof text);
  memcpy(out->trail, trail, sizeof trail);
}

void err_restore(const err_saved *saved) {
  memcpy(text, saved->text, sizeof text);
  memcpy(trail, saved->trail, sizeof trail);
}

int err_exit_status(int code) {
  switch (code) {
  case OK: return 0;
  case E_CONFIG: return 2;
  case E_DATA: return 3;
  case E_CKPT: return 4;
  case E_DISK: return 5;
  case E_DEVICE:
  case E_NOMEM: return 6;
  case E_NUMERIC: return 7;
  case E_STOPPED: return 75;
  default: return 1;
  }
}

int err_of_errno(int errno_value, int other) {
  switch (errno_value) {
  case ENOSPC:
  case EDQUOT:
  case EROFS:
  case EIO: return E_DISK;
  default: return other;
  }
}
