/* datasets/scene.h: small analytic scenes (boxes, ellipsoids, a ground plane) whose depth and normals are exact.
 * World axes: x right, y up, z back, metres. Everything about a scene is a function of its seed. */
#ifndef DATASETS_SCENE_H
#define DATASETS_SCENE_H
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
typedef struct sc_vec { double x, y, z; } sc_vec;
typedef struct sc_rgb { double r, g, b; } sc_rgb;

typedef enum { SC_SOLID, SC_CHECKER, SC_STRIPES, SC_BRICKS, SC_PLANKS, SC_NOISE, SC_WINDOWS, SC_ROAD } sc_texture;
typedef struct sc_material {
  sc_texture texture;
  sc_rgb a, b;       /* linear reflectance of the pattern's two parts */
  double scale;      /* metres a repeat */
  double specular;   /* 0..1 */
  double glow;       /* emitted radiance over reflectance: windows, lamps */
} sc_material;

typedef enum { SC_BOX, SC_ELLIPSOID, SC_GROUND } sc_shape;
typedef struct sc_prim {
  sc_shape shape;
  sc_vec center, half;   /* half extents or radii; a ground plane uses center.y alone */
  double yaw;            /* turned about y, radians */
  bool inside;           /* a box seen from within: the room */
  int material[3];       /* by face: across x, y, z; ellipsoids and ground use the first */
  int entity;            /* render_entity_id, > 0 */
  double cos_yaw, sin_yaw, reach; /* kept by sc_add_prim: of yaw; the farthest a point lies from the center */
} sc_prim;

typedef struct sc_light {
  bool sun;              /* `at` is then the direction to it, unit */
  sc_vec at;
  sc_rgb power;          /* sun: irradiance; lamp: radiant intensity, falls off with the square of the distance */
} sc_light;

enum { SC_MAX_PRIMS = 128, SC_MAX_MATERIALS = 64, SC_MAX_LIGHTS = 4 };
typedef struct sc_scene {
  sc_prim prim[SC_MAX_PRIMS];
  int nprim;
  sc_material material[SC_MAX_MATERIALS];
  int nmaterial;
  sc_light light[SC_MAX_LIGHTS];
  int nlight;
  sc_rgb ambient_up, ambient_down; /* light from above and from below */
  sc_rgb sky_high, sky_low;        /* what a ray sees that hits nothing */
  double fog;                      /* extinction a metre; fog has the colour sky_low */
  uint64_t seed;
} sc_scene;

/* A pinhole camera: column (0..W-1), row (0..H-1) -> direction in camera axes x right, y up, z back by M (u,v,1)^T with
 * u = -1 + (2 col + 1)/W, v = 1 - (2 row + 1)/H (Hypersim's M_cam_from_uv). */
typedef struct sc_camera {
  sc_vec at;
  double R[3][3];       /* world from camera; columns right, up, back */
  double M[3][3];
} sc_camera;

typedef struct sc_hit {
  double distance;      /* along the unit ray, metres; < 0 when nothing was hit */
  double planar;        /* depth along the camera's axis */
  sc_vec point;         /* world */
  sc_vec normal;        /* world, unit, towards the viewer */
  int entity;           /* -1 when nothing was hit */
} sc_hit;

/* A furnished room, or (odd seeds of every eighth) one with an opening to nothing. */
void sc_room(uint64_t seed, sc_scene *out);
/* Viewpoint `frame` of a room; tilted: a shifted, tilted view camera, as 266 of Hypersim's 457 scenes have. */
void sc_room_camera(const sc_scene *s, int frame, bool tilted, sc_camera *out);

typedef enum { SC_MORNING, SC_FOG, SC_RAIN, SC_SUNSET, SC_OVERCAST, SC_CLONE, SC_WEATHERS } sc_weather;
extern const char *const sc_weather_name[SC_WEATHERS];
/* A street with houses, trees, cars and poles; the geometry depends on the seed alone, the light on the weather too. */
void sc_street(uint64_t seed, sc_weather weather, sc_scene *out);
/* Camera 0 or 1 (0.532725 m to the right) of frame `frame`; focal length 725.0087/1242 of the width. */
void sc_street_camera(const sc_scene *s, int frame, int camera, int W, int H, sc_camera *out);

/* Traces the pixel's centre (col, row may be fractions). rgb (may be NULL): linear radiance. */
void sc_trace(const sc_scene *s, const sc_camera *c, int W, int H, double col, double row, sc_hit *hit, sc_rgb *rgb);

typedef struct sc_image {
  int W, H;
  float *rgb;                /* [H,W,3] linear radiance */
  float *planar, *distance;  /* [H,W] metres, -1 = nothing */
  float *normal;             /* [H,W,3] unit, camera axes x right, y up, z back; 0 = nothing */
  int16_t *entity;           /* [H,W] */
  uint8_t *edge;             /* [H,W] scratch */
} sc_image;
/* Depth, normal and entity are of the pixel's centre. Radiance too, but where it or the entity changes to a neighbour it is
 * the mean of `samples` (1, 4, 9) rays, so that edges are as soft as in a real picture. */
void sc_render(const sc_scene *s, const sc_camera *c, int samples, const sc_image *out);
#ifdef __cplusplus
}
#endif
#endif
