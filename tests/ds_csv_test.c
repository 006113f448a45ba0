#include "datasets/csv.h"

#include "datasets/camera.h"
#include "tests/support/damage.h"
#include "tests/support/tmpdir.h"

static const char *write_text(void **state, const char *text) {
  const char *path = tmpdir_at(state, "a.csv");

  damaged_save(path, text, strlen(text));
  return path;
}

/* The whole table as "a|b;c|d;" with each line's number in front. */
static void check_table(void **state, const char *text, int columns, const char *want) {
  ds_csv *c = NULL;
  char **f, got[512] = "";

  check_ok(ds_csv_open(write_text(state, text), &c));
  for (;;) {
    check_ok(ds_csv_next(c, &f));
    if (!f) break;
    sprintf(got + strlen(got), "%d:", ds_csv_line(c));
    for (int i = 0; i < columns; i++) sprintf(got + strlen(got), "%s%s", i ? "|" : "", f[i]);
    strcat(got, ";");
  }
  check_ok(ds_csv_next(c, &f)); /* the end stays the end */
  assert_null(f);
  assert_string_equal(got, want);
  ds_csv_close(&c);
  assert_null(c);
}

static void tables(void **state) {
  check_table(state, "a,b\n1,2\n3,4\n", 2, "2:1|2;3:3|4;");
  check_table(state, "a,b\r\n1,2\r\n\r\n3,4", 2, "2:1|2;4:3|4;");
  check_table(state, "\xef\xbb\xbf" "a,b\n,\n", 2, "2:|;");
  check_table(state, "a\n", 1, "");
  check_table(state, "a", 1, "");
  check_table(state, "\n\na,b\n\n\nx,y\n\n", 2, "6:x|y;");
  check_table(state, "a,b\n\"x,y\",\"say \"\"so\"\"\"\n\"two\nlines\",q\"uo\"te\nlast,1\n", 2,
              "2:x,y|say \"so\";3:two\nlines|q\"uo\"te;5:last|1;");
  check_table(state, "\"a,b\",c\n1,2\n", 2, "2:1|2;");
}

static void columns_by_name(void **state) {
  ds_csv *c = NULL;
  int col = -1;

  check_ok(ds_csv_open(write_text(state, ",scene_name,\"frame id\"\n0,x,7\n"), &c));
  check_ok(ds_csv_column(c, "scene_name", &col));
  assert_int_equal(col, 1);
  check_ok(ds_csv_column(c, "frame id", &col));
  assert_int_equal(col, 2);
  check_fails(E_DATA, "no column 'frame_id' among its 3 columns", ds_csv_column(c, "frame_id", &col));
  assert_int_equal(col, 2);
  ds_csv_close(&c);
}

static void bad_tables(void **state) {
  const char *path = tmpdir_at(state, "a.csv"), *none = tmpdir_at(state, "none.csv");
  ds_csv *c = NULL;
  char **f;

  check_fails(E_DATA, "No such file", ds_csv_open(none, &c));
  check_fails(E_DATA, "empty file", ds_csv_open(write_text(state, ""), &c));
  check_fails(E_DATA, "no header line", ds_csv_open(write_text(state, "\n\r\n\n"), &c));
  damaged_save(path, "a,b\n1,\0002\n", 9);
  check_fails(E_DATA, "a 0 byte at 6", ds_csv_open(path, &c));
  assert_null(c);
  check_ok(ds_csv_open(write_text(state, "a,b,c\n1,2,3\n4,5\n6,7,8,9\n"), &c));
  check_ok(ds_csv_next(c, &f));
  check_fails(E_DATA, ".csv:3: 2 fields, the header has 3", ds_csv_next(c, &f));
  check_fails(E_DATA, ".csv:4: 4 fields, the header has 3", ds_csv_next(c, &f));
  ds_csv_close(&c);
  check_ok(ds_csv_open(write_text(state, "a,b\n1,\"2\n3,4\n"), &c)); /* the quote runs to the end */
  check_ok(ds_csv_next(c, &f));
  assert_string_equal(f[1], "2\n3,4\n");
  ds_csv_close(&c);
}

/* ---- the camera table ---- */

#define M(i, j) ",M_cam_from_uv_" #i #j
static const char header[] = "scene_name,x" M(0, 0) M(0, 1) M(0, 2) M(1, 0) M(1, 1) M(1, 2) M(2, 0) M(2, 1) M(2, 2) "\n";

static int open_cameras(void **state, const char *rows, ds_cameras **c) {
  char text[2048];

  snprintf(text, sizeof text, "%s%s", header, rows);
  return ds_cameras_open(write_text(state, text), c);
}

static void cameras(void **state) {
  ds_cameras *c = NULL;

  check_ok(open_cameras(state, "b,\"x, y\",1,2,3,4,5,6,0,0,-1\na,,0.5,0,0,0,0.25,0,0.1,0.2,-1.5\n", &c));
  assert_null(ds_cameras_find(c, "c"));
  assert_null(ds_cameras_find(c, ""));
  assert_true(ds_cameras_find(c, "a")->M[2][2] == -1.5 && ds_cameras_find(c, "a")->M[1][1] == 0.25);
  assert_true(ds_cameras_find(c, "b")->M[0][2] == 3 && ds_cameras_find(c, "b")->M[1][0] == 4);
  ds_cameras_close(&c);
  assert_null(c);
  check_ok(open_cameras(state, "", &c));
  assert_null(ds_cameras_find(c, "a"));
  ds_cameras_close(&c);
}

static void bad_cameras(void **state) {
  ds_cameras *c = NULL;

  check_fails(E_DATA, ":2: M_cam_from_uv_01 of a: wanted a number, found ''",
              open_cameras(state, "a,,1,,3,4,5,6,0,0,-1\n", &c));
  check_fails(E_DATA, "found '1.2.3'", open_cameras(state, "a,,1.2.3,2,3,4,5,6,0,0,-1\n", &c));
  check_fails(E_DATA, "found 'nan'", open_cameras(state, "a,,1,2,3,4,5,6,0,0,nan\n", &c));
  check_fails(E_DATA, "do not go forward", open_cameras(state, "a,,1,2,3,4,5,6,0,0,1\n", &c));
  check_fails(E_DATA, "do not go forward", open_cameras(state, "a,,1,2,3,4,5,6,0.6,0.6,-1\n", &c));
  check_fails(E_DATA, "no column 'scene_name'", ds_cameras_open(write_text(state, "a,b\n1,2\n"), &c));
  assert_null(c);
}

/* Cut or changed anywhere it is read or refused, with its name. */
static void damaged_tables(void **state) {
  const char *path = tmpdir_at(state, "cut.csv");
  damaged d = damaged_load(TEST_DATA "/synth/hypersim/metadata_camera_parameters.csv");
  ds_cameras *c = NULL;
  int refused = 0;

  for (int i = 0; i < DAMAGED_CUTS; i++) {
    damaged_cut(&d, i, path);
    const int st = ds_cameras_open(path, &c);
    if (st != OK) check_fails(E_DATA, path, st);
    refused += st != OK;
    ds_cameras_close(&c);
  }
  assert_in_range(refused, DAMAGED_CUTS - 2, DAMAGED_CUTS); /* a number cut short is still a number */
  for (size_t at = 0; at < d.n; at += 3) {
    damaged_flip(&d, at, (int)(at % 7), path);
    const int st = ds_cameras_open(path, &c);
    if (st != OK) check_fails(E_DATA, path, st);
    ds_cameras_close(&c);
  }
  damaged_free(&d);
}

int main(void) {
#define IN_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {IN_TMPDIR(tables),  IN_TMPDIR(columns_by_name), IN_TMPDIR(bad_tables),
                                     IN_TMPDIR(cameras), IN_TMPDIR(bad_cameras),     IN_TMPDIR(damaged_tables)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
