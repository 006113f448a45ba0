#include "datasets/sample_check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PIXELS_MIN = 200, ORDERS = 6, SIGNS = 8 };
static const double CLEARLY_BETTER = 0.1, GOOD = 0.8;
/* Share of the normals that may point away from the viewer: wide views have some whose z does. */
static const double AWAY_MAX = 0.5, AWAY_Z = -0.2;
/* Curvature, relative to depth, above which a pixel lies on an edge. */
static const float EDGE = 0.02f;

/* ---- frames ---- */

typedef struct plane { int H, W; const float *metric; const uint8_t *mask; float lo, hi; } plane;

/* A depth that the target's clamp did not touch. */
static bool is_free(const plane *p, size_t i) { return p->mask[i] && p->metric[i] > p->lo && p->metric[i] < p->hi; }

/* Slopes of the depth at (y,x) from pixels k away; false on edges, at borders and beside what is unknown. */
static bool slopes(const plane *p, int y, int x, int k, float *zx, float *zy) {
  const size_t W = (size_t)p->W, i = (size_t)y * W + (size_t)x, right = (size_t)k, down = (size_t)k * W;

  if (!is_free(p, i) || !is_free(p, i - right) || !is_free(p, i + right) || !is_free(p, i - down) || !is_free(p, i + down))
    return false;
  const float *z = p->metric + i;
  if (fabsf(z[right] - 2 * z[0] + *(z - right)) > EDGE * z[0] || fabsf(z[down] - 2 * z[0] + *(z - down)) > EDGE * z[0]) return false;
  *zx = (z[right] - *(z - right)) / (float)(2 * k);
  *zy = (z[down] - *(z - down)) / (float)(2 * k);
  return true;
}

/* The normal (x left, y up, z back) of the surface with these slopes, seen with focal length f at u,v from the centre. */
static void normal_of(double z, double zx, double zy, double f, double u, double v, double m[3]) {
  const double n[3] = {-zx * f, -zy * f, z + u * zx + v * zy}, length = sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);

  for (int i = 0; i < 3; i++) m[i] = n[i] / length;
}

/* sum[i][j]: channel i of the depth's normals times channel j of the given ones, over all pixels. */
static int64_t correlate(const plane *p, const float *normals, double f, double sum[3][3]) {
  const size_t n = (size_t)p->H * (size_t)p->W;
  const int k = p->W / 100 > 1 ? p->W / 100 : 1;
  int64_t pixels = 0;

  memset(sum, 0, 9 * sizeof **sum);
  for (int y = k; y < p->H - k; y += k)
    for (int x = k; x < p->W - k; x += k) {
      const size_t at = (size_t)y * (size_t)p->W + (size_t)x;
      float zx, zy;
      double m[3];
      if (!slopes(p, y, x, k, &zx, &zy)) continue;
      normal_of((double)p->metric[at], (double)zx, (double)zy, f, x - (p->W - 1) / 2., y - (p->H - 1) / 2., m);
      for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) sum[i][j] += m[i] * (double)normals[(size_t)j * n + at];
      pixels++;
    }
  return pixels;
}

/* The best of the 48 ways to order the channels and choose their signs. */
static void best_of_all(double sum[3][3], int64_t pixels, ds_frame_found *out) {
  static const int orders[ORDERS][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

  *out = (ds_frame_found){.pixels = pixels, .best = -2};
  for (int o = 0; o < ORDERS; o++)
    for (int s = 0; s < SIGNS; s++) {
      double score = 0;
      for (int i = 0; i < 3; i++) score += (s >> i & 1 ? -1 : 1) * sum[i][orders[o][i]] / (double)pixels;
      if (o == 0 && s == 0) out->as_it_is = score;
      if (score <= out->best) continue;
      out->best = score;
      memcpy(out->from, orders[o], sizeof out->from);
      for (int i = 0; i < 3; i++) out->sign[i] = s >> i & 1 ? -1 : 1;
    }
}

static void range_of(const float *metric, const uint8_t *mask, size_t n, float *lo, float *hi) {
  *lo = INFINITY;
  *hi = -INFINITY;
  for (size_t i = 0; i < n; i++) {
    if (!mask[i]) continue;
    *lo = fminf(*lo, metric[i]);
    *hi = fmaxf(*hi, metric[i]);
  }
}

void ds_find_frame(int H, int W, const float *metric, const uint8_t *mask, const float *normals, ds_frame_found *out) {
  static const double focal[] = {0.6, 0.9, 1.3}; /* of the width */
  plane p = {H, W, metric, mask, 0, 0};

  *out = (ds_frame_found){.from = {0, 1, 2}, .sign = {1, 1, 1}};
  range_of(metric, mask, (size_t)H * (size_t)W, &p.lo, &p.hi);
  for (int i = 0; i < 3; i++) {
    double sum[3][3];
    ds_frame_found found;
    const int64_t pixels = correlate(&p, normals, focal[i] * W, sum);
    if (pixels == 0) return;
    best_of_all(sum, pixels, &found);
    if (i == 0 || found.best > out->best) *out = found;
  }
}

bool ds_frame_is_wrong(const ds_frame_found *f) {
  return f->pixels >= PIXELS_MIN && f->best > GOOD && f->best - f->as_it_is > CLEARLY_BETTER;
}

/* ---- samples ---- */

static int check_rgb(const char *id, const float *rgb, size_t n) {
  int st = OK;

  for (size_t i = 0; i < n; i++)
    NEED(rgb[i] >= -1 && rgb[i] <= 1, E_DATA, "%s: rgb: a value of %g, wanted -1 to 1", id, (double)rgb[i]);
out:
  return st;
}

static int check_depth(const char *id, const float *metric, const uint8_t *mask, size_t n, double near_m, double far_m) {
  int st = OK;

  for (size_t i = 0; i < n; i++)
    NEED(!mask[i] || (isfinite(metric[i]) && metric[i] > (float)near_m && (far_m == 0 || metric[i] < (float)far_m)),
         E_DATA, "%s: depth: a valid pixel of %g m, wanted near %g to far %g", id, (double)metric[i], near_m, far_m);
out:
  return st;
}

/* "(-x, y, z)": what the channels would have to be made of. */
static const char *frame_text(const ds_frame_found *f, char text[32]) {
  int n = 0;

  for (int i = 0; i < 3; i++)
    n += snprintf(text + n, 32 - (size_t)n, "%s%s%c", i ? ", " : "", f->sign[i] < 0 ? "-" : "", "xyz"[f->from[i]]);
  return text;
}

static int check_normals(const char *id, const ds_group *g, const float *normals, const float *metric, const uint8_t *mask) {
  int st = OK;
  const size_t n = (size_t)g->H * (size_t)g->W;
  int64_t valid = 0, away = 0;
  ds_frame_found found;
  char text[32];

  for (size_t i = 0; i < n; i++) {
    const float x = normals[i], y = normals[n + i], z = normals[2 * n + i], length = sqrtf(x * x + y * y + z * z);
    if (!mask[i]) continue;
    NEED(fabsf(length - 1) < 1e-3f, E_DATA, "%s: normals: a valid one of length %g", id, (double)length);
    valid++;
    away += (double)z < AWAY_Z;
  }
  if (metric) {
    ds_find_frame(g->H, g->W, metric, mask, normals, &found);
    NEED(!ds_frame_is_wrong(&found), E_DATA,
         "%s: the normals are in another frame than its depth: mean cosine %.2f with the depth's own slopes, but %.2f read as "
         "(%s); wanted x left, y up, z back",
         id, found.as_it_is, found.best, frame_text(&found, text));
  }
  NEED((double)away <= AWAY_MAX * (double)valid, E_DATA,
       "%s: %lld of %lld normals point away from the viewer; wanted x left, y up, z back", id, (long long)away, (long long)valid);
out:
  return st;
}

int ds_group_check(const ds_group *g, double near_m, double far_m) {
  int st = OK;
  const size_t n = (size_t)g->H * (size_t)g->W;

  for (int b = 0; b < g->B; b++) {
    const size_t at = n * (size_t)b;
    const float *metric = g->metric ? g->metric + at : NULL;
    if (g->rgb) TRY(check_rgb(g->id[b], g->rgb + 3 * at, 3 * n));
    if (metric) TRY(check_depth(g->id[b], metric, g->mask + at, n, near_m, far_m));
    if (g->normals) TRY(check_normals(g->id[b], g, g->normals + 3 * at, metric, g->mask + at));
  }
out:
  return st;
}
