#include "datasets/camera.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "datasets/csv.h"
#include "datasets/target.h"

enum { NAME_MAX_LEN = 64 };

struct entry {
  char scene[NAME_MAX_LEN];
  ds_camera camera;
};

struct ds_cameras {
  struct entry *entry; /* by name */
  size_t n, room;
};

void ds_camera_fixed(int H, int W, double f, ds_camera *out) {
  *out = (ds_camera){{{W / (2 * f), 0, 0}, {0, H / (2 * f), 0}, {0, 0, -1}}};
}

void ds_camera_ray(const ds_camera *c, int H, int W, int row, int col, double ray[3]) {
  const double u = -1 + (2 * col + 1) / (double)W, v = 1 - (2 * row + 1) / (double)H;

  for (int i = 0; i < 3; i++) ray[i] = c->M[i][0] * u + c->M[i][1] * v + c->M[i][2];
}

double ds_camera_planar(const double ray[3], double distance) {
  return distance * -ray[2] / sqrt(ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2]);
}

void ds_camera_turn(const double ray[3], const double n[3], float out[3]) {
  const double length = sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
  const double along = ray[0] * n[0] + ray[1] * n[1] + ray[2] * n[2];
  const double unit = (along > 0 ? -1 : 1) / length;

  memset(out, 0, 3 * sizeof *out);
  if (!(length >= DS_NORMAL_MIN) || !isfinite(length)) return;
  out[0] = (float)(-n[0] * unit);
  out[1] = (float)(n[1] * unit);
  out[2] = (float)(n[2] * unit);
}

/* The loops below are the functions above without calls and branches, which the compiler turns into vector code. */

BASE_CLONES void ds_camera_planar_row(const ds_camera *c, int H, int W, int row, const float *distance, double *out) {
  const double v = 1 - (2 * row + 1) / (double)H;

  for (int col = 0; col < W; col++) {
    const double u = -1 + (2 * col + 1) / (double)W;
    const double x = c->M[0][0] * u + c->M[0][1] * v + c->M[0][2];
    const double y = c->M[1][0] * u + c->M[1][1] * v + c->M[1][2];
    const double z = c->M[2][0] * u + c->M[2][1] * v + c->M[2][2];
    out[col] = (double)distance[col] * -z / sqrt(x * x + y * y + z * z);
  }
}

BASE_CLONES void ds_camera_turn_row(const ds_camera *c, int H, int W, int row, const float *n, float *out) {
  const double v = 1 - (2 * row + 1) / (double)H;

  for (int col = 0; col < W; col++) {
    const double u = -1 + (2 * col + 1) / (double)W;
    const double a = n[3 * col], b = n[3 * col + 1], d = n[3 * col + 2];
    const double along = (c->M[0][0] * u + c->M[0][1] * v + c->M[0][2]) * a +
                         (c->M[1][0] * u + c->M[1][1] * v + c->M[1][2]) * b +
                         (c->M[2][0] * u + c->M[2][1] * v + c->M[2][2]) * d;
    const double length = sqrt(a * a + b * b + d * d);
    const double unit = (along > 0 ? -1 : 1) / length;
    const bool known = length >= DS_NORMAL_MIN && length <= DBL_MAX;
    const float x = (float)(-a * unit), y = (float)(b * unit), z = (float)(d * unit);
    out[3 * col] = known ? x : 0;
    out[3 * col + 1] = known ? y : 0;
    out[3 * col + 2] = known ? z : 0;
  }
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct entry *)a)->scene, ((const struct entry *)b)->scene);
}

/* All rays go forward when those of the four corners do: z is linear in u and v. */
static bool looks_forward(const ds_camera *c) {
  for (int i = 0; i < 4; i++)
    if (!(c->M[2][0] * (i & 1 ? 1 : -1) + c->M[2][1] * (i & 2 ? 1 : -1) + c->M[2][2] < 0)) return false;
  return true;
}

static int read_entry(const ds_csv *csv, char **fields, int scene, int at[3][3], struct entry *e) {
  int st = OK;
  char *end;

  NEED(strlen(fields[scene]) < sizeof e->scene, E_DATA, "%s:%d: scene_name '%.80s' is too long", ds_csv_path(csv),
       ds_csv_line(csv), fields[scene]);
  snprintf(e->scene, sizeof e->scene, "%s", fields[scene]);
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) {
      const char *text = fields[at[i][j]];
      e->camera.M[i][j] = strtod(text, &end);
      NEED(end != text && *end == 0 && isfinite(e->camera.M[i][j]), E_DATA,
           "%s:%d: M_cam_from_uv_%d%d of %s: wanted a number, found '%.40s'", ds_csv_path(csv), ds_csv_line(csv), i,
           j, e->scene, text);
    }
  NEED(looks_forward(&e->camera), E_DATA, "%s:%d: M_cam_from_uv of %s has rays that do not go forward",
       ds_csv_path(csv), ds_csv_line(csv), e->scene);
out:
  return st;
}

static int entries_grow(ds_cameras *c) {
  int st = OK;
  void *p;

  if (c->n < c->room) return OK;
  NEED((p = realloc(c->entry, (2 * c->room + 512) * sizeof *c->entry)) != NULL, E_NOMEM, "out of memory: cameras");
  c->entry = p;
  c->room = 2 * c->room + 512;
out:
  return st;
}

int ds_cameras_open(const char *csv_path, ds_cameras **out) {
  int st = OK;
  ds_csv *csv = NULL;
  ds_cameras *c = NULL;
  char **fields, name[32];
  int scene, at[3][3];

  NEED((c = calloc(1, sizeof *c)) != NULL, E_NOMEM, "out of memory: cameras");
  TRY(ds_csv_open(csv_path, &csv));
  TRY(ds_csv_column(csv, "scene_name", &scene));
  for (int i = 0; i < 9; i++) {
    snprintf(name, sizeof name, "M_cam_from_uv_%d%d", i / 3, i % 3);
    TRY(ds_csv_column(csv, name, &at[i / 3][i % 3]));
  }
  for (;;) {
    TRY(ds_csv_next(csv, &fields));
    if (!fields) break;
    TRY(entries_grow(c));
    TRY(read_entry(csv, fields, scene, at, &c->entry[c->n]));
    c->n++;
  }
  if (c->n) qsort(c->entry, c->n, sizeof *c->entry, by_name);
  *out = c;
  c = NULL;
out:
  ds_cameras_close(&c);
  ds_csv_close(&csv);
  return st;
}

void ds_cameras_close(ds_cameras **c) {
  if (!*c) return;
  free((*c)->entry);
  free(*c);
  *c = NULL;
}

const ds_camera *ds_cameras_find(const ds_cameras *c, const char *scene) {
  struct entry key;
  const struct entry *e;

  if (strlen(scene) >= sizeof key.scene || c->n == 0) return NULL;
  snprintf(key.scene, sizeof key.scene, "%s", scene);
  e = bsearch(&key, c->entry, c->n, sizeof key, by_name);
  return e ? &e->camera : NULL;
}
