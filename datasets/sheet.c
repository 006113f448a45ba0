#include "datasets/sheet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/colour_map.h"
#include "datasets/image_write.h"
#include "datasets/resize.h"

enum { PANELS = 5, PANEL_H = 180, PANEL_W = 240, GAP = 4, ROWS_MAX = 200, BARS = 40, BAR_CHARS = 40 };
enum { SHEET_W = PANELS * (PANEL_W + GAP) + GAP, ROW_H = PANEL_H + GAP };
static const uint8_t background = 40;

/* ---- histogram of many samples ---- */

static const double edges[DS_DEPTH_BINS] = {0, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}; /* lower ones */

void ds_depth_histogram_add(ds_depth_histogram *h, const float *metric, const uint8_t *mask, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int bin = DS_DEPTH_BINS - 1;
    if (!mask[i]) continue;
    while (bin > 0 && metric[i] < edges[bin]) bin--;
    h->count[bin]++;
    if (!h->total || metric[i] < h->lo) h->lo = metric[i];
    if (!h->total || metric[i] > h->hi) h->hi = metric[i];
    h->total++;
  }
}

void ds_depth_histogram_print(const ds_depth_histogram *h, const char *indent, FILE *f) {
  int first = 0, last = DS_DEPTH_BINS - 1;

  if (!h->total) return;
  while (!h->count[first]) first++;
  while (!h->count[last]) last--;
  for (int i = first; i <= last; i++) {
    const double share = (double)h->count[i] / (double)h->total;
    char range[32];
    if (i + 1 < DS_DEPTH_BINS) snprintf(range, sizeof range, "%g to %g m", edges[i], edges[i + 1]);
    else snprintf(range, sizeof range, "%g m and more", edges[i]);
    fprintf(f, "%s%-16s %5.1f %% ", indent, range, 100 * share);
    for (int c = 0; c < (int)(share * BAR_CHARS + 0.5); c++) fputc('#', f);
    fputc('\n', f);
  }
}

/* ---- one panel: an image made to fit a box of the sheet ---- */

typedef struct sheet {
  uint8_t *pixels; /* [rows * ROW_H + GAP, SHEET_W, 3] */
  ds_resizer resizer;
  ds_buf image, fitted; /* u8 [H,W,3] */
} sheet;

typedef struct box { int H, W; uint8_t *at; } box;

/* The middle of panel `panel` of row `row` that an H x W image fills. */
static box box_of(const sheet *s, int row, int panel, int H, int W) {
  const double scale = fmin((double)PANEL_H / H, (double)PANEL_W / W);
  const int h = (int)fmax(1, floor(H * scale + 1e-6)), w = (int)fmax(1, floor(W * scale + 1e-6));
  const int top = row * ROW_H + GAP + (PANEL_H - h) / 2, left = panel * (PANEL_W + GAP) + GAP + (PANEL_W - w) / 2;

  return (box){h, w, s->pixels + 3 * ((size_t)top * SHEET_W + (size_t)left)};
}

static void nearest(const uint8_t *in, int H, int W, uint8_t *out, int h, int w) {
  for (int y = 0; y < h; y++)
    for (int x = 0; x < w; x++)
      memcpy(out + 3 * ((size_t)y * (size_t)w + (size_t)x),
             in + 3 * ((size_t)(y * (int64_t)H / h) * (size_t)W + (size_t)(x * (int64_t)W / w)), 3);
}

/* s->image, H x W, into its panel; smooth only where colours may mix. */
static int put(sheet *s, int row, int panel, int H, int W, bool smooth) {
  int st = OK;
  const box b = box_of(s, row, panel, H, W);

  TRY(ds_buf_need(&s->fitted, 3 * (size_t)b.H * (size_t)b.W));
  if (smooth) TRY(ds_resize_rgb8(&s->resizer, s->image.p, H, W, s->fitted.p, b.H, b.W));
  else nearest(s->image.p, H, W, s->fitted.p, b.H, b.W);
  for (int y = 0; y < b.H; y++)
    memcpy(b.at + 3 * (size_t)y * SHEET_W, (uint8_t *)s->fitted.p + 3 * (size_t)y * (size_t)b.W, 3 * (size_t)b.W);
out:
  return st;
}

/* ---- a row ---- */

static void depth_range(const float *metric, const uint8_t *mask, size_t n, float *lo, float *hi) {
  *lo = *hi = 0;
  for (size_t i = 0, seen = 0; i < n; i++) {
    if (!mask[i]) continue;
    if (!seen++) *lo = *hi = metric[i];
    *lo = fminf(*lo, metric[i]);
    *hi = fmaxf(*hi, metric[i]);
  }
}

/* Bars in the colours that the depth beside them has. */
static void draw_bars(uint8_t *image, const float *metric, const uint8_t *mask, size_t n, float lo, float hi) {
  int64_t count[BARS] = {0}, most = 1;

  for (size_t i = 0; i < n; i++)
    if (mask[i]) count[hi > lo ? (int)fminf((metric[i] - lo) / (hi - lo) * BARS, BARS - 1) : 0]++;
  for (int b = 0; b < BARS; b++) most = count[b] > most ? count[b] : most;
  memset(image, 0, 3 * PANEL_H * PANEL_W);
  for (int x = 0; x < PANEL_W; x++) {
    const int bar = x * BARS / PANEL_W, top = PANEL_H - (int)(count[bar] * PANEL_H / most);
    for (int y = top; y < PANEL_H; y++) ds_colour_spectral(((float)bar + 0.5f) / BARS, image + 3 * (y * PANEL_W + x));
  }
}

/* Panels of sample b of g. A plane that is not there leaves its panel black. */
static int put_sample(sheet *s, int row, const ds_group *g, int b, FILE *f) {
  int st = OK;
  const size_t n = (size_t)g->H * (size_t)g->W;
  const uint8_t *mask = g->mask + n * (size_t)b;
  float lo = 0, hi = 0;

  TRY(ds_buf_need(&s->image, 3 * (n > PANEL_H * PANEL_W ? n : PANEL_H * PANEL_W)));
  uint8_t *const image = s->image.p;
  ds_colour_signed(g->rgb + 3 * n * (size_t)b, NULL, n, image);
  TRY(put(s, row, 0, g->H, g->W, true));
  memset(image, 0, 3 * n);
  if (g->metric) {
    depth_range(g->metric + n * (size_t)b, mask, n, &lo, &hi);
    ds_colour_depth(g->metric + n * (size_t)b, mask, n, lo, hi, image);
  }
  TRY(put(s, row, 1, g->H, g->W, false));
  memset(image, 0, 3 * n);
  if (g->normals) ds_colour_signed(g->normals + 3 * n * (size_t)b, mask, n, image);
  TRY(put(s, row, 2, g->H, g->W, false));
  for (size_t i = 0; i < 3 * n; i++) image[i] = mask[i / 3] ? 255 : 0;
  TRY(put(s, row, 3, g->H, g->W, false));
  memset(image, 0, 3 * PANEL_H * PANEL_W);
  if (g->metric) draw_bars(image, g->metric + n * (size_t)b, mask, n, lo, hi);
  TRY(put(s, row, 4, PANEL_H, PANEL_W, false));
  fprintf(f, "row %d: data.%d %s, %dx%d, %.1f %% valid", row + 1, g->dataset, g->id[b], g->H, g->W,
          100 * (double)g->valid[b] / (double)n);
  if (g->metric && g->valid[b]) fprintf(f, ", %.4g to %.4g m", (double)lo, (double)hi);
  fputc('\n', f);
out:
  return st;
}

/* ---- the sheet ---- */

static int draw(sheet *s, ds_loader *l, int rows, FILE *f) {
  int st = OK;
  ds_group *g = NULL;

  for (int row = 0; row < rows;) {
    TRY(ds_loader_next(l, &g));
    for (int b = 0; b < g->B && row < rows; b++, row++) TRY(put_sample(s, row, g, b, f));
    ds_loader_release(l, g);
    g = NULL;
  }
out:
  if (g) ds_loader_release(l, g);
  return st;
}

int ds_sheet(FILE *f, const ds_loader_opts *o, const ds_data *data, int n, int64_t rows, const char *path) {
  int st = OK;
  sheet s = {0};
  ds_loader *l = NULL;
  ds_loader_opts singly = *o;
  const size_t bytes = 3 * (size_t)SHEET_W * (size_t)(rows * ROW_H + GAP);

  NEED(rows >= 1 && rows <= ROWS_MAX, E_CONFIG, "a sheet of %lld rows; 1 to %d are drawn", (long long)rows, ROWS_MAX);
  singly.singly = true;
  singly.ahead = o->workers ? 2 * o->workers : 1;
  TRY(ds_loader_open(&singly, data, n, &l)); /* forks first */
  NEED((s.pixels = malloc(bytes)) != NULL, E_NOMEM, "a sheet of %lld rows", (long long)rows);
  memset(s.pixels, background, bytes);
  TRY(draw(&s, l, (int)rows, f));
  TRY(ds_png_write8(path, SHEET_W, (int)rows * ROW_H + GAP, 3, s.pixels));
out:
  free(s.pixels);
  ds_resizer_free(&s.resizer);
  ds_buf_free(&s.image);
  ds_buf_free(&s.fitted);
  ds_loader_close(&l);
  return st;
}
