#include "trainer/footprint.h"

#include <unistd.h>

/* What each operator saves, summed over a network. A tensor between two blocks is counted once: fused, by the block that
 * makes it (a norm keeps the sum before it); plain, by the block that reads it. */
typedef struct tally {
  tr_footprint_way way;
  int64_t kept, back;
} tally;

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t halved(int64_t n) { return (n + 1) / 2; }

/* A block that keeps `inside`, or where blocks run again the one tensor `between` it and its neighbour. In backward `passing`
 * more come and go; a block that runs again has all of its inside too. */
static void add_block(tally *t, int64_t between, int64_t inside, int64_t passing) {
  const bool fused = t->way.fused, again = t->way.recompute;

  t->kept += again ? between : inside;
  t->back = larger(t->back, passing + (again ? inside - (fused ? 0 : between) : 0));
}

/* norm, SiLU and convolution, twice, of `before` channels and those of a skip. Plain, each keeps its input. Fused, SiLU is made
 * again from the sum before the norm, and a frozen convolution keeps nothing. */
static void add_resnet(tally *t, int64_t before, int64_t skip, int64_t out, int64_t area, bool frozen) {
  const bool fused = t->way.fused, again = t->way.recompute;
  const int64_t in = before + skip, inside = !fused ? 3 * in + 3 * out : frozen ? 2 * out : in + 3 * out;
  const int64_t passing = !again ? larger(in, out) : fused ? in + out : 0;

  add_block(t, (fused ? out : before) * area, inside * area, passing * area);
}

/* The image's norm and both projections keep 3. A layer: three layer norms 6, q, k, v and both outputs 6, the gated
 * feed-forward 8 before the gate and, unless the gate is made again, 8 behind it. Attention keeps one number a query. */
static void add_transformer(tally *t, int64_t c, int64_t area, int layers) {
  add_block(t, c * area, (3 + (int64_t)layers * (t->way.fused ? 20 : 28)) * c * area, 8 * c * area);
}

static void add_unet_mid(tally *t, const md_unet_config *c, int64_t area) {
  const int64_t width = c->block_out_channels[c->blocks - 1];

  if (c->mid_block == MD_MID_NONE) return;
  add_resnet(t, width, 0, width, area, false);
  if (c->mid_block != MD_MID_CROSS_ATTN) return;
  add_transformer(t, width, area, c->transformer_layers[c->blocks - 1]);
  add_resnet(t, width, 0, width, area, false);
}

tr_footprint tr_footprint_unet(const md_unet_config *c, int h, int w, tr_footprint_way way) {
  const int last = c->blocks - 1;
  const int64_t first = c->block_out_channels[0];
  tally t = {.way = way, .kept = (way.fused ? 2 : 3) * first * h * w}; /* conv_in's output, and what conv_out reads */
  int64_t skips[MD_MAX_BLOCKS * (MD_MAX_LAYERS + 1)], area[MD_MAX_BLOCKS], before = first, fixed = 0;
  bool even[MD_MAX_BLOCKS] = {false}; /* is the level above exactly twice as high and wide? */
  int n = 0;

  skips[n++] = first;
  for (int i = 0; i < c->blocks; i++) {
    const int64_t out = c->block_out_channels[i];
    area[i] = (int64_t)h * w;
    for (int j = 0; j < c->layers_per_block[i]; j++, before = skips[n++] = out) {
      add_resnet(&t, before, 0, out, area[i], false);
      if (c->down_attention[i]) add_transformer(&t, out, area[i], c->transformer_layers[i]);
    }
    if (i == last) break;
    even[i + 1] = h % 2 == 0 && w % 2 == 0;
    h = (int)halved(h);
    w = (int)halved(w);
    t.kept += out * (way.fused ? (int64_t)h * w : area[i]); /* the downsampler's */
    skips[n++] = out;
  }
  add_unet_mid(&t, c, area[last]);
  for (int i = last; i >= 0; i--) {
    const int64_t out = c->block_out_channels[i];
    for (int j = 0; j <= c->layers_per_block[i]; j++, before = out) {
      add_resnet(&t, before, skips[--n], out, area[i], false);
      if (c->up_attention[last - i]) add_transformer(&t, out, area[i], c->transformer_layers[i]);
    }
    if (!i) break;
    t.kept += out * area[i - 1]; /* the upsampler's: fused, its output; plain, what its convolution reads */
    if (way.fused && !even[i]) t.kept += out * area[i - 1];
    if (way.fused && even[i]) fixed += 16 * out * out; /* its kernel as a transposed convolution's */
  }
  return (tr_footprint){t.kept, t.back, fixed};
}

/* One head as wide as the block: fused, its scores are kept, also where blocks run again. */
static void add_pixel_attention(tally *t, int64_t c, int64_t area) {
  if (t->way.fused) t->kept += 4 * c * area + area * area;
  else add_block(t, c * area, 6 * c * area, 0);
}

tr_footprint tr_footprint_decoder(const md_vae_config *c, int h, int w, tr_footprint_way way) {
  tally t = {.way = way};
  int64_t area = (int64_t)h * w, before = c->block_out_channels[c->blocks - 1];

  if (way.fused) t.kept += before * area; /* conv_in's output */
  add_resnet(&t, before, 0, before, area, true);
  if (c->mid_attention) add_pixel_attention(&t, before, area);
  add_resnet(&t, before, 0, before, area, true);
  for (int i = c->blocks - 1; i >= 0; i--) {
    const int64_t out = c->block_out_channels[i];
    for (int j = 0; j <= c->layers_per_block; j++, before = out) add_resnet(&t, before, 0, out, area, true);
    if (!i) break;
    if (way.fused) t.kept -= out * area; /* no norm reads the last output: the upsampler is frozen */
    area *= 4;
    t.kept += out * area;
  }
  t.kept += ((way.fused ? 0 : 3 * before) + 8) * area; /* the last norm's; the image, padded to 8 channels */
  return (tr_footprint){t.kept, t.back, 0};
}

int64_t tr_footprint_host_bytes(void) {
  const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? (int64_t)pages * size : 0;
}
