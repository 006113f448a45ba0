/* Handles and scopes: who ends what, on every path. */
#include "tests/support/tchc_check.h"

static tchc_tensor *zeros(void) {
  tchc_tensor *t = NULL;
  check_ok(tchc_full(DIMS(2, 3), 0, TCHC_F32, TCHC_CPU_DEVICE, &t));
  return t;
}

static void scope_ends_its_handles(void **state) {
  (void)state;
  const int64_t before = tchc_live();
  tchc_scope *s = NULL;
  check_ok(tchc_scope_open(&s));
  for (int i = 0; i < 5; i++) zeros();
  assert_int_equal(tchc_live(), before + 5);
  tchc_scope_close(&s);
  assert_null(s);
  assert_int_equal(tchc_live(), before);
  tchc_scope_close(&s); /* NULL is fine */
  tchc_scope_close(NULL);
}

static void free_inside_a_scope(void **state) {
  (void)state;
  tchc_scope *s = NULL;
  tchc_tensor *t[3];
  check_ok(tchc_scope_open(&s));
  for (int i = 0; i < 3; i++) t[i] = zeros();
  tchc_free(&t[1]); /* the middle of the list, then its two ends */
  assert_null(t[1]);
  tchc_free(&t[2]);
  tchc_free(&t[0]);
  tchc_free(&t[0]);
  tchc_free(NULL);
  zeros();
  tchc_scope_close(&s);
}

static void promote_goes_one_scope_out(void **state) {
  (void)state;
  const int64_t before = tchc_live();
  tchc_scope *outer = NULL, *inner = NULL;
  tchc_tensor *t, *own;
  check_ok(tchc_scope_open(&outer));
  check_ok(tchc_scope_open(&inner));
  t = zeros();
  own = zeros();
  zeros();
  tchc_promote(t);
  tchc_promote(own);
  tchc_promote(own); /* out of both: the caller's */
  tchc_promote(own); /* and it stays there */
  tchc_promote(NULL);
  tchc_scope_close(&inner);
  assert_int_equal(tchc_live(), before + 2);
  assert_int_equal(tchc_numel(t), 6);
  tchc_scope_close(&outer);
  assert_int_equal(tchc_live(), before + 1);
  assert_int_equal(tchc_numel(own), 6);
  tchc_free(&own);
}

static void keep_leaves_all_scopes(void **state) {
  (void)state;
  tchc_scope *outer = NULL, *inner = NULL;
  tchc_tensor *t;
  check_ok(tchc_scope_open(&outer));
  check_ok(tchc_scope_open(&inner));
  t = zeros();
  tchc_keep(t);
  tchc_keep(t);
  tchc_keep(NULL);
  tchc_scope_close(&inner);
  tchc_scope_close(&outer);
  assert_int_equal(tchc_numel(t), 6);
  tchc_free(&t);
}

static int fails_half_way(const tchc_tensor *a, tchc_tensor **out) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *b = NULL, *c = NULL;
  TRY(tchc_scope_open(&s));
  TRY(tchc_affine(a, 2, 0, &b));
  TRY(tchc_reshape(b, DIMS(5), &c));
  tchc_promote(c);
  *out = c;
out:
  tchc_scope_close(&s);
  return st;
}

static void scope_closes_on_the_error_path(void **state) {
  (void)state;
  tchc_tensor *a = zeros(), *r = NULL;
  const int64_t before = tchc_live();
  check_fails(E_SHAPE, "reshape [2,3] f32", fails_half_way(a, &r));
  assert_null(r);
  assert_int_equal(tchc_live(), before);
  tchc_free(&a);
}

static void shared_handles_end_on_their_own(void **state) {
  (void)state;
  tchc_tensor *a = zeros(), *b = NULL;
  check_ok(tchc_share(a, &b));
  assert_ptr_equal(tchc_data(a), tchc_data(b));
  tchc_free(&a);
  assert_int_equal(tchc_size(b, 1), 3);
  tchc_free(&b);
}

static void null_arguments_are_statuses(void **state) {
  (void)state;
  tchc_tensor *t = NULL, *a = zeros();
  check_fails(E_FAIL, "NULL", tchc_scope_open(NULL));
  check_fails(E_FAIL, "NULL tensor", tchc_share(NULL, &t));
  check_fails(E_FAIL, "NULL result", tchc_share(a, NULL));
  check_fails(E_FAIL, "NULL result", tchc_silu(a, NULL));
  check_fails(E_FAIL, "NULL tensor", tchc_silu(NULL, &t));
  check_fails(E_FAIL, "NULL tensor", tchc_add(a, NULL, 1, &t));
  check_fails(E_FAIL, "NULL tensor", tchc_zero_(NULL));
  check_fails(E_FAIL, "NULL", tchc_item(a, NULL));
  assert_null(t);
  tchc_free(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(scope_ends_its_handles),         LIVE_TEST(free_inside_a_scope),
      LIVE_TEST(promote_goes_one_scope_out),     LIVE_TEST(keep_leaves_all_scopes),
      LIVE_TEST(scope_closes_on_the_error_path), LIVE_TEST(shared_handles_end_on_their_own),
      LIVE_TEST(null_arguments_are_statuses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
