#include "trainer/footprint.h"

#include <unistd.h>

/* Sum over blocks; with recomputation a block keeps its input, and one block at a time all it needs. */
typedef struct tally {
  tr_footprint_way way;
  int64_t kept, largest; /* largest: inside one block */
  int64_t widest;        /* of single activations */
} tally;

static void add_block(tally *t, int64_t input, int64_t inside) {
  t->kept += t->way.recompute ? input : inside;
  if (inside > t->largest) t->largest = inside;
}

static void see(tally *t, int64_t numbers) {
  if (numbers > t->widest) t->widest = numbers;
}

static tr_footprint total(const tally *t) {
  return (tr_footprint){t->kept + (t->way.recompute ? t->largest : 0), t->widest};
}

/* norm, SiLU and convolution, twice: each keeps its input; a frozen convolution needs only its weights. Fused, a norm
 * with its SiLU keeps one tensor: the sum before it, which is what came out of the block or convolution before. */
static void add_resnet(tally *t, int64_t in, int64_t out, int64_t area, bool frozen) {
  const int64_t plain = (frozen ? 2 : 3) * (in + out), fused = frozen ? 2 * out : in + 3 * out;

  see(t, (in > out ? in : out) * area);
  add_block(t, in * area, (t->way.fused ? fused : plain) * area);
}

/* norm and projections, three layer norms, self and cross attention (q, k, v, output), the gated feed-forward of
 * 8c and 4c. Attention itself keeps one number a query. Fused, the three sums are kept and the gate is made again. */
static void add_transformer(tally *t, int64_t c, int64_t area, int layers) {
  see(t, 8 * c * area);
  add_block(t, c * area, (3 + (int64_t)layers * (t->way.fused ? 20 : 32)) * c * area);
}

static int64_t halved(int64_t n) { return (n + 1) / 2; }

tr_footprint tr_footprint_unet(const md_unet_config *c, int h, int w, tr_footprint_way way) {
  tally t = {.way = way, .kept = 2 * (int64_t)c->block_out_channels[0] * h * w}; /* around conv_in and conv_out */
  int64_t hs[MD_MAX_BLOCKS], ws[MD_MAX_BLOCKS], before = c->block_out_channels[0];
  const int last = c->blocks - 1;

  for (int i = 0; i < c->blocks; i++) {
    const int64_t out = c->block_out_channels[i];
    hs[i] = i ? halved(hs[i - 1]) : h;
    ws[i] = i ? halved(ws[i - 1]) : w;
    for (int j = 0; j < c->layers_per_block[i]; j++, before = out) {
      add_resnet(&t, before, out, hs[i] * ws[i], false);
      if (c->down_attention[i]) add_transformer(&t, out, hs[i] * ws[i], c->transformer_layers[i]);
    }
    if (i < last) t.kept += out * halved(hs[i]) * halved(ws[i]); /* the downsampler's */
  }
  if (c->mid_block != MD_MID_NONE) add_resnet(&t, before, before, hs[last] * ws[last], false);
  if (c->mid_block == MD_MID_CROSS_ATTN) add_resnet(&t, before, before, hs[last] * ws[last], false);
  if (c->mid_block == MD_MID_CROSS_ATTN)
    add_transformer(&t, before, hs[last] * ws[last], c->transformer_layers[last]);
  for (int i = last; i >= 0; i--) {
    const int64_t out = c->block_out_channels[i];
    for (int j = 0; j <= c->layers_per_block[i]; j++, before = out) {
      add_resnet(&t, before + out, out, hs[i] * ws[i], false);
      if (c->up_attention[last - i]) add_transformer(&t, out, hs[i] * ws[i], c->transformer_layers[i]);
    }
    if (i) t.kept += out * hs[i - 1] * ws[i - 1]; /* the upsampler's */
  }
  return total(&t);
}

tr_footprint tr_footprint_decoder(const md_vae_config *c, int h, int w, tr_footprint_way way) {
  tally t = {.way = way};
  int64_t area = (int64_t)h * w, before = c->block_out_channels[c->blocks - 1];

  add_resnet(&t, before, before, 2 * area, true);
  /* one head as wide as the block: its scores are kept */
  if (c->mid_attention) add_block(&t, before * area, (way.fused ? 4 : 8) * before * area + area * area);
  for (int i = c->blocks - 1; i >= 0; i--) {
    const int64_t out = c->block_out_channels[i];
    for (int j = 0; j <= c->layers_per_block; j++, before = out) add_resnet(&t, before, out, area, true);
    if (i) area *= 4;
    if (i && way.fused) t.kept += out * area; /* what upsampling makes is what the next norm keeps */
  }
  return total(&t);
}

int64_t tr_footprint_host_bytes(void) {
  const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? (int64_t)pages * size : 0;
}
