#include "datasets/sample.h"

size_t ds_sample_floats(int H, int W) { return 8 * (size_t)H * (size_t)W; }

size_t ds_latent_bytes(const ds_latent_form *f) { return (size_t)f->C * (size_t)f->h * (size_t)f->w * (size_t)f->size; }

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
