/* datasets/camera.h: pinhole cameras, tilted and shifted ones too, as Hypersim's M_cam_from_uv gives them.
 * Camera axes: x right, y up, z back. Pixel (col, row) of W x H has u = -1 + (2 col + 1)/W, v = 1 - (2 row + 1)/H;
 * its ray is M (u, v, 1). Source: apple/ml-hypersim contrib/mikeroberts3000. */
#ifndef DATASETS_CAMERA_H
#define DATASETS_CAMERA_H
#include <stddef.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ds_camera {
  double M[3][3];
} ds_camera;

/* The camera of focal length f pixels with its centre in the middle. */
void ds_camera_fixed(int H, int W, double f, ds_camera *out);
void ds_camera_ray(const ds_camera *c, int H, int W, int row, int col, double ray[3]);
/* Planar depth of a point at `distance` along a ray. */
double ds_camera_planar(const double ray[3], double distance);

/* A stored normal n (x right, y up, z back, any length, either side of the surface) as LUB: unit length, turned
 * against the ray that sees it. 0 when n is not finite or shorter than DS_NORMAL_MIN. */
void ds_camera_turn(const double ray[3], const double n[3], float out[3]);

/* The same for a whole row, to the same bits: out [W] of distance [W], and LUB normals out [W,3] of n [W,3]. */
void ds_camera_planar_row(const ds_camera *c, int H, int W, int row, const float *distance, double *out);
void ds_camera_turn_row(const ds_camera *c, int H, int W, int row, const float *n, float *out);

/* The cameras of a metadata_camera_parameters.csv. */
typedef struct ds_cameras ds_cameras;
/* Errors: E_DATA (missing file or column; a number that is none; rays that do not go forward), E_NOMEM. */
int ds_cameras_open(const char *csv_path, ds_cameras **out);
void ds_cameras_close(ds_cameras **c);
/* Lent until close; NULL when the scene is not in the table. */
const ds_camera *ds_cameras_find(const ds_cameras *c, const char *scene);
#ifdef __cplusplus
}
#endif
#endif
