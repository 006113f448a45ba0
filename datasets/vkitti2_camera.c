#include "datasets/vkitti2_camera.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

enum { FILE_MAX = 16 << 20, FULL_H = 375, FULL_W = 1242 };
static const ds_pinhole published = {725.0087, 725.0087, 620.5, 187};

void ds_vkitti2_camera(int H, int W, ds_pinhole *out) {
  const double x = (double)W / FULL_W, y = (double)H / FULL_H;

  *out = (ds_pinhole){published.fx * x, published.fy * y, (published.cx + 0.5) * x - 0.5,
                      (published.cy + 0.5) * y - 0.5};
}

static bool is_near(double a, double b) { return fabs(a - b) <= 1e-5 * b; }

static bool is_published(const ds_pinhole *k) {
  return is_near(k->fx, published.fx) && is_near(k->fy, published.fy) && is_near(k->cx, published.cx) &&
         is_near(k->cy, published.cy);
}

/* The text has six digits. Where they are those of the published camera, seen in whole columns, they are taken for it. */
static double with_all_digits(double f) {
  const double columns = round(f * FULL_W / published.fx), exact = published.fx * columns / FULL_W;

  return fabs(exact - f) <= 5e-6 * f && columns > 0 ? exact : f;
}

/* "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]" */
static int read_row(const char *path, int line, const char *text, int *camera, ds_pinhole *k) {
  int st = OK, frame;

  NEED(sscanf(text, "%d %d %lf %lf %lf %lf", &frame, camera, &k->fx, &k->fy, &k->cx, &k->cy) == 6, E_DATA,
       "%s:%d: wanted frame, cameraID and four numbers of the camera, found '%.60s'", path, line, text);
  NEED(k->fx > 0 && k->fy > 0 && isfinite(k->fx) && isfinite(k->fy) && isfinite(k->cx) && isfinite(k->cy), E_DATA,
       "%s:%d: a camera of %g, %g, %g, %g pixels", path, line, k->fx, k->fy, k->cx, k->cy);
out:
  return st;
}

int ds_vkitti2_camera_read(const char *path, int camera, ds_pinhole *out, bool *found) {
  int st = OK, line = 0, of;
  char *text = NULL;
  ds_pinhole k;
  size_t n;

  *found = false;
  if (!io_exists(path)) goto out;
  TRY(io_read_file(path, FILE_MAX, &text, &n));
  for (char *at = text, *next; at && *at && !*found; at = next) {
    if ((next = strchr(at, '\n'))) *next++ = 0;
    if (line++ == 0 || at[strspn(at, " \t\r")] == 0) continue; /* the header, an empty line */
    TRY(read_row(path, line, at, &of, &k));
    *found = of == camera;
  }
  if (!*found) goto out;
  k.fx = with_all_digits(k.fx);
  k.fy = with_all_digits(k.fy);
  *out = is_published(&k) ? published : k;
out:
  free(text);
  return st;
}
