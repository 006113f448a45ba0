#include "eval/page.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "datasets/image_write.h"

enum { CHART_W = 560, CHART_H = 240, LEFT = 62, RIGHT = 12, TOP = 30, BOTTOM = 44, PLOT_W = CHART_W - LEFT - RIGHT,
       PLOT_H = CHART_H - TOP - BOTTOM, TEXT_MAX = 4096, SCALE_STEPS = 16 };

struct ev_page {
  FILE *f; /* into text; NULL once it is saved */
  char *text;
  size_t size;
  int columns, cell; /* of the open table */
};

static const char style[] =
    "body{font:15px/1.5 system-ui,sans-serif;color:#1c2128;background:#fff;max-width:1400px;margin:2em auto;padding:0 1.5em}"
    "h1{font-size:1.7em;margin:0 0 .3em}h2{font-size:1.3em;margin:2em 0 .4em;border-bottom:1px solid #d8dee4;padding-bottom:.2em}"
    "h3{font-size:1.05em;margin:1.4em 0 .3em}"
    "table{border-collapse:collapse;margin:.8em 0;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25em .8em;border-bottom:1px solid #e4e8ec;text-align:right;white-space:nowrap}"
    "th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere}th{background:#f4f6f8;font-weight:600}"
    "pre{background:#f4f6f8;padding:.8em 1em;overflow-x:auto}"
    ".row{margin:1.2em 0}.row>p{margin:0 0 .3em;overflow-wrap:anywhere}"
    ".pictures{display:flex;flex-wrap:wrap;gap:10px;align-items:flex-start}"
    "figure{margin:0;flex:1 1 200px;max-width:320px}figcaption{font-size:.85em;color:#57606a}"
    "img{display:block;width:100%;image-rendering:pixelated;border:1px solid #d8dee4}"
    "svg text{font:12px system-ui,sans-serif;fill:#57606a}svg .title{font-weight:600;fill:#1c2128}"
    ".scale{display:flex;align-items:center;gap:6px;font-size:.8em;color:#57606a;font-variant-numeric:tabular-nums}"
    ".scale i{flex:1;height:10px;border:1px solid #d8dee4}.chart{display:inline-block;margin:.4em 1em .4em 0}";

static void put_escaped(FILE *f, const char *s) {
  for (; *s; s++) {
    switch (*s) {
    case '&': fputs("&amp;", f); break;
    case '<': fputs("&lt;", f); break;
    case '>': fputs("&gt;", f); break;
    case '"': fputs("&quot;", f); break;
    default: fputc(*s, f);
    }
  }
}

static void put_formatted(FILE *f, const char *fmt, va_list ap) {
  char text[TEXT_MAX];

  vsnprintf(text, sizeof text, fmt, ap);
  put_escaped(f, text);
}

int ev_page_open(const char *title, ev_page **out) {
  int st = OK;
  ev_page *p = calloc(1, sizeof *p);

  NEED(p && (p->f = open_memstream(&p->text, &p->size)), E_NOMEM, "a page: out of memory");
  fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>", p->f);
  put_escaped(p->f, title);
  fprintf(p->f, "</title><style>%s</style></head><body>\n<h1>", style);
  put_escaped(p->f, title);
  fputs("</h1>\n", p->f);
  *out = p;
  p = NULL;
out:
  free(p);
  return st;
}

void ev_page_close(ev_page **pp) {
  ev_page *p = *pp;

  if (!p) return;
  if (p->f) fclose(p->f);
  free(p->text);
  free(p);
  *pp = NULL;
}

int ev_page_save(ev_page *p, const char *path) {
  int st = OK;

  fputs("</body></html>\n", p->f);
  const int bad = ferror(p->f) | fclose(p->f);
  p->f = NULL;
  NEED(!bad, E_NOMEM, "%s: out of memory", path);
  TRY(io_write_file(path, p->text, p->size));
out:
  return st;
}

/* ---- text ---- */

#define TAGGED(tag)                 \
  do {                              \
    va_list ap;                     \
    fputs("<" tag ">", p->f);       \
    va_start(ap, fmt);              \
    put_formatted(p->f, fmt, ap);   \
    va_end(ap);                     \
    fputs("</" tag ">\n", p->f);    \
  } while (0)

void ev_page_heading(ev_page *p, const char *fmt, ...) { TAGGED("h2"); }
void ev_page_subheading(ev_page *p, const char *fmt, ...) { TAGGED("h3"); }
void ev_page_text(ev_page *p, const char *fmt, ...) { TAGGED("p"); }

void ev_page_code(ev_page *p, const char *text) {
  fputs("<pre>", p->f);
  put_escaped(p->f, text);
  fputs("</pre>\n", p->f);
}

void ev_page_table_open(ev_page *p, int columns) {
  p->columns = columns;
  p->cell = 0;
  fputs("<table>\n", p->f);
}

void ev_page_cell(ev_page *p, const char *fmt, ...) {
  va_list ap;
  const char *tag = p->cell < p->columns ? "th" : "td";

  if (p->cell % p->columns == 0) fputs("<tr>", p->f);
  fprintf(p->f, "<%s>", tag);
  va_start(ap, fmt);
  put_formatted(p->f, fmt, ap);
  va_end(ap);
  fprintf(p->f, "</%s>", tag);
  if (++p->cell % p->columns == 0) fputs("</tr>\n", p->f);
}

void ev_page_table_close(ev_page *p) { fputs("</table>\n", p->f); }

/* ---- pictures ---- */

void ev_page_row_open(ev_page *p, const char *fmt, ...) {
  fputs("<div class=\"row\">", p->f);
  TAGGED("p");
  fputs("<div class=\"pictures\">\n", p->f);
}

void ev_page_row_close(ev_page *p) { fputs("</div></div>\n", p->f); }

static void put_base64(FILE *f, const uint8_t *data, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

  for (size_t i = 0; i < n; i += 3) {
    const uint32_t v = (uint32_t)data[i] << 16 | (i + 1 < n ? (uint32_t)data[i + 1] << 8 : 0) | (i + 2 < n ? data[i + 2] : 0);
    fputc(digits[v >> 18], f);
    fputc(digits[v >> 12 & 63], f);
    fputc(i + 1 < n ? digits[v >> 6 & 63] : '=', f);
    fputc(i + 2 < n ? digits[v & 63] : '=', f);
  }
}

static void put_scale(FILE *f, const char *lo, const char *hi, void (*colour)(float v, uint8_t rgb[3])) {
  uint8_t c[3];

  fputs("<div class=\"scale\"><span>", f);
  put_escaped(f, lo);
  fputs("</span><i style=\"background:linear-gradient(90deg", f);
  for (int i = 0; i <= SCALE_STEPS; i++) {
    colour((float)i / SCALE_STEPS, c);
    fprintf(f, ",#%02x%02x%02x", c[0], c[1], c[2]);
  }
  fputs(")\"></i><span>", f);
  put_escaped(f, hi);
  fputs("</span></div>", f);
}

int ev_page_scaled_picture(ev_page *p, const uint8_t *rgb, int H, int W, const char *caption, const char *lo, const char *hi,
                           void (*colour)(float v, uint8_t rgb[3])) {
  int st = OK;
  unsigned char *data = NULL;
  size_t n = 0;

  TRY(ds_png_encode8(W, H, 3, rgb, &data, &n));
  fprintf(p->f, "<figure><img width=\"%d\" height=\"%d\" style=\"height:auto\" alt=\"", W, H);
  put_escaped(p->f, caption);
  fputs("\" src=\"data:image/png;base64,", p->f);
  put_base64(p->f, data, n);
  fputs("\">", p->f);
  if (colour) put_scale(p->f, lo, hi, colour);
  fputs("<figcaption>", p->f);
  put_escaped(p->f, caption);
  fputs("</figcaption></figure>\n", p->f);
out:
  free(data);
  return st;
}

int ev_page_picture(ev_page *p, const uint8_t *rgb, int H, int W, const char *caption) {
  return ev_page_scaled_picture(p, rgb, H, W, caption, NULL, NULL, NULL);
}

void ev_colour_error(float v, uint8_t rgb[3]) {
  static const float stops[5][3] = {{255, 253, 240}, {255, 221, 130}, {245, 140, 60}, {200, 40, 50}, {80, 0, 40}};
  const float at = fminf(fmaxf(v, 0), 1) * 4;
  const int i = at < 3 ? (int)at : 3;

  for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)lrintf(stops[i][c] + (stops[i + 1][c] - stops[i][c]) * (at - (float)i));
}

/* ---- charts ---- */

/* A step of 1, 2 or 5 times a power of ten that gives about `n` ticks. */
static double tick_step(double range, int n) {
  const double raw = range / n, power = pow(10, floor(log10(raw))), lead = raw / power;
  return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

typedef struct frame { double x0, x1, y0, y1; } frame;

static double at_x(const frame *r, double x) { return LEFT + (x - r->x0) / (r->x1 - r->x0) * PLOT_W; }
static double at_y(const frame *r, double y) { return TOP + PLOT_H - (y - r->y0) / (r->y1 - r->y0) * PLOT_H; }

static void chart_open(ev_page *p, const frame *r, const char *title, const char *x_label) {
  fprintf(p->f, "<svg class=\"chart\" role=\"img\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                "xmlns=\"http://www.w3.org/2000/svg\">", CHART_W, CHART_H, CHART_W, CHART_H);
  fprintf(p->f, "<text class=\"title\" x=\"%d\" y=\"16\">", LEFT);
  put_escaped(p->f, title);
  fprintf(p->f, "</text><text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", LEFT + PLOT_W / 2, CHART_H - 6);
  put_escaped(p->f, x_label);
  fputs("</text>", p->f);
  const double dx = tick_step(r->x1 - r->x0, 7), dy = tick_step(r->y1 - r->y0, 5);
  for (double y = ceil(r->y0 / dy) * dy; y <= r->y1 + dy * 1e-6; y += dy) {
    const double at = at_y(r, y);
    fprintf(p->f, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#e4e8ec\"/>", LEFT, LEFT + PLOT_W, at, at);
    fprintf(p->f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>", LEFT - 6, at + 4, fabs(y) < dy * 1e-6 ? 0 : y);
  }
  for (double x = ceil(r->x0 / dx) * dx; x <= r->x1 + dx * 1e-6; x += dx)
    fprintf(p->f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.4g</text>", at_x(r, x), TOP + PLOT_H + 16,
            fabs(x) < dx * 1e-6 ? 0 : x);
}

static void chart_close(ev_page *p) {
  fprintf(p->f, "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"#57606a\"/></svg>\n", LEFT, LEFT + PLOT_W, TOP + PLOT_H,
          TOP + PLOT_H);
}

void ev_page_bars(ev_page *p, const ev_bars *b) {
  double total = 0, most = 0;

  for (int i = 0; i < b->n; i++) total += (double)b->count[i];
  for (int i = 0; i < b->n; i++) most = fmax(most, total > 0 ? 100 * (double)b->count[i] / total : 0);
  const frame r = {b->lo, b->hi, 0, most > 0 ? most * 1.05 : 1};
  const double width = (double)PLOT_W / b->n;
  chart_open(p, &r, b->title, b->x_label);
  for (int i = 0; i < b->n; i++) {
    const double share = total > 0 ? 100 * (double)b->count[i] / total : 0, from = b->lo + (b->hi - b->lo) * i / b->n;
    if (share <= 0) continue;
    fprintf(p->f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"><title>%s%.4g: %.3g %%</title></rect>",
            LEFT + width * i, at_y(&r, share), width > 3 ? width - 1 : width, TOP + PLOT_H - at_y(&r, share),
            b->open_end && i + 1 == b->n ? "#cf5a4a" : "#3b76b8", b->open_end && i + 1 == b->n ? "from " : "", from, share);
  }
  chart_close(p);
}

static void range_of(const ev_chart *c, frame *r) {
  *r = (frame){INFINITY, -INFINITY, INFINITY, -INFINITY};
  for (int k = 0; k < c->n; k++) {
    for (int i = 0; i < c->lines[k].n; i++) {
      const double x = c->lines[k].x[i], y = c->lines[k].y[i];
      if (!isfinite(x) || !isfinite(y)) continue;
      *r = (frame){fmin(r->x0, x), fmax(r->x1, x), fmin(r->y0, y), fmax(r->y1, y)};
    }
  }
  if (!(r->x1 >= r->x0)) *r = (frame){0, 1, 0, 1};
  if (r->y0 > 0 && r->y0 < 0.5 * r->y1) r->y0 = 0;
  if (r->x1 == r->x0) r->x1 += 1;
  if (r->y1 == r->y0) r->y1 += fabs(r->y1) > 0 ? fabs(r->y1) : 1;
}

void ev_page_chart(ev_page *p, const ev_chart *c) {
  static const char *const colours[] = {"#3b76b8", "#cf5a4a", "#4a9a5b", "#8a5fb0", "#b8862b", "#4aa3a8"};
  frame r;

  range_of(c, &r);
  chart_open(p, &r, c->title, c->x_label);
  for (int k = 0; k < c->n; k++) {
    const ev_line *l = &c->lines[k];
    fprintf(p->f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", colours[k % 6]);
    for (int i = 0; i < l->n; i++)
      if (isfinite(l->x[i]) && isfinite(l->y[i])) fprintf(p->f, "%.1f,%.1f ", at_x(&r, l->x[i]), at_y(&r, l->y[i]));
    fprintf(p->f, "\"/><text x=\"%d\" y=\"%d\" text-anchor=\"end\" style=\"fill:%s\">", LEFT + PLOT_W - 4, TOP + 14 + 15 * k,
            colours[k % 6]);
    put_escaped(p->f, l->name);
    fputs("</text>", p->f);
  }
  if (c->y_label) {
    fprintf(p->f, "<text x=\"14\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 14 %d)\">", TOP + PLOT_H / 2,
            TOP + PLOT_H / 2);
    put_escaped(p->f, c->y_label);
    fputs("</text>", p->f);
  }
  chart_close(p);
}
