#include "trainer/plan.h"

#include <math.h>

#include "trainer/footprint.h"
#include "trainer/pack.h"

/* Samples at once beyond which a CPU gains nothing, and a GPU's decoder. */
enum { ENOUGH = 8, ENOUGH_DECODED = 16 };
/* micro_batch: auto keeps activations below this part of the memory of a machine without a GPU that nothing else of the run
 * needs: of the machine's memory, not of what is free, so that a resumed run computes with the same sizes. */
static const double SHARE = 0.5;
/* A GPU's memory that is left to libtorch: workspaces of convolutions, and what its allocator cannot join. */
static const double WORKSPACE = 1.25 * 1024 * 1024 * 1024, LOST = 0.03;

/* How a micro-batch may be computed. */
typedef struct choice {
  int unet, decoder; /* samples at once */
  bool recompute_unet, recompute_decoder;
} choice;

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* Bytes of activations. The U-Net's stay while the decoder works on its parts, then comes its own backward pass. */
static int64_t activations(const cf_config *c, const tr_network *net, const tr_plan *p, bool fused, choice x) {
  const int f = md_vae_factor(&net->vae_config), width = c->run.precision == CF_BF16 ? 2 : 4;
  const int h = p->H / f, w = p->W / f;
  const tr_footprint u = tr_footprint_unet(&net->unet_config, h, w, (tr_footprint_way){x.recompute_unet, fused});
  const tr_footprint d = tr_footprint_decoder(&net->vae_config, h, w, (tr_footprint_way){x.recompute_decoder, fused});

  return width * (u.fixed + x.unet * u.kept + larger(x.decoder * (d.kept + d.back), x.unet * u.back));
}

static int smaller(int a, int b) { return a < b ? a : b; }

static void take(const cf_config *c, const tr_network *net, bool fused, choice x, tr_plan *p) {
  p->unet_batch = x.unet;
  p->decoder_batch = x.decoder;
  p->recompute_unet = x.recompute_unet;
  p->recompute_decoder = x.recompute_decoder;
  p->activations = activations(c, net, p, fused, x);
}

/* The decoder's activations are the larger part and its parts cost nothing but calls, so it gives way first. */
static void choose_on_cpu(const cf_config *c, const tr_network *net, bool fused, int64_t room, tr_plan *p) {
  const int64_t rest = p->weights + p->optimizer + p->groups_ahead + p->snapshot, left = room ? room - rest : INT64_MAX;
  const double most_bytes = SHARE * (double)left;
  const int batch = p->group * p->groups, most = p->group > ENOUGH ? p->group : ENOUGH / p->group * p->group;
  choice x = {smaller(p->chosen ? most : (int)c->optim.micro_batch, batch), 0, c->optim.recompute, c->optim.recompute};

  x.decoder = smaller(x.unet, ENOUGH);
  while (x.decoder > 1 && (double)activations(c, net, p, fused, x) > most_bytes) x.decoder--;
  while (p->chosen && x.unet > p->group && (double)activations(c, net, p, fused, x) > most_bytes) x.unet -= p->group;
  take(c, net, fused, x, p);
  p->fits = p->activations <= left;
}

/* Time of a step against one with everything at once, fitted to what an H100 takes (README): small parts use it badly,
 * and recomputed parts are run once more. */
static double cost(choice x) {
  return 1 + 1.6 / x.unet + 180 / pow(x.unet, 4) + 3 / pow(x.decoder, 2) + (x.recompute_unet ? 0.11 : 0) +
         (x.recompute_decoder ? 0.33 : 0);
}

/* The cheapest choice that fits, or the smallest of all. */
static void choose_on_gpu(const cf_config *c, const tr_network *net, bool fused, int64_t room, tr_plan *p) {
  const int batch = p->group * p->groups, most = smaller(p->chosen ? batch : (int)c->optim.micro_batch, batch);
  const double left = (double)room * (1 - LOST) - WORKSPACE - (double)(p->weights + p->optimizer);
  choice best = {p->chosen ? p->group : most, 1, true, true};

  p->fits = (double)activations(c, net, p, fused, best) <= left;
  for (int way = c->optim.recompute ? 3 : 0; way < 4; way++) {
    for (int u = most; u >= p->group; u = p->chosen ? u / p->group / 2 * p->group : 0) {
      for (int d = smaller(u, ENOUGH_DECODED); d; d /= 2) {
        const choice x = {u, d, way & 1, way >> 1};
        if ((double)activations(c, net, p, fused, x) > left) continue;
        if (!p->fits || cost(x) < cost(best)) best = x;
        p->fits = true;
      }
    }
  }
  take(c, net, fused, best, p);
}

void tr_plan_fit(const cf_config *c, const tr_network *net, tchc_device_type where, bool fused, int64_t room, tr_plan *p) {
  const int64_t n = p->unet_numel;
  const bool bf16 = c->run.precision == CF_BF16, sums = bf16 && !fused;

  p->chosen = c->optim.micro_batch == 0;
  p->fits = true;
  p->room = room;
  p->where = where;
  p->weights = 4 * n + (bf16 ? 2 * n : 0) + (bf16 ? fused ? 6 : 2 : 4) * p->vae_numel;
  p->optimizer = 4 * n + 8 * n + (sums ? 2 * n : 0) + (c->optim.ema > 0 ? 4 * n : 0);
  (where == TCHC_CUDA && room ? choose_on_gpu : choose_on_cpu)(c, net, fused, room, p);
}

int tr_plan_sizes(const cf_config *c, const tr_network *net, const int largest[2], tr_plan *p) {
  int st = OK;
  const int64_t planes = 3 + 3 + 1 + 1;

  *p = (tr_plan){.group = (int)c->optim.group, .groups = (int)(c->optim.batch / c->optim.group), .H = largest[0],
                 .W = largest[1]};
  TRY(tr_network_check(c, net, &p->unet_numel, &p->vae_numel));
  p->groups_ahead = (int64_t)2 * p->groups * p->group * p->H * p->W * planes * 4;
  p->checkpoint = (12 + (c->optim.ema > 0 ? 4 : 0)) * p->unet_numel;
  p->snapshot = c->checkpoint.background ? p->checkpoint : 0;
out:
  return st;
}

int tr_plan_make(const cf_config *c, const tr_network *net, const tr_data *d, const int largest[2], tr_plan *p) {
  int st = OK;

  TRY(tr_plan_sizes(c, net, largest, p));
  for (int i = 0; i < d->n; i++)
    p->samples += ds_source_count(d->sources[i]) * ds_source_samples_per_item(d->sources[i]);
out:
  return st;
}

const char *tr_bytes_text(int64_t n, char out[32]) {
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
    const int H = d->shape[i][0], W = d->shape[i][1];
    const int per_item = ds_source_samples_per_item(d->sources[i]);
    fprintf(f, "  data.%d       %s: %lld samples of %d x %d, weight %g, %s\n", i, cf_kind_name(c->data[i].kind),
            (long long)(ds_source_count(d->sources[i]) * per_item), H, W, c->data[i].weight, c->data[i].root);
  }
  fprintf(f, "  epoch        %lld samples in all: %.1f steps\n", (long long)p->samples, (double)p->samples / batch);
}

static const char *recomputed(const tr_plan *p) {
  if (p->recompute_unet && p->recompute_decoder) return "; their blocks run again in backward";
  return p->recompute_unet ? "; the U-Net's blocks run again in backward"
                           : p->recompute_decoder ? "; the decoder's blocks run again in backward" : "";
}

static void print_host_memory(const tr_plan *p, const char *before, FILE *f) {
  char a[32];

  fprintf(f, "%ssamples ahead %s", before, tr_bytes_text(p->groups_ahead, a));
  if (p->snapshot) fprintf(f, ", a checkpoint's copy %s", tr_bytes_text(p->snapshot, a));
}

static void print_memory(const tr_plan *p, FILE *f) {
  char a[32], b[32], c[32];
  const bool gpu = p->where == TCHC_CUDA;
  const int64_t here = p->weights + p->optimizer + p->activations;

  fprintf(f, "  memory       %s", tr_bytes_text(gpu ? here : here + p->groups_ahead + p->snapshot, a));
  if (p->room) fprintf(f, " of %s%s", tr_bytes_text(p->room, a), p->fits ? "" : ", WHICH MAY NOT SUFFICE");
  fprintf(f, ": weights %s, gradients and optimizer %s, activations about %s", tr_bytes_text(p->weights, a),
          tr_bytes_text(p->optimizer, b), tr_bytes_text(p->activations, c));
  print_host_memory(p, gpu ? "\n  host memory  " : ", ", f);
  fprintf(f, "\n");
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
  fprintf(f, "  micro-batch  %d samples through the U-Net%s, %d through the decoder at once%s\n", p->unet_batch,
          p->chosen ? " (auto)" : "", p->decoder_batch, recomputed(p));
  print_memory(p, f);
  fprintf(f, "  checkpoint   %s each", tr_bytes_text(p->checkpoint, size));
  if (c->checkpoint.every) fprintf(f, ", every %lld steps", (long long)c->checkpoint.every);
  if (c->checkpoint.keep) fprintf(f, ", the last %lld kept", (long long)c->checkpoint.keep);
  if (p->snapshot) fprintf(f, ", written in the background from a copy in host memory");
  fprintf(f, "\n  writes       %s\n", c->run.dir);
}
