/* eval/comparison_html.c: the page of a comparison. */
#include <math.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/npy.h"
#include "datasets/buffer.h"
#include "eval/comparison.h"
#include "eval/shot.h"

enum { SHOWN = 8 };

static const char *const told_as[EV_CONTENDERS] = {"the base model, before", "the model, after training", "the same everywhere",
                                                   "the training data's mean at each pixel"};

/* ---- numbers ---- */

static void number(ev_page *p, const ev_result *r, int at) {
  if (isfinite(r->m.values[at])) ev_page_cell(p, "%.3f", r->m.values[at]);
  else ev_page_cell(p, "-");
}

static void table_of(ev_page *p, const ev_comparison *c) {
  const char *const *names;
  const bool depth = ev_set_task(c->set) == EV_DEPTH;
  int at[2];

  ev_metric_names(ev_set_task(c->set), &names);
  ev_comparison_metrics(c, at);
  ev_page_table_open(p, depth ? 6 : 5);
  ev_page_cell(p, "%s", c->name);
  for (int k = 0; k < 2; k++) ev_page_cell(p, "%s", names[at[k]]);
  ev_page_cell(p, "images");
  ev_page_cell(p, "failed");
  if (depth) ev_page_cell(p, "inverted");
  for (int who = 0; who < EV_CONTENDERS; who++) {
    const ev_result *r = &c->results[who];
    ev_page_cell(p, "%s", told_as[who]);
    for (int k = 0; k < 2; k++) number(p, r, at[k]);
    ev_page_cell(p, "%lld", (long long)(r->n - r->failed));
    ev_page_cell(p, "%lld", (long long)r->failed);
    if (depth) ev_page_cell(p, "%lld", (long long)ev_comparison_inverted(c, (ev_contender)who));
  }
  ev_page_table_close(p);
}

static void explain(ev_page *p, ev_task task) {
  if (task == EV_DEPTH)
    ev_page_text(p, "Depth is predicted up to scale and shift, which are fitted to each image by least squares before it is measured. "
                    "abs_rel: mean of |prediction - truth| / truth, 0 is best. delta1: share of pixels within a factor of 1.25, "
                    "1 is best. inverted: images that fit best upside down, near for far.");
  else
    ev_page_text(p, "mean: angle between prediction and truth in degrees, 0 is best. below_11_25: per cent of pixels within "
                    "11.25 degrees, 100 is best.");
}

/* ---- pictures ---- */

static int kept_shot(const ev_comparison *c, const char *what, int64_t i, const ev_item *item, ev_shot *out) {
  int st = OK, ndim = 0;
  char path[IO_PATH_MAX];
  int64_t shape[8];
  float *pred = NULL, *aligned = NULL;
  const size_t n = (size_t)item->H * (size_t)item->W;
  const ev_align_opts align = ev_settings_align(ev_set_settings(c->set));

  TRY(io_path(path, "%s/%s-%03lld.%s.npy", c->folder, c->name, (long long)i, what));
  TRY(npy_load_f32(path, &ndim, shape, &pred));
  NEED((item->channels == 1 ? ndim == 2 : ndim == 3 && shape[0] == 3) && shape[ndim - 2] == item->H && shape[ndim - 1] == item->W, E_FORMAT,
       "%s: wanted the prediction of %dx%d that was written, found %d dimensions or another size", path, item->W, item->H, ndim);
  if (item->channels == 1) {
    NEED((aligned = malloc(n * sizeof *aligned)) != NULL, E_NOMEM, "%s: out of memory", path);
    TRY(ev_align(&align, pred, item->truth, item->mask, item->H, item->W, aligned, NULL));
  }
  TRY(ev_shot_make(item, aligned ? aligned : pred, i, out));
out:
  free(pred);
  free(aligned);
  return st;
}

static int row_of(ev_page *p, const ev_comparison *c, int64_t i) {
  int st = OK;
  const ev_score *before = &c->results[EV_BEFORE].scores[i], *after = &c->results[EV_AFTER].scores[i];
  ev_shot was = {.image = -1}, is = {.image = -1};
  const char *const *names;
  ev_item item;
  int at[2];

  ev_metric_names(ev_set_task(c->set), &names);
  ev_comparison_metrics(c, at);
  TRY(ev_set_read(c->set, i, &item));
  TRY(kept_shot(c, ev_contender_names[EV_BEFORE], i, &item, &was));
  TRY(kept_shot(c, ev_contender_names[EV_AFTER], i, &item, &is));
  ev_page_row_open(p, "%s-%03lld, %s: %s %.3f before, %.3f after; %s %.3f before, %.3f after", c->name, (long long)i,
                   ev_set_id(c->set, i), names[at[0]], before->m.values[at[0]], after->m.values[at[0]], names[at[1]],
                   before->m.values[at[1]], after->m.values[at[1]]);
  TRY(ev_page_picture(p, is.rgb, is.H, is.W, "image"));
  TRY(ev_shot_prediction(p, &was, "prediction before"));
  TRY(ev_shot_prediction(p, &is, "prediction after"));
  TRY(ev_shot_truth(p, &is));
  TRY(ev_shot_error(p, &is, c->results[EV_AFTER].bins_end,
                    is.channels == 1 ? "error after: |prediction - truth| / truth" : "error after, in degrees"));
  ev_page_row_close(p);
out:
  ev_shot_free(&was);
  ev_shot_free(&is);
  return st;
}

/* An image and what it is ranked by. */
typedef struct ranked { double score; int64_t image; } ranked;

static int by_score(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  return x->score < y->score ? -1 : x->score > y->score ? 1 : x->image < y->image ? -1 : x->image > y->image;
}

/* SHOWN images at even steps from the best to the worst: neither a choice of the best nor of the worst. */
static int rows_of(ev_page *p, const ev_comparison *c) {
  int st = OK;
  int64_t n = 0;
  int at[2];
  const ev_result *before = &c->results[EV_BEFORE], *after = &c->results[EV_AFTER];
  ranked *rank = malloc(((size_t)after->n + 1) * sizeof *rank);

  NEED(rank, E_NOMEM, "%lld images", (long long)after->n);
  ev_comparison_metrics(c, at);
  for (int64_t i = 0; i < after->n; i++)
    if (!before->scores[i].problem && !after->scores[i].problem) rank[n++] = (ranked){after->scores[i].m.values[at[0]], i};
  qsort(rank, (size_t)n, sizeof *rank, by_score);
  const int64_t shown = n < SHOWN ? n : SHOWN;
  if (n > shown) ev_page_text(p, "%lld of %lld images, at even steps from the best to the worst.", (long long)shown, (long long)n);
  for (int64_t k = 0; k < shown; k++) TRY(row_of(p, c, rank[shown > 1 ? k * (n - 1) / (shown - 1) : 0].image));
out:
  free(rank);
  return st;
}

int ev_comparison_html(const ev_comparison *sets, int n, const ev_story *story, const char *path) {
  int st = OK;
  ev_page *p = NULL;

  TRY(ev_page_open(story->title ? story->title : "Before and after training", &p));
  if (story->about) ev_page_text(p, "%s", story->about);
  for (int i = 0; i < n; i++) table_of(p, &sets[i]);
  explain(p, ev_set_task(sets[0].set));
  if (story->loss.n) {
    ev_page_heading(p, "Training");
    ev_page_chart(p, &story->loss);
  }
  if (story->next) {
    ev_page_heading(p, "Go on");
    ev_page_code(p, story->next);
  }
  for (int i = 0; i < n; i++) {
    ev_page_heading(p, "%s", sets[i].name);
    TRY(rows_of(p, &sets[i]));
  }
  if (story->version) ev_page_text(p, "e2eft %s", story->version);
  TRY(ev_page_save(p, path));
out:
  ev_page_close(&p);
  return st;
}
