#include "datasets/sample.h"

size_t ds_sample_floats(int H, int W) { return 8 * (size_t)H * (size_t)W; }

void ds_sample_place(ds_sample *s, int H, int W, float *floats, uint8_t *mask) {
  const size_t n = (size_t)H * (size_t)W;

  s->H = H;
  s->W = W;
  s->rgb = floats;
  s->metric = floats + 3 * n;
  s->depth = floats + 4 * n;
  s->normals = floats + 5 * n;
  s->mask = mask;
}
