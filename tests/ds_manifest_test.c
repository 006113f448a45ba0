/* Kind `manifest`: a user's own images in every format, and all that can be wrong with them. */
#include <hdf5.h>
#include <math.h>

#include "base/half.h"
#include "datasets/image_write.h"
#include "tests/support/damage.h"
#include "tests/support/samples.h"
#include "tests/support/tmpdir.h"

enum { H = 13, W = 17, N = H * W };

static void put_text(const char *path, const char *text) { tmpdir_put(path, text, strlen(text)); }

static ds_opts opts(const char *root, int need) {
  ds_opts o = sample_opts("manifest", "%s", root);

  o.size_set = false;
  o.need = need;
  return o;
}

/* ---- pictures with a pattern, in any format ---- */

/* Millimetres; 0 = unknown at every 7th pixel. */
static uint16_t depth_mm(int i) { return (uint16_t)(i % 7 == 0 ? 0 : 1000 + 13 * i); }

static void put_rgb_png(const char *path, int h, int w) {
  uint8_t *p = malloc((size_t)(3 * h * w));

  assert_non_null(p);
  for (int i = 0; i < 3 * h * w; i++) p[i] = (uint8_t)(i * 7);
  check_ok(ds_png_write8(path, w, h, 3, p));
  free(p);
}

static void put_depth_png(const char *path, int h, int w) {
  uint16_t *p = malloc(2 * (size_t)(h * w));

  assert_non_null(p);
  for (int i = 0; i < h * w; i++) p[i] = depth_mm(i);
  check_ok(ds_png_write16(path, w, h, 1, p));
  free(p);
}

static void put_npy(const char *path, const char *descr, const char *shape, const void *data, size_t bytes) {
  char head[128];
  const int n = snprintf(head, sizeof head, "%c%s%c%c%c%c{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", 0x93, "NUMPY",
                         1, 0, 118, 0, descr, shape);
  FILE *f = fopen(path, "wb");

  assert_non_null(f);
  memset(head + n, ' ', (size_t)(127 - n));
  head[127] = '\n';
  assert_int_equal(fwrite(head, 1, 128, f), 128);
  assert_int_equal(fwrite(data, 1, bytes, f), bytes);
  fclose(f);
}

static void put_h5(const char *path, const char *const names[], int n, hid_t type, int rank, const hsize_t *dims, const void *data) {
  const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(rank, dims, NULL);

  for (int i = 0; i < n; i++) {
    const hid_t set = H5Dcreate2(file, names[i], type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Dclose(set);
  }
  H5Sclose(space);
  H5Fclose(file);
}

/* The pattern's depth in the type `descr` names, in its unit: floats in metres, integers in millimetres. */
static void put_depth_npy(const char *path, const char *descr) {
  char bytes[8 * N];
  const char kind = descr[1];
  const size_t size = (size_t)(descr[2] - '0');

  for (int i = 0; i < N; i++) {
    const double metres = depth_mm(i) / 1000.;
    const uint16_t half = half_from_f32((float)metres), mm = depth_mm(i);
    const uint32_t mm32 = mm;
    const float f = (float)metres;
    const void *from = kind == 'u' || kind == 'i' ? size == 2 ? (const void *)&mm : &mm32
                       : size == 2 ? (const void *)&half
                       : size == 4 ? (const void *)&f
                                   : &metres;
    memcpy(bytes + (size_t)i * size, from, size);
  }
  put_npy(path, descr, "13, 17", bytes, N * size);
}

/* rgb.png, depth.png and the manifest `text` in the test's folder, opened. */
static ds_source *open_text(void **state, const char *text, const ds_opts *more) {
  ds_opts o = more ? *more : opts(*state, DS_NEED_METRIC);

  put_rgb_png(tmpdir_at(state, "rgb.png"), H, W);
  put_depth_png(tmpdir_at(state, "depth.png"), H, W);
  put_text(tmpdir_at(state, "manifest.csv"), text);
  o.root = *state;
  return sample_source(&o);
}

/* ---- depth ---- */

static void check_depth(void **state, const char *file, float tolerance) {
  char text[256];
  int64_t valid = 0;

  snprintf(text, sizeof text, "rgb,depth\nrgb.png,%s\n", file);
  ds_source *s = open_text(state, text, NULL);
  ds_sample a = sample_read(s, 0, false);
  assert_true(a.H == H && a.W == W);
  for (int i = 0; i < N; i++) {
    assert_int_equal(a.mask[i], depth_mm(i) > 0);
    valid += a.mask[i];
    /* between the quantiles the target is the depth itself */
    if (i > N / 20 && i < N - N / 20 && a.mask[i])
      assert_true(fabsf(a.metric[i] - (float)depth_mm(i) / 1000.f) <= tolerance * a.metric[i]);
  }
  assert_int_equal(a.valid, valid);
  assert_string_equal(a.id, "rgb.png");
  assert_int_equal(a.domain, DS_INDOOR);
  sample_free(&a);
  ds_source_close(&s);
}

static void depth_in_every_format(void **state) {
  const char *const types[] = {"<u2", "<u4", "<i4", "<f2", "<f4", "<f8"};
  const hsize_t dims[3] = {H, W, 1};
  float metres[N];
  uint16_t mm[N];

  check_depth(state, "depth.png", 1e-6f);
  for (int i = 0; i < 6; i++) {
    put_depth_npy(tmpdir_at(state, "d.npy"), types[i]);
    check_depth(state, "d.npy", types[i][1] == 'f' && types[i][2] == '2' ? 5e-4f : 1e-6f);
  }
  for (int i = 0; i < N; i++) mm[i] = depth_mm(i), metres[i] = depth_mm(i) / 1000.f;
  for (int rank = 2; rank <= 3; rank++) {
    put_h5(tmpdir_at(state, "d.h5"), (const char *[]){"anything"}, 1, H5T_IEEE_F32LE, rank, dims, metres);
    check_depth(state, "d.h5", 1e-6f);
  }
  put_h5(tmpdir_at(state, "two.hdf5"), (const char *[]){"a", "depth"}, 2, H5T_STD_U16LE, 2, dims, mm);
  check_depth(state, "two.hdf5:depth", 1e-6f);
  put_npy(tmpdir_at(state, "chw.npy"), "<f4", "1, 13, 17", metres, sizeof metres);
  check_depth(state, "chw.npy", 1e-6f);
}

/* Unknown: 0, negative, NaN and infinity; near and far of the row; a unit of the row. */
static void sparse_depth_and_limits(void **state) {
  float v[N];
  int64_t valid = 0;

  for (int i = 0; i < N; i++) v[i] = i % 5 == 0 ? (float[]){0, -1, NAN, INFINITY, -INFINITY}[i / 5 % 5] : (float)i;
  put_npy(tmpdir_at(state, "d.npy"), "<f4", "13, 17", v, sizeof v);
  ds_source *s = open_text(state, "rgb,depth,near,far,depth_unit\nrgb.png,d.npy,,,\nrgb.png,d.npy,10,20.5,0.5\n", NULL);
  ds_sample a = sample_read(s, 0, false), b = sample_read(s, 1, false);
  for (int i = 0; i < N; i++) {
    assert_int_equal(a.mask[i], i % 5 != 0);
    assert_int_equal(b.mask[i], i % 5 != 0 && i > 20 && i < 41);
    valid += a.mask[i];
    assert_true(isfinite(a.metric[i]) && (!b.mask[i] || (b.metric[i] > 10 && b.metric[i] < 20.5f)));
  }
  assert_int_equal(a.valid, valid);
  sample_free(&a);
  sample_free(&b);
  ds_source_close(&s);
}

/* A wall at 3 m, given as the distance to the camera's centre. */
static void euclidean_depth(void **state) {
  const double fx = 20, fy = 22, cx = 8.25, cy = 5.5;
  float d[N];

  for (int i = 0; i < N; i++) {
    const double a = (i % W - cx) / fx, b = (i / W - cy) / fy;
    d[i] = (float)((3 + 0.001 * i) * sqrt(a * a + b * b + 1));
  }
  put_npy(tmpdir_at(state, "d.npy"), "<f4", "13, 17", d, sizeof d);
  ds_source *s = open_text(state,
                           "rgb,depth,depth_kind,fx,fy,cx,cy\nrgb.png,d.npy,euclidean,20,22,8.25,5.5\n"
                           "rgb.png,d.npy,planar,20,22,8.25,5.5\n", NULL);
  ds_sample a = sample_read(s, 0, false), b = sample_read(s, 1, false);
  for (int i = N / 20; i < N - N / 20; i++) assert_true(fabs(a.metric[i] - (3 + 0.001 * i)) < 1e-5);
  assert_true(b.metric[0] > 3.2f);
  sample_free(&a);
  sample_free(&b);
  ds_source_close(&s);
  ds_opts o = opts(*state, DS_NEED_METRIC);
  o.euclidean = true; /* from the config */
  put_text(tmpdir_at(state, "m.jsonl"), "{\"rgb\": \"rgb.png\", \"depth\": \"d.npy\", \"intrinsics\": [20, 22, 8.25, 5.5]}\n");
  o.root = tmpdir_at(state, "m.jsonl");
  s = sample_source(&o);
  a = sample_read(s, 0, false);
  for (int i = N / 20; i < N - N / 20; i++) assert_true(fabs(a.metric[i] - (3 + 0.001 * i)) < 1e-5);
  sample_free(&a);
  ds_source_close(&s);
}

/* ---- colours ---- */

static void colours_in_every_format(void **state) {
  uint8_t bytes[3 * N], planes[3 * N], grey[N];
  uint16_t words[3 * N];
  float floats[3 * N];
  const hsize_t dims[3] = {H, W, 3};
  char text[64];
  const char *const files[] = {"c8.npy", "chw.npy", "c16.npy", "cf.npy", "c16.png", "rgba.png", "c.h5"};

  for (int i = 0; i < 3 * N; i++) {
    bytes[i] = (uint8_t)(i * 7);
    words[i] = (uint16_t)(bytes[i] << 8 | 77);
    floats[i] = bytes[i] / 255.f;
    planes[i % 3 * N + i / 3] = bytes[i];
  }
  for (int i = 0; i < N; i++) grey[i] = (uint8_t)i;
  put_npy(tmpdir_at(state, "c8.npy"), "|u1", "13, 17, 3", bytes, sizeof bytes);
  put_npy(tmpdir_at(state, "chw.npy"), "|u1", "3, 13, 17", planes, sizeof planes);
  put_npy(tmpdir_at(state, "c16.npy"), "<u2", "13, 17, 3", words, sizeof words);
  put_npy(tmpdir_at(state, "cf.npy"), "<f4", "13, 17, 3", floats, sizeof floats);
  check_ok(ds_png_write16(tmpdir_at(state, "c16.png"), W, H, 3, words));
  put_h5(tmpdir_at(state, "c.h5"), (const char *[]){"rgb"}, 1, H5T_STD_U8LE, 3, dims, bytes);
  uint8_t rgba[4 * N];
  for (int i = 0; i < N; i++) memcpy(rgba + 4 * i, bytes + 3 * i, 3), rgba[4 * i + 3] = 9;
  check_ok(ds_png_write8(tmpdir_at(state, "rgba.png"), W, H, 4, rgba));
  for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
    snprintf(text, sizeof text, "rgb,depth\n%s,depth.png\n", files[k]);
    ds_source *s = open_text(state, text, NULL);
    ds_sample a = sample_read(s, 0, false);
    for (int i = 0; i < 3 * N; i++) assert_true(a.rgb[i % 3 * N + i / 3] == bytes[i] / 255.f * 2 - 1);
    sample_free(&a);
    ds_source_close(&s);
  }
  check_ok(ds_png_write8(tmpdir_at(state, "grey.png"), W, H, 1, grey));
  check_ok(ds_jpeg_write(tmpdir_at(state, "a.JPG"), W, H, bytes, 95));
  ds_source *s = open_text(state, "rgb,depth\ngrey.png,depth.png\na.JPG,depth.png\n", NULL);
  ds_sample a = sample_read(s, 0, false), b = sample_read(s, 1, false);
  for (int i = 0; i < N; i++) assert_true(a.rgb[i] == a.rgb[N + i] && a.rgb[i] == grey[i] / 255.f * 2 - 1);
  for (int i = 0; i < 3 * N; i++) assert_true(b.rgb[i] >= -1 && b.rgb[i] <= 1);
  sample_free(&a);
  sample_free(&b);
  ds_source_close(&s);
}

/* ---- normals and masks ---- */

/* One direction everywhere, in our frame and in the others'. */
static void check_normals(void **state, const char *file, ds_normals_frame frame, float tolerance) {
  const float want[3] = {0.36f, 0.48f, 0.8f};
  char text[128];
  ds_opts o = opts(*state, DS_NEED_NORMALS);

  o.normals_frame = frame;
  snprintf(text, sizeof text, "rgb,normal\nrgb.png,%s\n", file);
  ds_source *s = open_text(state, text, &o);
  ds_sample a = sample_read(s, 0, false);
  assert_int_equal(a.mask[0], 0); /* unknown there */
  assert_int_equal(a.valid, N - 1);
  for (int i = 1; i < N; i++)
    for (int c = 0; c < 3; c++) assert_true(fabsf(a.normals[c * N + i] - want[c]) <= tolerance);
  sample_free(&a);
  a = sample_read(s, 0, true);
  assert_true(fabsf(a.normals[0] + want[0]) <= tolerance && a.mask[W - 1] == 0);
  sample_free(&a);
  ds_source_close(&s);
}

static void normals_in_every_format_and_frame(void **state) {
  const float lub[3] = {0.36f, 0.48f, 0.8f};
  const float signs[3][3] = {{1, 1, 1}, {-1, 1, 1}, {-1, -1, -1}};
  float v[3 * N];
  uint8_t codes[3 * N];
  uint16_t codes16[3 * N];
  const hsize_t dims[3] = {H, W, 3};

  for (int f = DS_FRAME_LUB; f <= DS_FRAME_OPENCV; f++) {
    for (int i = 0; i < 3 * N; i++) {
      v[i] = i < 3 ? NAN : lub[i % 3] * signs[f][i % 3];
      codes[i] = i < 3 ? 0 : (uint8_t)lrintf((v[i] + 1) * 127.5f);
      codes16[i] = i < 3 ? 0 : (uint16_t)lrintf((v[i] + 1) * 32767.5f);
    }
    put_npy(tmpdir_at(state, "n.npy"), "<f4", "13, 17, 3", v, sizeof v);
    check_normals(state, "n.npy", (ds_normals_frame)f, 1e-6f);
    check_ok(ds_png_write8(tmpdir_at(state, "n.png"), W, H, 3, codes));
    check_normals(state, "n.png", (ds_normals_frame)f, 0.006f);
    check_ok(ds_png_write16(tmpdir_at(state, "n16.png"), W, H, 3, codes16));
    check_normals(state, "n16.png", (ds_normals_frame)f, 3e-5f);
    put_h5(tmpdir_at(state, "n.h5"), (const char *[]){"n"}, 1, H5T_IEEE_F32LE, 3, dims, v);
    check_normals(state, "n.h5", (ds_normals_frame)f, 1e-6f);
  }
  for (int i = 0; i < 3 * N; i++) v[i] *= 0.3f;
  put_npy(tmpdir_at(state, "n.npy"), "<f4", "13, 17, 3", v, sizeof v);
  ds_opts o = opts(*state, DS_NEED_NORMALS);
  ds_source *s = open_text(state, "rgb,normals\nrgb.png,n.npy\nrgb.png,depth.png\n", &o);
  check_read_fails("vectors are not of unit length", s, 0);
  check_read_fails("1 channel, wanted 3", s, 1);
  ds_source_close(&s);
}

static void masks(void **state) {
  uint8_t mask[N];
  bool bools[N];
  const char *const files[] = {"m.png", "m.npy"};
  char text[128];

  for (int i = 0; i < N; i++) mask[i] = (bools[i] = i % 3 == 1) ? 255 : 0;
  check_ok(ds_png_write8(tmpdir_at(state, "m.png"), W, H, 1, mask));
  put_npy(tmpdir_at(state, "m.npy"), "|b1", "13, 17", bools, sizeof bools);
  for (int k = 0; k < 2; k++) {
    snprintf(text, sizeof text, "rgb,depth,mask\nrgb.png,depth.png,%s\n", files[k]);
    ds_source *s = open_text(state, text, NULL);
    ds_sample a = sample_read(s, 0, false);
    for (int i = 0; i < N; i++) assert_int_equal(a.mask[i], bools[i] && depth_mm(i) > 0);
    sample_free(&a);
    ds_source_close(&s);
  }
}

/* ---- sizes, splits, places ---- */

static void odd_sizes_meet_at_the_size_asked_for(void **state) {
  ds_opts o = opts(*state, DS_NEED_METRIC);

  put_rgb_png(tmpdir_at(state, "big.png"), 37, 31);
  put_depth_png(tmpdir_at(state, "bigd.png"), 37, 31);
  put_rgb_png(tmpdir_at(state, "one.png"), 1, 1);
  put_depth_png(tmpdir_at(state, "oned.png"), 1, 1);
  o.size_set = true;
  o.H = 11;
  o.W = 9;
  ds_source *s = open_text(state, "rgb,depth\nrgb.png,depth.png\nbig.png,bigd.png\none.png,oned.png\nrgb.png,bigd.png\n", &o);
  for (int i = 0; i < 3; i++) {
    ds_sample a = sample_read(s, i, i == 1);
    assert_true(a.H == 11 && a.W == 9);
    for (int j = 0; j < 99; j++) {
      assert_true(a.rgb[j] >= -1 && a.rgb[j] <= 1);
      if (a.mask[j]) assert_true(a.metric[j] >= 1.0f && a.metric[j] < 17); /* no mixture of known and unknown */
    }
    sample_free(&a);
  }
  check_read_fails("bigd.png: 31x37 pixels (width x height), but", s, 3);
  ds_source_close(&s);
  s = open_text(state, "rgb,depth\nrgb.png,depth.png\nbig.png,bigd.png\n", NULL);
  int h, w;
  check_ok(ds_source_shape(s, 1, &h, &w));
  assert_true(h == 37 && w == 31);
  ds_source_close(&s);
}

static void splits_and_places(void **state) {
  ds_opts o = opts(*state, DS_NEED_METRIC);
  char text[IO_PATH_MAX], id[DS_ID_MAX];

  check_ok(io_make_dirs(tmpdir_at(state, "lists")));
  snprintf(text, sizeof text,
           "{\"rgb\": \"../rgb.png\", \"depth\": \"%.1000s/depth.png\", \"domain\": \"outdoor\"}\n\n"
           "{\"rgb\": \"../rgb.png\", \"depth\": \"../depth.png\", \"split\": \"val\", \"mask\": null}\r\n"
           "{\"rgb\": \"../none.png\", \"depth\": \"../depth.png\"}", (const char *)*state);
  put_text(tmpdir_at(state, "lists/manifest.jsonl"), text);
  ds_source *s = open_text(state, "rgb,depth,split\nrgb.png,depth.png,\nrgb.png,depth.png,val\nrgb.png,depth.png,test\n", NULL);
  assert_int_equal(ds_source_count(s), 1);
  ds_source_close(&s);
  o.root = tmpdir_at(state, "lists");
  s = sample_source(&o);
  assert_int_equal(ds_source_count(s), 2);
  ds_sample a = sample_read(s, 0, false);
  assert_int_equal(a.domain, DS_OUTDOOR);
  sample_free(&a);
  check_read_fails("none.png", s, 1);
  check_ok(ds_source_describe(s, 1, id));
  assert_string_equal(id, "../none.png");
  ds_source_close(&s);
  o.split = "val";
  s = sample_source(&o);
  assert_int_equal(ds_source_count(s), 1);
  ds_source_close(&s);
  o.split = "valid";
  check_source_fails(E_DATA, "no row of split 'valid' (3 of others)", &o);
  put_text(tmpdir_at(state, "lists/manifest.csv"), "rgb,depth\n");
  check_source_fails(E_DATA, "both manifest.csv and manifest.jsonl", &o);
}

/* ---- what is wrong ---- */

static void expect_problems(void **state, const char *name, const char *text, const char *const parts[]) {
  ds_opts o = opts(tmpdir_at(state, "%s", name), DS_NEED_METRIC);
  ds_source *s = NULL;

  put_text(o.root, text);
  for (; *parts; parts++) check_fails(E_DATA, *parts, ds_source_open(&o, &s));
}

static void all_bad_rows_at_once(void **state) {
  put_rgb_png(tmpdir_at(state, "a.png"), H, W);
  put_depth_png(tmpdir_at(state, "d.png"), H, W);
  expect_problems(state, "m.csv",
                  "rgb,depth,fx,fy,cx,cy,depth_unit,depth_kind,far,domain\n"
                  "a.png,d.png,,,,,,,,\n"
                  ",d.png,,,,,,,,\n"
                  "a.png,,,,,,,,,\n"
                  "a.png,d.exr,,,,,,,,\n"
                  "a.png,d.jpg,,,,,,,,\n"
                  "a.png,d.png,1,2,,,,,,\n"
                  "a.png,d.png,,,,,0,,,\n"
                  "a.png,d.png,,,,,1mm,,,\n"
                  "a.png,d.png,,,,,,radial,,\n"
                  "a.png,d.png,,,,,,euclidean,,\n"
                  "a.png,d.png,,,,,,,nan,\n"
                  "a.png,d.png,,,,,,,,moon\n"
                  "a.png,d.png\n",
                  (const char *[]){"m.csv:3: rgb: no file", ":4: depth: no file", ":5: depth: 'd.exr': wanted .png", ":6: depth: 'd.jpg'",
                                   ":7: fx, fy, cx, cy: 2 of the 4", ":8: depth_unit: wanted a number above 0, found 0",
                                   ":9: depth_unit: wanted a number, found '1mm'", ":10: depth_kind: wanted planar or euclidean, found 'radial'",
                                   ":11: Euclidean depth needs the camera", ":12: far: wanted a number, found 'nan'",
                                   ":13: domain: wanted indoor, outdoor or object, found 'moon'", ":14: 2 fields, the header has 10", NULL});
  expect_problems(state, "m.jsonl",
                  "{\"rgb\": \"a.png\", \"depth\": \"d.png\"}\n"
                  "{\"rgb\": \"a.png\", \"depth\": }\n"
                  "[1]\n"
                  "{\"rgb\": \"a.png\", \"depth\": true}\n"
                  "{\"rgb\": \"a.png\", \"depth\": \"d.png\", \"intrinsics\": [1, 2, 3]}\n"
                  "{\"rgb\": \"a.png\", \"rgb\": \"a.png\", \"depth\": \"d.png\"}\n",
                  (const char *[]){"m.jsonl:2: ", ":3: wanted {\"rgb\"", ":4: depth: wanted text or a number", ":5: intrinsics: wanted", ":6: duplicate",
                                   NULL});
  expect_problems(state, "m.csv", "depth,mask\nd.png,\n", (const char *[]){"no column 'rgb'", NULL});
  expect_problems(state, "m.csv", "rgb,mask\na.png,\n", (const char *[]){"no column 'depth'", NULL});
  expect_problems(state, "m.csv", "rgb,depth,rgb\na.png,d.png,a.png\n", (const char *[]){"two columns 'rgb'", NULL});
  expect_problems(state, "m.csv", "rgb,depth\n", (const char *[]){"no row of split 'train'", NULL});
  char many[200 * 8 + 64] = "rgb,depth\n";
  for (int i = 0; i < 200; i++) strcat(many, "a.png,\n");
  expect_problems(state, "m.csv", many, (const char *[]){"m.csv:2: depth", "m.csv:40: depth", "200 bad rows in all", NULL});
}

static void missing_files(void **state) {
  ds_opts o = opts(*state, DS_NEED_METRIC);
  ds_source *s = open_text(state, "rgb,depth\nno.png,depth.png\nrgb.png,no.png\nrgb.png,no.h5:a\nrgb.png,depth.png\n", NULL);

  check_read_fails("no.png: No such file", s, 0);
  check_read_fails("no.png: No such file", s, 1);
  ds_source_close(&s);
  o.skip_bad_files = false;
  check_source_fails(E_DATA, "manifest.csv:2: rgb: ", &o);
  check_source_fails(E_DATA, "manifest.csv:4: depth: ", &o);
  o.skip_bad_files = true;
  put_text(tmpdir_at(state, "manifest.csv"), "rgb,depth\nrgb.png,no.png\nno.png,depth.png\n");
  check_source_fails(E_DATA, "no.png: no such file", &o);
  o.root = tmpdir_at(state, "nothing");
  check_source_fails(E_DATA, "no such file or folder", &o);
}

/* What a file turns out to be, against what its name says. */
static void wrong_files(void **state) {
  float v[3 * N] = {0};
  const char *const files[] = {"a.npy", "long.npy", "big.npy", "order.npy", "text.npy", "rgb.png", "jpeg.png", "none.h5", "deep.npy"};
  const char *const parts[] = {"elements of type '<c8'", "bytes of elements, the header wants", "elements of type '>f4'", "Fortran order",
                               "not a .npy file", "3 channels, wanted 1", "Not a PNG file", "none.h5", "an array of 4 dimensions"};
  char text[512] = "rgb,depth\n", head[160];

  put_npy(tmpdir_at(state, "a.npy"), "<c8", "13, 17", v, 8 * N);
  put_npy(tmpdir_at(state, "long.npy"), "<f4", "13, 17", v, 4 * N + 1);
  put_npy(tmpdir_at(state, "big.npy"), ">f4", "13, 17", v, 4 * N);
  put_npy(tmpdir_at(state, "deep.npy"), "<f4", "1, 1, 13, 17", v, 4 * N);
  const int n = snprintf(head, sizeof head, "%c%s%c%c%c%c{'descr': '<f4', 'fortran_order': True, 'shape': (13, 17)}", 0x93, "NUMPY", 1,
                         0, 58, 0);
  head[8] = (char)(n - 10);
  tmpdir_put(tmpdir_at(state, "order.npy"), head, (size_t)n);
  put_text(tmpdir_at(state, "text.npy"), "hello, this is text");
  check_ok(ds_jpeg_write(tmpdir_at(state, "jpeg.png"), 2, 2, (const uint8_t *)v, 90));
  put_text(tmpdir_at(state, "none.h5"), "not HDF5");
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) sprintf(text + strlen(text), "rgb.png,%s\n", files[i]);
  ds_source *s = open_text(state, text, NULL);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) check_read_fails(parts[i], s, (int64_t)i);
  ds_source_close(&s);
  for (int i = 0; i < 3 * N; i++) v[i] = 200;
  put_npy(tmpdir_at(state, "c.npy"), "<f4", "13, 17, 3", v, sizeof v);
  s = open_text(state, "rgb,depth\nc.npy,depth.png\n", NULL);
  check_read_fails("floats are colours from 0 to 1", s, 0);
  ds_source_close(&s);
  const hsize_t dims[2] = {H, W};
  put_h5(tmpdir_at(state, "two.h5"), (const char *[]){"a", "b"}, 2, H5T_IEEE_F32LE, 2, dims, v);
  s = open_text(state, "rgb,depth\nrgb.png,two.h5\nrgb.png,two.h5:c\n", NULL);
  check_read_fails("2 datasets in its root", s, 0);
  check_read_fails("no such dataset", s, 1);
  ds_source_close(&s);
}

static void cut_files(void **state) {
  const char *const files[] = {"depth.png", "d.npy", "d.h5"};
  const hsize_t dims[2] = {H, W};
  float v[N];
  char text[64];

  for (int i = 0; i < N; i++) v[i] = 1 + (float)i;
  for (size_t k = 0; k < 3; k++) {
    put_npy(tmpdir_at(state, "d.npy"), "<f4", "13, 17", v, sizeof v);
    put_h5(tmpdir_at(state, "d.h5"), (const char *[]){"d"}, 1, H5T_IEEE_F32LE, 2, dims, v);
    snprintf(text, sizeof text, "rgb,depth\nrgb.png,%s\n", files[k]);
    ds_source *s = open_text(state, text, NULL);
    const char *path = tmpdir_at(state, "%s", files[k]);
    damaged d = damaged_load(path);
    for (int i = 0; i < DAMAGED_CUTS; i++) {
      damaged_cut(&d, i, path);
      check_read_fails(files[k], s, 0);
    }
    damaged_free(&d);
    ds_source_close(&s);
  }
}

int main(void) {
#define IN_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {
      IN_TMPDIR(depth_in_every_format),   IN_TMPDIR(sparse_depth_and_limits),
      IN_TMPDIR(euclidean_depth),         IN_TMPDIR(colours_in_every_format),
      IN_TMPDIR(masks),                   IN_TMPDIR(normals_in_every_format_and_frame),
      IN_TMPDIR(splits_and_places),       IN_TMPDIR(odd_sizes_meet_at_the_size_asked_for),
      IN_TMPDIR(all_bad_rows_at_once),    IN_TMPDIR(missing_files),
      IN_TMPDIR(wrong_files),             IN_TMPDIR(cut_files)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
