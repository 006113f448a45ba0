#include "datasets/d2nt.h"

#include <math.h>
#include <stdbool.h>

static const double EPS = 1e-8;

typedef struct map {
  const float *z;
  int H, W;
  float *flat_x, *flat_y; /* [H,W] how flat the depth is along x and along y, 0 to 1 */
  float *laplacian;       /* [H,W] */
  double *n;              /* [H,W,3] x right, y down, z forward, towards the viewer */
} map;

float ds_d2nt_cm(uint16_t cm) { return (float)cm / 100.f * 100.f; }

/* Outside the image the reference sees its mirror without the edge itself (OpenCV's BORDER_REFLECT_101). */
static int mirrored(int i, int n) { return n == 1 ? 0 : i < 0 ? 1 : i >= n ? n - 2 : i; }

static float depth_at(const map *m, int y, int x) {
  return m->z[(size_t)mirrored(y, m->H) * (size_t)m->W + (size_t)mirrored(x, m->W)];
}

/* numpy takes this power in float32. */
static float flatness(float before, float here, float behind) {
  return powf((float)M_E, -fabsf((here - before) - (behind - here)));
}

/* The Laplacian's taps are summed in the order of the rows. */
static void measure(const map *m) {
  size_t i = 0;

  for (int y = 0; y < m->H; y++)
    for (int x = 0; x < m->W; x++, i++) {
      const float z = m->z[i], l = depth_at(m, y, x - 1), r = depth_at(m, y, x + 1);
      const float u = depth_at(m, y - 1, x), d = depth_at(m, y + 1, x);
      m->flat_x[i] = flatness(l, z, r);
      m->flat_y[i] = flatness(u, z, d);
      m->laplacian[i] = fabsf(-u - l + 4 * z - r - d);
    }
}

/* The slopes on either side as one, weighted towards the flatter side; beyond a ratio of e the other does not count.
 * The order of the four decisions is the reference's. */
static double blend(double flat1, double flat2, float slope1, float slope2) {
  double w1 = (flat1 + EPS / 2) / (EPS + flat1 + flat2), w2 = (flat2 + EPS / 2) / (EPS + flat1 + flat2);

  if (w1 / (w2 + EPS) > M_E) w1 = 1;
  if (w1 / (w2 + EPS) > M_E) w2 = 0;
  if (w2 / (w1 + EPS) > M_E) w1 = 0;
  if (w2 / (w1 + EPS) > M_E) w2 = 1;
  return w1 * (double)slope1 + w2 * (double)slope2;
}

static void estimate_at(const map *m, const ds_pinhole *k, int y, int x, double n[3]) {
  const size_t W = (size_t)m->W, i = (size_t)y * W + (size_t)x;
  const float z = m->z[i];
  const double gu = blend(x > 0 ? m->flat_x[i - 1] : 0, x + 1 < m->W ? m->flat_x[i + 1] : 0,
                          z - depth_at(m, y, x - 1), depth_at(m, y, x + 1) - z);
  const double gv = blend(y > 0 ? m->flat_y[i - W] : 0, y + 1 < m->H ? m->flat_y[i + W] : 0,
                          z - depth_at(m, y - 1, x), depth_at(m, y + 1, x) - z);
  const double u = x + 1 - k->cx, v = y + 1 - k->cy;

  n[0] = gu * k->fx;
  n[1] = gv * k->fy;
  n[2] = -((double)z + v * gv + u * gu);
  const double length = sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]) + EPS;
  for (int c = 0; c < 3; c++) n[c] /= length;
}

/* The normal of the flattest of left, right, up, down and the pixel itself, the first of equals. */
static const double *flattest(const map *m, int y, int x) {
  const size_t W = (size_t)m->W, i = (size_t)y * W + (size_t)x;
  const struct {
    bool there;
    size_t at;
  } place[] = {{x > 0, i - 1}, {x + 1 < m->W, i + 1}, {y > 0, i - W}, {y + 1 < m->H, i + W}, {true, i}};
  size_t best = i;
  float least = INFINITY;

  for (int j = 0; j < 5; j++)
    if (place[j].there && m->laplacian[place[j].at] < least) {
      best = place[j].at;
      least = m->laplacian[best];
    }
  return m->n + 3 * best;
}

int ds_d2nt_normals(ds_d2nt *d, const float *depth_cm, int H, int W, const ds_pinhole *k, uint16_t *out) {
  int st = OK;
  const size_t n = (size_t)H * (size_t)W;
  map m = {.z = depth_cm, .H = H, .W = W};

  TRY(ds_buf_need(&d->maps, 3 * n * sizeof(float)));
  TRY(ds_buf_need(&d->normals, 3 * n * sizeof(double)));
  m.flat_x = d->maps.p;
  m.flat_y = m.flat_x + n;
  m.laplacian = m.flat_y + n;
  m.n = d->normals.p;
  measure(&m);
  for (int y = 0; y < H; y++)
    for (int x = 0; x < W; x++) estimate_at(&m, k, y, x, m.n + 3 * ((size_t)y * (size_t)W + (size_t)x));
  for (int y = 0; y < H; y++)
    for (int x = 0; x < W; x++, out += 3) {
      const double *best = flattest(&m, y, x);
      for (int c = 0; c < 3; c++) out[c] = (uint16_t)((-best[c] + 1) * 32767.5);
    }
out:
  return st;
}

void ds_d2nt_free(ds_d2nt *d) {
  ds_buf_free(&d->maps);
  ds_buf_free(&d->normals);
}
