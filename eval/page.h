/* eval/page.h: one HTML page that needs nothing else: text, tables, pictures (PNG inside the page) and charts (SVG).
 *   ev_page *p = NULL;
 *   TRY(ev_page_open("Evaluation", &p));
 *   ev_page_heading(p, "Sets");
 *   TRY(ev_page_picture(p, rgb, H, W, "input"));     within ev_page_row_open and _close pictures stand side by side
 *   TRY(ev_page_save(p, path));
 * Text is escaped. What runs out of memory on the way is said by ev_page_save. */
#ifndef EVAL_PAGE_H
#define EVAL_PAGE_H
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ev_page ev_page;

/* Errors: E_NOMEM. */
int ev_page_open(const char *title, ev_page **out);
void ev_page_close(ev_page **p);
/* Writes the page and ends it; ev_page_close still has to follow. Errors: E_DISK, E_IO, E_NOMEM. */
int ev_page_save(ev_page *p, const char *path);

void ev_page_heading(ev_page *p, const char *fmt, ...) ERR_PRINTF(2, 3);
void ev_page_subheading(ev_page *p, const char *fmt, ...) ERR_PRINTF(2, 3);
void ev_page_text(ev_page *p, const char *fmt, ...) ERR_PRINTF(2, 3);
/* Text that may be copied into a terminal. */
void ev_page_code(ev_page *p, const char *text);

/* Cells are given row by row, the first `columns` are the head; the first column is text, the others are numbers. */
void ev_page_table_open(ev_page *p, int columns);
void ev_page_cell(ev_page *p, const char *fmt, ...) ERR_PRINTF(2, 3);
void ev_page_table_close(ev_page *p);

/* Pictures side by side, with a line above them. */
void ev_page_row_open(ev_page *p, const char *fmt, ...) ERR_PRINTF(2, 3);
void ev_page_row_close(ev_page *p);
/* rgb [H,W,3]; drawn with sharp pixels when enlarged. Errors: E_NOMEM, E_FAIL (libpng). */
int ev_page_picture(ev_page *p, const uint8_t *rgb, int H, int W, const char *caption);
/* A picture with a colour bar below it, lo and hi at its ends: colour(v, out) for v from 0 to 1. */
int ev_page_scaled_picture(ev_page *p, const uint8_t *rgb, int H, int W, const char *caption, const char *lo, const char *hi,
                           void (*colour)(float v, uint8_t rgb[3]));

/* Bars over equal steps from lo to hi; the last has what is beyond when `open_end`. */
typedef struct ev_bars {
  const char *title, *x_label;
  const uint64_t *count;
  int n;
  double lo, hi;
  int open_end;
} ev_bars;
void ev_page_bars(ev_page *p, const ev_bars *b);

/* Lines through (x[i], y[i]); points that are not finite are left out. */
typedef struct ev_line { const char *name; const double *x, *y; int n; } ev_line;
typedef struct ev_chart {
  const char *title, *x_label, *y_label;
  const ev_line *lines;
  int n;
} ev_chart;
void ev_page_chart(ev_page *p, const ev_chart *c);

/* Pale for 0, dark red for 1: how wrong something is. */
void ev_colour_error(float v, uint8_t rgb[3]);
#ifdef __cplusplus
}
#endif
#endif
