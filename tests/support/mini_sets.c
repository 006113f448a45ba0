#include "tests/support/mini_sets.h"

#include <archive.h>
#include <archive_entry.h>
#include <math.h>
#include <stdio.h>

#include "base/npy.h"
#include "base/rng.h"
#include "datasets/image_write.h"
#include "eval/protocol.h"
#include "tests/support/samples.h"

const char *const mini_depth_sets[] = {"nyuv2", "kitti", "eth3d", "scannet", "diode", NULL};
const char *const mini_normals_sets[] = {"nyuv2_normals", "scannet_normals", "ibims_normals", "sintel_normals",
                                         "oasis_normals", NULL};

/* One frame of one set while it is made. */
typedef struct frame {
  const char *dir, *set;
  int index, H, W;
  uint8_t *rgb;    /* [H,W,3] */
  float *depth;    /* [H,W], 0 = unknown */
  float *normals;  /* [3,H,W], 0 = unknown */
  rng_key random;
} frame;

static double uniform(const frame *f, size_t i) { return rng_uniform(&f->random, i); }

/* Folders for, and the path of, DIR/SET/printf. */
static const char *place(const frame *f, const char *fmt, ...) ERR_PRINTF(2, 3);
static const char *place(const frame *f, const char *fmt, ...) {
  static char path[2 * IO_PATH_MAX];
  char rest[IO_PATH_MAX], folder[IO_PATH_MAX];
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(rest, sizeof rest, fmt, ap);
  va_end(ap);
  snprintf(path, sizeof path, "%s/%s/%s", f->dir, f->set, rest);
  snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
  check_ok(io_make_dirs(folder));
  return path;
}

/* Frame `index` of the rendered rooms, as large as its files, or H x W pixels of it (nearest), its depths times stretch. */
static frame frame_open(const char *dir, const char *set, int index, int H, int W, float stretch) {
  ds_opts o = sample_opts("hypersim", "%s/synth/hypersim", TEST_DATA);
  o.whole_depth = true;
  ds_source *s = sample_source(&o);
  ds_sample a = sample_read(s, 2 * index, false);
  frame f = {dir, set, index, H ? H : a.H, W ? W : a.W, NULL, NULL, NULL, rng_stream(7, set, (uint64_t)index, 0)};
  const size_t n = (size_t)f.H * (size_t)f.W, N = (size_t)a.H * (size_t)a.W;

  f.rgb = malloc(3 * n);
  f.depth = malloc(n * sizeof *f.depth);
  f.normals = malloc(3 * n * sizeof *f.normals);
  assert_true(f.rgb && f.depth && f.normals);
  for (size_t i = 0; i < n; i++) {
    const size_t from = i / (size_t)f.W * (size_t)a.H / (size_t)f.H * (size_t)a.W + i % (size_t)f.W * (size_t)a.W / (size_t)f.W;
    for (size_t c = 0; c < 3; c++) {
      f.rgb[3 * i + c] = (uint8_t)lrintf(a.rgb[c * N + from] * 127.5f + 127.5f);
      f.normals[c * n + i] = a.normals[c * N + from];
    }
    f.depth[i] = a.metric[from] * stretch;
  }
  sample_free(&a);
  ds_source_close(&s);
  return f;
}

static void frame_close(frame *f) {
  free(f->rgb);
  free(f->depth);
  free(f->normals);
}

/* ---- predictions ---- */

static void save_pred(const frame *f, const char *stem, int channels, const float *pred) {
  char path[2 * IO_PATH_MAX], folder[2 * IO_PATH_MAX];

  snprintf(path, sizeof path, "%s/pred/%s/%s.npy", f->dir, f->set, stem);
  snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
  check_ok(io_make_dirs(folder));
  const int64_t shape[3] = {channels, f->H, f->W};
  check_ok(npy_save_f32(path, channels == 1 ? 2 : 3, channels == 1 ? shape + 1 : shape, pred));
}

/* Affine-invariant: nearer than linear at the far end, noisy (the later images more), tilted. Only rows from `top` and W - 2 left
 * columns, as KITTI's crop has it. */
static void predict_depth(const frame *f, const char *image, int top, int left) {
  const int H = f->H - top, W = f->W - 2 * left;
  char stem[EV_NAME_MAX];
  float *pred = malloc((size_t)H * (size_t)W * sizeof *pred), most = 0;
  frame cropped = *f;

  assert_non_null(pred);
  for (size_t i = 0; i < (size_t)f->H * (size_t)f->W; i++) most = fmaxf(most, f->depth[i]);
  for (int y = 0; y < H; y++) {
    for (int x = 0; x < W; x++) {
      const size_t from = (size_t)(y + top) * (size_t)f->W + (size_t)(x + left), to = (size_t)y * (size_t)W + (size_t)x;
      const float share = f->depth[from] / most, bent = share / (share + 0.8f) * 1.6f;
      pred[to] = 0.05f + 0.8f * bent + (0.04f + 0.2f * (float)f->index) * (float)uniform(f, 2 * from) + 0.03f * (float)x / (float)W;
    }
  }
  assert_true(ev_protocol_pred_name(ev_protocol_find(f->set, false), image, stem));
  cropped.H = H;
  cropped.W = W;
  save_pred(&cropped, stem, 1, pred);
  free(pred);
}

/* The truth and an error of some degrees, more at some pixels; not unit. */
static void predict_normals(const frame *f, const char *image) {
  const size_t n = (size_t)f->H * (size_t)f->W;
  char stem[EV_NAME_MAX];
  float *pred = malloc(3 * n * sizeof *pred);

  assert_non_null(pred);
  for (size_t i = 0; i < n; i++) {
    const float far = uniform(f, i) < 0.2 ? 1.2f : 0.25f;
    for (size_t c = 0; c < 3; c++)
      pred[c * n + i] = 0.7f * f->normals[c * n + i] + far * (float)(uniform(f, (c + 1) * n + i) - 0.45);
  }
  snprintf(stem, sizeof stem, "%.*s", (int)(strrchr(image, '.') - image), image);
  save_pred(f, stem, 3, pred);
  free(pred);
}

/* ---- lists ---- */

static FILE *lists;

static void list_line(const char *fmt, ...) ERR_PRINTF(1, 2);
static void list_line(const char *fmt, ...) {
  va_list ap;

  va_start(ap, fmt);
  vfprintf(lists, fmt, ap);
  va_end(ap);
}

/* ---- depth ---- */

/* Depth in steps of 1/unit m; some pixels unknown. The frame's depth becomes what was stored. */
static void write_u16_depth(frame *f, const char *path, float unit, double unknown) {
  const size_t n = (size_t)f->H * (size_t)f->W;
  uint16_t *v = malloc(n * sizeof *v);

  assert_non_null(v);
  for (size_t i = 0; i < n; i++) {
    const float steps = f->depth[i] * unit;
    v[i] = uniform(f, 3 * n + i) < unknown || !(steps < 65535) ? 0 : (uint16_t)steps;
  }
  check_ok(ds_png_write16(path, f->W, f->H, 1, v));
  free(v);
}

static void make_nyuv2(const char *dir, int i) {
  frame f = frame_open(dir, "nyuv2", i, 0, 0, 1.6f);
  char image[96];

  snprintf(image, sizeof image, "test/room_%d/rgb_%04d.png", i, 100 + i);
  check_ok(ds_png_write8(place(&f, "%s", image), f.W, f.H, 3, f.rgb));
  write_u16_depth(&f, place(&f, "test/room_%d/depth_%04d.png", i, 100 + i), 1000, 0.1);
  write_u16_depth(&f, place(&f, "test/room_%d/filled_%04d.png", i, 100 + i), 1000, 0);
  list_line("%s test/room_%d/depth_%04d.png test/room_%d/filled_%04d.png\n", image, i, 100 + i, i, 100 + i);
  predict_depth(&f, image, 0, 0);
  frame_close(&f);
}

static void make_kitti(const char *dir, int i) {
  enum { TOP = 375 - 352, LEFT = (1242 - 1216) / 2 };
  frame f = frame_open(dir, "kitti", i, 375, 1242, 9);
  char image[96], truth[96];

  snprintf(image, sizeof image, "2011_09_26/2011_09_26_drive_0002_sync/image_02/data/%010d.png", i);
  snprintf(truth, sizeof truth, "2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02/%010d.png", i);
  check_ok(ds_png_write8(place(&f, "%s", image), f.W, f.H, 3, f.rgb));
  write_u16_depth(&f, place(&f, "%s", truth), 256, 0.95);
  list_line("%s %s 721.5377\n", image, truth);
  if (i == 0) list_line("%s None 721.5377\n", "2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000099.png");
  predict_depth(&f, image, TOP, LEFT);
  frame_close(&f);
}

static void make_eth3d(const char *dir, int i) {
  frame f = frame_open(dir, "eth3d", i, 0, 0, 2);
  const size_t n = (size_t)f.H * (size_t)f.W;
  char image[96], truth[96];
  FILE *raw;

  snprintf(image, sizeof image, "rgb/office/images/dslr_images/DSC_%04d.JPG", 219 + i);
  snprintf(truth, sizeof truth, "depth/office_dslr_depth/office/ground_truth_depth/dslr_images/DSC_%04d.JPG", 219 + i);
  check_ok(ds_jpeg_write(place(&f, "%s", image), f.W, f.H, f.rgb, 90));
  predict_depth(&f, image, 0, 0);
  for (size_t k = 0; k < n; k++)
    if (uniform(&f, 3 * n + k) < 0.3) f.depth[k] = INFINITY;
  assert_non_null(raw = fopen(place(&f, "%s", truth), "wb"));
  assert_int_equal(fwrite(f.depth, sizeof *f.depth, n, raw), n);
  fclose(raw);
  list_line("%s %s\n", image, truth);
  frame_close(&f);
}

static void make_scannet(const char *dir, int i) {
  frame f = frame_open(dir, "scannet", i, 0, 0, 1.2f);
  char image[96];

  snprintf(image, sizeof image, "scene%04d_02/color/%06d.jpg", 88 + i, 100 * i);
  check_ok(ds_jpeg_write(place(&f, "%s", image), f.W, f.H, f.rgb, 90));
  write_u16_depth(&f, place(&f, "scene%04d_02/depth/%06d.png", 88 + i, 100 * i), 1000, 0.2);
  list_line("%s scene%04d_02/depth/%06d.png\n", image, 88 + i, 100 * i);
  predict_depth(&f, image, 0, 0);
  frame_close(&f);
}

static void make_diode(const char *dir, int i) {
  frame f = frame_open(dir, "diode", i, 0, 0, 3);
  const size_t n = (size_t)f.H * (size_t)f.W;
  char stem[96], image[104];
  float *marks = malloc(n * sizeof *marks);

  assert_non_null(marks);
  snprintf(stem, sizeof stem, "indoors/scene_00021/scan_00189/00021_00189_indoors_%03d_010", 10 * i);
  snprintf(image, sizeof image, "%s.png", stem);
  check_ok(ds_png_write8(place(&f, "%s", image), f.W, f.H, 3, f.rgb));
  predict_depth(&f, image, 0, 0);
  for (size_t k = 0; k < n; k++) marks[k] = f.depth[k] > 0 && uniform(&f, 3 * n + k) < 0.8;
  check_ok(npy_save_f32(place(&f, "%s_depth.npy", stem), 3, (int64_t[]){f.H, f.W, 1}, f.depth));
  check_ok(npy_save_f32(place(&f, "%s_depth_mask.npy", stem), 2, (int64_t[]){f.H, f.W}, marks));
  list_line("%s %s_depth.npy %s_depth_mask.npy\n", image, stem, stem);
  free(marks);
  frame_close(&f);
}

/* ---- normals ---- */

static void forget_some(frame *f) {
  const size_t n = (size_t)f->H * (size_t)f->W;

  for (size_t i = 0; i < n; i++)
    if (uniform(f, 4 * n + i) < 0.1) f->normals[i] = f->normals[n + i] = f->normals[2 * n + i] = 0;
}

/* What DSINE's reader wants to be there. */
static void write_intrinsics(const frame *f, const char *stem) {
  const float K[9] = {200, 0, 128, 0, 200, 96, 0, 0, 1};
  check_ok(npy_save_f32(place(f, "%s_intrins.npy", stem), 2, (int64_t[]){3, 3}, K));
}

static void make_png_normals(const char *dir, const char *set, int i, const char *stem) {
  frame f = frame_open(dir, set, i, 0, 0, 1);
  const size_t n = (size_t)f.H * (size_t)f.W;
  char image[96];
  uint8_t *v = malloc(3 * n);

  assert_non_null(v);
  snprintf(image, sizeof image, "%s_img.png", stem);
  check_ok(ds_png_write8(place(&f, "%s", image), f.W, f.H, 3, f.rgb));
  predict_normals(&f, image);
  forget_some(&f);
  for (size_t k = 0; k < 3 * n; k++) {
    const float c = f.normals[k % 3 * n + k / 3];
    const bool known = f.normals[k / 3] != 0 || f.normals[n + k / 3] != 0 || f.normals[2 * n + k / 3] != 0;
    v[k] = known ? (uint8_t)lrintf((c + 1) * 127.5f) : 0;
  }
  check_ok(ds_png_write8(place(&f, "%s_normal.png", stem), f.W, f.H, 3, v));
  write_intrinsics(&f, stem);
  list_line("%s\n", image);
  free(v);
  frame_close(&f);
}

/* border: unknown rows and columns at the sides, as OASIS' region has them. */
static void make_npy_normals(const char *dir, const char *set, int i, const char *stem, int border) {
  frame f = frame_open(dir, set, i, 0, 0, 1);
  const size_t n = (size_t)f.H * (size_t)f.W;
  char image[96];
  float *v = malloc(3 * n * sizeof *v);

  assert_non_null(v);
  snprintf(image, sizeof image, "%s_img.png", stem);
  check_ok(ds_png_write8(place(&f, "%s", image), f.W, f.H, 3, f.rgb));
  predict_normals(&f, image);
  forget_some(&f);
  for (size_t k = 0; k < n; k++) {
    const int y = (int)(k / (size_t)f.W), x = (int)(k % (size_t)f.W);
    const bool inside = y >= border && y < f.H - border && x >= border && x < f.W - border;
    const float length = !inside ? 0.f : uniform(&f, 5 * n + k) < 0.05 ? 0.3f : 0.98f;
    for (size_t c = 0; c < 3; c++) v[3 * k + c] = f.normals[c * n + k] * length;
  }
  check_ok(npy_save_f32(place(&f, "%s_normal.npy", stem), 3, (int64_t[]){f.H, f.W, 3}, v));
  write_intrinsics(&f, stem);
  list_line("%s\n", image);
  free(v);
  frame_close(&f);
}

static void make_image(const char *dir, const char *set, int i) {
  char stem[64];

  if (!strcmp(set, "nyuv2")) make_nyuv2(dir, i);
  else if (!strcmp(set, "kitti")) make_kitti(dir, i);
  else if (!strcmp(set, "eth3d")) make_eth3d(dir, i);
  else if (!strcmp(set, "scannet")) make_scannet(dir, i);
  else if (!strcmp(set, "diode")) make_diode(dir, i);
  else if (!strcmp(set, "nyuv2_normals"))
    snprintf(stem, sizeof stem, "test/%06d", i), make_png_normals(dir, set, i, stem);
  else if (!strcmp(set, "scannet_normals"))
    snprintf(stem, sizeof stem, "scene0532_00/%06d", 10 * i), make_png_normals(dir, set, i, stem);
  else if (!strcmp(set, "ibims_normals"))
    snprintf(stem, sizeof stem, "ibims/corridor_%02d", i + 1), make_npy_normals(dir, set, i, stem, 0);
  else if (!strcmp(set, "sintel_normals"))
    snprintf(stem, sizeof stem, "alley_1/frame_%04d", i + 1), make_npy_normals(dir, set, i, stem, 0);
  else snprintf(stem, sizeof stem, "val/%06d_DT", 100277 + i), make_npy_normals(dir, set, i, stem, 20);
}

/* ---- archive ---- */

static void archive_file(struct archive *a, const char *root, const char *rel) {
  char path[IO_PATH_MAX], name[IO_PATH_MAX], *data = NULL;
  size_t n;
  struct archive_entry *e = archive_entry_new();

  check_ok(io_path(path, "%s/%s", root, rel));
  check_ok(io_path(name, "./%s", rel));
  check_ok(io_read_file(path, 1 << 28, &data, &n));
  archive_entry_set_pathname(e, name);
  archive_entry_set_size(e, (int64_t)n);
  archive_entry_set_filetype(e, AE_IFREG);
  archive_entry_set_perm(e, 0644);
  assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
  assert_int_equal(archive_write_data(a, data, n), n);
  archive_entry_free(e);
  free(data);
}

static void archive_folder(struct archive *a, const char *root, const char *sub) {
  char path[IO_PATH_MAX], rel[IO_PATH_MAX], **names = NULL;
  size_t n = 0;

  check_ok(io_path(path, "%s/%s", root, sub));
  check_ok(io_list_dir(path, &names, &n));
  for (size_t i = 0; i < n; i++) {
    check_ok(io_path(rel, "%s%s%s", sub, sub[0] ? "/" : "", names[i]));
    check_ok(io_path(path, "%s/%s", root, rel));
    if (io_is_dir(path)) archive_folder(a, root, rel);
    else if (!strstr(names[i], ".txt")) archive_file(a, root, rel);
  }
  io_free_names(&names, n);
}

static void make_archive(const char *dir, const char *set) {
  char root[IO_PATH_MAX], path[IO_PATH_MAX];
  struct archive *a = archive_write_new();

  check_ok(io_path(root, "%s/tar", dir));
  check_ok(io_make_dirs(root));
  check_ok(io_path(path, "%s/tar/%s.tar", dir, set));
  check_ok(io_path(root, "%s/%s", dir, set));
  assert_int_equal(archive_write_set_format_gnutar(a), ARCHIVE_OK);
  assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
  archive_folder(a, root, "");
  assert_int_equal(archive_write_close(a), ARCHIVE_OK);
  archive_write_free(a);
}

static void make_set(const char *dir, const char *set, bool depth) {
  char path[IO_PATH_MAX];

  check_ok(io_path(path, "%s/%s", dir, set));
  check_ok(io_make_dirs(path));
  check_ok(io_path(path, "%s/%s/%s", dir, set, ev_protocol_find(set, false)->list));
  assert_non_null(lists = fopen(path, "w"));
  for (int i = 0; i < MINI_IMAGES; i++) make_image(dir, set, i);
  assert_int_equal(fclose(lists), 0);
  if (depth) make_archive(dir, set);
}

void mini_sets_make(const char *dir) {
  for (const char *const *s = mini_depth_sets; *s; s++) make_set(dir, *s, true);
  for (const char *const *s = mini_normals_sets; *s; s++) make_set(dir, *s, false);
}
