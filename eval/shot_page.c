/* eval/shot_page.c: the pictures of a shot. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/colour_map.h"
#include "datasets/quantile.h"
#include "eval/shot.h"

static const uint8_t grey[3] = {228, 230, 233};

static size_t pixels(const ev_shot *s) { return (size_t)s->H * (size_t)s->W; }

static void whiten(uint8_t *rgb, const uint8_t *mask, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!mask[i]) memcpy(rgb + 3 * i, grey, sizeof grey);
}

/* What a picture is made in: rgb [H,W,3], numbers [3,H,W]. */
typedef struct canvas { uint8_t *rgb; float *numbers; } canvas;

static int canvas_open(const ev_shot *s, canvas *c) {
  int st = OK;

  *c = (canvas){malloc(3 * pixels(s)), malloc(3 * pixels(s) * sizeof(float))};
  NEED(c->rgb && c->numbers, E_NOMEM, "a picture of %dx%d", s->W, s->H);
out:
  return st;
}

static void canvas_close(canvas *c) {
  free(c->rgb);
  free(c->numbers);
}

/* Truth's 2 and 98 % quantiles over the valid pixels. */
static void truth_range(const ev_shot *s, float *scratch, float *lo, float *hi) {
  size_t kept = 0;

  for (size_t i = 0; i < pixels(s); i++)
    if (s->mask[i]) scratch[kept++] = s->truth[i];
  *lo = 0;
  *hi = 1;
  if (kept) ds_quantiles_02_98(scratch, kept, lo, hi);
}

static int depth_picture(ev_page *p, const ev_shot *s, const float *depth, bool masked, const char *caption) {
  int st = OK;
  char near_text[24], far_text[24];
  float lo, hi;
  canvas c;

  TRY(canvas_open(s, &c));
  truth_range(s, c.numbers, &lo, &hi);
  snprintf(near_text, sizeof near_text, "%.3g m", (double)lo);
  snprintf(far_text, sizeof far_text, "%.3g m", (double)hi);
  ds_colour_depth(depth, NULL, pixels(s), lo, hi, c.rgb);
  if (masked) whiten(c.rgb, s->mask, pixels(s));
  TRY(ev_page_scaled_picture(p, c.rgb, s->H, s->W, caption, near_text, far_text, ds_colour_spectral));
out:
  canvas_close(&c);
  return st;
}

/* Makes vectors [3,n] of any length unit, for the colours. */
static void unit(const float *v, size_t n, float *out) {
  for (size_t i = 0; i < n; i++) {
    const float length = sqrtf(v[i] * v[i] + v[n + i] * v[n + i] + v[2 * n + i] * v[2 * n + i]);
    for (size_t c = 0; c < 3; c++) out[c * n + i] = length > 0 ? v[c * n + i] / length : 0;
  }
}

static int normals_picture(ev_page *p, const ev_shot *s, const float *normals, bool masked, const char *caption) {
  int st = OK;
  canvas c;

  TRY(canvas_open(s, &c));
  unit(normals, pixels(s), c.numbers);
  ds_colour_signed(c.numbers, NULL, pixels(s), c.rgb);
  if (masked) whiten(c.rgb, s->mask, pixels(s));
  TRY(ev_page_picture(p, c.rgb, s->H, s->W, caption));
out:
  canvas_close(&c);
  return st;
}

int ev_shot_prediction(ev_page *p, const ev_shot *s, const char *caption) {
  return (s->channels == 1 ? depth_picture : normals_picture)(p, s, s->pred, false, caption);
}

int ev_shot_truth(ev_page *p, const ev_shot *s) {
  return (s->channels == 1 ? depth_picture : normals_picture)(p, s, s->truth, true, "truth (grey: not counted)");
}

int ev_shot_error(ev_page *p, const ev_shot *s, double most, const char *caption) {
  int st = OK;
  const size_t n = pixels(s);
  char most_text[24];
  canvas c;

  TRY(canvas_open(s, &c));
  if (s->channels == 1) {
    for (size_t i = 0; i < n; i++) c.numbers[i] = s->mask[i] ? fabsf(s->pred[i] - s->truth[i]) / s->truth[i] : 0;
    snprintf(most_text, sizeof most_text, "%.3g", most);
  } else {
    ev_normals_angles(s->pred, s->truth, n, c.numbers);
    most = 60;
    snprintf(most_text, sizeof most_text, "%g degrees", most);
  }
  for (size_t i = 0; i < n; i++) ev_colour_error(c.numbers[i] / (float)most, c.rgb + 3 * i);
  whiten(c.rgb, s->mask, n);
  TRY(ev_page_scaled_picture(p, c.rgb, s->H, s->W, caption, "0", most_text, ev_colour_error));
out:
  canvas_close(&c);
  return st;
}
