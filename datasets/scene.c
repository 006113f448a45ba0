#include "datasets/scene.h"

#include <float.h>
#include <string.h>

#include "datasets/scene_math.h"

static const double NEAR_SURFACE = 1e-6; /* metres; a shadow ray starts this far off its surface */

typedef struct ray { sc_vec from, dir; } ray;

/* What a ray meets, in the primitive's own axes. */
typedef struct meet {
  double t;
  int prim, axis;       /* axis of the face for boxes */
  sc_vec local, normal; /* local point and normal */
} meet;

static sc_vec to_world(const sc_prim *p, sc_vec v) { return v_yaw(v, p->cos_yaw, -p->sin_yaw); }

/* Slabs: the entry for a solid box, the exit for a room seen from within. */
static bool meet_box(const sc_prim *p, const ray *r, meet *m) {
  const double from[3] = {r->from.x, r->from.y, r->from.z}, dir[3] = {r->dir.x, r->dir.y, r->dir.z};
  const double half[3] = {p->half.x, p->half.y, p->half.z};
  double enter = -DBL_MAX, leave = DBL_MAX, normal[3] = {0};
  int enter_axis = 0, leave_axis = 0;

  for (int i = 0; i < 3; i++) {
    if (fabs(dir[i]) < 1e-300) {
      if (fabs(from[i]) > half[i]) return false;
      continue;
    }
    const double a = (-half[i] - from[i]) / dir[i], b = (half[i] - from[i]) / dir[i];
    const double lo = a < b ? a : b, hi = a < b ? b : a;
    if (lo > enter) { enter = lo; enter_axis = i; }
    if (hi < leave) { leave = hi; leave_axis = i; }
  }
  m->t = p->inside ? leave : enter;
  m->axis = p->inside ? leave_axis : enter_axis;
  if (enter > leave || m->t <= NEAR_SURFACE) return false;
  normal[m->axis] = dir[m->axis] > 0 ? -1 : 1;
  m->normal = v3(normal[0], normal[1], normal[2]);
  return true;
}

static bool meet_ellipsoid(const sc_prim *p, const ray *r, meet *m) {
  const sc_vec o = v3(r->from.x / p->half.x, r->from.y / p->half.y, r->from.z / p->half.z);
  const sc_vec d = v3(r->dir.x / p->half.x, r->dir.y / p->half.y, r->dir.z / p->half.z);
  const double a = v_dot(d, d), b = v_dot(o, d), c = v_dot(o, o) - 1, disc = b * b - a * c;

  if (disc <= 0) return false;
  m->t = (-b - sqrt(disc)) / a;
  if (m->t <= NEAR_SURFACE) return false;
  const sc_vec q = v_add(o, v_mul(d, m->t));
  m->normal = v_unit(v3(q.x / p->half.x, q.y / p->half.y, q.z / p->half.z));
  m->axis = 0;
  return true;
}

static bool meet_ground(const ray *r, meet *m) {
  m->t = -r->from.y / r->dir.y;
  m->normal = v3(0, 1, 0);
  m->axis = 0;
  return r->dir.y < 0 && m->t > NEAR_SURFACE;
}

static bool meet_prim(const sc_prim *p, const ray *world, meet *m) {
  const sc_vec from = v_sub(world->from, p->center);
  const double along = v_dot(from, world->dir), off = v_dot(from, from) - along * along;
  bool hit = false;

  if (off > p->reach * p->reach) return false; /* most rays pass most things by */
  const ray r = {v_yaw(from, p->cos_yaw, p->sin_yaw), v_yaw(world->dir, p->cos_yaw, p->sin_yaw)};
  switch (p->shape) {
  case SC_BOX: hit = meet_box(p, &r, m); break;
  case SC_ELLIPSOID: hit = meet_ellipsoid(p, &r, m); break;
  case SC_GROUND: hit = meet_ground(&r, m); break;
  }
  if (hit) m->local = v_add(r.from, v_mul(r.dir, m->t));
  return hit;
}

static bool nearest(const sc_scene *s, const ray *r, meet *best) {
  *best = (meet){.t = DBL_MAX};
  for (int i = 0; i < s->nprim; i++) {
    meet m;
    if (meet_prim(&s->prim[i], r, &m) && m.t < best->t) {
      *best = m;
      best->prim = i;
    }
  }
  return best->t < DBL_MAX;
}

static bool shadowed(const sc_scene *s, const ray *r, double far) {
  for (int i = 0; i < s->nprim; i++) {
    meet m;
    if (meet_prim(&s->prim[i], r, &m) && m.t < far) return true;
  }
  return false;
}

/* ---- textures: functions of two surface coordinates in metres ---- */

static double lattice(uint64_t seed, int64_t i, int64_t j) {
  uint64_t h = seed ^ (uint64_t)i * 0x9E3779B97F4A7C15u ^ (uint64_t)j * 0xC2B2AE3D27D4EB4Fu;

  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9u;
  h = (h ^ (h >> 27)) * 0x94D049BB133111EBu;
  return (double)((h ^ (h >> 31)) >> 11) * 0x1p-53;
}

static double smooth_noise(uint64_t seed, double u, double v) {
  const double fu = floor(u), fv = floor(v), a = u - fu, b = v - fv;
  const double sa = a * a * (3 - 2 * a), sb = b * b * (3 - 2 * b);
  const int64_t i = (int64_t)fu, j = (int64_t)fv;
  const double top = lattice(seed, i, j) * (1 - sa) + lattice(seed, i + 1, j) * sa;
  const double low = lattice(seed, i, j + 1) * (1 - sa) + lattice(seed, i + 1, j + 1) * sa;

  return top * (1 - sb) + low * sb;
}

static double fraction(double x) { return x - floor(x); }

static sc_rgb texture_bricks(const sc_material *m, double u, double v, double joint) {
  const double row = floor(v * 2), x = fraction(u + 0.5 * fraction(row / 2) * 2), y = fraction(v * 2);

  return x < joint || y < 2 * joint ? m->b : m->a;
}

static sc_rgb texture_windows(const sc_material *m, double u, double v) {
  const double x = fraction(u), y = fraction(v);

  return x > 0.25 && x < 0.75 && y > 0.3 && y < 0.8 ? m->b : m->a;
}

/* Asphalt with a dashed centre line and solid edges; u across the road, v along it. */
static sc_rgb texture_road(const sc_material *m, double u, double v) {
  const bool centre = fabs(u) < 0.08 && fraction(v / 6) < 0.5, edge = fabs(fabs(u) - 3.4) < 0.08;

  return centre || edge ? rgb(0.7, 0.7, 0.68) : fabs(u) < 4 ? m->a : m->b;
}

static sc_rgb reflectance(const sc_scene *s, const sc_material *m, double u_m, double v_m) {
  const double u = u_m / m->scale, v = v_m / m->scale;
  const double grain = smooth_noise(s->seed, u_m * 23, v_m * 23) * 0.12 + smooth_noise(s->seed + 1, u_m * 3, v_m * 3) * 0.16;
  sc_rgb c = m->a;

  switch (m->texture) {
  case SC_SOLID: break;
  case SC_CHECKER: c = ((int64_t)(floor(u) + floor(v)) & 1) ? m->b : m->a; break;
  case SC_STRIPES: c = fraction(u) < 0.5 ? m->a : m->b; break;
  case SC_BRICKS: c = texture_bricks(m, u, v, 0.04); break;
  case SC_PLANKS: c = rgb_mix(m->a, m->b, fraction(v) < 0.03 ? 1 : lattice(s->seed, (int64_t)floor(v), 7)); break;
  case SC_NOISE: c = rgb_mix(m->a, m->b, smooth_noise(s->seed + 2, u, v)); break;
  case SC_WINDOWS: c = texture_windows(m, u, v); break;
  case SC_ROAD: c = texture_road(m, u_m, v_m); break;
  }
  return rgb_mul(c, 0.86 + grain);
}

/* The two coordinates that run along the surface, by the normal's largest part. */
static void surface_uv(const meet *m, double *u, double *v) {
  const double ax = fabs(m->normal.x), ay = fabs(m->normal.y), az = fabs(m->normal.z);

  if (ay >= ax && ay >= az) {
    *u = m->local.x;
    *v = m->local.z;
  } else {
    *u = ax > az ? m->local.z : m->local.x;
    *v = m->local.y;
  }
}

/* ---- light ---- */

static sc_rgb from_light(const sc_scene *s, const sc_light *l, sc_vec at, sc_vec n, sc_vec to_eye, double specular) {
  const sc_vec way = l->sun ? l->at : v_sub(l->at, at);
  const double far = l->sun ? DBL_MAX : v_len(way);
  const sc_vec dir = v_unit(way);
  const double facing = v_dot(dir, n);
  const ray shadow = {v_add(at, v_mul(n, 1e-4)), dir};

  if (facing <= 0 || shadowed(s, &shadow, far)) return rgb(0, 0, 0);
  const double shine = v_dot(n, v_unit(v_add(dir, to_eye)));
  const double gloss = specular * pow(shine > 0 ? shine : 0, 40);
  return rgb_mul(l->power, (facing + gloss) / (l->sun ? 1 : far * far));
}

static sc_rgb shade(const sc_scene *s, const meet *m, sc_vec point, sc_vec normal, sc_vec to_eye) {
  const sc_material *mat = &s->material[s->prim[m->prim].material[m->axis]];
  sc_rgb light = rgb_mix(s->ambient_down, s->ambient_up, 0.5 + 0.5 * normal.y);
  double u, v;

  for (int i = 0; i < s->nlight; i++)
    light = rgb_add(light, from_light(s, &s->light[i], point, normal, to_eye, mat->specular));
  surface_uv(m, &u, &v);
  const sc_rgb c = reflectance(s, mat, u, v);
  return rgb_add(rgb_scale(c, light), rgb_mul(c, mat->glow));
}

static sc_rgb sky(const sc_scene *s, sc_vec dir) {
  const double up = dir.y < 0 ? 0 : dir.y;

  return rgb_mix(s->sky_low, s->sky_high, sqrt(up));
}

/* ---- camera ---- */

static sc_vec apply(const double A[3][3], sc_vec v) {
  return v3(A[0][0] * v.x + A[0][1] * v.y + A[0][2] * v.z, A[1][0] * v.x + A[1][1] * v.y + A[1][2] * v.z,
            A[2][0] * v.x + A[2][1] * v.y + A[2][2] * v.z);
}

void sc_trace(const sc_scene *s, const sc_camera *c, int W, int H, double col, double row, sc_hit *hit, sc_rgb *color) {
  const sc_vec cam = apply(c->M, v3(-1 + (2 * col + 1) / W, 1 - (2 * row + 1) / H, 1));
  const double len = v_len(cam);
  const ray r = {c->at, v_mul(apply(c->R, cam), 1 / len)};
  meet m;

  if (!nearest(s, &r, &m)) {
    *hit = (sc_hit){.distance = -1, .planar = -1, .entity = -1};
    if (color) *color = sky(s, r.dir);
    return;
  }
  const sc_prim *p = &s->prim[m.prim];
  *hit = (sc_hit){m.t, m.t * -cam.z / len, v_add(r.from, v_mul(r.dir, m.t)), to_world(p, m.normal), p->entity};
  if (!color) return;
  *color = shade(s, &m, hit->point, hit->normal, v_mul(r.dir, -1));
  if (s->fog > 0) *color = rgb_mix(s->sky_low, *color, exp(-s->fog * m.t));
}

static sc_rgb mean_radiance(const sc_scene *s, const sc_camera *c, int W, int H, int col, int row, int side) {
  sc_rgb sum = rgb(0, 0, 0), one;
  sc_hit hit;

  for (int j = 0; j < side; j++)
    for (int i = 0; i < side; i++) {
      sc_trace(s, c, W, H, col + (i + 0.5) / side - 0.5, row + (j + 0.5) / side - 0.5, &hit, &one);
      sum = rgb_add(sum, one);
    }
  return rgb_mul(sum, 1.0 / (side * side));
}

static sc_vec to_camera(const sc_camera *c, sc_vec w) {
  return v3(c->R[0][0] * w.x + c->R[1][0] * w.y + c->R[2][0] * w.z, c->R[0][1] * w.x + c->R[1][1] * w.y + c->R[2][1] * w.z,
            c->R[0][2] * w.x + c->R[1][2] * w.y + c->R[2][2] * w.z);
}

static void put_rgb(const sc_image *im, size_t i, sc_rgb c) {
  im->rgb[3 * i] = (float)c.r;
  im->rgb[3 * i + 1] = (float)c.g;
  im->rgb[3 * i + 2] = (float)c.b;
}

static void put_center(const sc_scene *s, const sc_camera *c, int col, int row, const sc_image *im) {
  const size_t i = (size_t)row * (size_t)im->W + (size_t)col;
  sc_hit hit;
  sc_rgb color;

  sc_trace(s, c, im->W, im->H, col, row, &hit, &color);
  const sc_vec n = hit.entity > 0 ? to_camera(c, hit.normal) : v3(0, 0, 0);
  put_rgb(im, i, color);
  im->normal[3 * i] = (float)n.x;
  im->normal[3 * i + 1] = (float)n.y;
  im->normal[3 * i + 2] = (float)n.z;
  im->planar[i] = (float)hit.planar;
  im->distance[i] = (float)hit.distance;
  im->entity[i] = (int16_t)hit.entity;
}

static bool differs(const sc_image *im, size_t a, size_t b) {
  static const float VISIBLE = 0.1f; /* of the larger radiance */

  if (im->entity[a] != im->entity[b]) return true;
  for (size_t k = 0; k < 3; k++) {
    const float x = im->rgb[3 * a + k], y = im->rgb[3 * b + k];
    if (fabsf(x - y) > VISIBLE * fmaxf(x, y)) return true;
  }
  return false;
}

static void mark_edges(const sc_image *im) {
  const size_t W = (size_t)im->W, H = (size_t)im->H;

  memset(im->edge, 0, W * H);
  for (size_t y = 0; y < H; y++)
    for (size_t x = 0; x < W; x++) {
      const size_t i = y * W + x;
      if (x + 1 < W && differs(im, i, i + 1)) im->edge[i] = im->edge[i + 1] = 1;
      if (y + 1 < H && differs(im, i, i + W)) im->edge[i] = im->edge[i + W] = 1;
    }
}

void sc_render(const sc_scene *s, const sc_camera *c, int samples, const sc_image *out) {
  const int side = samples >= 9 ? 3 : samples >= 4 ? 2 : 1, W = out->W, H = out->H;

  for (int row = 0; row < H; row++)
    for (int col = 0; col < W; col++) put_center(s, c, col, row, out);
  if (side == 1) return;
  mark_edges(out);
  for (int i = 0; i < W * H; i++)
    if (out->edge[i]) put_rgb(out, (size_t)i, mean_radiance(s, c, W, H, i % W, i / W, side));
}
