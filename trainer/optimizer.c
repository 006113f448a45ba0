#include "trainer/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/adamw.h"

struct tr_optimizer {
  tr_network *net;
  kn_adamw_step rule;    /* all but lr, t and ema_decay of a step */
  double ema;            /* 0: none */
  int64_t t;             /* updates done */
  int64_t numel;
  tchc_tensor *m, *v;    /* [numel] f32 */
  tchc_tensor *average;  /* [numel] f32, NULL without EMA */
  ck_param *params;      /* [count]: the layout, for checkpoints */
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
  free(o->params);
  free(o);
  *op = NULL;
}

static const char *first_bad(const tr_optimizer *o, const float *g) {
  for (int i = 0; i < md_params_count(o->net->masters); i++) {
    const md_param *p = md_params_at(o->net->masters, i);
    for (int64_t j = 0; j < p->numel; j++)
      if (!isfinite(g[p->offset + j])) return p->name;
  }
  return NULL;
}

int tr_optimizer_norm(tr_optimizer *o, double *norm, const char **bad) {
  int st = OK, finite = 1;
  double sum = 0;
  const float *g = tchc_data(o->net->grads);

  TRY(kn_sumsq_f32_ref(g, o->numel, &sum, &finite));
  *norm = sqrt(sum);
  *bad = finite ? NULL : first_bad(o, g);
out:
  return st;
}

double tr_ema_decay(double decay, int64_t t) {
  return t <= 1 ? 0 : fmin(decay, (double)t / (double)(9 + t));
}

int tr_optimizer_update(tr_optimizer *o, double lr, double norm) {
  int st = OK;
  kn_adamw_step step = o->rule;

  step.lr = lr;
  step.t = o->t + 1;
  step.ema_decay = tr_ema_decay(o->ema, step.t);
  TRY(kn_adamw_f32_ref(&step, o->numel, tchc_data(md_params_flat(o->net->masters)), tchc_data(o->net->grads), norm,
                       tchc_data(o->m), tchc_data(o->v), tchc_data(o->average),
                       o->net->working ? tchc_data(md_params_flat(o->net->working)) : NULL));
  o->t++;
out:
  return st;
}

int tr_optimizer_state(tr_optimizer *o, ck_state *s) {
  s->adam_t = o->t;
  s->nparams = md_params_count(o->net->masters);
  s->params = o->params;
  s->numel = o->numel;
  s->weights = tchc_data(md_params_flat(o->net->masters));
  s->m = tchc_data(o->m);
  s->v = tchc_data(o->v);
  s->ema = tchc_data(o->average);
  return OK;
}

int tr_optimizer_restored(tr_optimizer *o, const ck_state *s) {
  o->t = s->adam_t;
  return o->net->working ? md_params_copy(o->net->working, o->net->masters) : OK;
}
