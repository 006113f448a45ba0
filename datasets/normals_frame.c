#include "datasets/normals_frame.h"

void ds_normals_to_lub(ds_normals_frame frame, float v[3]) {
  static const signed char sign[][3] = {
      [DS_FRAME_LUB] = {1, 1, 1}, [DS_FRAME_MARIGOLD] = {-1, 1, 1}, [DS_FRAME_OPENCV] = {-1, -1, -1}};

  for (int c = 0; c < 3; c++) v[c] *= sign[frame][c];
}
