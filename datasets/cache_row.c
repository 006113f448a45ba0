#include "datasets/cache_row.h"

#include <string.h>

void ds_bits_pack(const uint8_t *mask, size_t n, uint8_t *bits) {
  memset(bits, 0, (n + 7) / 8);
  for (size_t i = 0; i < n; i++) bits[i / 8] |= (uint8_t)((mask[i] != 0) << (7 - i % 8));
}

int64_t ds_bits_unpack(const uint8_t *bits, size_t n, uint8_t *mask) {
  uint8_t byte[256][8];
  int64_t ones = 0;

  for (int v = 0; v < 256; v++)
    for (int j = 0; j < 8; j++) byte[v][j] = v >> (7 - j) & 1;
  for (size_t i = 0; i < n / 8; i++) {
    memcpy(mask + 8 * i, byte[bits[i]], 8);
    ones += __builtin_popcount(bits[i]);
  }
  for (size_t i = n / 8 * 8; i < n; i++) ones += mask[i] = byte[bits[i / 8]][i % 8];
  return ones;
}

static void mirror_floats(float *p, size_t rows, size_t W) {
  for (; p && rows; rows--, p += W)
    for (size_t a = 0, b = W - 1; a < b; a++, b--) {
      const float t = p[a];
      p[a] = p[b];
      p[b] = t;
    }
}

static void mirror_bytes(uint8_t *p, size_t rows, size_t W) {
  for (; rows; rows--, p += W)
    for (size_t a = 0, b = W - 1; a < b; a++, b--) {
      const uint8_t t = p[a];
      p[a] = p[b];
      p[b] = t;
    }
}

void ds_row_mirror(ds_sample *s) {
  const size_t H = (size_t)s->H, W = (size_t)s->W;

  mirror_floats(s->metric, H, W);
  mirror_floats(s->depth, H, W);
  mirror_floats(s->normals, 3 * H, W);
  mirror_bytes(s->mask, H, W);
  for (size_t i = 0; s->normals && i < H * W; i++)
    if (s->mask[i]) s->normals[i] = -s->normals[i];
}

void *ds_row_plane(const ds_sample *s, int k) {
  switch (k) {
  case DS_CACHE_LATENT: return s->latent;
  case DS_CACHE_METRIC: return s->metric;
  case DS_CACHE_DEPTH: return s->depth;
  case DS_CACHE_NORMALS: return s->normals;
  default: return NULL;
  }
}

bool ds_row_same(const ds_sample *a, const ds_sample *b) {
  const size_t n = (size_t)a->H * (size_t)a->W;

  for (int k = DS_CACHE_METRIC; k <= DS_CACHE_NORMALS; k++) {
    const void *p = ds_row_plane(a, k), *q = ds_row_plane(b, k);
    if (!p != !q || (p && memcmp(p, q, (k == DS_CACHE_NORMALS ? 3 : 1) * n * sizeof(float)))) return false;
  }
  return !memcmp(a->mask, b->mask, n);
}
