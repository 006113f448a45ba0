/* tests/support/tchc_check.h: short forms for tests that work on tensors, and the count of live handles around each.
 * A test program: cmocka_unit_test_setup_teardown(name, live_before, live_after), in short LIVE_TEST(name). */
#ifndef TESTS_SUPPORT_TCHC_CHECK_H
#define TESTS_SUPPORT_TCHC_CHECK_H
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "tchc/tchc.h"

#define DIMS(...) (const int64_t[]){__VA_ARGS__}, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))
/* The call succeeds, or the test fails with its message. */
#define CALL(call) \
  do { if ((call) != OK) fail_msg("%s: %s [%s]", #call, err_text(), err_trail()); } while (0)
/* The call fails with this status and a message that holds `part`. */
#define REFUSED(code, part, call) \
  do { \
    assert_int_equal((call), (code)); \
    if (!strstr(err_text(), (part))) fail_msg("'%s' is not in: %s", (part), err_text()); \
  } while (0)
#define LIVE_TEST(f) cmocka_unit_test_setup_teardown(f, live_before, live_after)

static inline int live_before(void **state) {
  *state = (void *)(intptr_t)tchc_live();
  return 0;
}

static inline int live_after(void **state) {
  const int64_t before = (intptr_t)*state;
  if (tchc_live() == before) return 0;
  print_error("%lld handles before, %lld after\n", (long long)before, (long long)tchc_live());
  return -1;
}

static inline tchc_tensor *from_floats(const float *v, const int64_t *sizes, int ndim) {
  tchc_tensor *t = NULL;
  CALL(tchc_from_host(v, sizes, ndim, TCHC_F32, TCHC_CPU_DEVICE, &t));
  return t;
}

/* The tensor's n values, whatever its floating type, in row-major order. */
static inline void to_floats(const tchc_tensor *t, float *out, int64_t n) {
  tchc_tensor *f = NULL;
  assert_int_equal(tchc_numel(t), n);
  CALL(tchc_to_type(t, TCHC_F32, &f));
  CALL(tchc_to_host(f, out, (size_t)n * sizeof *out));
  tchc_free(&f);
}

static inline void assert_floats(const tchc_tensor *t, const float *want, int64_t n, double tol) {
  float *got = calloc((size_t)n + 1, sizeof *got);
  assert_non_null(got);
  to_floats(t, got, n);
  for (int64_t i = 0; i < n; i++)
    if (!(fabs((double)got[i] - want[i]) <= tol))
      fail_msg("%s: element %lld is %.9g, not %.9g", tchc_text(t), (long long)i, got[i], want[i]);
  free(got);
}
#endif
