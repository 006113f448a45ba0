/* tests/support/check.h: cmocka with all it wants included before it, and checks of status codes. */
#ifndef TESTS_SUPPORT_CHECK_H
#define TESTS_SUPPORT_CHECK_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

/* The call succeeds; otherwise its message is printed. */
#define check_ok(call) \
  do { if ((call) != OK) fail_msg("%s: %s [%s]", #call, err_text(), err_trail()); } while (0)

/* The call fails with `code` and a message that contains `part`. */
#define check_fails(code, part, call) check_fails_at((code), (part), (call), #call, __FILE__, __LINE__)

static inline void check_fails_at(int code, const char *part, int got, const char *call, const char *file, int line) {
  if (got != code) print_error("%s:%d: %s: status %d, %d wanted: %s\n", file, line, call, got, code, err_text());
  else if (!strstr(err_text(), part)) print_error("%s:%d: %s: \"%s\" lacks \"%s\"\n", file, line, call, err_text(), part);
  else return;
  _fail(file, line);
}
#endif
