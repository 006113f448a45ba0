/* The page that reports are written on: it needs nothing else, and nothing that is shown can become markup. */
#include <math.h>

#include "eval/page.h"
#include "tests/support/tmpdir.h"

static char *saved(void **state, ev_page *p) {
  const char *path = tmpdir_at(state, "page.html");
  char *text = NULL;
  size_t n;

  check_ok(ev_page_save(p, path));
  check_ok(io_read_file(path, 1 << 24, &text, &n));
  assert_int_equal(strlen(text), n);
  return text;
}

static int count(const char *text, const char *part) {
  int n = 0;

  for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) n++;
  return n;
}

static void balanced(const char *text, const char *tag) {
  char open[16], close[16];

  snprintf(open, sizeof open, "<%s", tag);
  snprintf(close, sizeof close, "</%s>", tag);
  if (count(text, open) != count(text, close)) fail_msg("%d of %s, %d of %s", count(text, open), open, count(text, close), close);
}

static void everything_on_one_page(void **state) {
  static const uint8_t rgb[3 * 4 * 5] = {255};
  static const char *const tags[] = {"table", "tr", "td", "th", "figure", "svg", "div", "pre", "h2", "body"};
  const uint64_t bins[3] = {4, 0, 6};
  const double x[4] = {1, 2, 3, 4}, y[4] = {3, NAN, 2, 1e-3};
  ev_page *p = NULL;

  check_ok(ev_page_open("A <page> & \"more\"", &p));
  ev_page_heading(p, "%s", "<b>head</b>");
  ev_page_subheading(p, "sub");
  ev_page_text(p, "%d %% of <i>", 5);
  ev_page_code(p, "e2eft train 'a < b'");
  ev_page_table_open(p, 2);
  for (int i = 0; i < 6; i++) ev_page_cell(p, "%d", i);
  ev_page_table_close(p);
  ev_page_row_open(p, "a row");
  check_ok(ev_page_picture(p, rgb, 4, 5, "a \"picture\""));
  check_ok(ev_page_scaled_picture(p, rgb, 4, 5, "scaled", "0", "1", ev_colour_error));
  ev_page_row_close(p);
  ev_page_bars(p, &(ev_bars){"bars", "x", bins, 3, 0, 1, 1});
  ev_page_chart(p, &(ev_chart){"curve", "step", "loss", &(ev_line){"train", x, y, 4}, 1});
  char *text = saved(state, p);
  assert_int_equal(count(text, "<b>") + count(text, "<i>") + count(text, "<page>"), 0);
  assert_int_equal(count(text, "&lt;b&gt;head"), 1);
  assert_int_equal(count(text, "data:image/png;base64,iVBORw0KGgo"), 2);
  assert_int_equal(count(text, "http"), 2); /* the charts' name space */
  assert_int_equal(count(text, "src=") + count(text, "href="), 2);
  assert_int_equal(count(text, "<rect"), 2);
  assert_int_equal(count(text, "nan"), 0);
  for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) balanced(text, tags[i]);
  free(text);
  ev_page_close(&p);
  assert_null(p);
}

/* Charts of nothing, of one point and of a constant are drawn without numbers that are none. */
static void charts_of_little(void **state) {
  const uint64_t none[2] = {0, 0};
  const double x[2] = {1, 1}, y[2] = {0, 0};
  ev_page *p = NULL;

  check_ok(ev_page_open("t", &p));
  ev_page_bars(p, &(ev_bars){"bars", "x", none, 2, 0, 1, 0});
  ev_page_chart(p, &(ev_chart){"empty", "x", NULL, &(ev_line){"l", x, y, 0}, 1});
  ev_page_chart(p, &(ev_chart){"constant", "x", NULL, &(ev_line){"l", x, y, 2}, 1});
  char *text = saved(state, p);
  assert_int_equal(count(text, "nan") + count(text, "inf"), 0);
  free(text);
  ev_page_close(&p);
}

static void page_that_cannot_be_written(void **state) {
  ev_page *p = NULL;

  check_ok(ev_page_open("t", &p));
  check_fails(E_IO, "none/page.html", ev_page_save(p, tmpdir_at(state, "none/page.html")));
  ev_page_close(&p);
}

static void error_colours_darken(void **state) {
  int before = 3 * 256;

  (void)state;
  for (int i = 0; i <= 20; i++) {
    uint8_t c[3];
    ev_colour_error((float)i / 20, c);
    assert_true(c[0] + c[1] + c[2] < before);
    before = c[0] + c[1] + c[2];
  }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(everything_on_one_page), TEST(charts_of_little), TEST(page_that_cannot_be_written),
                                     TEST(error_colours_darken)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
