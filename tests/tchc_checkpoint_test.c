/* Activation checkpointing: the same bits as without, whoever needs the gradient, and contexts ended once. */
#include "tests/support/tchc_check.h"

enum { BLOCKS = 3, C = 8, H = 9, W = 7, NX = 2 * C * H * W, NW = C * C * 3 * 3 };

typedef struct block {
  tchc_tensor *w, *scale, *shift;
  int runs, freed, fail_at; /* run number that fails, 0 = none */
} block;

static void count_free(void *ctx) { ((block *)ctx)->freed++; }

/* x + dropout(conv(silu(group_norm(x)))), and a second result that is the norm. in[1], if any, is added to x first. */
static int run_block(void *ctx, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  int st = OK;
  block *b = ctx;
  tchc_tensor *x = in[0], *t = NULL;
  b->runs++;
  NEED(nin == 2 && nout == 2, E_FAIL, "two in, two out");
  if (in[1]) TRY(tchc_add(x, in[1], 1, &x));
  TRY(tchc_group_norm(x, 4, b->scale, b->shift, 1e-5, &t));
  out[1] = t;
  NEED(b->runs != b->fail_at, E_NUMERIC, "run %d of the block", b->runs);
  TRY(tchc_silu(t, &t));
  TRY(tchc_conv2d(t, b->w, NULL, 1, 1, &t));
  TRY(tchc_dropout(t, 0.25, &t));
  TRY(tchc_add(x, t, 0.5, &out[0]));
out:
  return st;
}

typedef struct net {
  block b[BLOCKS];
  tchc_tensor *x, *extra;
} net;

static net net_make(bool input_needs, bool parameters_need) {
  net n = {0};
  check_ok(tchc_manual_seed(7));
  check_ok(tchc_randn(DIMS(2, C, H, W), TCHC_F32, TCHC_CPU_DEVICE, &n.x));
  check_ok(tchc_randn(DIMS(2, C, 1, 1), TCHC_F32, TCHC_CPU_DEVICE, &n.extra));
  check_ok(tchc_requires_grad_(n.x, input_needs));
  for (int i = 0; i < BLOCKS; i++) {
    block *b = &n.b[i];
    check_ok(tchc_randn(DIMS(C, C, 3, 3), TCHC_F32, TCHC_CPU_DEVICE, &b->w));
    check_ok(tchc_randn(DIMS(C), TCHC_F32, TCHC_CPU_DEVICE, &b->scale));
    check_ok(tchc_randn(DIMS(C), TCHC_F32, TCHC_CPU_DEVICE, &b->shift));
    check_ok(tchc_requires_grad_(b->w, parameters_need));
    check_ok(tchc_requires_grad_(b->scale, parameters_need));
  }
  return n;
}

static void net_end(net *n) {
  tchc_free(&n->x);
  tchc_free(&n->extra);
  for (int i = 0; i < BLOCKS; i++) {
    tchc_free(&n->b[i].w);
    tchc_free(&n->b[i].scale);
    tchc_free(&n->b[i].shift);
  }
}

/* The loss of one step; gradients are left in the leaves. After it the generator stands where it stood. */
static int step(net *n, bool checkpoint, double *loss, double *next_random) {
  int st = OK;
  tchc_scope *s = NULL;
  tchc_tensor *h = n->x, *out[2], *sum = NULL, *r = NULL;
  TRY(tchc_scope_open(&s));
  TRY(tchc_manual_seed(11));
  for (int i = 0; i < BLOCKS; i++) {
    tchc_tensor *const in[2] = {h, i == 1 ? NULL : n->extra};
    if (checkpoint) TRY(tchc_checkpoint(run_block, &n->b[i], count_free, in, 2, out, 2));
    else TRY(run_block(&n->b[i], in, 2, out, 2));
    h = out[0];
  }
  TRY(tchc_mul(h, out[1], &h));
  TRY(tchc_sum(h, &sum));
  TRY(tchc_item(sum, loss));
  TRY(tchc_backward(sum, NULL));
  TRY(tchc_randn(NULL, 0, TCHC_F64, TCHC_CPU_DEVICE, &r));
  TRY(tchc_item(r, next_random));
out:
  tchc_scope_close(&s);
  return st;
}

/* Copies a leaf's gradient and drops it. False when there is none. */
static bool take_gradient(tchc_tensor *t, float *out, int64_t n) {
  tchc_tensor *g = NULL;
  check_ok(tchc_grad(t, &g));
  if (!g) return false;
  to_floats(g, out, n);
  tchc_free(&g);
  check_ok(tchc_set_grad(t, NULL));
  return true;
}

static void compare(bool input_needs, bool parameters_need) {
  static float gx[2][NX], gw[2][BLOCKS][NW], gs[2][BLOCKS][C];
  net n = net_make(input_needs, parameters_need);
  double loss[2], next[2];
  for (int k = 0; k < 2; k++) {
    check_ok(step(&n, k, &loss[k], &next[k]));
    assert_int_equal(take_gradient(n.x, gx[k], NX), input_needs);
    for (int i = 0; i < BLOCKS; i++) {
      assert_int_equal(take_gradient(n.b[i].w, gw[k][i], NW), parameters_need);
      assert_int_equal(take_gradient(n.b[i].scale, gs[k][i], C), parameters_need);
    }
  }
  assert_true(loss[0] == loss[1]);
  assert_true(next[0] == next[1]);
  if (input_needs) assert_memory_equal(gx[0], gx[1], sizeof gx[0]);
  if (parameters_need) {
    assert_memory_equal(gw[0], gw[1], sizeof gw[0]);
    assert_memory_equal(gs[0], gs[1], sizeof gs[0]);
  }
  for (int i = 0; i < BLOCKS; i++) {
    assert_int_equal(n.b[i].runs, 3); /* one plain, two under checkpointing */
    assert_int_equal(n.b[i].freed, 1);
  }
  net_end(&n);
}

static void same_bits(void **state) {
  (void)state;
  compare(true, true);
}

static void only_parameters_need_gradients(void **state) {
  (void)state;
  compare(false, true);
}

static void only_the_input_needs_a_gradient(void **state) {
  (void)state;
  compare(true, false);
}

static void nobody_needs_a_gradient(void **state) {
  (void)state;
  net n = net_make(false, false);
  tchc_tensor *out[2] = {NULL, NULL}, *sum = NULL, *g = NULL;
  check_ok(tchc_checkpoint(run_block, &n.b[0], count_free, (tchc_tensor *const[]){n.x, NULL}, 2, out, 2));
  check_ok(tchc_sum(out[0], &sum));
  check_ok(tchc_backward(sum, NULL)); /* not known beforehand: no error, and nothing to give */
  check_ok(tchc_grad(n.b[0].w, &g));
  assert_null(g);
  tchc_free(&out[0]);
  tchc_free(&out[1]);
  tchc_free(&sum);
  assert_int_equal(n.b[0].freed, 1);
  net_end(&n);
}

static void without_a_graph_it_runs_once(void **state) {
  (void)state;
  net n = net_make(true, true);
  tchc_tensor *out[2] = {NULL, NULL};
  const bool was = tchc_grad_mode(false);
  check_ok(tchc_checkpoint(run_block, &n.b[0], count_free, (tchc_tensor *const[]){n.x, NULL}, 2, out, 2));
  tchc_grad_mode(was);
  assert_false(tchc_requires_grad(out[0]));
  assert_int_equal(n.b[0].freed, 1);
  tchc_free(&out[0]);
  tchc_free(&out[1]);
  net_end(&n);
}

static void segment_fails_in_forward(void **state) {
  (void)state;
  net n = net_make(true, true);
  double loss, next;
  n.b[1].fail_at = 1;
  check_fails(E_NUMERIC, "checkpoint segment: run 1 of the block", step(&n, true, &loss, &next));
  assert_int_equal(n.b[0].freed, 1);
  assert_int_equal(n.b[1].freed, 1);
  assert_int_equal(n.b[2].freed, 0); /* never handed over */
  net_end(&n);
}

static void segment_fails_in_backward(void **state) {
  (void)state;
  net n = net_make(true, true);
  double loss, next;
  n.b[1].fail_at = 2;
  check_fails(E_NUMERIC, "backward [] f32, none: checkpoint segment: run 2 of the block", step(&n, true, &loss, &next));
  for (int i = 0; i < BLOCKS; i++) assert_int_equal(n.b[i].freed, 1);
  net_end(&n);
}

static int identity(void *ctx, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  (void)ctx, (void)nin, (void)nout;
  out[0] = in[0];
  return OK;
}

static void a_segment_may_return_its_input(void **state) {
  (void)state;
  tchc_tensor *x = from_floats((const float[]){1, 2}, DIMS(2)), *y = NULL, *s = NULL, *g = NULL;
  check_ok(tchc_requires_grad_(x, true));
  check_ok(tchc_checkpoint(identity, NULL, NULL, &x, 1, &y, 1));
  check_ok(tchc_mul(y, y, &s));
  tchc_free(&y);
  check_ok(tchc_sum(s, &y));
  check_ok(tchc_backward(y, NULL));
  check_ok(tchc_grad(x, &g));
  assert_floats(g, (const float[]){2, 4}, 2, 0);
  tchc_free(&x);
  tchc_free(&y);
  tchc_free(&s);
  tchc_free(&g);
}

/* A checkpoint of checkpoints. */
static int nested(void *ctx, tchc_tensor *const *in, int nin, tchc_tensor **out, int nout) {
  return tchc_checkpoint(run_block, ctx, NULL, in, nin, out, nout);
}

static void nested_segments(void **state) {
  (void)state;
  static float gw[2][NW];
  net n = net_make(false, true);
  for (int k = 0; k < 2; k++) {
    tchc_tensor *out[2] = {NULL, NULL}, *sum = NULL;
    tchc_tensor *const in[2] = {n.x, n.extra};
    tchc_scope *s = NULL;
    check_ok(tchc_scope_open(&s));
    check_ok(tchc_manual_seed(2));
    check_ok(k ? tchc_checkpoint(nested, &n.b[0], NULL, in, 2, out, 2) : run_block(&n.b[0], in, 2, out, 2));
    check_ok(tchc_sum(out[0], &sum));
    check_ok(tchc_backward(sum, NULL));
    assert_true(take_gradient(n.b[0].w, gw[k], NW));
    tchc_scope_close(&s);
  }
  assert_memory_equal(gw[0], gw[1], sizeof gw[0]);
  net_end(&n);
}

static void bad_arguments_end_the_context(void **state) {
  (void)state;
  block b = {0};
  tchc_tensor *x = from_floats((const float[]){1, 2}, DIMS(2)), *y = NULL;
  check_fails(E_FAIL, "list", tchc_checkpoint(NULL, &b, count_free, &x, 1, &y, 1));
  check_fails(E_FAIL, "list", tchc_checkpoint(identity, &b, count_free, NULL, 1, &y, 1));
  check_fails(E_FAIL, "list", tchc_checkpoint(identity, &b, count_free, &x, 1, NULL, 1));
  assert_int_equal(b.freed, 3);
  tchc_free(&x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(same_bits),
      LIVE_TEST(only_parameters_need_gradients),
      LIVE_TEST(only_the_input_needs_a_gradient),
      LIVE_TEST(nobody_needs_a_gradient),
      LIVE_TEST(without_a_graph_it_runs_once),
      LIVE_TEST(segment_fails_in_forward),
      LIVE_TEST(segment_fails_in_backward),
      LIVE_TEST(a_segment_may_return_its_input),
      LIVE_TEST(nested_segments),
      LIVE_TEST(bad_arguments_end_the_context),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
