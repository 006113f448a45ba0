#include "eval/protocol.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "datasets/sample.h"

const char *const ev_box_names[4] = {"none", "nyu", "eigen", "garg"};

static bool starts_with(const char *s, const char *front) { return !strncmp(s, front, strlen(front)); }

static bool ends_with(const char *s, const char *end) {
  const size_t n = strlen(s), m = strlen(end);
  return n >= m && !strcmp(s + n - m, end);
}

static const char *file_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* printf; true when it fitted. */
static bool put(char out[EV_NAME_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool put(char out[EV_NAME_MAX], const char *fmt, ...) {
  va_list ap;

  va_start(ap, fmt);
  const int n = vsnprintf(out, EV_NAME_MAX, fmt, ap);
  va_end(ap);
  return n >= 0 && n < EV_NAME_MAX;
}

static bool image_only(const char *rgb, ev_names *out) {
  out->mask[0] = 0;
  return put(out->rgb, "%s", rgb);
}

/* test/<scene>/rgb_0001.png: depth_0001.png */
static bool nyuv2_names(const char *rgb, ev_names *out) {
  const char *file = file_of(rgb);

  return starts_with(rgb, "test/") && starts_with(file, "rgb_") && ends_with(file, ".png") && image_only(rgb, out) &&
         put(out->truth, "%.*sdepth_%s", (int)(file - rgb), rgb, file + 4);
}

/* <day>/<drive>/image_02/data/N.png: <drive>/proj_depth/groundtruth/image_02/N.png */
static bool kitti_names(const char *rgb, ev_names *out) {
  const char *drive = strchr(rgb, '/'), *camera = drive ? strstr(drive + 1, "/image_0") : NULL;

  if (!camera || !starts_with(camera + 9, "/data/") || !ends_with(rgb, ".png") || strchr(camera + 15, '/')) return false;
  return image_only(rgb, out) && put(out->truth, "%.*s/proj_depth/groundtruth%.9s/%s", (int)(camera - drive - 1), drive + 1,
                                     camera, camera + 15);
}

/* rgb/<scene>/images/dslr_images/X.JPG: depth/<scene>_dslr_depth/<scene>/ground_truth_depth/dslr_images/X.JPG */
static bool eth3d_names(const char *rgb, ev_names *out) {
  const char *scene = rgb + 4, *rest = strstr(rgb, "/images/dslr_images/");

  if (!starts_with(rgb, "rgb/") || !rest || rest < scene) return false;
  const int n = (int)(rest - scene);
  return image_only(rgb, out) && put(out->truth, "depth/%.*s_dslr_depth/%.*s/ground_truth_depth/dslr_images/%s", n, scene,
                                     n, scene, file_of(rgb));
}

/* <scene>/color/N.jpg: <scene>/depth/N.png */
static bool scannet_names(const char *rgb, ev_names *out) {
  const char *folder = strstr(rgb, "/color/");

  return folder && ends_with(rgb, ".jpg") && image_only(rgb, out) &&
         put(out->truth, "%.*s/depth/%.*s.png", (int)(folder - rgb), rgb, (int)strlen(folder + 7) - 4, folder + 7);
}

/* X.png: X_depth.npy, X_depth_mask.npy */
static bool diode_names(const char *rgb, ev_names *out) {
  const int stem = (int)strlen(rgb) - 4;

  return ends_with(rgb, ".png") && put(out->rgb, "%s", rgb) && put(out->truth, "%.*s_depth.npy", stem, rgb) &&
         put(out->mask, "%.*s_depth_mask.npy", stem, rgb);
}

/* X_img.png: X_normal, the ending is found when it is read */
static bool dsine_names(const char *rgb, ev_names *out) {
  const char *file = file_of(rgb), *tail = strstr(file, "_img.");

  return tail && !strchr(tail + 5, '.') && image_only(rgb, out) && put(out->truth, "%.*s_normal", (int)(tail - rgb), rgb);
}

#define NORMALS(set, shown, file, count, kind, place) \
  {.name = set "_normals", .title = shown, .task = EV_NORMALS, .list = file, .columns = 1, .images = count, .truth = kind, \
   .domain = place, .names_of = dsine_names}
static const ev_protocol protocols[] = {
    {.name = "nyuv2", .title = "NYUv2", .task = EV_DEPTH, .list = "filename_list_test.txt", .columns = 2, .images = 654,
     .truth = EV_U16_DEPTH, .unit = 1000, .near_m = 1e-3f, .far_m = 10, .box = EV_BOX_NYU, .domain = DS_INDOOR,
     .names_of = nyuv2_names},
    {.name = "kitti", .title = "KITTI (Eigen)", .task = EV_DEPTH, .list = "eigen_test_files_with_gt.txt", .columns = 2,
     .images = 652, .truth = EV_U16_DEPTH, .unit = 256, .near_m = 1e-5f, .far_m = 80, .box = EV_BOX_EIGEN,
     .benchmark_crop = true, .domain = DS_OUTDOOR, .names_of = kitti_names},
    {.name = "eth3d", .title = "ETH3D", .task = EV_DEPTH, .list = "eth3d_filename_list.txt", .columns = 2, .images = 454,
     .truth = EV_RAW_DEPTH, .near_m = 1e-5f, .far_m = INFINITY, .align_max_res = 1024, .processing_res = 756,
     .domain = DS_OUTDOOR, .names_of = eth3d_names},
    {.name = "scannet", .title = "ScanNet", .task = EV_DEPTH, .list = "scannet_val_sampled_list_800_1.txt", .columns = 2,
     .images = 800, .truth = EV_U16_DEPTH, .unit = 1000, .near_m = 1e-3f, .far_m = 10, .domain = DS_INDOOR,
     .names_of = scannet_names},
    {.name = "diode", .title = "DIODE", .task = EV_DEPTH, .list = "diode_val_all_filename_list.txt", .columns = 3,
     .images = 771, .truth = EV_NPY_DEPTH, .near_m = 0.6f, .far_m = 350, .processing_res = 640, .all_in_range = true,
     .domain = DS_OUTDOOR, .names_of = diode_names},
    NORMALS("nyuv2", "NYUv2 normals", "test.txt", 654, EV_PNG_NORMALS, DS_INDOOR),
    NORMALS("scannet", "ScanNet normals", "test.txt", 300, EV_PNG_NORMALS, DS_INDOOR),
    NORMALS("ibims", "iBims-1 normals", "ibims.txt", 100, EV_VECTOR_NORMALS, DS_INDOOR),
    NORMALS("sintel", "Sintel normals", "sintel.txt", 1064, EV_VECTOR_NORMALS, DS_OUTDOOR),
    NORMALS("oasis", "OASIS normals", "val.txt", 10000, EV_REGION_NORMALS, DS_OUTDOOR),
};

const ev_protocol *ev_protocol_at(size_t i) {
  return i < sizeof protocols / sizeof *protocols ? &protocols[i] : NULL;
}

const ev_protocol *ev_protocol_find(const char *name, bool normals) {
  char long_name[64];
  const ev_protocol *p, *exact = NULL;

  snprintf(long_name, sizeof long_name, "%s_normals", name);
  for (size_t i = 0; (p = ev_protocol_at(i)); i++) {
    if (!strcmp(p->name, long_name) && (normals || !exact)) return p;
    if (!strcmp(p->name, name)) exact = p;
  }
  return exact;
}

bool ev_protocol_pred_name(const ev_protocol *p, const char *rgb, char out[EV_NAME_MAX]) {
  const char *file = file_of(rgb), *dot = strrchr(file, '.');
  const int folder = (int)(file - rgb), stem = dot ? (int)(dot - file) : (int)strlen(file);

  if (p->task != EV_DEPTH) return false;
  if (p->names_of == nyuv2_names && starts_with(file, "rgb_")) return put(out, "%.*spred_%.*s", folder, rgb, stem - 4, file + 4);
  return put(out, "%.*spred_%.*s", folder, rgb, stem, file);
}

static int at_most(int v, int limit) { return v < limit ? v : limit; }

ev_bounds ev_box_bounds(ev_box box, int H, int W) {
  switch (box) {
  case EV_BOX_NYU: return (ev_bounds){at_most(45, H), at_most(471, H), at_most(41, W), at_most(601, W)};
  case EV_BOX_EIGEN:
    return (ev_bounds){(int)(0.3324324 * H), (int)(0.91351351 * H), (int)(0.0359477 * W), (int)(0.96405229 * W)};
  case EV_BOX_GARG:
    return (ev_bounds){(int)(0.40810811 * H), (int)(0.99189189 * H), (int)(0.03594771 * W), (int)(0.96405229 * W)};
  case EV_BOX_NONE: break;
  }
  return (ev_bounds){0, H, 0, W};
}
