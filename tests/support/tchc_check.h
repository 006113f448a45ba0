/* tests/support/tchc_check.h: short forms for tests that work on tensors, and the count of live handles around each.
 * A test program: cmocka_unit_test_setup_teardown(name, live_before, live_after), in short LIVE_TEST(name). */
#ifndef TESTS_SUPPORT_TCHC_CHECK_H
#define TESTS_SUPPORT_TCHC_CHECK_H
#include <math.h>

#include "tchc/tchc.h"
#include "tests/support/check.h"

#define DIMS(...) (const int64_t[]){__VA_ARGS__}, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))
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
  check_ok(tchc_from_host(v, sizes, ndim, TCHC_F32, TCHC_CPU_DEVICE, &t));
  return t;
}

/* The tensor's n values, whatever its floating type, in row-major order. */
static inline void to_floats(const tchc_tensor *t, float *out, int64_t n) {
  tchc_tensor *f = NULL;
  assert_int_equal(tchc_numel(t), n);
  check_ok(tchc_to_type(t, TCHC_F32, &f));
  check_ok(tchc_to_host(f, out, (size_t)n * sizeof *out));
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
