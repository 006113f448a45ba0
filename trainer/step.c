#include "trainer/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "tchc/stream.h"
#include "trainer/pack.h"

struct tr_stepper {
  tr_step_opts o;
  tr_network *net;
  tr_losses losses;
  bool *done;            /* [groups] */
  int *picked;           /* [groups] indices of the micro-batch's groups */
  ds_group **chosen;     /* [groups] the groups themselves */
  int *place;            /* [groups]: where the group's samples start in sums, in order of computing */
  tchc_tensor *sums;     /* [groups*group] f32 on the device: errors summed over each sample's valid pixels */
  float *sums_host;      /* [groups*group] */
  tchc_tensor *weights;  /* [groups*group] f32, page-locked: the samples' weights, in order of computing */
  tchc_stream *copies;   /* for uploads beside the computation */
  tchc_event *ready, *uploaded;
};

/* A micro-batch: n groups of one shape, B = n * group samples of H x W. */
typedef struct micro {
  ds_group **groups;
  int n, B, H, W;
  int first;             /* place of its first sample in sums */
  tchc_tensor *target, *mask, *weight;
} micro;

int tr_stepper_create(const tr_step_opts *o, tr_network *net, tr_stepper **out) {
  int st = OK;
  const size_t n = (size_t)o->groups, samples = n * (size_t)o->group;
  tr_stepper *s = calloc(1, sizeof *s);

  NEED(s, E_NOMEM, "stepper");
  s->o = *o;
  s->net = net;
  s->losses = (tr_losses){calloc(n, sizeof(double)), calloc(n, sizeof(bool)), calloc(n, sizeof(bool)), 0, false};
  s->done = calloc(n, sizeof *s->done);
  s->picked = calloc(n, sizeof *s->picked);
  s->chosen = calloc(n, sizeof *s->chosen);
  s->place = calloc(n, sizeof *s->place);
  s->sums_host = calloc(samples, sizeof *s->sums_host);
  NEED(s->losses.group && s->losses.empty && s->losses.dropped && s->done && s->picked && s->chosen && s->place &&
           s->sums_host, E_NOMEM, "stepper: %zu groups", n);
  TRY(tchc_full((int64_t[]){(int64_t)samples}, 1, 0, TCHC_F32, net->device, &s->sums));
  TRY(tchc_empty_pinned((int64_t[]){(int64_t)samples}, 1, TCHC_F32, &s->weights));
  TRY(tchc_stream_open(net->device, false, &s->copies));
  TRY(tchc_event_open(net->device, false, &s->ready));
  TRY(tchc_event_open(net->device, false, &s->uploaded));
  *out = s;
  s = NULL;
out:
  tr_stepper_destroy(&s);
  return st;
}

void tr_stepper_destroy(tr_stepper **sp) {
  tr_stepper *s = *sp;

  if (!s) return;
  tchc_free(&s->sums);
  tchc_free(&s->weights);
  tchc_stream_close(&s->copies);
  tchc_event_close(&s->ready);
  tchc_event_close(&s->uploaded);
  free(s->losses.group);
  free(s->losses.empty);
  free(s->losses.dropped);
  free(s->done);
  free(s->picked);
  free(s->chosen);
  free(s->place);
  free(s->sums_host);
  free(s);
  *sp = NULL;
}

/* ---- host planes to the device ---- */

static void *plane_rgb(const ds_group *g) { return g->rgb; }
static void *plane_metric(const ds_group *g) { return g->metric; }
static void *plane_normals(const ds_group *g) { return g->normals; }
static void *plane_mask(const ds_group *g) { return g->mask; }

/* Room on the device for one plane of the micro-batch, [B,C,H,W]. */
static int make_room(const tr_stepper *s, const micro *m, int C, tchc_dtype dt, tchc_tensor **out) {
  return tchc_empty((int64_t[]){m->B, C, m->H, m->W}, 4, dt, s->net->device, TCHC_CONTIGUOUS, out);
}

/* One plane of all groups into it. */
static int fill(const tr_stepper *s, const micro *m, void *(*plane)(const ds_group *), tchc_tensor *t) {
  int st = OK;
  const int64_t one[] = {s->o.group, tchc_size(t, 1), m->H, m->W};
  tchc_tensor *from = NULL, *to = NULL;

  for (int i = 0; i < m->n; i++) {
    NEED(plane(m->groups[i]) != NULL, E_FAIL, "%s: a plane that the loss needs was not decoded", m->groups[i]->id[0]);
    TRY(tchc_from_blob(plane(m->groups[i]), one, 4, tchc_type(t), NULL, NULL, &from));
    TRY(tchc_narrow(t, 0, (int64_t)i * s->o.group, s->o.group, &to));
    TRY(tchc_copy(to, from, true));
    tchc_free(&from);
    tchc_free(&to);
  }
out:
  tchc_free(&from);
  tchc_free(&to);
  return st;
}

/* weight[b] = 1 / (valid pixels of b's group * groups of the step) */
static int upload_weights(tr_stepper *s, micro *m) {
  int st = OK;
  float *w = (float *)tchc_data(s->weights) + m->first;
  tchc_tensor *from = NULL;

  for (int i = 0; i < m->n; i++) {
    const double valid = (double)tr_group_valid(m->groups[i]);
    for (int b = 0; b < s->o.group; b++) w[i * s->o.group + b] = (float)(1 / (valid * s->o.groups));
  }
  TRY(tchc_narrow(s->weights, 0, m->first, m->B, &from));
  TRY(tchc_copy(m->weight, from, true));
out:
  tchc_free(&from);
  return st;
}

/* The truth is needed after the U-Net and goes up beside it, on a stream of its own. Its room comes first: it may be memory
 * that earlier work on the main stream still reads. */
static int expect_truth(tr_stepper *s, micro *m) {
  int st = OK;
  const bool depth = s->o.loss->task == LS_DEPTH;

  TRY(make_room(s, m, depth ? 1 : 3, TCHC_F32, &m->target));
  TRY(make_room(s, m, 1, TCHC_U8, &m->mask));
  TRY(tchc_empty((int64_t[]){m->B}, 1, TCHC_F32, s->net->device, TCHC_CONTIGUOUS, &m->weight));
  TRY(tchc_event_record(s->ready));
out:
  return st;
}

static int copy_truth(tr_stepper *s, micro *m) {
  int st = OK;

  TRY(tchc_event_wait(s->ready));
  TRY(fill(s, m, s->o.loss->task == LS_DEPTH ? plane_metric : plane_normals, m->target));
  TRY(fill(s, m, plane_mask, m->mask));
  TRY(upload_weights(s, m));
  TRY(tchc_event_record(s->uploaded));
out:
  return st;
}

static int upload_truth(tr_stepper *s, micro *m) {
  int st = OK, left;

  TRY(tchc_stream_enter(s->copies));
  st = copy_truth(s, m);
  if (st != OK && tchc_stream_synchronize(s->copies) != OK) st = E_DEVICE; /* the room of copies under way is about to end */
  left = tchc_stream_leave(s->copies);
  TRY(st);
  TRY(left);
  TRY(tchc_event_wait(s->uploaded));
out:
  return st;
}

/* ---- networks ---- */

/* The RGB latents [group,C,h,w] of group i: prepared, or encoded now. */
static int group_latent(const tr_stepper *s, const micro *m, int i, tchc_tensor **latent) {
  int st = OK;
  ds_group *g = m->groups[i];
  const ds_latent_form *f = &g->latent_form;
  const int64_t stored[] = {s->o.group, f->C, f->h, f->w};
  const micro one = {.groups = &g, .n = 1, .B = s->o.group, .H = m->H, .W = m->W};
  tchc_tensor *rgb = NULL, *input = NULL, *from = NULL;

  if (g->latent) {
    NEED((size_t)f->size == tchc_dtype_size(s->net->dtype), E_FAIL, "%s: prepared latents of %d bytes a number", g->id[0], f->size);
    TRY(tchc_from_blob(g->latent, stored, 4, s->net->dtype, NULL, NULL, &from));
    TRY(tchc_empty(stored, 4, s->net->dtype, s->net->device, TCHC_CONTIGUOUS, latent));
    TRY(tchc_copy(*latent, from, true));
    goto out;
  }
  TRY(make_room(s, &one, 3, TCHC_F32, &rgb));
  TRY(fill(s, &one, plane_rgb, rgb));
  TRY(tchc_to_type(rgb, s->net->dtype, &input));
  TRY(md_vae_latent(s->net->vae, input, latent));
out:
  return st;
}

static int encode(const tr_stepper *s, const micro *m, tchc_tensor **latent) {
  int st = OK;
  tchc_scope *scope = NULL;
  const tchc_tensor **parts = calloc((size_t)m->n, sizeof *parts);
  tchc_tensor *l = NULL;

  NEED(parts, E_NOMEM, "latents of %d groups", m->n);
  TRY(tchc_scope_open(&scope));
  for (int i = 0; i < m->n; i++) {
    TRY(group_latent(s, m, i, &l));
    parts[i] = l;
  }
  if (m->n > 1) TRY(tchc_cat(parts, m->n, 0, &l));
  tchc_promote(l);
  *latent = l;
out:
  tchc_scope_close(&scope);
  free(parts);
  return st;
}

/* Random ones of the right shape, where only time counts. */
static int make_up_latents(const tr_stepper *s, const micro *m, tchc_tensor **latent) {
  int st = OK;
  const int f = md_vae_factor(&s->net->vae_config);
  tchc_tensor *wide = NULL;

  TRY(tchc_randn((int64_t[]){m->B, s->net->vae_config.latent_channels, m->H / f, m->W / f}, 4, TCHC_F32, s->net->device, &wide));
  TRY(tchc_to_type(wide, s->net->dtype, latent));
out:
  return st;
}

/* Noise latents [B,C,h,w] f32. */
static int make_noise(const tr_stepper *s, const micro *m, const tchc_tensor *latent, tchc_tensor **out) {
  static const md_noise kinds[] = {[CF_ZEROS] = MD_ZEROS, [CF_GAUSSIAN] = MD_GAUSSIAN, [CF_PYRAMID] = MD_PYRAMID};
  int st = OK;
  const int64_t C = tchc_size(latent, 1), h = tchc_size(latent, 2), w = tchc_size(latent, 3);
  const int64_t all[] = {m->B, C, h, w}, group = s->o.group * C * h * w;
  float *noise = NULL;

  if (s->o.noise == CF_ZEROS) return tchc_full(all, 4, 0, TCHC_F32, s->net->device, out);
  NEED((noise = malloc(sizeof *noise * (size_t)(group * m->n))) != NULL, E_NOMEM, "noise: %d groups", m->n);
  for (int i = 0; i < m->n; i++) {
    const md_noise_at at = {s->o.seed, m->groups[i]->step, m->groups[i]->g};
    TRY(md_noise_group(kinds[s->o.noise], at, s->o.group, (int)C, (int)h, (int)w, noise + i * group));
  }
  TRY(tchc_from_host(noise, all, 4, TCHC_F32, s->net->device, out));
out:
  free(noise);
  return st;
}

/* What the U-Net sees: the RGB latent with the noise beside it, or alone. *noise NULL: none. */
static int make_input(const tr_stepper *s, const micro *m, tchc_tensor **sample, tchc_tensor **noise) {
  int st = OK;
  tchc_tensor *latent = NULL, *x = NULL;

  TRY((s->o.made_up_latents ? make_up_latents : encode)(s, m, &latent));
  *noise = NULL;
  if (s->o.noise == CF_NONE) {
    *sample = latent;
    goto out;
  }
  TRY(make_noise(s, m, latent, noise));
  TRY(tchc_to_type(*noise, tchc_type(latent), &x));
  TRY(tchc_cat((const tchc_tensor *[]){latent, x}, 2, 1, sample));
out:
  return st;
}

/* z [B,C,h,w] f32, the estimate of the clean latent as the decoder wants it, with a graph to the U-Net's weights. */
static int predict(const tr_stepper *s, const micro *m, tchc_tensor **z) {
  int st = OK;
  const tr_network *net = s->net;
  tchc_tensor *sample = NULL, *noise = NULL, *t = NULL, *out = NULL, *out32 = NULL, *x0 = NULL;

  TRY(make_input(s, m, &sample, &noise));
  TRY(tr_timer_mark(s->o.timer, TR_UNET));
  TRY(tchc_full((int64_t[]){1}, 1, s->o.timestep, TCHC_I64, net->device, &t));
  TRY(md_unet_forward(net->unet, sample, t, net->text, NULL, &out));
  TRY(tchc_to_type(out, TCHC_F32, &out32));
  TRY(md_schedule_x0(&net->schedule, s->o.timestep, noise, out32, &x0));
  TRY(tchc_affine(x0, 1 / net->vae_config.scaling_factor, 0, z));
out:
  return st;
}

/* Samples [at, at+n) of the micro-batch through decoder and loss: adds to z's gradient, fills their place in sums. */
static int decode_part(tr_stepper *s, const micro *m, const tchc_tensor *z, int at, int n) {
  int st = OK;
  tchc_scope *scope = NULL;
  tchc_tensor *part = NULL, *input = NULL, *image = NULL, *target = NULL, *mask = NULL, *weight = NULL;
  tchc_tensor *total = NULL, *sums = NULL, *place = NULL;

  TRY(tchc_scope_open(&scope));
  TRY(tr_timer_mark(s->o.timer, TR_DECODER));
  TRY(tchc_narrow(z, 0, at, n, &part));
  TRY(tchc_to_type(part, s->net->dtype, &input));
  TRY(md_vae_decode(s->net->vae, input, NULL, &image));
  TRY(tchc_narrow(m->target, 0, at, n, &target));
  TRY(tchc_narrow(m->mask, 0, at, n, &mask));
  TRY(tchc_narrow(m->weight, 0, at, n, &weight));
  const ls_batch batch = {
      .decoded = image, .target = target, .mask = mask, .weight = weight, .reference = s->o.reference_loss,
      .cuda = s->net->kernels};
  TRY(tr_timer_mark(s->o.timer, TR_LOSS));
  TRY(s->o.loss->apply(&batch, &total, &sums));
  TRY(tr_timer_mark(s->o.timer, TR_DECODER_BACK));
  TRY(tchc_backward(total, NULL));
  TRY(tchc_narrow(s->sums, 0, m->first + at, n, &place));
  TRY(tchc_copy(place, sums, false));
out:
  tchc_scope_close(&scope);
  return st;
}

/* The next part of `left` samples. A rest goes in powers of two: each new size is measured for seconds on a GPU, and data sets
 * that are mixed by chance leave rests of any size. */
static int part_size(int left, int most) {
  int n = 1;

  if (left >= most) return most;
  while (2 * n <= left) n *= 2;
  return n;
}

static int decode(tr_stepper *s, const micro *m, const tchc_tensor *z) {
  int st = OK;

  for (int at = 0, n; at < m->B; at += n) {
    n = part_size(m->B - at, s->o.decoder_batch);
    TRY(decode_part(s, m, z, at, n));
  }
out:
  return st;
}

/* ---- losses ---- */

static double group_loss(const tr_stepper *s, int g, const ds_group *group) {
  double sum = 0;
  for (int b = 0; b < s->o.group; b++) sum += s->sums_host[s->place[g] + b];
  return sum / (double)tr_group_valid(group);
}

/* Under drop_nan_groups: marks the picked groups whose loss is NaN. */
static int find_nan(tr_stepper *s, const micro *m, bool *found) {
  int st = OK;
  tchc_tensor *place = NULL;

  *found = false;
  TRY(tchc_to_host(s->sums, s->sums_host, sizeof *s->sums_host * (size_t)(s->o.groups * s->o.group)));
  for (int i = 0; i < m->n; i++) {
    const int g = s->picked[i];
    if (!isnan(group_loss(s, g, m->groups[i]))) continue;
    s->losses.dropped[g] = s->losses.empty[g] = *found = true;
  }
  if (!*found) goto out;
  TRY(tchc_narrow(s->sums, 0, m->first, m->B, &place));
  TRY(tchc_zero_(place)); /* fewer samples come into this place again */
out:
  return st;
}

/* Adds the micro-batch's gradient to the step's. *again: NaN groups were dropped before any gradient reached the U-Net,
 * the rest must be computed without them. */
static int run_micro(tr_stepper *s, micro *m, bool *again) {
  int st = OK;
  tchc_scope *scope = NULL;
  tchc_tensor *z = NULL, *leaf = NULL, *grad = NULL;

  *again = false;
  TRY(tchc_scope_open(&scope));
  TRY(tr_timer_mark(s->o.timer, TR_INPUT));
  TRY(expect_truth(s, m));
  TRY(predict(s, m, &z));
  TRY(upload_truth(s, m));
  TRY(tchc_leaf(z, &leaf));
  TRY(decode(s, m, leaf));
  if (s->o.drop_nan_groups) TRY(find_nan(s, m, again));
  if (*again) goto out;
  TRY(tr_timer_mark(s->o.timer, TR_UNET_BACK));
  TRY(tchc_grad(leaf, &grad));
  TRY(tchc_backward(z, grad));
  TRY(tr_network_collect_grads(s->net));
out:
  tchc_scope_close(&scope);
  return st;
}

/* All groups that are not `done`, a micro-batch at a time. */
static int run_groups(tr_stepper *s, ds_group *const *groups) {
  int st = OK, n, first = 0;
  const int max = s->o.unet_batch / s->o.group;

  while ((n = tr_pack_next(groups, s->o.groups, s->done, max, s->picked))) {
    bool again;
    for (int i = 0; i < n; i++) {
      s->chosen[i] = groups[s->picked[i]];
      s->place[s->picked[i]] = first + i * s->o.group;
    }
    micro m = {s->chosen, n, n * s->o.group, s->chosen[0]->H, s->chosen[0]->W, first, NULL, NULL, NULL};
    TRY(run_micro(s, &m, &again));
    for (int i = 0; i < n; i++) s->done[s->picked[i]] = !again || s->losses.dropped[s->picked[i]];
    if (!again) first += m.B;
  }
out:
  return st;
}

static int begin(tr_stepper *s, ds_group *const *groups) {
  int st = OK;

  TRY(tr_timer_mark(s->o.timer, TR_INPUT));
  TRY(tr_network_zero_grads(s->net));
  TRY(tchc_zero_(s->sums));
  for (int g = 0; g < s->o.groups; g++) {
    s->losses.dropped[g] = false;
    s->losses.empty[g] = s->done[g] = !tr_group_valid(groups[g]);
  }
out:
  return st;
}

/* After E_NOMEM: smaller parts, and whatever the allocator holds back. False when there is nothing smaller. */
static bool make_smaller(tr_stepper *s) {
  if (s->o.decoder_batch > 1) s->o.decoder_batch /= 2;
  else if (s->o.unet_batch > s->o.group) s->o.unet_batch = s->o.unet_batch / s->o.group / 2 * s->o.group;
  else return false;
  log_warn("%s: going on with %d samples through the U-Net and %d through the decoder at once", err_text(),
           s->o.unet_batch, s->o.decoder_batch);
  err_clear();
  return tchc_synchronize(s->net->device) == OK && tchc_memory_empty_cache(s->net->device) == OK;
}

int tr_stepper_run(tr_stepper *s, ds_group *const *groups, bool *all_empty) {
  int st = OK;

  do {
    TRY(begin(s, groups));
    st = run_groups(s, groups);
  } while (st == E_NOMEM && make_smaller(s));
  s->losses.all_empty = true;
  for (int g = 0; g < s->o.groups; g++) s->losses.all_empty &= s->losses.empty[g];
  *all_empty = s->losses.all_empty;
out:
  return st;
}

void tr_stepper_sizes(const tr_stepper *s, int *unet_batch, int *decoder_batch) {
  *unet_batch = s->o.unet_batch;
  *decoder_batch = s->o.decoder_batch;
}

const tchc_tensor *tr_stepper_sums(const tr_stepper *s) { return s->sums; }

int tr_stepper_losses(tr_stepper *s, ds_group *const *groups, const tr_losses **losses) {
  int st = OK;
  double sum = 0;

  TRY(tchc_to_host(s->sums, s->sums_host, sizeof *s->sums_host * (size_t)(s->o.groups * s->o.group)));
  for (int g = 0; g < s->o.groups; g++) {
    s->losses.group[g] = s->losses.empty[g] ? 0 : group_loss(s, g, groups[g]);
    sum += s->losses.group[g];
  }
  s->losses.mean = sum / s->o.groups;
  *losses = &s->losses;
out:
  return st;
}
