/* Hypersim: raw frames against the analytic truth of the rendered scenes, and all that can be wrong with a folder. */
#include <hdf5.h>
#include <math.h>
#include <stdio.h>

#include "datasets/camera.h"
#include "datasets/kind.h"
#include "tests/support/damage.h"
#include "tests/support/golden.h"
#include "tests/support/samples.h"
#include "tests/support/tmpdir.h"

enum { H = 192, W = 256, N = H * W };
static const char *const scenes[] = {"ai_001_001", "ai_001_002", "ai_002_001", "ai_003_001"};
static const int64_t first_items[] = {0, 4, 8, 0}; /* the last is in split val */

static ds_opts synth_opts(void) { return sample_opts("hypersim", "%s/synth/hypersim", TEST_DATA); }

/* ---- against the truth ---- */

/* Planar depth and normals at full size, before percentiles: index into scenes -> the frame, decoded. */
static ds_source *decode_first(int scene, ds_intrinsics intrinsics, bool mm_wrap) {
  ds_opts o = synth_opts();

  o.split = scene == 3 ? "val" : "train";
  o.intrinsics = intrinsics;
  o.mm_wrap = mm_wrap;
  ds_source *s = sample_source(&o);
  check_ok(s->kind->decode(s, first_items[scene]));
  assert_true(s->frame.H == H && s->frame.W == W);
  return s;
}

static float *truth_of(const st_file *g, int scene, const char *what) {
  char name[64];

  snprintf(name, sizeof name, "%s/cam_00/0000.%s", scenes[scene], what);
  return golden_f32(g, name, NULL);
}

static double worst_depth(const float *got, const float *want) {
  double worst = 0;

  for (int i = 0; i < N; i++) {
    assert_int_equal(got[i] > 0, want[i] > 0); /* invalid where the truth is */
    if (want[i] > 0) worst = fmax(worst, fabs((double)got[i] / (double)want[i] - 1));
  }
  return worst;
}

static void planar_depth(void **state) {
  (void)state;
  st_file *g = NULL;
  double fixed[4], own[4];

  check_ok(st_open(TEST_DATA "/synth/truth/hypersim.safetensors", &g));
  for (int i = 0; i < 4; i++) {
    float *want = truth_of(g, i, "depth");
    ds_source *s = decode_first(i, DS_PER_SCENE, false);
    own[i] = worst_depth(s->frame.depth.p, want);
    ds_source_close(&s);
    s = decode_first(i, DS_FIXED, false);
    fixed[i] = worst_depth(s->frame.depth.p, want);
    ds_source_close(&s);
    print_message("%s: largest relative error of planar depth: own camera %.2e, fixed camera %.2e\n", scenes[i],
                  own[i], fixed[i]);
    assert_true(own[i] < 5e-4); /* of the halves in the file */
    free(want);
  }
  /* two scenes have tilted cameras */
  assert_true(fixed[0] < 5e-4 && fixed[3] < 5e-4 && fixed[1] > 0.01 && fixed[2] > 0.05);
  st_close(&g);
}

static double mean_angle(const float *got, const float *want, const float *depth, double *worst) {
  double sum = 0;
  int n = 0;

  *worst = 0;
  for (int i = 0; i < N; i++) {
    if (!(depth[i] > 0)) continue;
    const float *a = got + 3 * i, *b = want + 3 * i;
    const double x = (double)a[1] * b[2] - (double)a[2] * b[1], y = (double)a[2] * b[0] - (double)a[0] * b[2],
                 z = (double)a[0] * b[1] - (double)a[1] * b[0],
                 dot = (double)a[0] * b[0] + (double)a[1] * b[1] + (double)a[2] * b[2];
    const double degrees = atan2(sqrt(x * x + y * y + z * z), dot) * 180 / 3.14159265358979;
    sum += degrees;
    *worst = fmax(*worst, degrees);
    n++;
  }
  return sum / n;
}

/* A quarter of the stored normals point away from the viewer. */
static void viewer_normals(void **state) {
  (void)state;
  st_file *g = NULL;
  double mean, worst;

  check_ok(st_open(TEST_DATA "/synth/truth/hypersim.safetensors", &g));
  for (int i = 0; i < 4; i++) {
    float *depth = truth_of(g, i, "depth"), *want = truth_of(g, i, "normals");
    ds_source *s = decode_first(i, DS_PER_SCENE, false);
    mean = mean_angle(s->frame.normals.p, want, depth, &worst);
    print_message("%s: normals off by %.4f degrees on average, %.3f at most\n", scenes[i], mean, worst);
    assert_true(mean < 0.01 && worst < 0.1);
    ds_source_close(&s);
    free(depth);
    free(want);
  }
  st_close(&g);
}

/* A sample is the frame, clamped; the mirrored one is its mirror with x negated. */
static void samples(void **state) {
  (void)state;
  ds_opts o = synth_opts();
  ds_source *s = sample_source(&o);
  ds_sample a = sample_read(s, 5, false), b = sample_read(s, 5, true);

  assert_string_equal(a.id, "ai_001_002/cam_00/0001");
  assert_true(a.valid == b.valid && a.valid > N / 2 && a.domain == DS_INDOOR);
  for (int y = 0; y < H; y++)
    for (int x = 0; x < W; x++) {
      const int i = y * W + x, j = y * W + W - 1 - x;
      assert_true(a.mask[i] == b.mask[j] && a.metric[i] == b.metric[j] && a.depth[i] == b.depth[j]);
      for (int c = 0; c < 3; c++) {
        assert_true(a.rgb[c * N + i] == b.rgb[c * N + j] && fabsf(a.rgb[c * N + i]) <= 1);
        assert_true(a.normals[c * N + i] == (c ? b.normals[c * N + j] : -b.normals[j]));
      }
      const float l = a.normals[i] * a.normals[i] + a.normals[N + i] * a.normals[N + i] +
                      a.normals[2 * N + i] * a.normals[2 * N + i];
      assert_true(a.mask[i] ? fabsf(l - 1) < 1e-5f : l == 0);
    }
  sample_free(&a);
  sample_free(&b);
  ds_source_close(&s);
}

/* Made smaller, normals stay unit and near the truth; any size goes. */
static void sizes(void **state) {
  (void)state;
  const int to[][2] = {{1, 1}, {97, 131}, {480, 640}, {0, 0}};
  ds_opts o = synth_opts();

  for (int i = 0; i < 4; i++) {
    o.size_set = i < 3;
    o.H = to[i][0];
    o.W = to[i][1];
    ds_source *s = sample_source(&o);
    ds_sample a = sample_read(s, 0, i % 2);
    const int n = a.H * a.W, h = i < 3 ? to[i][0] : 480, w = i < 3 ? to[i][1] : 640;
    assert_true(a.H == h && a.W == w);
    assert_true(n == 1 ? a.valid == 0 : a.valid > n / 2); /* one pixel has one depth, and so no range */
    for (int j = 0; j < n; j++) {
      const float x = a.normals[j], y = a.normals[n + j], z = a.normals[2 * n + j], l = x * x + y * y + z * z;
      assert_true(a.mask[j] ? fabsf(l - 1) < 1e-5f : l == 0);
    }
    sample_free(&a);
    ds_source_close(&s);
  }
}

/* A crop keeps the bottom and the middle; then it is resized. */
static void crops(void **state) {
  (void)state;
  ds_opts o = synth_opts();
  ds_source *s = sample_source(&o), *part;
  ds_sample whole = sample_read(s, 0, false), a;

  o.crop_H = 100;
  o.crop_W = 201;
  part = sample_source(&o);
  a = sample_read(part, 0, false);
  assert_true(a.H == 100 && a.W == 201);
  for (int y = 0; y < 100; y++)
    for (int x = 0; x < 201; x++) {
      assert_true(a.rgb[y * 201 + x] == whole.rgb[(y + 92) * W + x + 27]);
      assert_true(a.normals[y * 201 + x] == whole.normals[(y + 92) * W + x + 27]);
      assert_int_equal(a.mask[y * 201 + x], whole.mask[(y + 92) * W + x + 27]);
    }
  ds_sample mirrored = sample_read(s, 0, true), b = sample_read(part, 0, true); /* flipped, then cropped */
  for (int y = 0; y < 100; y++)
    for (int x = 0; x < 201; x++) assert_true(b.rgb[y * 201 + x] == mirrored.rgb[(y + 92) * W + x + 27]);
  sample_free(&mirrored);
  sample_free(&b);
  sample_free(&a);
  ds_source_close(&part);
  o.H = o.W = 50;
  part = sample_source(&o);
  a = sample_read(part, 0, true);
  assert_true(a.H == 50 && a.W == 50 && a.valid > 1000);
  sample_free(&a);
  ds_source_close(&part);
  o.crop_H = 193;
  o.crop_W = 10;
  o.H = o.W = 0;
  part = sample_source(&o);
  check_read_fails("ai_001_001/cam_00/0000: a crop of [193, 10] does not fit in its [192, 256] pixels", part, 0);
  ds_source_close(&part);
  sample_free(&whole);
  ds_source_close(&s);
}

/* mm_wrap: millimetres in 16 bits, as the reference's PNGs hold them; nothing here is as far as 65 m. */
static void millimetres(void **state) {
  (void)state;
  ds_source *s = decode_first(0, DS_PER_SCENE, false), *cut = decode_first(0, DS_PER_SCENE, true);
  const float *a = s->frame.depth.p, *b = cut->frame.depth.p;
  int whole = 0;

  for (int i = 0; i < N; i++) {
    assert_true(b[i] <= a[i] + 1e-6f && b[i] > a[i] - 0.0011f);
    whole += fabsf(b[i] * 1000 - rintf(b[i] * 1000)) < 0.01f;
  }
  assert_int_equal(whole, N);
  ds_source_close(&s);
  ds_source_close(&cut);
}

/* ---- lists ---- */

static void lists(void **state) {
  (void)state;
  static const char *const want[] = {"ai_001_001/cam_00/0000", "ai_001_001/cam_00/0001", "ai_001_001/cam_00/0002",
                                     "ai_001_001/cam_00/0003", "ai_001_002/cam_00/0000", "ai_001_002/cam_00/0001",
                                     "ai_001_002/cam_00/0002", "ai_001_002/cam_00/0003", "ai_002_001/cam_00/0000",
                                     "ai_002_001/cam_00/0001", "ai_002_001/cam_00/0002"};
  ds_opts o = synth_opts();
  ds_source *s = sample_source(&o);
  char id[DS_ID_MAX];

  assert_int_equal(ds_source_count(s), 11);
  for (int i = 0; i < 11; i++) {
    check_ok(ds_source_describe(s, i, id));
    assert_string_equal(id, want[i]);
  }
  assert_int_equal(ds_source_describe(s, 11, id), E_FAIL);
  assert_int_equal(ds_source_describe(s, -1, id), E_FAIL);
  assert_true(ds_source_opts(s)->far_m == 65 && !ds_source_is_stored(s) && ds_source_samples_per_item(s) == 1);
  ds_source_close(&s);
  o.split = "val";
  s = sample_source(&o);
  assert_int_equal(ds_source_count(s), 3);
  ds_source_close(&s);
  o.split = "test";
  check_source_fails(E_DATA, "no row has included_in_public_release True and split_partition_name test", &o);
  o.split = "training";
  check_source_fails(E_DATA, "split 'training': Hypersim has train, val and test", &o);
}

/* The published tables, where they are: 59,543 frames to train on, 200 of them broken, a camera for each of their
 * scenes. */
static void published_tables(void **state) {
  const char *base = getenv("E2EFT_SAMPLES");
  char csv[IO_PATH_MAX];
  ds_opts o = sample_opts("hypersim", "%s", (const char *)*state);

  check_ok(io_path(csv, "%s/hypersim/metadata_images_split_scene_v1.csv",
                   base ? base : TEST_DATA "/../../../shared/samples"));
  if (!io_exists(csv)) {
    print_message("no %s\n", csv);
    skip();
  }
  check_ok(io_make_dirs(tmpdir_at(state, "raw_data")));
  o.split_csv = csv;
  check_source_fails(E_DATA,
                     "scene_cam_00_final_hdf5/frame.0000.color.hdf5: missing, as is at least one file of each "
                     "of the 59343 frames of split train",
                     &o);
}

/* ---- a folder of our own, to spoil ---- */

static const char *const folders[] = {"final_hdf5", "geometry_hdf5", "geometry_hdf5", "geometry_hdf5",
                                      "geometry_preview"};
static const char *const kinds[] = {"color.hdf5", "depth_meters.hdf5", "render_entity_id.hdf5", "normal_cam.hdf5",
                                    "normal_cam.png"};

static const char *frame_file(void **state, int frame, int k) {
  return tmpdir_at(state, "raw_data/ai_001_001/images/scene_cam_00_%s/frame.%04d.%s", folders[k], frame, kinds[k]);
}

static void save_text(const char *path, const char *text) { damaged_save(path, text, strlen(text)); }

static void write_csv(void **state, const char *rows) {
  char text[1024];

  snprintf(text, sizeof text,
           "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name\n%s",
           rows);
  save_text(tmpdir_at(state, "metadata_images_split_scene_v1.csv"), text);
}

/* Frames 0 and 1 of one scene. */
static ds_opts own_folder(void **state) {
  for (int f = 0; f < 2; f++)
    for (int k = 0; k < 5; k++) {
      char from[IO_PATH_MAX], to[IO_PATH_MAX];
      check_ok(io_path(from, TEST_DATA "/synth/hypersim/raw_data/ai_001_001/images/scene_cam_00_%s/frame.%04d.%s",
                       folders[k], f, kinds[k]));
      check_ok(io_path(to, "%s", frame_file(state, f, k)));
      *strrchr(to, '/') = 0;
      check_ok(io_make_dirs(to));
      damaged d = damaged_load(from);
      damaged_save(frame_file(state, f, k), d.bytes, d.n);
      damaged_free(&d);
    }
  check_ok(io_copy_file(TEST_DATA "/synth/hypersim/metadata_camera_parameters.csv",
                        tmpdir_at(state, "metadata_camera_parameters.csv")));
  write_csv(state, "ai_001_001,cam_00,0,True,,train\nai_001_001,cam_00,1,True,,train\n");
  return sample_opts("hypersim", "%s", (const char *)*state);
}

static void missing_folders(void **state) {
  ds_opts o = own_folder(state);
  const char *csv = tmpdir_at(state, "metadata_images_split_scene_v1.csv"),
             *cameras = tmpdir_at(state, "metadata_camera_parameters.csv");
  ds_source *s;

  check_ok(io_remove_tree(cameras));
  check_source_fails(E_DATA, cameras, &o);
  check_source_fails(E_DATA, "intrinsics: per_scene needs it", &o);
  o.camera_csv = TEST_DATA "/synth/hypersim/metadata_camera_parameters.csv";
  s = sample_source(&o);
  ds_source_close(&s);
  o.camera_csv = NULL;
  o.intrinsics = DS_FIXED;
  s = sample_source(&o);
  ds_source_close(&s);
  o.intrinsics = DS_PER_SCENE;
  o.as_reference = true;
  s = sample_source(&o);
  ds_source_close(&s);
  o.as_reference = false;
  save_text(cameras, "scene_name,M_cam_from_uv_00,M_cam_from_uv_01,M_cam_from_uv_02,M_cam_from_uv_10,"
                     "M_cam_from_uv_11,M_cam_from_uv_12,"
                     "M_cam_from_uv_20,M_cam_from_uv_21,M_cam_from_uv_22\nother,1,0,0,0,1,0,0,0,-1\n");
  check_source_fails(E_DATA, "csv:2: scene ai_001_001 has no row in the camera CSV", &o);
  check_ok(io_remove_tree(csv));
  check_source_fails(E_DATA, csv, &o);
  check_ok(io_remove_tree(tmpdir_at(state, "raw_data")));
  check_source_fails(E_DATA, "no folder raw_data (Hypersim as published) and no train", &o);
  o.layout = DS_LAYOUT_MARIGOLD;
  check_source_fails(E_DATA, *state, &o);
  o.root = tmpdir_at(state, "nowhere");
  check_source_fails(E_DATA, "nowhere: no such folder", &o);
}

/* One file missing: an error when its frame is read, but as_reference leaves it out. All missing: an error at once. */
static void missing_files(void **state) {
  ds_opts o = own_folder(state), reference = o;
  const char *gone = frame_file(state, 0, 1), *preview = frame_file(state, 1, 4);
  char id[DS_ID_MAX];

  reference.as_reference = true;
  check_ok(io_remove_tree(gone));
  ds_source *s = sample_source(&o);
  assert_int_equal(ds_source_count(s), 2);
  check_read_fails(gone, s, 0);
  ds_sample a = sample_read(s, 1, false);
  sample_free(&a);
  ds_source_close(&s);
  s = sample_source(&reference);
  assert_int_equal(ds_source_count(s), 1);
  check_ok(ds_source_describe(s, 0, id));
  assert_string_equal(id, "ai_001_001/cam_00/0001");
  ds_source_close(&s);
  check_ok(io_remove_tree(preview));
  check_source_fails(E_DATA, "one file of each of the 2 frames", &reference);
  check_source_fails(E_DATA, gone, &reference);
  check_ok(io_remove_tree(frame_file(state, 1, 2)));
  check_source_fails(E_DATA, gone, &o);
}

/* Only rows of the release count, whatever their split says. */
static void rows_left_out(void **state) {
  ds_opts o = own_folder(state);

  write_csv(state,
            "ai_001_001,cam_00,1,False,,train\nai_001_001,cam_00,0,True,,train\nai_001_001,cam_00,1,True,,val\n");
  ds_source *s = sample_source(&o);
  assert_int_equal(ds_source_count(s), 1);
  ds_source_close(&s);
}

static void bad_rows(void **state) {
  ds_opts o = own_folder(state);
  const char *csv = tmpdir_at(state, "metadata_images_split_scene_v1.csv"), *cut = tmpdir_at(state, "cut.csv");
  ds_source *s = NULL;

  write_csv(state, "ai_001_001,cam_00,0,Yes,,train\n");
  check_source_fails(E_DATA, "csv:2: included_in_public_release: wanted True or False, found 'Yes'", &o);
  write_csv(state, "ai_001_001,cam_00,0,True,,train\nai_001_001,cam_00,1,True,,trai");
  check_source_fails(E_DATA, "csv:3: split_partition_name: wanted train, val or test, found 'trai'", &o);
  write_csv(state, "ai_001_001,cam_00,12345,True,,train\n");
  check_source_fails(E_DATA, "csv:2: frame_id: wanted a number from 0 to 9999, found '12345'", &o);
  write_csv(state, "../x,cam_00,0,True,,train\n");
  check_source_fails(E_DATA, "csv:2: scene_name '../x'", &o);
  write_csv(state, "ai_001_001,cam_00,0,True,train\n");
  check_source_fails(E_DATA, "csv:2: 5 fields, the header has 6", &o);
  save_text(csv, "scene_name,camera_name,frame_id\na,b,0\n");
  check_source_fails(E_DATA, "no column 'included_in_public_release'", &o);
  damaged d = damaged_load(TEST_DATA "/synth/hypersim/metadata_images_split_scene_v1.csv");
  o.split_csv = cut;
  for (int i = 0; i < DAMAGED_CUTS - 1; i++) {
    const size_t n = damaged_cut(&d, i, cut);
    if (n == 0 || d.bytes[n - 1] != '\n') check_source_fails(E_DATA, cut, &o); /* whole lines are a shorter table */
  }
  for (size_t at = 0; at < d.n; at++) {
    damaged_flip(&d, at, (int)(at % 7), cut);
    const int st = ds_source_open(&o, &s);
    if (st != OK) check_fails(E_DATA, *state, st);
    ds_source_close(&s);
  }
  damaged_free(&d);
}

/* Every file of a frame cut at 20 places: one error that names it, and the next frame reads as before. */
static void cut_frames(void **state) {
  ds_opts o = own_folder(state), reference = o;

  reference.as_reference = true;
  for (int k = 0; k < 5; k++) {
    const char *path = frame_file(state, 0, k);
    damaged d = damaged_load(path);
    ds_source *s = sample_source(k == 4 ? &reference : &o);
    for (int i = 0; i < DAMAGED_CUTS; i++) {
      damaged_cut(&d, i, path);
      check_read_fails(path, s, 0);
    }
    ds_sample a = sample_read(s, 1, false);
    sample_free(&a);
    damaged_save(path, d.bytes, d.n);
    a = sample_read(s, 0, false);
    sample_free(&a);
    ds_source_close(&s);
    damaged_free(&d);
  }
}

/* Writes 16-bit values into an HDF5 file: `value` at every `step`-th element from `first`. */
static void poke(const char *path, size_t first, size_t step, uint16_t value) {
  const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), dset = H5Dopen2(file, "dataset", H5P_DEFAULT);
  const hid_t type = H5Dget_type(dset);
  static uint16_t v[3 * N];

  assert_true(H5Dread(dset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
  for (size_t i = first; i < N; i += step) v[i] = value;
  assert_true(H5Dwrite(dset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
  H5Tclose(type);
  H5Dclose(dset);
  H5Fclose(file);
}

enum { HALF_NAN = 0x7e00, HALF_INF = 0x7c00, HALF_1E4 = 0x70e2 };

static void bad_pixels(void **state) {
  ds_opts o = own_folder(state);
  ds_source *s = sample_source(&o);
  ds_sample before = sample_read(s, 0, false), a;

  poke(frame_file(state, 0, 1), 5, 7, HALF_NAN);
  poke(frame_file(state, 0, 1), 6, 7, HALF_INF);
  poke(frame_file(state, 0, 1), 0, 7, HALF_1E4);  /* 10 km */
  poke(frame_file(state, 0, 0), 1, 11, HALF_NAN); /* colours */
  poke(frame_file(state, 0, 0), 2, 11, HALF_INF);
  a = sample_read(s, 0, false);
  for (int i = 0; i < N; i++) {
    assert_int_equal(a.mask[i], before.mask[i] && i % 7 != 5 && i % 7 != 6 && i % 7 != 0);
    assert_true(isfinite(a.metric[i]) && isfinite(a.depth[i]) && isfinite(a.normals[i]));
    for (int c = 0; c < 3; c++) assert_true(a.rgb[c * N + i] >= -1 && a.rgb[c * N + i] <= 1);
  }
  sample_free(&a);
  poke(frame_file(state, 0, 1), 0, 1, HALF_NAN); /* no depth at all: an empty mask, no error */
  a = sample_read(s, 0, false);
  assert_int_equal(a.valid, 0);
  for (int i = 0; i < N; i++) assert_true(a.mask[i] == 0 && a.metric[i] == 0 && a.normals[i] == 0);
  sample_free(&a);
  poke(frame_file(state, 0, 2), 3 * W + 17, N, 0);
  check_read_fails("render_entity_id.hdf5: entity 0 at row 3, column 17", s, 0);
  poke(frame_file(state, 0, 2), 0, 1, 0xffff); /* background everywhere */
  a = sample_read(s, 0, false);
  assert_int_equal(a.valid, 0);
  sample_free(&a);
  sample_free(&before);
  ds_source_close(&s);
}

/* Unknown normals leave the mask where normals are asked for, and only there. */
static void unknown_normals(void **state) {
  ds_opts o = own_folder(state);
  ds_source *s = sample_source(&o);
  ds_sample before = sample_read(s, 0, false), a;

  poke(frame_file(state, 0, 3), 0, 3, HALF_NAN); /* a third of the image's x, y or z */
  a = sample_read(s, 0, false);
  assert_true(a.valid < before.valid);
  for (int i = 0; i < N; i++) {
    assert_int_equal(a.mask[i], before.mask[i] && i >= N / 3);
    assert_true(a.metric[i] == before.metric[i]); /* percentiles are the depth's business */
  }
  sample_free(&a);
  ds_source_close(&s);
  o.need = DS_NEED_METRIC;
  s = sample_source(&o);
  a = sample_read(s, 0, false);
  assert_int_equal(a.valid, before.valid);
  assert_true(a.normals[0] == -12345); /* not touched */
  sample_free(&a);
  sample_free(&before);
  ds_source_close(&s);
}

static void sizes_that_differ(void **state) {
  ds_opts o = own_folder(state);
  const char *path = frame_file(state, 0, 2);
  ds_source *s = sample_source(&o);
  const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t space = H5Screate_simple(2, (hsize_t[]){H, W - 1}, NULL);
  const hid_t dset = H5Dcreate2(file, "dataset", H5T_STD_I16LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  static int16_t ones[N];

  for (int i = 0; i < N; i++) ones[i] = 1;
  assert_true(H5Dwrite(dset, H5T_STD_I16LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, ones) >= 0);
  H5Dclose(dset);
  H5Sclose(space);
  H5Fclose(file);
  check_read_fails("render_entity_id.hdf5: 255x192 pixels (width x height), but color.hdf5 has 256x192", s, 0);
  ds_source_close(&s);
}

/* The reader says which file it is at, for when it dies there. */
static void watched(void **state) {
  ds_opts o = own_folder(state);
  ds_source *s = sample_source(&o);
  char at[IO_PATH_MAX] = "?";
  ds_sample a;

  ds_source_watch(s, at, sizeof at);
  assert_string_equal(at, "");
  a = sample_read(s, 0, false);
  assert_string_equal(at, "");
  save_text(frame_file(state, 0, 3), "no HDF5");
  check_fails(E_DATA, "normal_cam", ds_source_read(s, 0, false, &a));
  assert_string_equal(at, frame_file(state, 0, 3));
  ds_source_watch(s, NULL, 0);
  sample_free(&a);
  ds_source_close(&s);
}

/* Marigold's PNGs without as_reference: normals are not rounded again and turn to the viewer of a scaled
 * camera. */
static void marigold_layout(void **state) {
  (void)state;
  ds_opts o = sample_opts("hypersim", "%s/golden/data/hypersim_root/data/hypersim/processed", TEST_DATA);
  ds_source *s = sample_source(&o);
  ds_sample a = sample_read(s, 0, false), b = sample_read(s, 1, false);
  const int n = a.H * a.W;
  st_file *g = golden_open("data/hypersim.safetensors");
  float *metric = golden_f32(g, "0.plain.metric", NULL);
  double ray[3];
  ds_camera c;

  assert_true(a.H == 60 && a.W == 80);
  ds_camera_fixed(60, 80, 886.81 * 80 / 1024, &c);
  for (int i = 0; i < n; i++) {
    if (!a.mask[i]) continue;
    assert_true(a.metric[i] == metric[i]);
    ds_camera_ray(&c, 60, 80, i / 80, i % 80, ray); /* x right, y up, z back; the normals' x is to the left */
    assert_true(-ray[0] * a.normals[i] + ray[1] * a.normals[n + i] + ray[2] * a.normals[2 * n + i] < 1e-6);
  }
  assert_int_equal(b.valid, 0);
  free(metric);
  st_close(&g);
  sample_free(&a);
  sample_free(&b);
  ds_source_close(&s);
  o.split = "val";
  check_source_fails(E_DATA, "no folder raw_data", &o);
}

int main(void) {
#define IN_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {cmocka_unit_test(planar_depth), cmocka_unit_test(viewer_normals),
                                     cmocka_unit_test(samples),      cmocka_unit_test(sizes),
                                     cmocka_unit_test(crops),        cmocka_unit_test(millimetres),
                                     cmocka_unit_test(lists),        IN_TMPDIR(published_tables),
                                     IN_TMPDIR(missing_folders),     IN_TMPDIR(missing_files),
                                     IN_TMPDIR(rows_left_out),       IN_TMPDIR(bad_rows),
                                     IN_TMPDIR(cut_frames),          IN_TMPDIR(bad_pixels),
                                     IN_TMPDIR(unknown_normals),     IN_TMPDIR(watched),
                                     IN_TMPDIR(sizes_that_differ),   cmocka_unit_test(marigold_layout)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
