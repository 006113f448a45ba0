/* eval/report_html.c: the page of an evaluation: numbers, histograms, the best and the worst images. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/colour_map.h"
#include "datasets/quantile.h"
#include "eval/page.h"
#include "eval/report.h"

enum { FAILURES_SHOWN = 50, IMAGE_BINS = 40 };
static const uint8_t grey[3] = {228, 230, 233};

static int64_t measured(const ev_result *r) { return r->n - r->failed; }

/* ---- tables ---- */

static void table_of(ev_page *p, const ev_report *r, ev_task task) {
  const char *const *names;
  const int n = ev_metric_names(task, &names);
  bool open = false;

  for (int i = 0; i < r->n; i++) {
    const ev_result *e = &r->results[i];
    if (ev_set_task(e->set) != task) continue;
    if (!open) {
      ev_page_table_open(p, n + 3);
      ev_page_cell(p, "set");
      ev_page_cell(p, "images");
      ev_page_cell(p, "failed");
      for (int k = 0; k < n; k++) ev_page_cell(p, "%s", names[k]);
      open = true;
    }
    ev_page_cell(p, "%s%s%s", ev_set_name(e->set), e->how[0] ? ": " : "", e->how);
    ev_page_cell(p, "%lld", (long long)measured(e));
    ev_page_cell(p, "%lld", (long long)e->failed);
    for (int k = 0; k < n; k++) ev_page_cell(p, "%.*f", task == EV_DEPTH ? 4 : 2, e->m.values[k]);
  }
  if (open) ev_page_table_close(p);
}

static void failures_of(ev_page *p, const ev_result *e) {
  int64_t shown = 0;

  if (!e->failed) return;
  ev_page_subheading(p, "Not measured: %lld of %lld images", (long long)e->failed, (long long)e->n);
  ev_page_table_open(p, 2);
  ev_page_cell(p, "image");
  ev_page_cell(p, "why");
  for (int64_t i = 0; i < e->n && shown < FAILURES_SHOWN; i++) {
    if (!e->scores[i].problem) continue;
    ev_page_cell(p, "%s", ev_set_id(e->set, i));
    ev_page_cell(p, "%s", e->scores[i].problem);
    shown++;
  }
  ev_page_table_close(p);
  if (e->failed > shown) ev_page_text(p, "and %lld more", (long long)(e->failed - shown));
}

/* ---- histograms ---- */

/* Images by their first metric, from 0 to twice the median at least. */
static int image_histogram(ev_page *p, const ev_result *e) {
  int st = OK;
  const bool depth = ev_set_task(e->set) == EV_DEPTH;
  uint64_t bins[IMAGE_BINS] = {0};
  double most = 0, *v = malloc(((size_t)e->n + 1) * sizeof *v);
  size_t n = 0;

  NEED(v, E_NOMEM, "%lld numbers", (long long)e->n);
  for (int64_t i = 0; i < e->n; i++)
    if (!e->scores[i].problem) v[n++] = e->scores[i].m.values[0];
  most = 1.0001 * ds_percentile(v, n, 0.98) + 1e-9;
  for (size_t i = 0; i < n; i++) bins[v[i] < most ? (int)(v[i] / most * IMAGE_BINS) : IMAGE_BINS - 1]++;
  ev_page_bars(p, &(ev_bars){.title = "images, per cent",
                             .x_label = depth ? "abs_rel of the image (red: and more)" : "mean angle of the image, degrees (red: and more)",
                             .count = bins, .n = IMAGE_BINS, .lo = 0, .hi = most, .open_end = 1});
out:
  free(v);
  return st;
}

static void pixel_histogram(ev_page *p, const ev_result *e) {
  const bool depth = ev_set_task(e->set) == EV_DEPTH;

  ev_page_bars(p, &(ev_bars){.title = "pixels, per cent",
                             .x_label = depth ? "|prediction - truth| / truth (red: and more)" : "angle, degrees (red: and more)",
                             .count = e->bins, .n = EV_BINS, .lo = 0, .hi = e->bins_end, .open_end = 1});
}

/* ---- pictures ---- */

static void whiten(uint8_t *rgb, const uint8_t *mask, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!mask[i]) memcpy(rgb + 3 * i, grey, sizeof grey);
}

/* Truth's 2 and 98 % quantiles over the valid pixels. */
static void truth_range(const ev_shot *s, float *scratch, float *lo, float *hi) {
  size_t kept = 0;

  for (size_t i = 0; i < (size_t)s->H * (size_t)s->W; i++)
    if (s->mask[i]) scratch[kept++] = s->truth[i];
  *lo = 0;
  *hi = 1;
  if (kept) ds_quantiles_02_98(scratch, kept, lo, hi);
}

static int depth_pictures(ev_page *p, const ev_shot *s, uint8_t *rgb, float *scratch, double bins_end) {
  int st = OK;
  const size_t n = (size_t)s->H * (size_t)s->W;
  char lo_text[24], hi_text[24];
  float lo, hi;

  truth_range(s, scratch, &lo, &hi);
  snprintf(lo_text, sizeof lo_text, "%.3g m", (double)lo);
  snprintf(hi_text, sizeof hi_text, "%.3g m", (double)hi);
  ds_colour_depth(s->pred, NULL, n, lo, hi, rgb);
  TRY(ev_page_scaled_picture(p, rgb, s->H, s->W, "prediction, aligned", lo_text, hi_text, ds_colour_spectral));
  ds_colour_depth(s->truth, NULL, n, lo, hi, rgb);
  whiten(rgb, s->mask, n);
  TRY(ev_page_scaled_picture(p, rgb, s->H, s->W, "truth (grey: not counted)", lo_text, hi_text, ds_colour_spectral));
  for (size_t i = 0; i < n; i++)
    ev_colour_error(s->mask[i] ? fabsf(s->pred[i] - s->truth[i]) / s->truth[i] / (float)bins_end : 0, rgb + 3 * i);
  whiten(rgb, s->mask, n);
  snprintf(hi_text, sizeof hi_text, "%.3g", bins_end);
  TRY(ev_page_scaled_picture(p, rgb, s->H, s->W, "|prediction - truth| / truth", "0", hi_text, ev_colour_error));
out:
  return st;
}

/* Makes vectors [3,n] of any length unit, for the colours. */
static void unit(const float *v, size_t n, float *out) {
  for (size_t i = 0; i < n; i++) {
    const float length = sqrtf(v[i] * v[i] + v[n + i] * v[n + i] + v[2 * n + i] * v[2 * n + i]);
    for (size_t c = 0; c < 3; c++) out[c * n + i] = length > 0 ? v[c * n + i] / length : 0;
  }
}

static int normals_pictures(ev_page *p, const ev_shot *s, uint8_t *rgb, float *scratch) {
  int st = OK;
  const size_t n = (size_t)s->H * (size_t)s->W;

  unit(s->pred, n, scratch);
  ds_colour_signed(scratch, NULL, n, rgb);
  TRY(ev_page_picture(p, rgb, s->H, s->W, "prediction"));
  unit(s->truth, n, scratch);
  ds_colour_signed(scratch, NULL, n, rgb);
  whiten(rgb, s->mask, n);
  TRY(ev_page_picture(p, rgb, s->H, s->W, "truth (grey: not counted)"));
  ev_normals_angles(s->pred, s->truth, n, scratch);
  for (size_t i = 0; i < n; i++) ev_colour_error(scratch[i] / 60, rgb + 3 * i);
  whiten(rgb, s->mask, n);
  TRY(ev_page_scaled_picture(p, rgb, s->H, s->W, "angle between them", "0", "60 degrees", ev_colour_error));
out:
  return st;
}

static int shot_row(ev_page *p, const ev_result *e, const ev_shot *s) {
  int st = OK;
  const size_t n = (size_t)s->H * (size_t)s->W;
  const ev_score *score = &e->scores[s->image];
  uint8_t *rgb = malloc(3 * n);
  float *scratch = malloc(3 * n * sizeof *scratch);

  NEED(rgb && scratch, E_NOMEM, "pictures of %dx%d", s->W, s->H);
  if (ev_set_task(e->set) == EV_DEPTH)
    ev_page_row_open(p, "%s: abs_rel %.4f, delta1 %.3f, scale %.3g m, shift %.3g m", ev_set_id(e->set, s->image),
                     score->m.depth.abs_rel, score->m.depth.delta1, (double)score->fit.scale, (double)score->fit.shift);
  else
    ev_page_row_open(p, "%s: mean %.2f, median %.2f degrees, %.1f %% below 11.25", ev_set_id(e->set, s->image),
                     score->m.normals.mean, score->m.normals.median, score->m.normals.below_11_25);
  TRY(ev_page_picture(p, s->rgb, s->H, s->W, "image"));
  if (ev_set_task(e->set) == EV_DEPTH) TRY(depth_pictures(p, s, rgb, scratch, e->bins_end));
  else TRY(normals_pictures(p, s, rgb, scratch));
  ev_page_row_close(p);
out:
  free(rgb);
  free(scratch);
  return st;
}

/* limit: where there are few images none is shown as best and worst. */
static int shots_of(ev_page *p, const ev_result *e, const char *title, const ev_shot *shots, int64_t limit) {
  int st = OK;

  if (shots[0].image < 0 || limit <= 0) return OK;
  ev_page_subheading(p, "%s", title);
  for (int i = 0; i < EV_SHOTS && i < limit && shots[i].image >= 0; i++) TRY(shot_row(p, e, &shots[i]));
out:
  return st;
}

static void settings_of(ev_page *p, const ev_result *e) {
  const ev_settings *o = ev_set_settings(e->set);

  if (ev_set_task(e->set) == EV_DEPTH)
    ev_page_text(p, "Alignment: least squares in %s%s. Valid and clipped: %.3g to %.4g m, mask %s%s.",
                 o->alignment == EV_ALIGN_NONE ? "no space (metres as predicted)" : ev_alignment_names[o->alignment],
                 o->align_max_res ? ", on fewer columns" : "", (double)o->near_m, (double)o->far_m, ev_box_names[o->box],
                 o->benchmark_crop ? ", benchmark crop" : "");
  else ev_page_text(p, "Angles pooled over all valid pixels of the set%s.", o->dsine_image ? "; images stretched as in DSINE's code" : "");
}

static int section_of(ev_page *p, const ev_result *e) {
  int st = OK;
  const int64_t half = measured(e) / 2;

  ev_page_heading(p, "%s", ev_set_name(e->set));
  if (e->how[0]) ev_page_text(p, "%s", e->how);
  settings_of(p, e);
  if (measured(e)) {
    TRY(image_histogram(p, e));
    pixel_histogram(p, e);
    TRY(shots_of(p, e, "Worst images", e->worst, measured(e) - half));
    TRY(shots_of(p, e, "Best images", e->best, half));
  }
  failures_of(p, e);
out:
  return st;
}

int ev_report_html(const ev_report *r, const char *path) {
  int st = OK;
  ev_page *p = NULL;

  TRY(ev_page_open("Evaluation", &p));
  if (r->source) ev_page_text(p, "%s", r->source);
  table_of(p, r, EV_DEPTH);
  table_of(p, r, EV_NORMALS);
  for (int i = 0; i < r->n; i++) TRY(section_of(p, &r->results[i]));
  if (r->version) ev_page_text(p, "e2eft %s", r->version);
  TRY(ev_page_save(p, path));
out:
  ev_page_close(&p);
  return st;
}
