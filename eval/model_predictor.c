#include "eval/model_predictor.h"

#include <stdio.h>
#include <string.h>

#include "eval/prediction_write.h"

/* One image on its way through ev_predict. */
typedef struct single {
  const ev_model *model;
  const ev_item *item;
  float *out;
  char problem[512];
} single;

static int read_item(void *ctx, size_t i, ev_image *out) {
  int st = OK;
  const ev_item *item = ((single *)ctx)->item;
  const size_t n = 3 * (size_t)item->H * (size_t)item->W;

  (void)i;
  TRY(ds_buf_need(&out->rgb, n));
  memcpy(out->rgb.p, item->image, n);
  out->H = item->H;
  out->W = item->W;
  out->out_H = out->out_W = 0;
out:
  return st;
}

/* The item's path without its ending. */
static int store_prediction(const single *s, const ev_image *image, const ev_prediction *p) {
  int st = OK;
  char name[IO_PATH_MAX], *dot;
  const ev_write_opts o = {.out = s->model->store, .colour = EV_COLOUR_NONE};

  TRY(io_path(name, "%s", s->item->id));
  if ((dot = strrchr(name, '.')) && !strchr(dot, '/')) *dot = 0;
  TRY(ev_prediction_write(&o, name, image, p));
out:
  return st;
}

static int take_item(void *ctx, size_t i, const ev_image *image, const ev_prediction *p) {
  int st = OK;
  single *s = ctx;

  (void)i;
  if (!p) {
    snprintf(s->problem, sizeof s->problem, "%.500s", err_text());
    return OK;
  }
  NEED(p->H == s->item->H && p->W == s->item->W, E_FAIL, "%s: a prediction of %dx%d, wanted %dx%d", s->item->id, p->W, p->H,
       s->item->W, s->item->H);
  memcpy(s->out, p->values, (size_t)p->C * (size_t)p->H * (size_t)p->W * sizeof *s->out);
  if (s->model->store) TRY(store_prediction(s, image, p));
out:
  return st;
}

int ev_model_predict(void *ctx, int64_t i, const ev_item *item, float *out) {
  int st = OK;
  const ev_model *m = ctx;
  single s = {.model = m, .item = item, .out = out};
  const ev_images images = {.n = 1, .ctx = &s, .read = read_item, .take = take_item};

  (void)i;
  TRY(ev_predict(m->estimator, m->opts, &images, NULL));
  NEED(!s.problem[0], E_DATA, "%s", s.problem);
out:
  return st;
}
