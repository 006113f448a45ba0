/* datasets/scene_street.c: streets in the manner of Virtual KITTI 2. */
#include "datasets/scene_math.h"

const char *const sc_weather_name[SC_WEATHERS] = {"morning", "fog", "rain", "sunset", "overcast", "clone"};

static const double CAMERA_HEIGHT = 1.6, BASELINE = 0.532725, STREET_LENGTH = 160;

static sc_rgb paint(sc_dice *d, double lo, double hi) {
  return rgb(dice_in(d, lo, hi), dice_in(d, lo, hi), dice_in(d, lo, hi));
}

static void add_houses(sc_scene *s, sc_dice *d) {
  for (int side = -1; side <= 1; side += 2) {
    double z = dice_in(d, 0, 8);
    while (z < STREET_LENGTH) {
      const double w = dice_in(d, 3, 9), h = dice_in(d, 2.5, 10), depth = dice_in(d, 3, 6), off = dice_in(d, 6.5, 9.5);
      const sc_texture t = dice_int(d, 3) ? SC_WINDOWS : SC_BRICKS;
      const sc_rgb wall = paint(d, 0.2, 0.7);
      const int m = sc_add_material(s, (sc_material){t, wall, t == SC_WINDOWS ? rgb(0.08, 0.1, 0.14) : rgb_mul(wall, 0.6),
                                                     t == SC_WINDOWS ? 2.6 : 0.5, 0.1, 0});
      sc_add_prim(s, sc_box(v3(side * (off + depth), h / 2, -z - w), v3(depth, h / 2, w), 0, m));
      z += 2 * w + dice_in(d, 0.5, 9);
    }
  }
}

static void add_tree(sc_scene *s, sc_dice *d, double x, double z, int trunk, int leaves) {
  const double h = dice_in(d, 1.5, 3), r = dice_in(d, 0.8, 1.8);

  sc_add_prim(s, sc_box(v3(x, h / 2, z), v3(0.12, h / 2, 0.12), dice_in(d, 0, 1), trunk));
  sc_add_prim(s, sc_ball(v3(x, h + r * 0.8, z), v3(r, r * dice_in(d, 0.9, 1.6), r), leaves));
}

static void add_car(sc_scene *s, sc_dice *d, double x, double z, double yaw) {
  const int body = sc_add_material(s, (sc_material){SC_SOLID, paint(d, 0.05, 0.8), rgb(0, 0, 0), 1, 0.6, 0});
  const int dark = sc_add_material(s, (sc_material){SC_SOLID, rgb(0.04, 0.05, 0.06), rgb(0, 0, 0), 1, 0.4, 0});
  const double c = cos(yaw), sn = sin(yaw);

  sc_add_prim(s, sc_box(v3(x, 0.62, z), v3(0.88, 0.36, 2.1), yaw, body));
  sc_add_prim(s, sc_box(v3(x, 1.2, z), v3(0.76, 0.28, 1.15), yaw, dark));
  for (int i = 0; i < 4; i++) {
    const sc_vec at = v_yaw(v3((i & 1 ? 1 : -1) * 0.85, 0.33, (i & 2 ? 1 : -1) * 1.3), c, -sn);
    sc_add_prim(s, sc_ball(v3(x + at.x, 0.33, z + at.z), v3(0.14, 0.33, 0.33), dark));
  }
}

static void add_roadside(sc_scene *s, sc_dice *d) {
  const int trunk = sc_add_material(s, (sc_material){SC_NOISE, rgb(0.2, 0.13, 0.08), rgb(0.12, 0.08, 0.05), 0.2, 0, 0});
  const int leaves = sc_add_material(s, (sc_material){SC_NOISE, rgb(0.08, 0.25, 0.06), rgb(0.16, 0.36, 0.1), 0.35, 0, 0});
  const int steel = sc_add_material(s, (sc_material){SC_SOLID, rgb(0.35, 0.36, 0.38), rgb(0, 0, 0), 1, 0.3, 0});

  for (int i = 0; i < 12; i++) {
    const double side = dice_int(d, 2) ? 1 : -1, z = -dice_in(d, 5, 80);
    switch (dice_int(d, 4)) {
    case 0: sc_add_prim(s, sc_box(v3(side * 4.6, 2.4, z), v3(0.07, 2.4, 0.07), 0, steel)); break;
    case 1:
      if (s->nprim < SC_MAX_PRIMS - 8) add_car(s, d, side * dice_in(d, 1.8, 2.6), z - 4, dice_in(d, -0.05, 0.05));
      break;
    default: add_tree(s, d, side * dice_in(d, 4.6, 6), z, trunk, leaves); break;
    }
  }
}

typedef struct weather { sc_rgb sun, up, down, high, low; double fog, height; } weather;

static const weather weathers[SC_WEATHERS] = {
    [SC_MORNING] = {{1.7, 1.5, 1.2}, {0.5, 0.55, 0.65}, {0.2, 0.2, 0.2}, {0.25, 0.45, 0.85}, {0.75, 0.8, 0.9}, 0, 0.5},
    [SC_FOG] = {{0.2, 0.2, 0.2}, {0.8, 0.8, 0.82}, {0.4, 0.4, 0.4}, {0.7, 0.71, 0.73}, {0.7, 0.71, 0.73}, 0.035, 0.8},
    [SC_RAIN] = {{0, 0, 0}, {0.5, 0.52, 0.56}, {0.25, 0.25, 0.27}, {0.4, 0.42, 0.46}, {0.5, 0.52, 0.55}, 0.008, 0.8},
    [SC_SUNSET] = {{1.9, 1.0, 0.5}, {0.35, 0.33, 0.42}, {0.15, 0.12, 0.1}, {0.3, 0.32, 0.55}, {0.95, 0.6, 0.35}, 0, 0.22},
    [SC_OVERCAST] = {{0.15, 0.15, 0.15}, {0.7, 0.72, 0.75}, {0.3, 0.3, 0.3}, {0.62, 0.65, 0.7}, {0.72, 0.74, 0.77}, 0.002, 0.9},
    [SC_CLONE] = {{1.8, 1.75, 1.6}, {0.5, 0.56, 0.66}, {0.22, 0.22, 0.22}, {0.22, 0.42, 0.85}, {0.65, 0.75, 0.92}, 0, 0.9}};

void sc_street(uint64_t seed, sc_weather kind, sc_scene *out) {
  sc_dice d = dice(seed, "street", 0);
  const weather *w = &weathers[kind];
  const double round = dice_in(&d, 0, 6.283);

  *out = (sc_scene){.seed = seed, .ambient_up = w->up, .ambient_down = w->down, .sky_high = w->high, .sky_low = w->low, .fog = w->fog};
  const int ground = sc_add_material(out, (sc_material){SC_ROAD, rgb(0.16, 0.16, 0.17), rgb(0.34, 0.32, 0.3), 1, 0, 0});
  sc_add_prim(out, (sc_prim){.shape = SC_GROUND, .material = {ground, ground, ground}});
  add_roadside(out, &d);
  add_houses(out, &d);
  out->light[0] = (sc_light){true, v_unit(v3(cos(round), w->height, sin(round))), w->sun};
  out->nlight = w->sun.r > 0;
}

void sc_street_camera(const sc_scene *s, int frame, int camera, int W, int H, sc_camera *out) {
  sc_dice d = dice(s->seed, "drive", 0);
  const double f = 725.0087 * W / 1242, yaw = dice_in(&d, -0.04, 0.04), c = cos(yaw), n = sin(yaw);

  *out = (sc_camera){.at = v3(dice_in(&d, -1.5, 1.5) + camera * BASELINE * c, CAMERA_HEIGHT, -0.8 * frame - camera * BASELINE * n),
                     .R = {{c, 0, n}, {0, 1, 0}, {-n, 0, c}},
                     .M = {{W / (2 * f), 0, 0}, {0, H / (2 * f), 0}, {0, 0, -1}}};
}
