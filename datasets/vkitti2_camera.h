/* datasets/vkitti2_camera.h: the cameras of Virtual KITTI 2. For vkitti2.c alone. */
#ifndef DATASETS_VKITTI2_CAMERA_H
#define DATASETS_VKITTI2_CAMERA_H
#include <stdbool.h>

#include "datasets/d2nt.h"
#ifdef __cplusplus
extern "C" {
#endif
/* The published set's camera, scaled to frames of H x W: fx = fy = 725.0087, cx 620.5, cy 187 for 375 x 1242. */
void ds_vkitti2_camera(int H, int W, ds_pinhole *out);
/* Camera 0 or 1 of a textgt intrinsic.txt, by its first row there; *found false when the file or the row is missing. Where
 * the text is the published camera to its six digits, also of an image with another number of columns, the focal length
 * is that camera's. Errors: E_DATA "path:line: wanted ...". */
int ds_vkitti2_camera_read(const char *path, int camera, ds_pinhole *out, bool *found);
#ifdef __cplusplus
}
#endif
#endif
