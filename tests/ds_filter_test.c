/* Hypersim's frames that are left out: Marigold's criteria on raw files and on its own CSV, lists of frames, broken
 * renders; and that the order of the others is the same for any number of decoders. */
#include <stdio.h>

#include "base/half.h"
#include "base/log.h"
#include "datasets/dump.h"
#include "datasets/h5_write.h"
#include "tests/support/groups.h"
#include "tests/support/samples.h"
#include "tests/support/tmpdir.h"

enum { H = 16, W = 20, N = H * W, FRAMES = 6 };
static const char header[] =
    "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name\n";

static void write_h5(void **state, const char *folder, const char *what, int frame, el_type type, int channels,
                     const void *data) {
  const int64_t dims[] = {H, W, channels};
  char path[IO_PATH_MAX];

  check_ok(io_path(path, "%s/raw_data/ai_001_001/images/scene_cam_00_%s", (const char *)*state, folder));
  check_ok(io_make_dirs(path));
  check_ok(io_path(path, "%s/raw_data/ai_001_001/images/scene_cam_00_%s/frame.%04d.%s", (const char *)*state, folder,
                   frame, what));
  check_ok(ds_h5_write(path, type, channels > 1 ? 3 : 2, dims, data));
}

/* Distance and colour are ramps; the last `invalid` pixels saw nothing. */
static void put_frame(void **state, int frame, float far, float bright, int invalid) {
  uint16_t colour[3 * N], distance[N], normal[3 * N];
  int16_t entity[N];

  for (int i = 0; i < N; i++) {
    const float t = (float)i / N;
    for (int c = 0; c < 3; c++) {
      colour[3 * i + c] = half_from_f32(0.5f + (bright - 0.5f) * t);
      normal[3 * i + c] = half_from_f32(c == 2);
    }
    distance[i] = half_from_f32(1 + (far - 1) * t);
    entity[i] = (int16_t)(i < N - invalid ? 7 : -1);
  }
  write_h5(state, "final_hdf5", "color.hdf5", frame, EL_F16, 3, colour);
  write_h5(state, "geometry_hdf5", "depth_meters.hdf5", frame, EL_F16, 1, distance);
  write_h5(state, "geometry_hdf5", "render_entity_id.hdf5", frame, EL_I16, 1, entity);
  write_h5(state, "geometry_hdf5", "normal_cam.hdf5", frame, EL_F16, 3, normal);
}

static void write_text(const char *path, const char *text) { check_ok(io_write_file(path, text, strlen(text))); }

/* Frames 0, 4 and 5 stay. 9 of 320 pixels are 2.8 %; where nothing was hit depth is 0, which counts. */
static ds_opts own_folder(void **state) {
  char rows[1024];
  int n = snprintf(rows, sizeof rows, "%s", header);

  put_frame(state, 0, 3, 2, 0);
  put_frame(state, 1, 1.01f, 2, 0);
  put_frame(state, 2, 3, 0.5f, 0);
  put_frame(state, 3, 3, 2, 10);
  put_frame(state, 4, 1.01f, 2, 9);
  put_frame(state, 5, 4, 1, 0);
  for (int i = 0; i < FRAMES; i++) n += snprintf(rows + n, sizeof rows - n, "ai_001_001,cam_00,%d,True,,train\n", i);
  write_text(tmpdir_at(state, "metadata_images_split_scene_v1.csv"), rows);
  ds_opts o = sample_opts("hypersim", "%s", (const char *)*state);
  o.intrinsics = DS_FIXED;
  o.filter = DS_FILTER_MARIGOLD;
  return o;
}

static void verdicts(void **state) {
  static const char *const want[FRAMES] = {NULL, "depth range 0.18", "RGB range 0", "3.12 % invalid", NULL, NULL};
  ds_opts o = own_folder(state);
  ds_source *s = sample_source(&o);

  assert_int_equal(ds_source_count(s), FRAMES);
  for (int i = 0; i < FRAMES; i++) {
    ds_sample a = sample_read(s, i, false);
    const char *why = ds_source_left_out(s);
    if (!want[i]) assert_null(why);
    else assert_true(why && strstr(why, want[i]));
    assert_true(want[i] ? a.rgb[0] == -12345.f : a.rgb[0] != -12345.f);
    sample_free(&a);
  }
  ds_source_close(&s);
  o.filter = DS_FILTER_NONE;
  s = sample_source(&o);
  ds_sample a = sample_read(s, 1, false);
  assert_null(ds_source_left_out(s));
  sample_free(&a);
  ds_source_close(&s);
}

/* A dump in list order holds those that stay; in any other, and in training, others take the places. */
static void order(void **state) {
  static const char *const stay[] = {"0000", "0004", "0005"};
  ds_opts o = own_folder(state);
  uint64_t hash[3][40] = {{0}};

  o.size_set = true;
  o.H = o.W = 8;
  o.flip = 0;
  for (int shuffle = 0; shuffle < 2; shuffle++) {
    o.shuffle = shuffle;
    ds_source *s = sample_source(&o);
    const ds_data data = {s, 1};
    for (int workers = 0; workers < 3; workers++) {
      const ds_loader_opts lo = {.seed = 3, .group = 2, .groups_per_step = 4, .workers = workers, .singly = true};
      ds_loader *l = NULL;
      ds_group *g;
      check_ok(ds_loader_open(&lo, &data, 1, &l));
      for (int i = 0; i < 40; i++) {
        check_ok(ds_loader_next(l, &g));
        const char *frame = g->id[0] + strlen("ai_001_001/cam_00/");
        if (!shuffle) assert_string_equal(frame, stay[i % 3]);
        else assert_true(strcmp(frame, stay[0]) == 0 || strcmp(frame, stay[1]) == 0 || strcmp(frame, stay[2]) == 0);
        hash[workers][i] = group_hash(g);
        ds_loader_release(l, g);
      }
      assert_int_equal(ds_loader_left_out(l, 0), 3);
      assert_int_equal(ds_loader_bad_files(l), 0);
      ds_loader_close(&l);
    }
    assert_memory_equal(hash[0], hash[1], sizeof hash[0]);
    assert_memory_equal(hash[0], hash[2], sizeof hash[0]);
    ds_source_close(&s);
  }
}

static void nothing_stays(void **state) {
  ds_opts o = own_folder(state);
  ds_group *g;

  write_text(tmpdir_at(state, "metadata_images_split_scene_v1.csv"),
             "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name\n"
             "ai_001_001,cam_00,1,True,,train\nai_001_001,cam_00,2,True,,train\n");
  for (int shuffle = 0; shuffle < 2; shuffle++) {
    o.shuffle = shuffle;
    ds_source *s = sample_source(&o);
    const ds_data data = {s, 1};
    const ds_loader_opts lo = {.group = 1, .groups_per_step = 1, .workers = 1, .singly = true};
    ds_loader *l = NULL;
    check_ok(ds_loader_open(&lo, &data, 1, &l));
    check_fails(E_DATA, shuffle ? "all 2 items were tried" : "its filter leaves out all samples", ds_loader_next(l, &g));
    ds_loader_close(&l);
    ds_source_close(&s);
  }
}

/* ---- known beforehand ---- */

static void check_ids(const ds_opts *o, const char *const *want) {
  ds_source *s = sample_source(o);
  char id[DS_ID_MAX];
  int n = 0;

  for (; want[n]; n++) {
    assert_true(n < ds_source_count(s));
    check_ok(ds_source_describe(s, n, id));
    assert_string_equal(id, want[n]);
  }
  assert_int_equal(ds_source_count(s), n);
  ds_source_close(&s);
}

static void marigolds_csv(void **state) {
  static const char *const names[] = {"rgb_cam_00_fr0000.png", "depth_plane_cam_00_fr0000.png"};
  static const char head[] = ",scene_name,camera_name,frame_id,included_in_public_release,split_partition_name,rgb_path,"
                             "rgb_min,rgb_max,depth_path,depth_min,depth_max,invalid_ratio\n";
  static const struct {
    const char *numbers;
    bool stays;
  } rows[] = {{"0,255,P,1.0,1.5,0.0", true},      {"0,255,P,1.0,1.499,0.0", false}, {"7,17,P,0.0,9.5,0.03", true},
              {"7.0,16.0,P,0.0,9.5,0.03", false}, {"0,255,P,0.0,9.5,0.0301", false}, {"0,255,P,0.0,9.5,", false}};
  char text[4096], path[IO_PATH_MAX];
  const char *want[8] = {NULL}, *csv = tmpdir_at(state, "train/filename_meta_train.csv");
  int n = snprintf(text, sizeof text, "%s", head), kept = 0;
  static char ids[8][DS_ID_MAX];

  check_ok(io_make_dirs(tmpdir_at(state, "train")));
  for (int i = 0; i < 2; i++) {
    check_ok(io_path(path, "%s/train/%s", (const char *)*state, names[i]));
    write_text(path, "x");
  }
  for (int i = 0; i < 5; i++) {
    char numbers[64], *P;
    snprintf(numbers, sizeof numbers, "%s", rows[i].numbers);
    *(P = strchr(numbers, 'P')) = 0;
    n += snprintf(text + n, sizeof text - n, "%d,ai_001_001,cam_00,%d,True,train,%s,%s%s%s\n", i, i, names[0], numbers,
                  names[1], P + 1);
    snprintf(ids[kept], DS_ID_MAX, "ai_001_001/cam_00/%04d", i);
    if (rows[i].stays) want[kept] = ids[kept], kept++;
  }
  write_text(csv, text);
  ds_opts o = sample_opts("hypersim", "%s", (const char *)*state);
  o.need = DS_NEED_METRIC;
  o.filter = DS_FILTER_MARIGOLD;
  check_ids(&o, want);
  snprintf(text + n, sizeof text - n, "5,ai_001_001,cam_00,5,True,train,%s,0,255,%s,0.0,9.5,\n", names[0], names[1]);
  write_text(csv, text);
  check_source_fails(E_DATA, "filename_meta_train.csv:7: invalid_ratio: wanted a number, found ''", &o);
  *strstr(text, "rgb_min") = 'x';
  write_text(csv, text);
  check_source_fails(E_DATA, "no column 'rgb_min'", &o);
}

static void frame_lists(void **state) {
  ds_opts o = own_folder(state);
  const char *list = tmpdir_at(state, "list.txt");

  o.frame_list = list;
  check_source_fails(E_DATA, list, &o);
  write_text(list, "ai_001_001/rgb_cam_00_fr0004.png ai_001_001/depth_plane_cam_00_fr0004.png\n"
                   "ai_009_001/rgb_cam_00_fr0000.png ai_009_001/depth_plane_cam_00_fr0000.png\n\r\n"
                   "ai_001_001/rgb_cam_00_fr0001.png");
  check_ids(&o, (const char *const[]){"ai_001_001/cam_00/0001", "ai_001_001/cam_00/0004", NULL});
  write_text(list, "ai_001_002/rgb_cam_00_fr0004.png x\n");
  check_source_fails(E_DATA, "and is not left out as broken, filtered or not in the list", &o);
  write_text(list, "\n");
  check_source_fails(E_DATA, "list.txt: no frames", &o);
  static const char *const wrong[] = {"ai_001_001/cam_00/0001", "rgb_cam_00_fr0001.png", "a/rgb_fr.png", "a/rgb_x_frx.png",
                                      "a/xrgb_cam_fr0001.png", "a/rgb_cam_00_fr0001.jpg", "_fr1.png/rgb_",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/rgb_c_fr1.png"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    write_text(list, wrong[i]);
    check_source_fails(E_DATA, "list.txt:1: wanted a line of Marigold's lists", &o);
  }
}

/* The two renders are left out, and used where the reference uses them. */
static void broken_renders(void **state) {
  ds_opts o = own_folder(state);
  char *text = NULL;
  size_t n;
  const char *log = tmpdir_at(state, "log.txt");

  write_text(tmpdir_at(state, "metadata_images_split_scene_v1.csv"),
             "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name\n"
             "ai_004_009,cam_01,3,True,,train\nai_001_001,cam_00,0,True,,train\nai_038_007,cam_00,1,True,,train\n"
             "ai_038_007,cam_01,1,True,,train\nai_001_001,cam_00,2,False,CONTENT FLAGGED FOR REMOVAL,\n");
  check_ok(log_open_file(log));
  check_ids(&o, (const char *const[]){"ai_001_001/cam_00/0000", "ai_038_007/cam_01/0001", NULL});
  log_close_file();
  check_ok(io_read_file(log, 1 << 20, &text, &n));
  assert_non_null(strstr(text, ": 2 frames of split train; left out: 1 not in the public release, 2 of broken renders"));
  free(text);
  o.keep_broken = true;
  check_ids(&o, (const char *const[]){"ai_004_009/cam_01/0003", "ai_001_001/cam_00/0000", "ai_038_007/cam_00/0001",
                                      "ai_038_007/cam_01/0001", NULL});
}

int main(void) {
#define IN_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {IN_TMPDIR(verdicts),      IN_TMPDIR(order),       IN_TMPDIR(nothing_stays),
                                     IN_TMPDIR(marigolds_csv), IN_TMPDIR(frame_lists), IN_TMPDIR(broken_renders)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
