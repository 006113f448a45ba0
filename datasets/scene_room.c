/* datasets/scene_room.c: furnished rooms in the manner of Hypersim. */
#include "datasets/scene_math.h"

static sc_rgb paint(sc_dice *d, double lo, double hi) {
  const double grey = dice_in(d, lo, hi);

  return rgb(grey * dice_in(d, 0.7, 1.15), grey * dice_in(d, 0.7, 1.1), grey * dice_in(d, 0.6, 1.1));
}

static sc_material surface(sc_dice *d, const sc_texture *choices, int n, double lo, double hi) {
  const sc_texture t = choices[dice_int(d, n)];
  const sc_rgb a = paint(d, lo, hi);

  return (sc_material){t, a, rgb_mul(a, dice_in(d, 0.45, 0.9)), dice_in(d, 0.3, 1.2), dice_in(d, 0, 0.3), 0};
}

static const sc_texture wall_choices[] = {SC_SOLID, SC_STRIPES, SC_BRICKS, SC_NOISE, SC_CHECKER};
static const sc_texture floor_choices[] = {SC_PLANKS, SC_CHECKER, SC_NOISE};
static const sc_texture thing_choices[] = {SC_SOLID, SC_NOISE, SC_STRIPES, SC_CHECKER, SC_PLANKS};

static int thing_material(sc_scene *s, sc_dice *d) { return sc_add_material(s, surface(d, thing_choices, 5, 0.15, 0.75)); }

/* The shell: six faces seen from within, floor at y = 0. Without a back wall every ray through it sees nothing. */
static sc_vec add_shell(sc_scene *s, sc_dice *d) {
  const sc_vec half = v3(dice_in(d, 1.9, 3.6), dice_in(d, 1.2, 1.7), dice_in(d, 2.2, 4.5));
  sc_prim room = sc_box(v3(0, half.y, 0), half, 0, 0);

  room.inside = true;
  room.material[0] = sc_add_material(s, surface(d, wall_choices, 5, 0.35, 0.85));
  room.material[1] = sc_add_material(s, surface(d, floor_choices, 3, 0.25, 0.6));
  room.material[2] = sc_add_material(s, surface(d, wall_choices, 5, 0.35, 0.85));
  sc_add_prim(s, room);
  /* a ceiling of its own colour, one millimetre below the shell's */
  const int white = sc_add_material(s, (sc_material){SC_SOLID, rgb(0.8, 0.8, 0.78), rgb(0, 0, 0), 1, 0, 0});
  sc_add_prim(s, sc_box(v3(0, 2 * half.y, 0), v3(half.x, 0.001, half.z), 0, white));
  return half;
}

static void add_table(sc_scene *s, sc_dice *d, sc_vec at, double yaw) {
  const double w = dice_in(d, 0.4, 0.9), l = dice_in(d, 0.3, 0.6), h = dice_in(d, 0.4, 0.8);
  const int m = thing_material(s, d);

  sc_add_prim(s, sc_box(v3(at.x, h, at.z), v3(w, 0.03, l), yaw, m));
  for (int i = 0; i < 4; i++) {
    const sc_vec leg = v_yaw(v3((i & 1 ? 1 : -1) * (w - 0.06), 0, (i & 2 ? 1 : -1) * (l - 0.06)), cos(yaw), -sin(yaw));
    sc_add_prim(s, sc_box(v3(at.x + leg.x, h / 2, at.z + leg.z), v3(0.035, h / 2, 0.035), yaw, m));
  }
  const double r = dice_in(d, 0.08, 0.22);
  sc_add_prim(s, sc_ball(v3(at.x, h + 0.03 + r, at.z), v3(r, r, r), thing_material(s, d)));
}

static void add_block(sc_scene *s, sc_dice *d, sc_vec at, double yaw) {
  const sc_vec half = v3(dice_in(d, 0.15, 0.7), dice_in(d, 0.15, 0.95), dice_in(d, 0.15, 0.6));

  sc_add_prim(s, sc_box(v3(at.x, half.y, at.z), half, yaw, thing_material(s, d)));
}

static void add_sofa(sc_scene *s, sc_dice *d, sc_vec at, double yaw) {
  const double w = dice_in(d, 0.6, 1.1);
  const int m = thing_material(s, d);
  const sc_vec back = v_yaw(v3(0, 0, -0.38), cos(yaw), -sin(yaw));

  sc_add_prim(s, sc_box(v3(at.x, 0.21, at.z), v3(w, 0.21, 0.42), yaw, m));
  sc_add_prim(s, sc_box(v3(at.x + back.x, 0.45, at.z + back.z), v3(w, 0.45, 0.1), yaw, m));
}

static void add_ball(sc_scene *s, sc_dice *d, sc_vec at) {
  const double r = dice_in(d, 0.12, 0.5), tall = dice_in(d, 0.7, 1.6);

  sc_add_prim(s, sc_ball(v3(at.x, r * tall, at.z), v3(r, r * tall, r), thing_material(s, d)));
}

static void add_things(sc_scene *s, sc_dice *d, sc_vec half) {
  const int n = 4 + dice_int(d, 6);

  for (int i = 0; i < n; i++) {
    /* the viewpoints keep to the back third (large z) */
    const sc_vec at = v3(dice_in(d, -half.x + 0.5, half.x - 0.5), 0, dice_in(d, -half.z + 0.5, half.z * 0.35));
    const double yaw = dice_int(d, 3) ? 1.5707963267948966 * dice_int(d, 4) : dice_in(d, 0, 6.28);
    switch (dice_int(d, 5)) {
    case 0: add_table(s, d, at, yaw); break;
    case 1: add_ball(s, d, at); break;
    case 2: add_sofa(s, d, at, yaw); break;
    default: add_block(s, d, at, yaw); break;
    }
  }
}

static void add_wall_things(sc_scene *s, sc_dice *d, sc_vec half) {
  const int window = sc_add_material(s, (sc_material){SC_WINDOWS, rgb(0.5, 0.5, 0.5), rgb(0.9, 0.95, 1), 0.6, 0, 1.5});
  const int n = 1 + dice_int(d, 3);

  for (int i = 0; i < n; i++) {
    const sc_vec size = v3(dice_in(d, 0.3, 0.9), dice_in(d, 0.25, 0.6), 0.03);
    const double along = dice_in(d, -0.6, 0.6), y = dice_in(d, half.y, half.y * 1.4);
    const int m = dice_int(d, 2) ? window : thing_material(s, d);
    if (dice_int(d, 2))
      sc_add_prim(s, sc_box(v3(along * half.x, y, -half.z), size, 0, m));
    else
      sc_add_prim(s, sc_box(v3((dice_int(d, 2) ? 1 : -1) * half.x, y, along * half.z), v3(0.03, size.y, size.x), 0, m));
  }
}

static void add_lamps(sc_scene *s, sc_dice *d, sc_vec half) {
  s->nlight = 1 + dice_int(d, 3);
  for (int i = 0; i < s->nlight; i++) {
    const double p = dice_in(d, 4, 14) / s->nlight;
    s->light[i] = (sc_light){false, v3(dice_in(d, -0.7, 0.7) * half.x, dice_in(d, 1.5, 1.9) * half.y, dice_in(d, -0.7, 0.7) * half.z),
                             rgb(p, p * dice_in(d, 0.8, 1), p * dice_in(d, 0.6, 1))};
  }
  const double a = dice_in(d, 0.15, 0.5);
  s->ambient_up = rgb(a, a, a);
  s->ambient_down = rgb_mul(s->ambient_up, 0.8);
}

/* An opening: the shell's far part is cut away by building the room of walls instead. */
static void open_far_wall(sc_scene *s, sc_vec half) {
  const sc_prim shell = s->prim[0];
  const double t = 0.05;

  const int things = s->nprim;

  s->nprim = 0; /* the floor takes the shell's place */
  sc_add_prim(s, sc_box(v3(0, -t, 0), v3(half.x, t, half.z), 0, shell.material[1]));
  s->nprim = things;
  for (int side = -1; side <= 1; side += 2)
    sc_add_prim(s, sc_box(v3(side * (half.x + t), half.y, 0), v3(t, half.y, half.z), 0, shell.material[0]));
  sc_add_prim(s, sc_box(v3(-half.x * 0.6, half.y, -half.z - t), v3(half.x * 0.4, half.y, t), 0, shell.material[2]));
}

void sc_room(uint64_t seed, sc_scene *out) {
  sc_dice d = dice(seed, "room", 0);

  *out = (sc_scene){.seed = seed};
  const sc_vec half = add_shell(out, &d);
  add_things(out, &d, half);
  add_wall_things(out, &d, half);
  add_lamps(out, &d, half);
  if (seed % 8 == 3) open_far_wall(out, half);
}

void sc_room_camera(const sc_scene *s, int frame, bool tilted, sc_camera *out) {
  sc_dice d = dice(s->seed, "view", (uint64_t)frame), lens = dice(s->seed, "lens", 0);
  double wall_x = 0, wall_z = 0;

  for (int i = 0; i < s->nprim; i++) { /* the shell is the largest box */
    wall_x = fmax(wall_x, s->prim[i].half.x);
    wall_z = fmax(wall_z, s->prim[i].half.z);
  }
  const double yaw = dice_in(&d, -0.5, 0.5), pitch = dice_in(&d, -0.3, 0.08), cy = cos(yaw), sy = sin(yaw);
  const double cp = cos(pitch), sp = sin(pitch);
  *out = (sc_camera){.at = v3(dice_in(&d, -0.6, 0.6) * wall_x, dice_in(&d, 1.1, 1.8), dice_in(&d, 0.45, 0.85) * wall_z),
                     .R = {{cy, sy * sp, sy * cp}, {0, cp, -sp}, {-sy, cy * sp, cy * cp}},
                     .M = {{0.57735026918962576, 0, 0}, {0, 0.43301270189221932, 0}, {0, 0, -1}}};
  if (!tilted) return;
  out->M[0][0] *= dice_in(&lens, 0.85, 1.15);
  out->M[1][1] *= dice_in(&lens, 0.85, 1.15);
  out->M[0][2] = dice_in(&lens, -0.07, 0.07);
  out->M[1][2] = dice_in(&lens, -0.1, 0.1);
  out->M[2][1] = dice_in(&lens, -0.03, 0.03);
  out->M[2][2] = -dice_in(&lens, 0.99, 1.01);
}
