#include "trainer/flops.h"

static int halved(int n) { return (n + 1) / 2; }

static double conv(double in, double out, double kernel, double area) { return 2 * in * out * kernel * kernel * area; }

static double resnet(double in, double out, double area) {
  return conv(in, out, 3, area) + conv(out, out, 3, area) + (in != out ? conv(in, out, 1, area) : 0);
}

/* n queries on m keys, all heads together C wide. */
static double attention(double C, double n, double m) { return 4 * C * n * m; }

/* Projections in and out; per layer self attention, attention to T tokens, and the gated feed-forward of 8C and 4C. */
static double transformer(double C, double context, double layers, double area, double T) {
  const double self = conv(C, C, 1, 4 * area) + attention(C, area, area);
  const double cross = conv(C, C, 1, 2 * area) + conv(context, C, 1, 2 * T) + attention(C, area, T);

  return conv(C, C, 1, 2 * area) + layers * (self + cross + conv(C, C, 1, 12 * area));
}

static double unet(const md_unet_config *c, int h, int w, int T) {
  int hs[MD_MAX_BLOCKS], ws[MD_MAX_BLOCKS];
  const int last = c->blocks - 1;
  double sum = 0, before = c->block_out_channels[0], skips[8 * 17], out, area;
  int n = 0;

  sum += conv(c->in_channels, before, 3, (double)h * w) + conv(before, c->out_channels, 3, (double)h * w);
  skips[n++] = before;
  for (int i = 0; i <= last; i++) {
    hs[i] = i ? halved(hs[i - 1]) : h;
    ws[i] = i ? halved(ws[i - 1]) : w;
    area = (double)hs[i] * ws[i];
    out = c->block_out_channels[i];
    for (int j = 0; j < c->layers_per_block[i]; j++, before = out) {
      sum += resnet(before, out, area);
      if (c->down_attention[i]) sum += transformer(out, c->cross_attention_dim, c->transformer_layers[i], area, T);
      skips[n++] = out;
    }
    if (i < last) sum += conv(out, out, 3, (double)halved(hs[i]) * halved(ws[i]));
    if (i < last) skips[n++] = out;
  }
  area = (double)hs[last] * ws[last];
  if (c->mid_block != MD_MID_NONE) sum += resnet(before, before, area);
  if (c->mid_block == MD_MID_CROSS_ATTN)
    sum += resnet(before, before, area) + transformer(before, c->cross_attention_dim, c->transformer_layers[last], area, T);
  for (int i = last; i >= 0; i--) {
    area = (double)hs[i] * ws[i];
    out = c->block_out_channels[i];
    for (int j = 0; j <= c->layers_per_block[i]; j++, before = out) {
      sum += resnet(before + skips[--n], out, area);
      if (c->up_attention[last - i]) sum += transformer(out, c->cross_attention_dim, c->transformer_layers[i], area, T);
    }
    if (i > 0) sum += conv(out, out, 3, (double)hs[i - 1] * ws[i - 1]);
  }
  return sum;
}

static double vae_mid(const md_vae_config *c, double area) {
  const double C = c->block_out_channels[c->blocks - 1];

  return 2 * resnet(C, C, area) + (c->mid_attention ? conv(C, C, 1, 4 * area) + attention(C, area, area) : 0);
}

static double decoder(const md_vae_config *c, double area) {
  double before = c->block_out_channels[c->blocks - 1], sum = conv(c->latent_channels, before, 3, area) + vae_mid(c, area);

  for (int i = c->blocks - 1; i >= 0; i--) {
    const double out = c->block_out_channels[i];
    for (int j = 0; j <= c->layers_per_block; j++, before = out) sum += resnet(before, out, area);
    if (i) area *= 4;
    if (i) sum += conv(out, out, 3, area);
  }
  return sum + conv(before, c->out_channels, 3, area);
}

static double encoder(const md_vae_config *c, double area) {
  double before = c->block_out_channels[0], sum = conv(c->in_channels, before, 3, area);

  for (int i = 0; i < c->blocks; i++) {
    const double out = c->block_out_channels[i];
    for (int j = 0; j < c->layers_per_block; j++, before = out) sum += resnet(before, out, area);
    if (i < c->blocks - 1) area /= 4;
    if (i < c->blocks - 1) sum += conv(out, out, 3, area);
  }
  return sum + vae_mid(c, area) + conv(before, 2 * c->latent_channels, 3, area);
}

tr_flops tr_flops_count(const md_unet_config *u, const md_vae_config *v, int H, int W, int T) {
  const int f = md_vae_factor(v);
  const double forward = unet(u, H / f, W / f, T), decode = decoder(v, (double)(H / f) * (W / f));

  return (tr_flops){.unet = forward, .unet_back = 2 * forward, .decoder = decode, .decoder_back = decode,
                    .encoder = encoder(v, (double)H * W)};
}
