#include "trainer/kernel_times.h"

#include <stdlib.h>

#include "tchc/stream.h"

const char *const tr_kernel_kind_names[TR_KN_KINDS] = {"loss", "optimizer", "add_stats", "group_norm", "group_norm_back",
                                                       "softmax", "geglu", "layer_norm", "sums"};

typedef struct span {
  tchc_event *from, *to;
  tr_kernel_kind kind;
} span;

/* The kernels' signatures have no room for a context, and there is one device. */
static struct {
  const kn_cuda *real;
  tchc_device device;
  bool on;
  span *spans; /* [capacity], the first `open` with events */
  int n, open, capacity;
} times;

static int open_span(tr_kernel_kind kind, span **out) {
  int st = OK;

  if (times.n == times.capacity) {
    const int capacity = times.capacity ? 2 * times.capacity : 1024;
    span *spans = realloc(times.spans, sizeof *spans * (size_t)capacity);
    NEED(spans, E_NOMEM, "kernel times: %d calls", capacity);
    times.spans = spans;
    times.capacity = capacity;
  }
  if (times.n == times.open) {
    span *s = &times.spans[times.open];
    *s = (span){NULL};
    TRY(tchc_event_open(times.device, true, &s->from));
    times.open++;
    TRY(tchc_event_open(times.device, true, &s->to));
  }
  *out = &times.spans[times.n++];
  (*out)->kind = kind;
  TRY(tchc_event_record((*out)->from));
out:
  return st;
}

#define TIMED(kind, name, parameters, arguments)                 \
  static int name parameters {                                   \
    int st = OK;                                                 \
    span *s = NULL;                                              \
    if (times.on) TRY(open_span(kind, &s));                      \
    TRY(times.real->name arguments);                             \
    if (times.on) TRY(tchc_event_record(times.spans[times.n - 1].to)); \
  out:                                                           \
    return st;                                                   \
  }

TIMED(TR_KN_LOSS, affine_l1, (void *stream, const kn_loss_args *a), (stream, a))
TIMED(TR_KN_LOSS, angular, (void *stream, const kn_loss_args *a, int reference), (stream, a, reference))
TIMED(TR_KN_OPTIMIZER, sumsq_f32, (void *stream, int64_t n, const float *g, const float *also, int64_t n_also, void *workspace, kn_norm *out),
      (stream, n, g, also, n_also, workspace, out))
TIMED(TR_KN_OPTIMIZER, adamw_f32,
      (void *stream, const kn_adamw_step *a, int64_t n, float *p, const float *g, const kn_norm *norm, float *m, float *v, float *ema, uint16_t *bf16),
      (stream, a, n, p, g, norm, m, v, ema, bf16))
TIMED(TR_KN_ADD, add_stats, (void *stream, const kn_add_stats_args *a), (stream, a))
TIMED(TR_KN_GROUP_NORM, group_norm_coef, (void *stream, const kn_group_norm_coef_args *a), (stream, a))
TIMED(TR_KN_GROUP_NORM, group_norm_apply, (void *stream, const kn_group_norm_args *a), (stream, a))
TIMED(TR_KN_GROUP_NORM_BACK, group_norm_reduce, (void *stream, const kn_group_norm_args *a), (stream, a))
TIMED(TR_KN_GROUP_NORM_BACK, group_norm_back, (void *stream, const kn_group_norm_back_args *a), (stream, a))
TIMED(TR_KN_SUMS, group_norm_params, (void *stream, int64_t N, int64_t C, const float *red, float *dgamma, float *dbeta, float *dbias),
      (stream, N, C, red, dgamma, dbeta, dbias))
TIMED(TR_KN_GROUP_NORM_BACK, group_norm_dx, (void *stream, const kn_group_norm_args *a), (stream, a))
TIMED(TR_KN_SOFTMAX, softmax, (void *stream, kn_type type, int64_t rows, int64_t n, float scale, void *x), (stream, type, rows, n, scale, x))
TIMED(TR_KN_SOFTMAX, softmax_bwd, (void *stream, kn_type type, int64_t rows, int64_t n, float scale, const void *p, void *dp),
      (stream, type, rows, n, scale, p, dp))
TIMED(TR_KN_GEGLU, geglu, (void *stream, kn_type type, int64_t M, int64_t F, const void *p, void *y), (stream, type, M, F, p, y))
TIMED(TR_KN_GEGLU, geglu_bwd, (void *stream, kn_type type, int64_t M, int64_t F, const void *p, const void *dy, void *dp, void *y, float *part),
      (stream, type, M, F, p, dy, dp, y, part))
TIMED(TR_KN_SUMS, colsum, (void *stream, int64_t S, int64_t C, int64_t ld, const float *part, float *out), (stream, S, C, ld, part, out))
TIMED(TR_KN_LAYER_NORM, layer_norm, (void *stream, const kn_layer_norm_args *a), (stream, a))
TIMED(TR_KN_LAYER_NORM, layer_norm_bwd, (void *stream, const kn_layer_norm_bwd_args *a), (stream, a))

int tr_kernel_times_open(const kn_cuda *k, tchc_device d, const kn_cuda **table) {
  static const kn_cuda timed = {.affine_l1 = affine_l1, .angular = angular,
                                .sumsq_f32 = sumsq_f32, .adamw_f32 = adamw_f32, .add_stats = add_stats,
                                .group_norm_coef = group_norm_coef, .group_norm_apply = group_norm_apply,
                                .group_norm_reduce = group_norm_reduce, .group_norm_back = group_norm_back,
                                .group_norm_params = group_norm_params, .group_norm_dx = group_norm_dx,
                                .softmax = softmax, .softmax_bwd = softmax_bwd, .geglu = geglu, .geglu_bwd = geglu_bwd,
                                .colsum = colsum, .layer_norm = layer_norm, .layer_norm_bwd = layer_norm_bwd};

  if (times.real) return err_set(E_FAIL, __FILE__, __LINE__, "kernel times are taken already");
  times.real = k;
  times.device = d;
  *table = &timed;
  return OK;
}

void tr_kernel_times_close(void) {
  for (int i = 0; i < times.open; i++) {
    tchc_event_close(&times.spans[i].from);
    tchc_event_close(&times.spans[i].to);
  }
  free(times.spans);
  times.real = NULL;
  times.spans = NULL;
  times.on = false;
  times.n = times.open = times.capacity = 0;
}

void tr_kernel_times_begin(void) {
  times.n = 0;
  times.on = true;
}

int tr_kernel_times_read(double *ms, int *calls) {
  int st = OK;

  times.on = false;
  for (int k = 0; k < TR_KN_KINDS; k++) ms[k] = calls[k] = 0;
  TRY(tchc_synchronize(times.device));
  for (int i = 0; i < times.n; i++) {
    double between;
    TRY(tchc_event_elapsed(times.spans[i].from, times.spans[i].to, &between));
    ms[times.spans[i].kind] += between;
    calls[times.spans[i].kind]++;
  }
out:
  return st;
}
