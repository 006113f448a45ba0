#include "trainer/plan.h"

#include "trainer/footprint.h"
#include "trainer/pack.h"

/* Samples at once beyond which a CPU gains nothing. */
enum { ENOUGH = 8 };
/* micro_batch: auto keeps activations below this part of the machine's memory: of all of it, not of what is free, so
 * that a resumed run computes with the same sizes. */
static const double SHARE = 0.5;

typedef struct per_sample { int64_t unet, decoder; } per_sample; /* bytes of activations */

static per_sample activations(const cf_config *c, const tr_network *net, const tr_plan *p) {
  const int f = md_vae_factor(&net->vae_config), width = c->run.precision == CF_BF16 ? 2 : 4;
  const int h = p->H / f, w = p->W / f;

  return (per_sample){width * tr_footprint_unet(&net->unet_config, h, w, c->optim.recompute),
                      width * tr_footprint_decoder(&net->vae_config, h, w, c->optim.recompute)};
}

static int64_t needed(per_sample a, int unet_batch, int decoder_batch) {
  return a.unet * unet_batch + a.decoder * decoder_batch;
}

static int smaller(int a, int b) { return a < b ? a : b; }

/* The decoder's activations are the larger part and its parts cost nothing but calls, so it gives way first. */
static void choose_batches(const cf_config *c, per_sample a, tr_plan *p) {
  const int64_t host = tr_footprint_host_bytes(), room = (int64_t)(SHARE * (double)(host ? host : INT64_MAX));
  const int batch = p->group * p->groups, most = p->group > ENOUGH ? p->group : ENOUGH / p->group * p->group;

  p->chosen = c->optim.micro_batch == 0;
  p->unet_batch = p->chosen ? smaller(most, batch) : smaller((int)c->optim.micro_batch, batch);
  p->decoder_batch = smaller(p->unet_batch, ENOUGH);
  while (p->decoder_batch > 1 && needed(a, p->unet_batch, p->decoder_batch) > room) p->decoder_batch--;
  while (p->chosen && p->unet_batch > p->group && needed(a, p->unet_batch, p->decoder_batch) > room)
    p->unet_batch -= p->group;
}

static void count_bytes(const cf_config *c, per_sample a, tr_plan *p) {
  const int64_t n = p->unet_numel, planes = 3 + 3 + 1 + 1;
  const bool bf16 = c->run.precision == CF_BF16, ema = c->optim.ema > 0;

  p->weights = 4 * n + (bf16 ? 2 * n : 0) + (bf16 ? 2 : 4) * p->vae_numel;
  p->optimizer = 4 * n + 8 * n + (bf16 ? 2 * n : 0) + (ema ? 4 * n : 0);
  p->activations = needed(a, p->unet_batch, p->decoder_batch);
  p->groups_ahead = (int64_t)2 * p->groups * p->group * p->H * p->W * planes * 4;
  p->checkpoint = 12 * n + (ema ? 4 * n : 0);
  p->snapshot = c->checkpoint.background ? p->checkpoint : 0;
}

int tr_plan_make(const cf_config *c, const tr_network *net, const tr_data *d, const int largest[2], tr_plan *p) {
  int st = OK;

  *p = (tr_plan){.group = (int)c->optim.group, .groups = (int)(c->optim.batch / c->optim.group), .H = largest[0],
                 .W = largest[1]};
  for (int i = 0; i < d->n; i++)
    p->samples += ds_source_count(d->sources[i]) * ds_source_samples_per_item(d->sources[i]);
  TRY(tr_network_check(c, net, &p->unet_numel, &p->vae_numel));
  const per_sample a = activations(c, net, p);
  choose_batches(c, a, p);
  count_bytes(c, a, p);
out:
  return st;
}

static const char *bytes_text(int64_t n, char out[32]) {
  const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double x = (double)n;
  int i = 0;

  for (; x >= 1024 && i < 4; i++) x /= 1024;
  snprintf(out, 32, i ? "%.1f %s" : "%.0f %s", x, units[i]);
  return out;
}

static const char *prediction_name(md_prediction p) {
  return p == MD_EPSILON ? "epsilon" : p == MD_SAMPLE ? "sample" : "v_prediction";
}

static void print_data(const tr_plan *p, const cf_config *c, const tr_data *d, FILE *f) {
  const int batch = p->group * p->groups;

  for (int i = 0; i < d->n; i++) {
    int H = 0, W = 0;
    const int per_item = ds_source_samples_per_item(d->sources[i]);
    if (ds_source_shape(d->sources[i], 0, &H, &W) != OK) err_clear();
    fprintf(f, "  data.%d       %s: %lld samples of %d x %d, weight %g, %s\n", i, cf_kind_name(c->data[i].kind),
            (long long)(ds_source_count(d->sources[i]) * per_item), H, W, c->data[i].weight, c->data[i].root);
  }
  fprintf(f, "  epoch        %lld samples in all: %.1f steps\n", (long long)p->samples, (double)p->samples / batch);
}

static void print_memory(const tr_plan *p, FILE *f) {
  char a[32], b[32], c[32], d[32], e[32];

  fprintf(f, "  memory       %s: weights %s, gradients and optimizer %s, activations about %s, samples ahead %s\n",
          bytes_text(p->weights + p->optimizer + p->activations + p->groups_ahead, a), bytes_text(p->weights, b),
          bytes_text(p->optimizer, c), bytes_text(p->activations, d), bytes_text(p->groups_ahead, e));
}

void tr_plan_print(const tr_plan *p, const cf_config *c, const tr_network *net, const tr_data *d, FILE *f) {
  const int batch = p->group * p->groups;
  char size[32];

  fprintf(f, "\nplan\n  model        %s: U-Net of %.4g M parameters, %d channels in%s, %s at t = %lld; VAE of %.4g M\n",
          c->model.path, 1e-6 * (double)p->unet_numel, net->unet_config.in_channels,
          net->widened ? " (widened)" : "", prediction_name(net->schedule.prediction), (long long)c->model.timestep,
          1e-6 * (double)p->vae_numel);
  print_data(p, c, d, f);
  fprintf(f, "  steps        %lld of %d samples: %d groups of %d\n", (long long)c->optim.steps, batch, p->groups, p->group);
  fprintf(f, "  micro-batch  %d samples through the U-Net%s, %d through the decoder at once\n", p->unet_batch,
          p->chosen ? " (auto)" : "", p->decoder_batch);
  print_memory(p, f);
  fprintf(f, "  checkpoint   %s each", bytes_text(p->checkpoint, size));
  if (c->checkpoint.every) fprintf(f, ", every %lld steps", (long long)c->checkpoint.every);
  if (c->checkpoint.keep) fprintf(f, ", the last %lld kept", (long long)c->checkpoint.keep);
  if (p->snapshot) fprintf(f, ", written in the background from a copy in host memory");
  fprintf(f, "\n  writes       %s\n", c->run.dir);
}
