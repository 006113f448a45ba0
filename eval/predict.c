#include "eval/predict.h"

#include <stdlib.h>
#include <string.h>

#include "eval/process.h"

/* An image of a chunk, or one that failed and waits for its turn to be said so. */
typedef struct entry {
  size_t index;
  ev_image image;
  int failed; /* OK or the error's code */
  char *why;
} entry;

/* Consecutive images of one size, computed together. */
typedef struct chunk {
  entry *entries; /* [room], images' buffers are kept */
  int n, room, good;
  ev_size size;
  tchc_tensor *members; /* [good*ensemble,C,rows,cols] on the device, NULL before and after */
} chunk;

typedef struct run {
  const ev_estimator *e;
  const ev_predict_opts *o;
  const ev_images *images;
  int factor, channels;
  int *timesteps;       /* [steps] */
  int images_at_once;
  size_t next, failed;  /* next image to read */
  entry ahead;          /* read already, of another size than the chunk before it */
  bool has_ahead;
  chunk chunks[2];
} run;

void ev_predict_opts_default(ev_predict_opts *o) {
  *o = (ev_predict_opts){.task = EV_DEPTH, .steps = 1, .timestep = -1, .ensemble = 1, .batch = 1};
  ev_ensemble_opts_default(&o->align);
}

void ev_predict_opts_from(const ev_estimator *e, ev_predict_opts *o) {
  if (e->says_task) o->task = e->task;
  o->timestep = e->timestep;
  if (e->default_steps > 0) o->steps = e->default_steps;
  if (e->default_resolution >= 0) o->resolution = e->default_resolution;
}

/* ---- options ---- */

static int check_latents(const ev_predict_opts *o) {
  int st = OK;
  const ev_latents *l = o->latents;

  if (!l) return OK;
  NEED(l->n >= o->ensemble && l->n % o->ensemble == 0, E_CONFIG,
       "%s: latents: %lld of them; wanted %d, one a member of the ensemble, or that for each image", l->path, (long long)l->n,
       o->ensemble);
  if (o->sampler == MD_LCM && l->n_step_noise)
    NEED(l->n_step_noise >= o->steps - 1, E_CONFIG, "%s: noise for %d steps, %d steps of LCM want %d", l->path,
         l->n_step_noise, o->steps, o->steps - 1);
out:
  return st;
}

static int find_timesteps(const ev_estimator *e, const ev_predict_opts *o, int *timesteps) {
  int st = OK;

  TRY(md_timesteps(&e->schedule, o->sampler, o->spacing, o->steps, timesteps));
  if (o->timestep < 0 || o->steps > 1 || o->sampler == MD_LCM || o->spacing != MD_TRAILING) goto out;
  NEED(o->timestep < e->schedule.train_steps, E_CONFIG, "timestep: wanted up to %d, found %d", e->schedule.train_steps - 1, o->timestep);
  timesteps[0] = o->timestep;
out:
  return st;
}

static int check(const ev_estimator *e, const ev_predict_opts *o, int **timesteps) {
  int st = OK;
  const int factor = md_vae_factor(&e->vae_config);

  NEED(o->ensemble >= 1 && o->batch >= 1 && o->resolution >= 0, E_CONFIG, "ensemble, batch: wanted at least 1, resolution at least 0");
  NEED(o->convention == EV_AS_REFERENCE || o->resolution % factor == 0, E_CONFIG, "resolution: wanted a multiple of %d, found %d", factor,
       o->resolution);
  NEED(o->steps >= 1 && o->steps <= MD_MAX_TRAIN_STEPS, E_CONFIG, "steps: wanted 1 to %d, found %d", e->schedule.train_steps, o->steps);
  NEED((*timesteps = malloc(sizeof **timesteps * (size_t)o->steps)) != NULL, E_NOMEM, "timesteps");
  TRY(find_timesteps(e, o, *timesteps));
  TRY(check_latents(o));
out:
  return st;
}

int ev_predict_check(const ev_estimator *e, const ev_predict_opts *o) {
  int *timesteps = NULL;
  const int st = check(e, o, &timesteps);
  free(timesteps);
  return st;
}

/* ---- reading ---- */

static void entry_free(entry *e) {
  ds_buf_free(&e->image.rgb);
  free(e->why);
}

/* Room for one more entry; buffers of images move along. */
static int chunk_grow(chunk *c) {
  int st = OK;

  if (c->n < c->room) return OK;
  entry *grown = realloc(c->entries, sizeof *grown * (size_t)(c->room + 8));
  NEED(grown, E_NOMEM, "%d images at once", c->room + 8);
  memset(grown + c->room, 0, sizeof *grown * 8);
  c->entries = grown;
  c->room += 8;
out:
  return st;
}

/* The next image, into *e; an error of its own is noted there. */
static void read_next(run *r, entry *e, ev_size *size) {
  int st;

  free(e->why);
  e->why = NULL;
  e->index = r->next++;
  e->image.out_H = e->image.out_W = 0;
  st = r->images->read(r->images->ctx, e->index, &e->image);
  if (st == OK) st = ev_size_of(r->o, r->factor, e->image.H, e->image.W, size);
  e->failed = st;
  if (st != OK) e->why = strdup(err_text());
}

static bool same_size(const ev_size *a, const ev_size *b) { return !memcmp(a, b, sizeof *a); }

static void swap(entry *a, entry *b) {
  const entry t = *a;
  *a = *b;
  *b = t;
}

/* Fills c with the next images of one size, and those that fail on the way. */
static int gather(run *r, chunk *c) {
  int st = OK;
  ev_size size = {0};

  c->n = c->good = 0;
  while (c->good < r->images_at_once && (r->has_ahead || r->next < r->images->n)) {
    TRY(chunk_grow(c));
    entry *e = &c->entries[c->n];
    if (r->has_ahead) {
      swap(e, &r->ahead);
      r->has_ahead = false;
      TRY(ev_size_of(r->o, r->factor, e->image.H, e->image.W, &size));
    } else {
      read_next(r, e, &size);
    }
    if (e->failed == OK && c->good && !same_size(&size, &c->size)) {
      swap(e, &r->ahead);
      r->has_ahead = true;
      break;
    }
    if (e->failed == OK) {
      c->size = size;
      c->good++;
    }
    c->n++;
  }
out:
  return st;
}

/* ---- into the network ---- */

/* All images of c -> [good,3,H,W] on the device. */
static int upload(const run *r, const chunk *c, tchc_tensor **rgb) {
  int st = OK, at = 0;
  const int64_t shape[] = {c->good, 3, c->size.H, c->size.W};
  const size_t plane = 3 * (size_t)c->size.H * (size_t)c->size.W;
  float *x = malloc(sizeof *x * plane * (size_t)c->good);

  NEED(x, E_NOMEM, "%d images of %d x %d", c->good, c->size.W, c->size.H);
  for (int i = 0; i < c->n; i++)
    if (c->entries[i].failed == OK) TRY(ev_preprocess(r->o, &c->entries[i].image, &c->size, x + plane * (size_t)at++));
  TRY(tchc_from_host(x, shape, 4, TCHC_F32, r->e->device, rgb));
out:
  free(x);
  return st;
}

/* Sample k of the chunk: which image of the list, which member of its ensemble. */
static size_t image_of(const run *r, const chunk *c, int64_t k) {
  int64_t good = k / r->o->ensemble;
  for (int i = 0; i < c->n; i++)
    if (c->entries[i].failed == OK && good-- == 0) return c->entries[i].index;
  return 0;
}

static int stored_latents(const run *r, const chunk *c, const float *from, int64_t k, float *out) {
  int st = OK;
  const ev_latents *l = r->o->latents;
  const size_t one = (size_t)l->C * (size_t)l->h * (size_t)l->w;
  const int member = (int)(k % r->o->ensemble);
  const int64_t at = l->n == r->o->ensemble ? member : (int64_t)image_of(r, c, k) * r->o->ensemble + member;

  NEED(l->C == r->channels && l->h == c->size.lh && l->w == c->size.lw, E_CONFIG,
       "%s: latents are [%lld,%d,%d,%d], wanted [%d,%d,%d,%d] for an image of %d x %d", l->path, (long long)l->n, l->C, l->h, l->w,
       r->o->ensemble, r->channels, c->size.lh, c->size.lw, c->size.w, c->size.h);
  NEED(at < l->n, E_CONFIG, "%s: %lld latents, image %zu of the list wants more", l->path, (long long)l->n, image_of(r, c, k) + 1);
  memcpy(out, from + (size_t)at * one, sizeof *out * one);
out:
  return st;
}

/* Noise of samples first .. first+n-1: of the start (step 0) or after step `step` of LCM. */
static int make_noise(const run *r, const chunk *c, int64_t first, int64_t n, int step, tchc_tensor **out) {
  int st = OK;
  const ev_latents *l = r->o->latents;
  const float *stored = !l ? NULL : !step ? l->noise : step <= l->n_step_noise ? l->step_noise[step - 1] : NULL;
  const int C = r->channels, h = c->size.lh, w = c->size.lw;
  const int64_t shape[] = {n, C, h, w};
  const size_t one = (size_t)C * (size_t)h * (size_t)w;
  float *x = malloc(sizeof *x * one * (size_t)n);

  NEED(x, E_NOMEM, "noise for %lld samples", (long long)n);
  for (int64_t i = 0; i < n; i++) {
    const md_noise_at at = {r->o->seed, step, (int)((first + i) % r->o->ensemble)};
    if (stored) TRY(stored_latents(r, c, stored, first + i, x + (size_t)i * one));
    else TRY(md_noise_group(step ? MD_GAUSSIAN : r->o->noise, at, 1, C, h, w, x + (size_t)i * one));
  }
  TRY(tchc_from_host(x, shape, 4, TCHC_F32, r->e->device, out));
out:
  free(x);
  return st;
}

typedef struct part { const run *r; const chunk *c; int64_t first, n; } part;

static int step_noise(void *ctx, int i, const tchc_tensor *x, tchc_tensor **noise) {
  const part *p = ctx;
  (void)x;
  return make_noise(p->r, p->c, p->first, p->n, i + 1, noise);
}

/* ---- out of the network, on its device ---- */

/* z of normals [B,3,h,w] to (z + 1) / 2. */
static int halve_z(const tchc_tensor *v, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *xy = NULL, *z = NULL, *half = NULL;
  TRY(tchc_narrow(v, 1, 0, 2, &xy));
  TRY(tchc_narrow(v, 1, 2, 1, &z));
  TRY(tchc_affine(z, 0.5, 0.5, &half));
  TRY(tchc_cat((const tchc_tensor *const[]){xy, half}, 2, 1, out));
out:
  return st;
}

/* Decoded [B,3,h,w] -> depth [B,1,h,w] in [0,1] or unit normals [B,3,h,w], f32. */
static int read_out(const run *r, const tchc_tensor *image, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *x = NULL, *mean = NULL, *clipped = NULL, *length = NULL, *divisor = NULL;

  TRY(tchc_to_type(image, TCHC_F32, &x));
  if (r->o->task == EV_DEPTH) {
    TRY(tchc_mean_dim(x, 1, true, &mean));
    TRY(tchc_clamp(mean, -1, 1, &clipped));
    TRY(tchc_affine(clipped, 0.5, 0.5, out));
    goto out;
  }
  const bool reference = r->o->convention == EV_AS_REFERENCE;
  if (!reference) TRY(tchc_clamp(x, -1, 1, &x));
  if (!reference && r->e->half_z) TRY(halve_z(x, &x));
  TRY(tchc_norm_dim(x, 1, true, &length));
  if (reference) TRY(tchc_affine(length, 1, 1e-5, &divisor));
  else TRY(tchc_clamp(length, 1e-6, 1e30, &divisor));
  TRY(tchc_div(x, divisor, out));
out:
  return st;
}

/* A part's predictions, in the caller's scope. */
static int predict_part(const part *p, const tchc_tensor *rgb, tchc_tensor **out) {
  int st = OK;
  const run *r = p->r;
  const md_denoiser d = {.unet = r->e->unet, .schedule = &r->e->schedule, .text = r->e->text, .sampler = r->o->sampler,
                         .timesteps = r->timesteps, .steps = r->o->steps, .clean_end = r->o->convention == EV_AS_REFERENCE,
                         .rgb_alone = r->e->unet_channels == r->channels, .step_noise = step_noise, .ctx = (void *)p};
  tchc_scope *scope = NULL;
  tchc_tensor *latents = NULL, *noise = NULL, *x0 = NULL, *z = NULL, *image = NULL, *result = NULL;

  TRY(tchc_scope_open(&scope));
  TRY(tchc_narrow(rgb, 0, p->first, p->n, &latents));
  TRY(make_noise(r, p->c, p->first, p->n, 0, &noise));
  TRY(md_denoise(&d, latents, noise, &x0));
  TRY(tchc_affine(x0, 1 / r->e->vae_config.scaling_factor, 0, &z));
  TRY(md_vae_decode(r->e->vae, z, NULL, &image));
  TRY(read_out(r, image, &result));
  tchc_promote(result);
  *out = result;
out:
  tchc_scope_close(&scope);
  return st;
}

/* [n,C,h,w] -> [n*times,C,h,w], each repeated in place. */
static int repeat_each(const tchc_tensor *t, int times, tchc_tensor **out) {
  int st = OK;
  const int64_t n = tchc_size(t, 0), C = tchc_size(t, 1), h = tchc_size(t, 2), w = tchc_size(t, 3);
  tchc_tensor *wide = NULL, *repeated = NULL;

  TRY(tchc_unsqueeze(t, 1, &wide));
  TRY(tchc_expand(wide, (int64_t[]){n, times, C, h, w}, 5, &repeated));
  TRY(tchc_reshape(repeated, (int64_t[]){n * times, C, h, w}, 4, out));
out:
  return st;
}

/* Launches a chunk, `batch` samples at once; c->members comes without waiting for the device. */
static int launch(const run *r, chunk *c, int batch) {
  int st = OK;
  const int64_t all = (int64_t)c->good * r->o->ensemble;
  const bool graph = tchc_grad_mode(false);
  tchc_scope *scope = NULL;
  tchc_tensor *rgb = NULL, *latent = NULL, *each = NULL, **parts = NULL, *members = NULL;
  int n = 0;

  TRY(tchc_scope_open(&scope));
  NEED((parts = calloc((size_t)all, sizeof(tchc_tensor *))) != NULL, E_NOMEM, "%lld samples", (long long)all);
  TRY(upload(r, c, &rgb));
  TRY(md_vae_latent(r->e->vae, rgb, &latent));
  TRY(repeat_each(latent, r->o->ensemble, &each));
  for (int64_t i = 0; i < all; i += batch, n++) {
    const part p = {r, c, i, all - i < batch ? all - i : batch};
    TRY(predict_part(&p, each, &parts[n]));
  }
  TRY(tchc_cat((const tchc_tensor *const *)parts, n, 0, &members));
  tchc_keep(members);
  c->members = members;
out:
  tchc_scope_close(&scope);
  tchc_grad_mode(graph);
  free(parts);
  return st;
}

/* What memory does not hold at once may fit one by one; an image that does not is given up, and the others go on. */
static int compute(const run *r, chunk *c) {
  int st = OK;

  if (!c->good) return OK;
  st = launch(r, c, r->o->batch);
  if (st == E_NOMEM && r->o->batch > 1) {
    TRY(tchc_memory_empty_cache(r->e->device));
    st = launch(r, c, 1);
  }
  if (st != E_NOMEM) TRY(st);
  for (int i = 0; i < c->n && st == E_NOMEM; i++) {
    if (c->entries[i].failed != OK) continue;
    c->entries[i].failed = E_NOMEM;
    c->entries[i].why = strdup(err_text());
  }
  if (st == E_NOMEM) c->good = 0;
  st = OK;
out:
  return st;
}

/* ---- giving away ---- */

static int give_failed(run *r, const entry *e) {
  r->failed++;
  err_set(e->failed, __FILE__, __LINE__, "%s", e->why ? e->why : "failed");
  return r->images->take(r->images->ctx, e->index, &e->image, NULL);
}

static int give(run *r, const chunk *c, const entry *e, const float *members, int rows, int cols) {
  int st = OK;
  ev_processed result = {0};

  TRY(ev_postprocess(r->o, r->e->scale_invariant, r->e->shift_invariant, &e->image, &c->size, members, r->o->ensemble, rows, cols,
                     &result));
  TRY(r->images->take(r->images->ctx, e->index, &e->image, &result.p));
out:
  ev_processed_free(&result);
  return st;
}

/* Waits for the chunk's predictions and hands them on in order. */
static int deliver(run *r, chunk *c) {
  int st = OK, at = 0;
  const int rows = c->members ? (int)tchc_size(c->members, 2) : 0, cols = c->members ? (int)tchc_size(c->members, 3) : 0;
  const size_t n = c->members ? (size_t)tchc_numel(c->members) : 0;
  float *x = malloc(sizeof *x * n + 1);

  NEED(x, E_NOMEM, "predictions of %d images", c->good);
  if (c->members) TRY(tchc_to_host(c->members, x, sizeof *x * n));
  tchc_free(&c->members);
  for (int i = 0; i < c->n; i++) {
    const entry *e = &c->entries[i];
    if (e->failed != OK) TRY(give_failed(r, e));
    else TRY(give(r, c, e, x + n / (size_t)c->good * (size_t)at++, rows, cols));
  }
out:
  free(x);
  c->n = 0;
  return st;
}

/* The next images are read while the device works on those before them. */
static int predict_all(run *r) {
  int st = OK;
  chunk *working = &r->chunks[0], *reading = &r->chunks[1];

  do {
    TRY(gather(r, reading));
    TRY(deliver(r, working));
    TRY(compute(r, reading));
    chunk *const t = working;
    working = reading;
    reading = t;
  } while (working->n);
out:
  return st;
}

int ev_predict(const ev_estimator *e, const ev_predict_opts *o, const ev_images *images, size_t *failed) {
  int st = OK;
  run r = {.e = e, .o = o, .images = images, .factor = md_vae_factor(&e->vae_config), .channels = e->vae_config.latent_channels};

  TRY(check(e, o, &r.timesteps));
  r.images_at_once = o->batch / o->ensemble > 1 ? o->batch / o->ensemble : 1;
  TRY(predict_all(&r));
  if (failed) *failed = r.failed;
out:
  for (int k = 0; k < 2; k++) {
    for (int i = 0; i < r.chunks[k].room; i++) entry_free(&r.chunks[k].entries[i]);
    free(r.chunks[k].entries);
    tchc_free(&r.chunks[k].members);
  }
  entry_free(&r.ahead);
  free(r.timesteps);
  return st;
}
