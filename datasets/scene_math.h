/* datasets/scene_math.h: vectors and seeded choices for the scene files. */
#ifndef DATASETS_SCENE_MATH_H
#define DATASETS_SCENE_MATH_H
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "datasets/scene.h"

static inline sc_vec v3(double x, double y, double z) {
  const sc_vec v = {x, y, z};
  return v;
}
static inline sc_vec v_add(sc_vec a, sc_vec b) { return v3(a.x + b.x, a.y + b.y, a.z + b.z); }
static inline sc_vec v_sub(sc_vec a, sc_vec b) { return v3(a.x - b.x, a.y - b.y, a.z - b.z); }
static inline sc_vec v_mul(sc_vec a, double s) { return v3(a.x * s, a.y * s, a.z * s); }
static inline double v_dot(sc_vec a, sc_vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static inline double v_len(sc_vec a) { return sqrt(v_dot(a, a)); }
static inline sc_vec v_unit(sc_vec a) { return v_mul(a, 1 / v_len(a)); }
static inline sc_vec v_cross(sc_vec a, sc_vec b) {
  return v3(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}
/* Turns about y. */
static inline sc_vec v_yaw(sc_vec a, double c, double s) { return v3(c * a.x + s * a.z, a.y, c * a.z - s * a.x); }

static inline sc_rgb rgb(double r, double g, double b) {
  const sc_rgb c = {r, g, b};
  return c;
}
static inline sc_rgb rgb_mul(sc_rgb a, double s) { return rgb(a.r * s, a.g * s, a.b * s); }
static inline sc_rgb rgb_add(sc_rgb a, sc_rgb b) { return rgb(a.r + b.r, a.g + b.g, a.b + b.b); }
static inline sc_rgb rgb_scale(sc_rgb a, sc_rgb b) { return rgb(a.r * b.r, a.g * b.g, a.b * b.b); }
static inline sc_rgb rgb_mix(sc_rgb a, sc_rgb b, double t) { return rgb_add(rgb_mul(a, 1 - t), rgb_mul(b, t)); }

/* A stream of choices for building one scene: the only place where order of drawing matters. */
typedef struct sc_dice { rng_key key; uint64_t n; } sc_dice;
static inline sc_dice dice(uint64_t seed, const char *what, uint64_t a) {
  const sc_dice d = {rng_stream(seed, what, a, 0), 0};
  return d;
}
static inline double dice_in(sc_dice *d, double lo, double hi) { return lo + (hi - lo) * rng_uniform(&d->key, d->n++); }
static inline int dice_int(sc_dice *d, int n) { return (int)rng_below(&d->key, d->n++, (uint64_t)n); }

/* Adding to a scene; both return the index. Past the limits the last one is overwritten: scenes stay within them. */
static inline int sc_add_material(sc_scene *s, sc_material m) {
  const int i = s->nmaterial < SC_MAX_MATERIALS ? s->nmaterial++ : SC_MAX_MATERIALS - 1;
  s->material[i] = m;
  return i;
}
static inline int sc_add_prim(sc_scene *s, sc_prim p) {
  const int i = s->nprim < SC_MAX_PRIMS ? s->nprim++ : SC_MAX_PRIMS - 1;
  p.entity = i + 1;
  p.cos_yaw = cos(p.yaw);
  p.sin_yaw = sin(p.yaw);
  p.reach = p.shape == SC_GROUND || p.inside ? HUGE_VAL : v_len(p.half);
  s->prim[i] = p;
  return i;
}
/* A primitive of one material, at rest. */
static inline sc_prim sc_solid(sc_shape shape, sc_vec center, sc_vec half, int material) {
  sc_prim p;
  memset(&p, 0, sizeof p);
  p.shape = shape;
  p.center = center;
  p.half = half;
  for (int i = 0; i < 3; i++) p.material[i] = material;
  return p;
}
static inline sc_prim sc_box(sc_vec center, sc_vec half, double yaw, int material) {
  sc_prim p = sc_solid(SC_BOX, center, half, material);
  p.yaw = yaw;
  return p;
}
static inline sc_prim sc_ball(sc_vec center, sc_vec radii, int material) { return sc_solid(SC_ELLIPSOID, center, radii, material); }
#endif
