/* Making tensors, asking about them, moving, converting, views, and errors of each. */
#include <stdio.h>

#include "tests/support/tchc_check.h"

static int freed;
static void count_free(void *ctx) {
  freed++;
  free(ctx);
}
static void count_null(void *ctx) {
  assert_null(ctx);
  freed++;
}

static tchc_tensor *ramp(int64_t rows, int64_t columns) {
  tchc_tensor *flat = NULL, *t = NULL;
  check_ok(tchc_arange(rows * columns, TCHC_F32, TCHC_CPU_DEVICE, &flat));
  check_ok(tchc_reshape(flat, DIMS(rows, columns), &t));
  tchc_free(&flat);
  return t;
}

static void blob_shares_memory_and_is_freed_once(void **state) {
  (void)state;
  float *data = calloc(6, sizeof *data);
  tchc_tensor *t = NULL, *view = NULL;
  freed = 0;
  assert_non_null(data);
  check_ok(tchc_from_blob(data, DIMS(2, 3), TCHC_F32, count_free, data, &t));
  assert_ptr_equal(tchc_data(t), data);
  data[5] = 7;
  assert_floats(t, (const float[]){0, 0, 0, 0, 0, 7}, 6, 0);
  check_ok(tchc_narrow(t, 0, 1, 1, &view));
  tchc_free(&t);
  assert_int_equal(freed, 0); /* the view still needs it */
  assert_floats(view, (const float[]){0, 0, 7}, 3, 0);
  tchc_free(&view);
  assert_int_equal(freed, 1);
}

static void blob_calls_free_with_a_null_context(void **state) {
  (void)state;
  float data[2] = {1, 2};
  tchc_tensor *t = NULL;
  freed = 0;
  check_ok(tchc_from_blob(data, DIMS(2), TCHC_F32, count_null, NULL, &t));
  tchc_free(&t);
  assert_int_equal(freed, 1);
  check_ok(tchc_from_blob(data, DIMS(2), TCHC_F32, NULL, NULL, &t)); /* borrowed */
  tchc_free(&t);
  check_ok(tchc_from_blob(NULL, DIMS(0, 4), TCHC_F32, count_null, NULL, &t));
  tchc_free(&t);
  assert_int_equal(freed, 2);
}

static void blob_is_freed_on_failure(void **state) {
  (void)state;
  float data[2] = {1, 2};
  tchc_tensor *t = NULL;
  freed = 0;
  check_fails(E_SHAPE, "negative", tchc_from_blob(data, DIMS(-2), TCHC_F32, count_null, NULL, &t));
  check_fails(E_SHAPE, "overflow", tchc_from_blob(data, DIMS(1LL << 40, 1LL << 40), TCHC_F32, count_null, NULL, &t));
  check_fails(E_SHAPE, "element type", tchc_from_blob(data, DIMS(2), (tchc_dtype)9, count_null, NULL, &t));
  check_fails(E_FAIL, "NULL result", tchc_from_blob(data, DIMS(2), TCHC_F32, count_null, NULL, NULL));
  check_fails(E_FAIL, "NULL data", tchc_from_blob(NULL, DIMS(2), TCHC_F32, count_null, NULL, &t));
  assert_int_equal(freed, 5);
  assert_null(t);
}

static void host_memory_is_copied(void **state) {
  (void)state;
  float data[3] = {1, 2, 3}, back[3] = {0};
  tchc_tensor *t = from_floats(data, DIMS(3)), *none = NULL;
  data[0] = 9;
  check_ok(tchc_to_host(t, back, sizeof back));
  assert_true(back[0] == 1 && back[2] == 3);
  check_fails(E_SHAPE, "12 bytes, the buffer 8", tchc_to_host(t, back, 8));
  check_fails(E_FAIL, "NULL", tchc_to_host(t, NULL, sizeof back));
  tchc_free(&t);
  check_ok(tchc_from_host(NULL, DIMS(0), TCHC_F32, TCHC_CPU_DEVICE, &none));
  check_ok(tchc_to_host(none, NULL, 0));
  tchc_free(&none);
  check_fails(E_FAIL, "NULL data", tchc_from_host(NULL, DIMS(2), TCHC_F32, TCHC_CPU_DEVICE, &none));
}

static void non_contiguous_goes_to_host_in_row_major_order(void **state) {
  (void)state;
  tchc_tensor *t = ramp(2, 3), *turned = NULL;
  check_ok(tchc_transpose(t, 0, 1, &turned));
  check_ok(tchc_requires_grad_(t, true)); /* no graph in the way */
  assert_floats(turned, (const float[]){0, 3, 1, 4, 2, 5}, 6, 0);
  assert_floats(t, (const float[]){0, 1, 2, 3, 4, 5}, 6, 0);
  tchc_free(&turned);
  tchc_free(&t);
}

static void every_type_is_filled_and_read(void **state) {
  (void)state;
  static const tchc_dtype types[] = {TCHC_U8,  TCHC_I8,  TCHC_I16, TCHC_I32,  TCHC_I64,
                                     TCHC_F16, TCHC_F32, TCHC_F64, TCHC_BOOL, TCHC_BF16};
  static const char *const names[] = {"u8", "i8", "i16", "i32", "i64", "f16", "f32", "f64", "bool", "bf16"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    tchc_tensor *t = NULL, *one = NULL;
    char want[32];
    double v = 0;
    check_ok(tchc_full(DIMS(3, 1), 1, types[i], TCHC_CPU_DEVICE, &t));
    assert_int_equal(tchc_type(t), types[i]);
    snprintf(want, sizeof want, "[3,1] %s", names[i]);
    assert_string_equal(tchc_text(t), want);
    check_ok(tchc_narrow(t, 0, 2, 1, &one));
    check_ok(tchc_item(one, &v));
    assert_true(v == 1);
    assert_int_equal(tchc_stride(t, 0), 1);
    check_fails(E_SHAPE, "item", tchc_item(t, &v)); /* three elements */
    tchc_free(&one);
    tchc_free(&t);
  }
  assert_int_equal(tchc_dtype_size(TCHC_BF16), 2);
  assert_int_equal(tchc_dtype_size(TCHC_F64), 8);
  assert_int_equal(tchc_dtype_size(TCHC_BOOL), 1);
  assert_int_equal(tchc_dtype_size((tchc_dtype)9), 0);
}

static void questions_about_nothing(void **state) {
  (void)state;
  tchc_tensor *t = ramp(2, 3), *scalar = NULL;
  assert_int_equal(tchc_ndim(NULL), -1);
  assert_int_equal(tchc_size(NULL, 0), -1);
  assert_int_equal(tchc_stride(NULL, 0), -1);
  assert_int_equal(tchc_numel(NULL), -1);
  assert_int_equal(tchc_type(NULL), TCHC_NO_DTYPE);
  assert_int_equal(tchc_where(NULL).type, TCHC_NO_DEVICE);
  assert_null(tchc_data(NULL));
  assert_false(tchc_is_format(NULL, TCHC_CONTIGUOUS));
  assert_false(tchc_requires_grad(NULL));
  assert_string_equal(tchc_text(NULL), "NULL");
  assert_int_equal(tchc_size(t, 2), -1);
  assert_int_equal(tchc_size(t, -3), -1);
  assert_int_equal(tchc_size(t, -1), 3);
  assert_int_equal(tchc_size(t, -2), 2);
  assert_int_equal(tchc_where(t).type, TCHC_CPU);
  assert_false(tchc_is_format(t, TCHC_PRESERVE));
  check_ok(tchc_full(NULL, 0, 3, TCHC_F32, TCHC_CPU_DEVICE, &scalar));
  assert_int_equal(tchc_ndim(scalar), 0);
  assert_int_equal(tchc_size(scalar, 0), -1);
  assert_int_equal(tchc_numel(scalar), 1);
  assert_string_equal(tchc_text(scalar), "[] f32");
  tchc_free(&scalar);
  tchc_free(&t);
}

static void four_texts_live_at_once(void **state) {
  (void)state;
  tchc_tensor *t = NULL, *wide = NULL;
  const char *s[4];
  const int64_t many[30] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  for (int i = 0; i < 4; i++) {
    check_ok(tchc_full(DIMS(i + 1), 0, TCHC_F32, TCHC_CPU_DEVICE, &t));
    s[i] = tchc_text(t);
    tchc_free(&t);
  }
  assert_string_equal(s[0], "[1] f32");
  assert_string_equal(s[3], "[4] f32");
  check_ok(tchc_full(many, 30, 0, TCHC_F32, TCHC_CPU_DEVICE, &wide));
  for (int i = 0; i < 6; i++) {
    tchc_tensor *more = NULL;
    check_ok(tchc_reshape(wide, many, 30 - i, &more));
    assert_true(strlen(tchc_text(more)) < 128);
    tchc_free(&more);
  }
  tchc_free(&wide);
}

static void conversion_rounds_as_the_type_does(void **state) {
  (void)state;
  const float v[4] = {1.00390625f, -2.5f, 3e38f, 300.25f}; /* 1 + 2^-8: halfway between two bf16 */
  tchc_tensor *t = from_floats(v, DIMS(4)), *b = NULL, *h = NULL, *i = NULL;
  check_ok(tchc_to_type(t, TCHC_BF16, &b));
  assert_floats(b, (const float[]){1, -2.5f, 3.00405527e38f, 300}, 4, 1e30);
  check_ok(tchc_to(t, TCHC_F16, TCHC_CPU_DEVICE, TCHC_PRESERVE, &h));
  assert_int_equal(tchc_type(h), TCHC_F16);
  check_ok(tchc_to_type(t, TCHC_I64, &i));
  assert_int_equal(((const int64_t *)tchc_data(i))[1], -2);
  check_fails(E_SHAPE, "element type", tchc_to_type(t, (tchc_dtype)14, &b));
  check_fails(E_SHAPE, "memory format", tchc_to(t, TCHC_F32, TCHC_CPU_DEVICE, (tchc_format)3, &b));
  tchc_free(&t);
  tchc_free(&b);
  tchc_free(&h);
  tchc_free(&i);
}

static void formats(void **state) {
  (void)state;
  tchc_tensor *t = NULL, *last = NULL, *turned = NULL, *flat = NULL, *plain = NULL, *bad = NULL;
  check_ok(tchc_empty(DIMS(2, 3, 4, 5), TCHC_F32, TCHC_CPU_DEVICE, TCHC_CHANNELS_LAST, &t));
  assert_true(tchc_is_format(t, TCHC_CHANNELS_LAST));
  assert_false(tchc_is_format(t, TCHC_CONTIGUOUS));
  assert_int_equal(tchc_stride(t, 1), 1);
  check_ok(tchc_contiguous(t, TCHC_CONTIGUOUS, &flat));
  assert_true(tchc_is_format(flat, TCHC_CONTIGUOUS));
  check_ok(tchc_to(flat, TCHC_F32, TCHC_CPU_DEVICE, TCHC_CHANNELS_LAST, &last));
  assert_true(tchc_is_format(last, TCHC_CHANNELS_LAST));
  /* neither format: `to` must not hand it back as it is */
  check_ok(tchc_permute(flat, (const int64_t[]){1, 0, 3, 2}, 4, &turned));
  check_ok(tchc_to(turned, TCHC_F32, TCHC_CPU_DEVICE, TCHC_CONTIGUOUS, &plain));
  assert_true(tchc_is_format(plain, TCHC_CONTIGUOUS));
  check_fails(E_SHAPE, "empty", tchc_empty(DIMS(2, 3), TCHC_F32, TCHC_CPU_DEVICE, TCHC_CHANNELS_LAST, &bad));
  tchc_free(&t);
  tchc_free(&last);
  tchc_free(&turned);
  tchc_free(&flat);
  tchc_free(&plain);
}

static void copy_converts_and_spreads(void **state) {
  (void)state;
  tchc_tensor *dst = NULL, *src = from_floats((const float[]){1, 2, 3}, DIMS(3)), *wrong = ramp(1, 4);
  check_ok(tchc_full(DIMS(2, 3), 0, TCHC_I32, TCHC_CPU_DEVICE, &dst));
  check_ok(tchc_copy(dst, src, true));
  assert_floats(dst, (const float[]){1, 2, 3, 1, 2, 3}, 6, 0);
  check_fails(E_SHAPE, "copy [2,3] i32, [1,4] f32", tchc_copy(dst, wrong, false));
  check_ok(tchc_requires_grad_(src, true)); /* writing a leaf is no step of a graph */
  check_ok(tchc_copy(src, src, false));
  assert_true(tchc_requires_grad(src));
  tchc_free(&dst);
  tchc_free(&src);
  tchc_free(&wrong);
}

static void views_share_memory(void **state) {
  (void)state;
  tchc_tensor *t = ramp(3, 4), *v = NULL, *w = NULL;
  check_ok(tchc_narrow(t, 1, 1, 2, &v));
  assert_floats(v, (const float[]){1, 2, 5, 6, 9, 10}, 6, 0);
  check_ok(tchc_zero_(v));
  assert_floats(t, (const float[]){0, 0, 0, 3, 4, 0, 0, 7, 8, 0, 0, 11}, 12, 0);
  tchc_free(&v);
  check_ok(tchc_as_strided(t, (const int64_t[]){2, 2}, (const int64_t[]){4, 3}, 2, 4, &v));
  assert_floats(v, (const float[]){4, 7, 8, 11}, 4, 0);
  tchc_free(&v);
  check_ok(tchc_unsqueeze(t, -1, &v));
  assert_int_equal(tchc_ndim(v), 3);
  check_ok(tchc_expand(v, DIMS(3, 4, 5), &w));
  assert_int_equal(tchc_stride(w, 2), 0);
  assert_ptr_equal(tchc_data(w), tchc_data(t));
  tchc_free(&v);
  tchc_free(&w);
  tchc_free(&t);
}

static void views_out_of_range(void **state) {
  (void)state;
  tchc_tensor *t = ramp(3, 4), *v = NULL;
  check_fails(E_SHAPE, "narrow [3,4] f32", tchc_narrow(t, 1, 3, 2, &v));
  check_fails(E_SHAPE, "narrow [3,4] f32", tchc_narrow(t, 2, 0, 1, &v));
  check_fails(E_SHAPE, "reshape", tchc_reshape(t, DIMS(5, 2), &v));
  check_fails(E_SHAPE, "sizes", tchc_reshape(t, NULL, 2, &v));
  check_fails(E_SHAPE, "sizes", tchc_reshape(t, (const int64_t[]){12}, -1, &v));
  check_fails(E_SHAPE, "permute", tchc_permute(t, (const int64_t[]){0, 0}, 2, &v));
  check_fails(E_SHAPE, "transpose", tchc_transpose(t, 0, 2, &v));
  check_fails(E_SHAPE, "expand", tchc_expand(t, DIMS(2, 3, 5), &v));
  check_fails(E_SHAPE, "unsqueeze", tchc_unsqueeze(t, 4, &v));
  check_fails(E_SHAPE, "as_strided", tchc_as_strided(t, (const int64_t[]){4}, (const int64_t[]){4}, 1, 0, &v));
  assert_null(v);
  tchc_free(&t);
}

static void absurd_sizes(void **state) {
  (void)state;
  tchc_tensor *t = NULL;
  check_fails(E_NOMEM, "empty", tchc_empty(DIMS(1LL << 46), TCHC_F32, TCHC_CPU_DEVICE, TCHC_CONTIGUOUS, &t));
  check_fails(E_NOMEM, "full", tchc_full(DIMS(1LL << 46), 1, TCHC_F32, TCHC_CPU_DEVICE, &t));
  check_fails(E_SHAPE, "empty", tchc_empty(DIMS(1LL << 40, 1LL << 40), TCHC_F32, TCHC_CPU_DEVICE, TCHC_CONTIGUOUS, &t));
  check_fails(E_SHAPE, "empty", tchc_empty(DIMS(-1), TCHC_F32, TCHC_CPU_DEVICE, TCHC_CONTIGUOUS, &t));
  assert_null(t);
}

static void messages_name_the_place(void **state) {
  (void)state;
  tchc_tensor *t = ramp(2, 3), *v = NULL;
  check_fails(E_SHAPE, "reshape [2,3] f32: ", tchc_reshape(t, DIMS(7), &v));
  assert_non_null(strstr(err_trail(), "tchc/tensor.cpp:"));
  tchc_free(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(blob_shares_memory_and_is_freed_once),
      LIVE_TEST(blob_calls_free_with_a_null_context),
      LIVE_TEST(blob_is_freed_on_failure),
      LIVE_TEST(host_memory_is_copied),
      LIVE_TEST(non_contiguous_goes_to_host_in_row_major_order),
      LIVE_TEST(every_type_is_filled_and_read),
      LIVE_TEST(questions_about_nothing),
      LIVE_TEST(four_texts_live_at_once),
      LIVE_TEST(conversion_rounds_as_the_type_does),
      LIVE_TEST(formats),
      LIVE_TEST(copy_converts_and_spreads),
      LIVE_TEST(views_share_memory),
      LIVE_TEST(views_out_of_range),
      LIVE_TEST(absurd_sizes),
      LIVE_TEST(messages_name_the_place),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
