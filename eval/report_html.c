/* eval/report_html.c: the page of an evaluation: numbers, histograms, the best and the worst images. */
#include <stdlib.h>

#include "datasets/quantile.h"
#include "eval/page.h"
#include "eval/report.h"
#include "eval/shot.h"

enum { FAILURES_SHOWN = 50, IMAGE_BINS = 40 };

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

static int shot_row(ev_page *p, const ev_result *e, const ev_shot *s) {
  int st = OK;
  const ev_score *score = &e->scores[s->image];

  if (ev_set_task(e->set) == EV_DEPTH)
    ev_page_row_open(p, "%s: abs_rel %.4f, delta1 %.3f, scale %.3g m, shift %.3g m", ev_set_id(e->set, s->image),
                     score->m.depth.abs_rel, score->m.depth.delta1, (double)score->fit.scale, (double)score->fit.shift);
  else
    ev_page_row_open(p, "%s: mean %.2f, median %.2f degrees, %.1f %% below 11.25", ev_set_id(e->set, s->image),
                     score->m.normals.mean, score->m.normals.median, score->m.normals.below_11_25);
  TRY(ev_page_picture(p, s->rgb, s->H, s->W, "image"));
  TRY(ev_shot_prediction(p, s, ev_set_task(e->set) == EV_DEPTH ? "prediction, aligned" : "prediction"));
  TRY(ev_shot_truth(p, s));
  TRY(ev_shot_error(p, s, e->bins_end, ev_set_task(e->set) == EV_DEPTH ? "|prediction - truth| / truth" : "angle between them"));
  ev_page_row_close(p);
out:
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
