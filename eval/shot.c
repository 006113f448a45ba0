#include "eval/shot.h"

#include <stdlib.h>
#include <string.h>

void ev_shot_free(ev_shot *s) {
  free(s->rgb);
  free(s->mask);
  free(s->pred);
  free(s->truth);
  *s = (ev_shot){.image = -1};
}

/* Mean colour of a k x k block. */
static void average(const ev_item *item, int y, int x, int k, uint8_t out[3]) {
  int sum[3] = {0}, count = 0;

  for (int v = y; v < y + k && v < item->H; v++) {
    for (int u = x; u < x + k && u < item->W; u++, count++)
      for (int c = 0; c < 3; c++) sum[c] += item->rgb[3 * ((size_t)v * (size_t)item->W + (size_t)u) + (size_t)c];
  }
  for (int c = 0; c < 3; c++) out[c] = (uint8_t)(sum[c] / count);
}

int ev_shot_make(const ev_item *item, const float *pred, int64_t image, ev_shot *out) {
  int st = OK;
  const int k = (item->W + EV_SHOT_WIDTH - 1) / EV_SHOT_WIDTH, H = (item->H + k - 1) / k, W = (item->W + k - 1) / k;
  const size_t n = (size_t)H * (size_t)W, N = (size_t)item->H * (size_t)item->W, channels = item->channels;
  ev_shot s = {.image = image, .H = H, .W = W, .channels = (int)channels};

  s.rgb = malloc(3 * n);
  s.mask = malloc(n);
  s.pred = malloc(n * channels * sizeof *s.pred);
  s.truth = malloc(n * channels * sizeof *s.truth);
  NEED(s.rgb && s.mask && s.pred && s.truth, E_NOMEM, "a picture of %dx%d", W, H);
  for (int y = 0; y < H; y++) {
    for (int x = 0; x < W; x++) {
      const size_t to = (size_t)y * (size_t)W + (size_t)x, from = (size_t)(y * k) * (size_t)item->W + (size_t)(x * k);
      average(item, y * k, x * k, k, s.rgb + 3 * to);
      s.mask[to] = item->mask[from];
      for (size_t c = 0; c < channels; c++) {
        s.pred[c * n + to] = pred[c * N + from];
        s.truth[c * n + to] = item->truth[c * N + from];
      }
    }
  }
  *out = s;
  s = (ev_shot){0};
out:
  if (st != OK) ev_shot_free(&s);
  return st;
}

int ev_shots_offer(ev_shot *shots, double *scores, bool lowest, double score, int64_t image, const ev_item *item,
                   const float *pred) {
  int st = OK, at = 0;
  ev_shot s;

  while (at < EV_SHOTS && shots[at].image >= 0 && (lowest ? score >= scores[at] : score <= scores[at])) at++;
  if (at == EV_SHOTS) return OK;
  TRY(ev_shot_make(item, pred, image, &s));
  ev_shot_free(&shots[EV_SHOTS - 1]);
  memmove(shots + at + 1, shots + at, (size_t)(EV_SHOTS - 1 - at) * sizeof *shots);
  memmove(scores + at + 1, scores + at, (size_t)(EV_SHOTS - 1 - at) * sizeof *scores);
  shots[at] = s;
  scores[at] = score;
out:
  return st;
}

void ev_shots_free(ev_shot *shots) {
  for (int i = 0; i < EV_SHOTS; i++) ev_shot_free(&shots[i]);
}
