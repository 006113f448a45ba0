/* datasets/normals_frame.h: the axes that normal maps are stored in, by name. */
#ifndef DATASETS_NORMALS_FRAME_H
#define DATASETS_NORMALS_FRAME_H
#include "datasets/source.h"
#ifdef __cplusplus
extern "C" {
#endif
/* A vector stored in `frame` as LUB, and back: the frames differ from LUB by signs alone. */
void ds_normals_to_lub(ds_normals_frame frame, float v[3]);
#ifdef __cplusplus
}
#endif
#endif
