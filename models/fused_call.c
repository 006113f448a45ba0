#include "models/fused_call.h"

#include <assert.h>

kn_type md_kn_type(const tchc_tensor *t) { return tchc_type(t) == TCHC_BF16 ? KN_BF16 : KN_F32; }

int md_stream_of(const tchc_tensor *t, void **stream) {
  const tchc_device d = tchc_where(t);

  *stream = NULL;
  return d.type == TCHC_CUDA ? tchc_cuda_stream(d.index, stream) : OK;
}

md_extent md_extent_of(const tchc_tensor *t) {
  const int64_t C = tchc_size(t, tchc_ndim(t) == 4 ? 1 : -1);

  if (tchc_ndim(t) == 4) return (md_extent){tchc_size(t, 0), tchc_size(t, 2) * tchc_size(t, 3), C};
  return (md_extent){1, C ? tchc_numel(t) / C : 0, C};
}

static tchc_format format_of(const tchc_tensor *t) { return tchc_ndim(t) == 4 ? TCHC_CHANNELS_LAST : TCHC_CONTIGUOUS; }

int md_laid_out(const tchc_tensor *t, tchc_tensor **out) { return tchc_contiguous(t, format_of(t), out); }

int md_empty_like(const tchc_tensor *t, tchc_tensor **out) {
  int64_t shape[4];
  const int ndim = tchc_ndim(t);

  assert(ndim >= 1 && ndim <= 4);
  for (int i = 0; i < ndim; i++) shape[i] = tchc_size(t, i);
  return tchc_empty(shape, ndim, tchc_type(t), tchc_where(t), format_of(t), out);
}

void md_image_free(md_image *i) {
  tchc_free(&i->t);
  tchc_free(&i->part);
}

void md_image_promote(md_image *i) {
  tchc_promote(i->t);
  if (i->part) tchc_promote(i->part);
}
