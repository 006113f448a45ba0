#include "trainer/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/adamw.h"

enum { BUFFERS = 4 }; /* weights, m, v, average */

struct tr_optimizer {
  tr_network *net;
  kn_adamw_step rule;    /* all but lr, t and ema_decay of a step */
  double ema;            /* 0: none */
  int64_t t;             /* updates done */
  int64_t numel;
  tchc_tensor *m, *v;    /* [numel] f32 */
  tchc_tensor *average;  /* [numel] f32, NULL without EMA */
  ck_param *params;      /* [count]: the layout, for checkpoints */
  float *host[BUFFERS];  /* [numel] copies for checkpoints, where the memory itself is not what they hold */
  kn_norm norm;          /* of the last step */
  bool updating;         /* it was asked to update, and its result is not yet known */
  tchc_tensor *norm_there, *workspace; /* the same on the device; NULL where the host computes */
};

static int make_layout(tr_optimizer *o) {
  int st = OK;
  const int n = md_params_count(o->net->masters);

  NEED((o->params = calloc((size_t)n, sizeof *o->params)) != NULL, E_NOMEM, "%d parameters", n);
  for (int i = 0; i < n; i++) {
    const md_param *p = md_params_at(o->net->masters, i);
    ck_param *q = &o->params[i];
    *q = (ck_param){.name = p->name, .ndim = p->ndim, .offset = p->offset, .numel = p->numel};
    memcpy(q->shape, p->shape, sizeof q->shape);
  }
out:
  return st;
}

static int make_workspace(tr_optimizer *o) {
  int st = OK;
  const int64_t room = (int64_t)kn_sumsq_workspace(), norm = sizeof(kn_norm);

  TRY(tchc_empty(&room, 1, TCHC_U8, o->net->device, TCHC_CONTIGUOUS, &o->workspace));
  TRY(tchc_empty(&norm, 1, TCHC_U8, o->net->device, TCHC_CONTIGUOUS, &o->norm_there));
out:
  return st;
}

int tr_optimizer_create(const cf_config *c, tr_network *net, tr_optimizer **out) {
  int st = OK;
  tr_optimizer *o = calloc(1, sizeof *o);

  NEED(o, E_NOMEM, "optimizer");
  o->net = net;
  o->numel = md_params_numel(net->masters);
  o->rule = (kn_adamw_step){.beta1 = c->optim.betas[0], .beta2 = c->optim.betas[1], .eps = c->optim.eps,
                            .weight_decay = c->optim.weight_decay, .decoupled = c->optim.kind == CF_ADAMW,
                            .clip = c->optim.clip};
  o->ema = c->optim.ema;
  TRY(make_layout(o));
  TRY(tchc_full(&o->numel, 1, 0, TCHC_F32, net->device, &o->m));
  TRY(tchc_full(&o->numel, 1, 0, TCHC_F32, net->device, &o->v));
  if (net->kernels) TRY(make_workspace(o));
  if (o->ema > 0) {
    TRY(tchc_full(&o->numel, 1, 0, TCHC_F32, net->device, &o->average));
    TRY(tchc_copy(o->average, md_params_flat(net->masters), false));
  }
  *out = o;
  o = NULL;
out:
  tr_optimizer_destroy(&o);
  return st;
}

void tr_optimizer_destroy(tr_optimizer **op) {
  tr_optimizer *o = *op;

  if (!o) return;
  tchc_free(&o->m);
  tchc_free(&o->v);
  tchc_free(&o->average);
  tchc_free(&o->workspace);
  tchc_free(&o->norm_there);
  for (int i = 0; i < BUFFERS; i++) free(o->host[i]);
  free(o->params);
  free(o);
  *op = NULL;
}

double tr_ema_decay(double decay, int64_t t) {
  return t <= 1 ? 0 : fmin(decay, (double)t / (double)(9 + t));
}

/* Waits for the device: only when something went wrong. */
static int first_bad(const tr_optimizer *o, const char **bad) {
  int st = OK;
  tchc_scope *scope = NULL;

  *bad = NULL;
  TRY(tchc_scope_open(&scope));
  for (int i = 0; !*bad && i < md_params_count(o->net->masters); i++) {
    const md_param *p = md_params_at(o->net->masters, i);
    tchc_tensor *part = NULL, *host = NULL;
    double sum;
    int finite;
    TRY(tchc_narrow(o->net->grads, 0, p->offset, p->numel, &part));
    TRY(tchc_to(part, TCHC_F32, TCHC_CPU_DEVICE, TCHC_CONTIGUOUS, &host));
    TRY(kn_sumsq_f32_ref(tchc_data(host), p->numel, &sum, &finite));
    if (!finite) *bad = p->name;
    tchc_free(&part);
    tchc_free(&host);
  }
out:
  tchc_scope_close(&scope);
  return st;
}

/* The rule of the next update. */
static kn_adamw_step next_rule(const tr_optimizer *o, double lr) {
  kn_adamw_step step = o->rule;

  step.lr = lr;
  step.t = o->t + 1;
  step.ema_decay = tr_ema_decay(o->ema, step.t);
  return step;
}

static uint16_t *working_copy(const tr_optimizer *o) {
  return o->net->working ? tchc_data(md_params_flat(o->net->working)) : NULL;
}

static int step_on_host(tr_optimizer *o, double lr, const tchc_tensor *losses, bool update) {
  int st = OK, finite = 1, finite_losses = 1;
  double sum;
  const float *g = tchc_data(o->net->grads);
  const kn_adamw_step rule = next_rule(o, lr);

  TRY(kn_sumsq_f32_ref(tchc_data(losses), tchc_numel(losses), &sum, &finite_losses));
  TRY(kn_sumsq_f32_ref(g, o->numel, &sum, &finite));
  o->norm = (kn_norm){sum, (float)sqrt(sum), finite && finite_losses};
  if (!update || !o->norm.finite) goto out;
  TRY(kn_adamw_f32_ref(&rule, o->numel, tchc_data(md_params_flat(o->net->masters)), g, sqrt(sum), tchc_data(o->m),
                       tchc_data(o->v), tchc_data(o->average), working_copy(o)));
out:
  return st;
}

static int step_on_device(tr_optimizer *o, double lr, const tchc_tensor *losses, bool update) {
  int st = OK;
  const kn_cuda *k = o->net->kernels;
  const kn_adamw_step rule = next_rule(o, lr);
  const float *g = tchc_data(o->net->grads);
  kn_norm *norm = tchc_data(o->norm_there);
  void *stream = NULL;

  if (o->net->device.type == TCHC_CUDA) TRY(tchc_cuda_stream(o->net->device.index, &stream));
  TRY(k->sumsq_f32(stream, o->numel, g, tchc_data(losses), tchc_numel(losses), tchc_data(o->workspace), norm));
  if (update)
    TRY(k->adamw_f32(stream, &rule, o->numel, tchc_data(md_params_flat(o->net->masters)), g, norm, tchc_data(o->m),
                     tchc_data(o->v), tchc_data(o->average), working_copy(o)));
out:
  return st;
}

int tr_optimizer_step(tr_optimizer *o, double lr, const tchc_tensor *losses, bool update) {
  o->updating = update;
  return (o->net->kernels ? step_on_device : step_on_host)(o, lr, losses, update);
}

int tr_optimizer_result(tr_optimizer *o, double *norm, const char **bad) {
  int st = OK;

  *bad = NULL;
  if (o->net->kernels) TRY(tchc_to_host(o->norm_there, &o->norm, sizeof o->norm));
  *norm = sqrt(o->norm.sumsq);
  if (!isfinite(o->norm.sumsq)) TRY(first_bad(o, bad));
  if (o->updating && o->norm.finite) o->t++;
  o->updating = false;
out:
  return st;
}

/* ---- the average in the weights' place ---- */

/* Part by part: there is no room for a third copy. */
int tr_optimizer_swap_average(tr_optimizer *o) {
  enum { PART = 1 << 22 };
  int st = OK;
  tchc_scope *scope = NULL;
  tchc_tensor *const weights = md_params_flat(o->net->masters);

  for (int64_t at = 0; at < o->numel; at += PART) {
    const int64_t n = o->numel - at < PART ? o->numel - at : PART;
    tchc_tensor *a = NULL, *b = NULL, *kept = NULL;
    TRY(tchc_scope_open(&scope));
    TRY(tchc_narrow(weights, 0, at, n, &a));
    TRY(tchc_narrow(o->average, 0, at, n, &b));
    TRY(tchc_empty(&n, 1, TCHC_F32, o->net->device, TCHC_CONTIGUOUS, &kept));
    TRY(tchc_copy(kept, a, false));
    TRY(tchc_copy(a, b, false));
    TRY(tchc_copy(b, kept, false));
    tchc_scope_close(&scope);
  }
  if (o->net->working) TRY(md_params_copy(o->net->working, o->net->masters));
out:
  tchc_scope_close(&scope);
  return st;
}

/* ---- checkpoints ---- */

/* Is the memory itself what a checkpoint holds? */
static bool is_plain(const tr_optimizer *o) {
  return o->net->device.type == TCHC_CPU && md_params_is_plain(o->net->masters);
}

static tchc_tensor *flat_at(const tr_optimizer *o, int which) {
  tchc_tensor *const flat[BUFFERS] = {md_params_flat(o->net->masters), o->m, o->v, o->average};
  return flat[which];
}

/* Parameter by parameter between a flat tensor of the network's and row-major host memory. */
static int exchange(const tr_optimizer *o, tchc_tensor *flat, float *host, bool to_host) {
  int st = OK;
  tchc_tensor *there = NULL, *here = NULL;

  for (int i = 0; i < md_params_count(o->net->masters); i++) {
    const md_param *p = md_params_at(o->net->masters, i);
    TRY(md_params_view(o->net->masters, i, flat, &there));
    TRY(tchc_from_blob(host + p->offset, p->shape, p->ndim, TCHC_F32, NULL, NULL, &here));
    TRY(tchc_copy(to_host ? here : there, to_host ? there : here, false));
    tchc_free(&there);
    tchc_free(&here);
  }
out:
  tchc_free(&there);
  tchc_free(&here);
  return st;
}

void tr_optimizer_layout(const tr_optimizer *o, ck_state *s) {
  s->adam_t = o->t;
  s->nparams = md_params_count(o->net->masters);
  s->params = o->params;
  s->numel = o->numel;
}

void tr_optimizer_tensors(const tr_optimizer *o, const tchc_tensor *out[BUFFERS]) {
  for (int i = 0; i < BUFFERS; i++) out[i] = flat_at(o, i);
}

int tr_optimizer_row_major(const tr_optimizer *o, tchc_tensor *copy) {
  int st = OK;
  tchc_tensor *view = NULL, *plain = NULL;

  if (md_params_is_plain(o->net->masters)) goto out;
  for (int i = 0; i < md_params_count(o->net->masters); i++) {
    const md_param *p = md_params_at(o->net->masters, i);
    TRY(md_params_view(o->net->masters, i, copy, &view));
    TRY(tchc_contiguous(view, TCHC_CONTIGUOUS, &plain));
    if (tchc_data(plain) != tchc_data(view))
      memcpy((float *)tchc_data(copy) + p->offset, tchc_data(plain), sizeof(float) * (size_t)p->numel);
    tchc_free(&view);
    tchc_free(&plain);
  }
out:
  tchc_free(&view);
  tchc_free(&plain);
  return st;
}

int tr_optimizer_state(tr_optimizer *o, ck_state *s) {
  int st = OK;
  float *host[BUFFERS] = {NULL};

  for (int i = 0; i < BUFFERS; i++) {
    if (!flat_at(o, i)) continue;
    if (is_plain(o)) {
      host[i] = tchc_data(flat_at(o, i));
      continue;
    }
    if (!o->host[i]) o->host[i] = malloc(sizeof *o->host[i] * (size_t)o->numel);
    NEED((host[i] = o->host[i]) != NULL, E_NOMEM, "checkpoint: %lld numbers", (long long)o->numel);
    TRY(exchange(o, flat_at(o, i), host[i], true));
  }
  tr_optimizer_layout(o, s);
  s->weights = host[0];
  s->m = host[1];
  s->v = host[2];
  s->ema = host[3];
out:
  return st;
}

int tr_optimizer_restored(tr_optimizer *o, const ck_state *s) {
  int st = OK;
  float *const host[BUFFERS] = {s->weights, s->m, s->v, s->ema};

  for (int i = 0; !is_plain(o) && i < BUFFERS; i++)
    if (flat_at(o, i)) TRY(exchange(o, flat_at(o, i), host[i], false));
  for (int i = 0; i < BUFFERS; i++) { /* as large as the state: not to be kept through a run */
    free(o->host[i]);
    o->host[i] = NULL;
  }
  o->t = s->adam_t;
  if (o->net->working) TRY(md_params_copy(o->net->working, o->net->masters));
out:
  return st;
}
