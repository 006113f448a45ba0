/* Operators made of two C callbacks: values, gradients, what is saved, who ends what when a callback fails. */
#include "tests/support/tchc_check.h"

/* y0 = a b, y1 = a + b (b may be left out: y0 = a, y1 = a), with what the test wants to go wrong. */
typedef struct options {
  int forward_status, backward_status; /* returned after the work is done */
  bool keep_results;                   /* out of the scope, as a careless callback would */
  bool skip_result;                    /* out[1] stays NULL */
  bool return_input;                   /* out[0] is in[0] itself */
  bool leave_scope_open;
  bool wrong_gradient_shape;
  int freed, forwards, backwards;
  bool needs[2], second_unused;
} options;

static void count_free(void *ctx) { ((options *)ctx)->freed++; }

static int product_forward(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  int st = OK;
  options *o = ctx;
  tchc_scope *inner = NULL;
  o->forwards++;
  NEED(nin == 2 && nout == 2, E_FAIL, "two in, two out");
  if (o->leave_scope_open) TRY(tchc_scope_open(&inner));
  for (int i = 0; i < 2; i++) o->needs[i] = tchc_call_needs(call, i);
  if (o->return_input) out[0] = in[0];
  else if (in[1]) TRY(tchc_mul(in[0], in[1], &out[0]));
  else TRY(tchc_share(in[0], &out[0]));
  if (in[1] && !o->skip_result) TRY(tchc_add(in[0], in[1], 1, &out[1]));
  else if (!o->skip_result) TRY(tchc_affine(in[0], 1, 0, &out[1]));
  TRY(tchc_call_save(call, in, 2));
  if (o->keep_results) {
    tchc_keep(out[0]);
    tchc_keep(out[1]);
  }
  NEED(o->forward_status == OK, o->forward_status, "forward went wrong at %s", tchc_text(in[0]));
out:
  return st;
}

static int product_backward(void *ctx, tchc_call *call, tchc_tensor *const *gout, int nout, tchc_tensor **gin,
                            int nin) {
  int st = OK;
  options *o = ctx;
  tchc_tensor *in[2] = {NULL, NULL}, *part = NULL;
  o->backwards++;
  NEED(nin == 2 && nout == 2, E_FAIL, "two in, two out");
  TRY(tchc_call_saved(call, in, 2));
  o->second_unused = gout[1] == NULL;
  for (int i = 0; i < 2; i++) {
    o->needs[i] = tchc_call_needs(call, i);
    if (!in[i] || !o->needs[i]) continue;
    if (gout[0] && in[1 - i]) TRY(tchc_mul(gout[0], in[1 - i], &part));
    else if (gout[0]) TRY(tchc_share(gout[0], &part));
    if (gout[1] && part) TRY(tchc_add(part, gout[1], 1, &gin[i]));
    else gin[i] = part ? part : gout[1];
    part = NULL;
    if (o->wrong_gradient_shape) TRY(tchc_unsqueeze(gin[i], 0, &gin[i]));
    if (o->keep_results) tchc_keep(gin[i]);
  }
  NEED(o->backward_status == OK, o->backward_status, "backward went wrong at %s", tchc_text(gout[0]));
out:
  return st;
}

static const tchc_op product = {"product", product_forward, product_backward, count_free};

typedef struct operands {
  tchc_tensor *a, *b, *out[2];
} operands;

static operands make(void) {
  operands x = {0};
  x.a = from_floats((const float[]){1, 2, 3}, DIMS(3));
  x.b = from_floats((const float[]){4, 5, 6}, DIMS(3));
  check_ok(tchc_requires_grad_(x.a, true));
  check_ok(tchc_requires_grad_(x.b, true));
  return x;
}

static void end(operands *x) {
  tchc_free(&x->a);
  tchc_free(&x->b);
  tchc_free(&x->out[0]);
  tchc_free(&x->out[1]);
}

static int apply(options *o, operands *x) {
  return tchc_apply(&product, o, (tchc_tensor *const[]){x->a, x->b}, 2, x->out, 2);
}

/* Sum of the used outputs, backward, and the gradients of a and b. */
static int backward(operands *x, bool first, bool second) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *root = NULL, *sum = NULL;
  TRY(tchc_scope_open(&s));
  if (first && second) TRY(tchc_add(x->out[0], x->out[1], 1, &root));
  else root = x->out[first ? 0 : 1];
  TRY(tchc_sum(root, &sum));
  TRY(tchc_backward(sum, NULL));
out:
  tchc_scope_close(&s);
  return st;
}

static void expect_gradient(const tchc_tensor *t, float a, float b, float c) {
  tchc_tensor *g = NULL;
  check_ok(tchc_grad(t, &g));
  assert_non_null(g);
  assert_floats(g, (const float[]){a, b, c}, 3, 0);
  tchc_free(&g);
}

static void values_and_gradients(void **state) {
  (void)state;
  for (int keep = 0; keep < 2; keep++) {
    options o = {.keep_results = keep};
    operands x = make();
    check_ok(apply(&o, &x));
    assert_true(o.needs[0] && o.needs[1]);
    assert_floats(x.out[0], (const float[]){4, 10, 18}, 3, 0);
    assert_floats(x.out[1], (const float[]){5, 7, 9}, 3, 0);
    check_ok(backward(&x, true, true));
    expect_gradient(x.a, 5, 6, 7);
    expect_gradient(x.b, 2, 3, 4);
    assert_int_equal(o.freed, 0); /* the outputs still hold the node */
    end(&x);
    assert_int_equal(o.freed, 1);
    assert_int_equal(o.forwards, 1);
    assert_int_equal(o.backwards, 1);
  }
}

static void an_unused_output_has_no_gradient(void **state) {
  (void)state;
  options o = {0};
  operands x = make();
  check_ok(apply(&o, &x));
  check_ok(backward(&x, true, false));
  assert_true(o.second_unused);
  expect_gradient(x.a, 4, 5, 6);
  end(&x);
  assert_int_equal(o.freed, 1);
}

static void an_input_may_be_left_out(void **state) {
  (void)state;
  options o = {0};
  operands x = make();
  check_ok(tchc_apply(&product, &o, (tchc_tensor *const[]){x.a, NULL}, 2, x.out, 2));
  assert_false(o.needs[1]);
  check_ok(backward(&x, true, true));
  expect_gradient(x.a, 2, 2, 2);
  end(&x);
  assert_int_equal(o.freed, 1);
}

static void an_input_may_need_no_gradient(void **state) {
  (void)state;
  options o = {0};
  operands x = make();
  tchc_tensor *g = NULL;
  check_ok(tchc_requires_grad_(x.b, false));
  check_ok(apply(&o, &x));
  assert_true(o.needs[0] && !o.needs[1]);
  check_ok(backward(&x, true, true));
  expect_gradient(x.a, 5, 6, 7);
  check_ok(tchc_grad(x.b, &g));
  assert_null(g);
  end(&x);
}

static void without_a_graph_the_context_ends_at_once(void **state) {
  (void)state;
  options o = {0};
  operands x = make();
  const bool was = tchc_grad_mode(false);
  check_ok(apply(&o, &x));
  tchc_grad_mode(was);
  assert_int_equal(o.freed, 1);
  assert_false(o.needs[0]);
  assert_false(tchc_requires_grad(x.out[0]));
  end(&x);
}

static void an_input_may_be_a_result(void **state) {
  (void)state;
  options o = {.return_input = true};
  operands x = make();
  check_ok(apply(&o, &x));
  assert_floats(x.out[0], (const float[]){1, 2, 3}, 3, 0);
  end(&x);
  assert_int_equal(o.freed, 1);
}

static void forward_fails(void **state) {
  (void)state;
  for (int i = 0; i < 8; i++) {
    options o = {.forward_status = E_DATA,
                 .keep_results = i & 1,
                 .leave_scope_open = i & 2,
                 .return_input = (i & 4) && !(i & 1)};
    operands x = make();
    const int64_t before = tchc_live();
    check_fails(E_DATA, "product: product forward: forward went wrong at [3] f32", apply(&o, &x));
    assert_null(x.out[0]);
    assert_null(x.out[1]);
    assert_int_equal(o.freed, 1);
    assert_int_equal(tchc_live(), before);
    end(&x);
  }
}

static void forward_leaves_a_result_out(void **state) {
  (void)state;
  options o = {.skip_result = true};
  operands x = make();
  check_fails(E_FAIL, "no result 1", apply(&o, &x));
  assert_null(x.out[0]);
  assert_int_equal(o.freed, 1);
  end(&x);
}

static void operands_of_forward_do_not_fit(void **state) {
  (void)state;
  options o = {0};
  operands x = make();
  tchc_free(&x.b);
  x.b = from_floats((const float[]){1, 2}, DIMS(2));
  check_fails(E_SHAPE, "product forward: mul [3] f32, [2] f32", apply(&o, &x));
  assert_int_equal(o.freed, 1);
  end(&x);
}

static void backward_fails(void **state) {
  (void)state;
  for (int keep = 0; keep < 2; keep++) {
    options o = {.backward_status = E_NUMERIC, .keep_results = keep};
    operands x = make();
    check_ok(apply(&o, &x));
    const int64_t before = tchc_live();
    check_fails(E_NUMERIC, "product backward: backward went wrong at [3] f32", backward(&x, true, true));
    assert_int_equal(tchc_live(), before);
    assert_int_equal(o.freed, 0);
    end(&x);
    assert_int_equal(o.freed, 1);
  }
}

static void backward_gives_a_wrong_shape(void **state) {
  (void)state;
  options o = {.wrong_gradient_shape = true};
  operands x = make();
  check_ok(apply(&o, &x));
  check_fails(E_SHAPE, "product backward: gradient 0 is [1, 3], the input [3]", backward(&x, true, true));
  end(&x);
  assert_int_equal(o.freed, 1);
}

static int silent_failure(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  (void)ctx, (void)call, (void)in, (void)nin, (void)out, (void)nout;
  return E_DISK;
}

static void a_failure_without_a_message_gets_no_old_one(void **state) {
  (void)state;
  const tchc_op op = {"silent", silent_failure, silent_failure, NULL};
  tchc_tensor *t = NULL, *r = NULL;
  check_fails(E_FAIL, "NULL tensor", tchc_silu(NULL, &t));
  check_fails(E_DISK, "silent forward: status -5", tchc_apply(&op, NULL, NULL, 0, &r, 1));
  assert_null(strstr(err_text(), "NULL"));
}

static int wordy_failure(void *ctx, tchc_call *call, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  (void)ctx, (void)call, (void)in, (void)nin, (void)out, (void)nout;
  return err_set(E_DISK, __FILE__, __LINE__, "what is wrong\nand how to debug it");
}

static void messages_have_one_line(void **state) {
  (void)state;
  const tchc_op op = {"wordy", wordy_failure, wordy_failure, NULL};
  tchc_tensor *r = NULL;
  check_fails(E_DISK, "wordy forward: what is wrong", tchc_apply(&op, NULL, NULL, 0, &r, 1));
  assert_null(strchr(err_text(), '\n'));
}

static void bad_arguments_end_the_context(void **state) {
  (void)state;
  options o = {0};
  operands x = make();
  tchc_op half = product;
  check_fails(E_FAIL, "list", tchc_apply(&product, &o, NULL, 2, x.out, 2));
  check_fails(E_FAIL, "list", tchc_apply(&product, &o, (tchc_tensor *const[]){x.a, x.b}, 2, NULL, 2));
  check_fails(E_FAIL, "list", tchc_apply(&product, &o, (tchc_tensor *const[]){x.a, x.b}, 2, x.out, 0));
  half.backward = NULL;
  check_fails(E_FAIL, "forward and backward", tchc_apply(&half, &o, (tchc_tensor *const[]){x.a, x.b}, 2, x.out, 2));
  check_fails(E_FAIL, "forward and backward", tchc_apply(NULL, &o, NULL, 0, x.out, 2));
  assert_int_equal(o.freed, 4); /* without an operator nobody knows how */
  assert_false(tchc_call_needs(NULL, 0));
  check_fails(E_FAIL, "list", tchc_call_save(NULL, NULL, 0));
  check_fails(E_FAIL, "list", tchc_call_saved(NULL, NULL, 0));
  end(&x);
}

/* A graph made inside a scope that closes before backward: the graph holds what it needs. */
static void graph_outlives_the_handles(void **state) {
  (void)state;
  options o = {0};
  operands x = make();
  tchc_scope *s = NULL;
  tchc_tensor *out[2] = {NULL, NULL}, *sum = NULL;
  check_ok(tchc_scope_open(&s));
  check_ok(tchc_apply(&product, &o, (tchc_tensor *const[]){x.a, x.b}, 2, out, 2));
  check_ok(tchc_sum(out[0], &sum));
  tchc_promote(sum);
  tchc_scope_close(&s);
  assert_int_equal(o.freed, 0);
  check_ok(tchc_backward(sum, NULL));
  expect_gradient(x.a, 4, 5, 6);
  tchc_free(&sum);
  assert_int_equal(o.freed, 1);
  end(&x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(values_and_gradients),
      LIVE_TEST(an_unused_output_has_no_gradient),
      LIVE_TEST(an_input_may_be_left_out),
      LIVE_TEST(an_input_may_need_no_gradient),
      LIVE_TEST(without_a_graph_the_context_ends_at_once),
      LIVE_TEST(an_input_may_be_a_result),
      LIVE_TEST(forward_fails),
      LIVE_TEST(forward_leaves_a_result_out),
      LIVE_TEST(operands_of_forward_do_not_fit),
      LIVE_TEST(backward_fails),
      LIVE_TEST(backward_gives_a_wrong_shape),
      LIVE_TEST(a_failure_without_a_message_gets_no_old_one),
      LIVE_TEST(messages_have_one_line),
      LIVE_TEST(bad_arguments_end_the_context),
      LIVE_TEST(graph_outlives_the_handles),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
