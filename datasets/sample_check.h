/* datasets/sample_check.h: are decoded samples what the losses take them for? For the look before training. */
#ifndef DATASETS_SAMPLE_CHECK_H
#define DATASETS_SAMPLE_CHECK_H
#include "datasets/loader.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Every plane that is there: rgb finite and in [-1,1]; valid depths finite and between near_m and far_m (0: no limit); valid normals of
 * unit length, most of them not away from the viewer, and not in another frame than the depth's own slopes are
 * (ds_find_frame). Errors: E_DATA: the sample's id and what is wrong. */
int ds_group_check(const ds_group *g, double near_m, double far_m);

/* How a normal map would have to be read to agree with the depth beside it. */
typedef struct ds_frame_found {
  int64_t pixels;      /* compared: valid, not clamped, on smooth surface */
  double as_it_is;     /* mean cosine between the normals and those of the depth */
  double best;         /* the same for the best of all orders and signs of the channels: */
  int from[3];         /* channel i comes from channel from[i] */
  int sign[3];         /* times this */
} ds_frame_found;
/* metric [H,W] metres, mask [H,W], normals [3,H,W]. The camera is unknown here: views of about 40 to 80 degrees are
 * tried, which is enough to tell axes apart. */
void ds_find_frame(int H, int W, const float *metric, const uint8_t *mask, const float *normals, ds_frame_found *out);
/* Does it say that the frame is wrong? It takes 200 pixels that agree much better in another one. */
bool ds_frame_is_wrong(const ds_frame_found *f);
#ifdef __cplusplus
}
#endif
#endif
