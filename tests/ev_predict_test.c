/* Predictions against both pipelines', in batches or not, and images that cannot be read in between. */
#include "eval/predict.h"

#include <stdio.h>

#include "eval/image_list.h"
#include "eval/process.h"
#include "kernels/host.h"
#include "tests/support/golden.h"
#include "tests/support/tchc_check.h"

/* golden/manifest.json, pipeline */
#define DEPTH_ABS 2e-4
#define NORMALS_ABS 2e-3
#define ENSEMBLE_ABS 2e-2
/* Where the alignment moves, other sums than this processor's move it elsewhere, in diffusers too (golden/README.md, noise
 * floor): 0.03 between its own AVX2 and AVX-512 kernels. */
#define ALIGNED_ABS 0.1

enum { H = 50, W = 70 };
static ev_estimator model;
static const kn_cuda *kernels; /* NULL: the plain networks */

static int open_model(void **state) {
  (void)state;
  if (ev_estimator_load(TEST_DATA "/golden/models/tiny-marigold", TCHC_CPU_DEVICE, TCHC_F32, kernels, &model) == OK) return 0;
  print_error("%s\n", err_text());
  return -1;
}

static int close_model(void **state) {
  (void)state;
  ev_estimator_fini(&model);
  return 0;
}

/* ---- a list of images in memory ---- */

typedef struct list {
  const uint8_t *rgb; /* [H,W,3], every image */
  size_t n, bad;      /* image number `bad` cannot be read */
  int h, w;           /* of image `smaller`, its upper left */
  size_t smaller;
  float *got[8];      /* values, copied */
  float *uncertainty;
  int C, H, W, uH, uW;
  size_t taken;
  int refuse;         /* what take returns */
} list;

static int read_one(void *ctx, size_t i, ev_image *out) {
  int st = OK;
  const list *l = ctx;
  const int h = i == l->smaller ? l->h : H, w = i == l->smaller ? l->w : W;

  NEED(i != l->bad, E_DATA, "image %zu is broken", i);
  TRY(ds_buf_need(&out->rgb, (size_t)h * (size_t)w * 3));
  for (int y = 0; y < h; y++) memcpy((uint8_t *)out->rgb.p + 3 * y * w, l->rgb + 3 * y * W, 3 * (size_t)w);
  out->H = h;
  out->W = w;
out:
  return st;
}

static int take_one(void *ctx, size_t i, const ev_image *image, const ev_prediction *p) {
  list *l = ctx;
  (void)image;
  assert_int_equal(i, l->taken++);
  if (!p) {
    assert_int_equal(i, l->bad);
    assert_non_null(strstr(err_text(), "is broken"));
    return l->refuse;
  }
  const size_t n = (size_t)(p->C * p->H * p->W);
  l->C = p->C, l->H = p->H, l->W = p->W;
  assert_non_null(l->got[i] = malloc(n * sizeof(float)));
  memcpy(l->got[i], p->values, n * sizeof(float));
  if (p->uncertainty) {
    free(l->uncertainty);
    l->uH = p->uH, l->uW = p->uW;
    assert_non_null(l->uncertainty = malloc((size_t)(p->uH * p->uW) * sizeof(float)));
    memcpy(l->uncertainty, p->uncertainty, (size_t)(p->uH * p->uW) * sizeof(float));
  }
  return l->refuse;
}

static list list_of(const st_file *g, size_t n) {
  return (list){.rgb = golden_find(g, "image_hwc")->data, .n = n, .bad = SIZE_MAX, .smaller = SIZE_MAX};
}

static void list_free(list *l) {
  for (int i = 0; i < 8; i++) free(l->got[i]);
  free(l->uncertainty);
}

static size_t predict(list *l, const ev_predict_opts *o) {
  const ev_images images = {.n = l->n, .ctx = l, .read = read_one, .take = take_one};
  size_t failed = 0;
  check_ok(ev_predict(&model, o, &images, &failed));
  assert_int_equal(l->taken, l->n);
  return failed;
}

/* ---- golden cases ---- */

typedef struct stored {
  ev_latents l;
  float *noise, *step;
  const float *steps[1];
} stored;

static float *joined(const st_file *g, const char *name, const char *fmt, int n, ev_latents *l) {
  float *all = NULL;
  char key[96];

  for (int i = 0; i < n; i++) {
    snprintf(key, sizeof key, fmt, name, i);
    const st_tensor *t = golden_find(g, key);
    const size_t one = (size_t)(t->shape[1] * t->shape[2] * t->shape[3]);
    l->C = (int)t->shape[1], l->h = (int)t->shape[2], l->w = (int)t->shape[3];
    assert_non_null(all = realloc(all, (size_t)n * one * sizeof *all));
    check_ok(st_to_f32(t, all + (size_t)i * one));
  }
  return all;
}

static void check(const st_file *g, const char *name, const char *part, const float *got, size_t n, double tol) {
  char key[96];
  size_t count;

  snprintf(key, sizeof key, "%s.%s", name, part);
  float *want = golden_f32(g, key, &count);
  assert_int_equal(n, count);
  const golden_diff d = golden_diff_f32(got, want, n);
  print_message("%-28s max difference %.2g\n", key, d.max_abs);
  golden_expect(key, d, 0, tol);
  free(want);
}

/* Golden results of diffusers have channels last. */
static void channels_last(float *v, int C, size_t pixels) {
  float *copy = malloc((size_t)C * pixels * sizeof *copy);

  assert_non_null(copy);
  memcpy(copy, v, (size_t)C * pixels * sizeof *copy);
  for (int c = 0; c < C; c++)
    for (size_t p = 0; p < pixels; p++) v[p * (size_t)C + (size_t)c] = copy[(size_t)c * pixels + p];
  free(copy);
}

static void diffusers_case(const st_file *g, const char *name, ev_predict_opts o) {
  stored s = {.l = {.path = "golden", .n = 1}};
  list l = list_of(g, 1);

  o.task = strncmp(name, "normals", 7) ? EV_DEPTH : EV_NORMALS;
  s.l.noise = s.noise = joined(g, name, "%s.latents", 1, &s.l);
  o.latents = &s.l;
  if (o.sampler == MD_LCM) {
    s.steps[0] = s.step = joined(g, name, "%s.lcm_noise0", 1, &s.l);
    s.l.step_noise = s.steps;
    s.l.n_step_noise = 1;
  }
  assert_int_equal(predict(&l, &o), 0);
  channels_last(l.got[0], l.C, (size_t)(l.H * l.W));
  check(g, name, "pred", l.got[0], (size_t)(l.C * l.H * l.W), o.task == EV_DEPTH ? DEPTH_ABS : NORMALS_ABS);
  list_free(&l);
  free(s.noise);
  free(s.step);
}

static void equals_diffusers(void **state) {
  static const char *const tasks[] = {"depth", "normals"};
  st_file *g = golden_open("pipeline/diffusers_marigold.safetensors");
  char name[64];

  (void)state;
  for (int t = 0; t < 2; t++) {
    ev_predict_opts o;
    ev_predict_opts_default(&o);
    diffusers_case(g, (snprintf(name, sizeof name, "%s.native", tasks[t]), name), o);
    o.resolution = 64;
    diffusers_case(g, (snprintf(name, sizeof name, "%s.resized", tasks[t]), name), o);
    o.steps = 4;
    diffusers_case(g, (snprintf(name, sizeof name, "%s.steps4", tasks[t]), name), o);
    o.steps = 2;
    o.sampler = MD_LCM;
    diffusers_case(g, (snprintf(name, sizeof name, "%s.lcm2", tasks[t]), name), o);
    o.steps = 1;
    o.sampler = MD_DDIM;
    o.keep_processed_size = true;
    diffusers_case(g, (snprintf(name, sizeof name, "%s.resized_nomatch", tasks[t]), name), o);
  }
  st_close(&g);
}

static void reference_case(const st_file *g, const char *name, ev_predict_opts o, int members) {
  stored s = {.l = {.path = "golden", .n = members}};
  list l = list_of(g, 1);
  const double tol = o.ensemble > 1 ? ENSEMBLE_ABS : o.task == EV_DEPTH ? DEPTH_ABS : NORMALS_ABS;

  o.convention = EV_AS_REFERENCE;
  if (members) {
    s.l.noise = s.noise = joined(g, name, "%s.noise%d", members, &s.l);
    o.latents = &s.l;
  }
  assert_int_equal(predict(&l, &o), 0);
  check(g, name, "pred", l.got[0], (size_t)(l.C * l.H * l.W), tol);
  if (o.ensemble > 1 && o.task == EV_DEPTH) check(g, name, "uncertainty", l.uncertainty, (size_t)(l.uH * l.uW), tol);
  else assert_null(l.uncertainty);
  list_free(&l);
  free(s.noise);
}

static void equals_the_reference(void **state) {
  static const char *const tasks[] = {"depth", "normals"};
  st_file *g = golden_open("pipeline/e2e_marigold.safetensors");
  char name[64];

  (void)state;
  for (int t = 0; t < 2; t++) {
    ev_predict_opts o, plain;
    ev_predict_opts_default(&plain);
    plain.task = t ? EV_NORMALS : EV_DEPTH;
    reference_case(g, (snprintf(name, sizeof name, "%s.native", tasks[t]), name), plain, 0);
    o = plain;
    o.steps = 4;
    o.spacing = MD_LEADING;
    reference_case(g, (snprintf(name, sizeof name, "%s.steps4_leading", tasks[t]), name), o, 1);
    o = plain;
    o.resolution = 64;
    reference_case(g, (snprintf(name, sizeof name, "%s.resized", tasks[t]), name), o, 0);
    o.filter = EV_BICUBIC;
    reference_case(g, (snprintf(name, sizeof name, "%s.bicubic", tasks[t]), name), o, 0);
    o.filter = EV_BILINEAR;
    o.steps = 2;
    o.ensemble = 3;
    reference_case(g, (snprintf(name, sizeof name, "%s.ensemble3", tasks[t]), name), o, 3);
    o = plain;
    o.resolution = 96;
    o.keep_processed_size = true;
    reference_case(g, (snprintf(name, sizeof name, "%s.upsized_nomatch", tasks[t]), name), o, 0);
  }
  st_close(&g);
}

static void images_are_prepared_as_diffusers_does(void **state) {
  st_file *g = golden_open("pipeline/diffusers_marigold.safetensors");
  list l = list_of(g, 1);
  ev_image image = {0};
  ev_predict_opts o;
  ev_size s;
  static float out[3 * 56 * 72];

  (void)state;
  ev_predict_opts_default(&o);
  check_ok(read_one(&l, 0, &image));
  check_ok(ev_size_of(&o, 8, H, W, &s));
  assert_true(s.h == 50 && s.w == 70 && s.H == 56 && s.W == 72 && s.lh == 7 && s.lw == 9);
  check_ok(ev_preprocess(&o, &image, &s, out));
  check(g, "depth.native", "preprocessed", out, 3 * 56 * 72, 1e-6);
  o.resolution = 64;
  check_ok(ev_size_of(&o, 8, H, W, &s));
  assert_true(s.h == 45 && s.w == 64 && s.H == 48 && s.W == 64);
  check_ok(ev_preprocess(&o, &image, &s, out));
  check(g, "depth.resized", "preprocessed", out, 3 * 48 * 64, 1e-6);
  ds_buf_free(&image.rgb);
  st_close(&g);
}

/* ---- three sizes that are no multiples of 8, one and four steps ---- */

typedef struct odd { char path[256]; const st_file *g; const char *key; double tol; } odd;

static int read_odd(void *ctx, size_t i, ev_image *out) {
  const odd *x = ctx;
  ds_buf file = {0};
  (void)i;
  const int st = ev_image_read(x->path, &file, out);
  ds_buf_free(&file);
  return st;
}

static int compare_file(void *ctx, size_t i, const ev_image *image, const ev_prediction *p) {
  const odd *x = ctx;
  size_t n;
  float *want = golden_f32(x->g, x->key, &n);

  (void)i;
  assert_non_null(p);
  assert_true(p->H == image->H && p->W == image->W);
  assert_int_equal(n, p->C * p->H * p->W);
  golden_near_f32(x->key, p->values, want, n, 0, x->tol);
  free(want);
  return OK;
}

static void odd_case(const st_file *g, const char *name, const char *key, const char *noise, ev_predict_opts o, double tol) {
  odd x = {.g = g, .key = key, .tol = tol};
  const st_tensor *t = golden_find(g, noise);
  float *values = golden_f32(g, noise, NULL);
  const ev_latents l = {.path = noise, .n = t->shape[0], .C = 4, .h = (int)t->shape[2], .w = (int)t->shape[3], .noise = values};
  const ev_images images = {.n = 1, .ctx = &x, .read = read_odd, .take = compare_file};

  snprintf(x.path, sizeof x.path, "%s/pipelines/%s.png", TEST_DATA, name);
  if (o.steps > 1) o.latents = &l;
  check_ok(ev_predict(&model, &o, &images, NULL));
  free(values);
}

static void odd_sizes(void **state) {
  st_file *g = NULL;
  char key[64], noise[64];
  ev_predict_opts o;

  (void)state;
  check_ok(st_open(TEST_DATA "/pipelines/results.safetensors", &g));
  for (int k = 0; k < 3 * 2 * 2 * 2; k++) {
    const char name[] = {(char)('a' + k / 8), 0}, *peer = k & 4 ? "reference" : "diffusers";
    ev_predict_opts_default(&o);
    o.convention = k & 4 ? EV_AS_REFERENCE : EV_AS_DIFFUSERS;
    o.task = k & 2 ? EV_NORMALS : EV_DEPTH;
    o.steps = k & 1 ? 4 : 1;
    snprintf(noise, sizeof noise, "%s.%s.noise", name, peer);
    snprintf(key, sizeof key, "%s.%s.%s.%d", name, peer, k & 2 ? "normals" : "depth", o.steps);
    odd_case(g, name, key, noise, o, k & 2 ? NORMALS_ABS : DEPTH_ABS);
  }
  for (int t = 0; t < 2; t++) {
    ev_predict_opts_default(&o);
    o.task = t ? EV_NORMALS : EV_DEPTH;
    o.steps = 2;
    o.ensemble = 3;
    o.batch = 2;
    snprintf(key, sizeof key, "c.diffusers.%s.ensemble", t ? "normals" : "depth");
    odd_case(g, "c", key, "c.diffusers.ensemble.noise", o, t ? ENSEMBLE_ABS : ALIGNED_ABS);
  }
  st_close(&g);
}

/* ---- lists ---- */

/* Three images of which one is of another size and one broken: the others come out as they do alone. */
static void batches_and_bad_images(void **state) {
  st_file *g = golden_open("pipeline/diffusers_marigold.safetensors");
  list alone = list_of(g, 1), small = list_of(g, 1), all = list_of(g, 5), batched = list_of(g, 5);
  ev_predict_opts o;

  (void)state;
  ev_predict_opts_default(&o);
  o.noise = MD_PYRAMID;
  o.ensemble = 2;
  o.task = EV_NORMALS;
  o.align.normals = EV_MEAN; /* the only ensemble that does not magnify rounding */
  small.smaller = 0;
  batched.smaller = all.smaller = 2;
  small.h = batched.h = all.h = 33, small.w = batched.w = all.w = 41;
  batched.bad = all.bad = 1;
  assert_int_equal(predict(&alone, &o), 0);
  assert_int_equal(predict(&small, &o), 0);
  assert_int_equal(predict(&all, &o), 1);
  o.batch = 4;
  assert_int_equal(predict(&batched, &o), 1);
  assert_null(all.got[1]);
  for (int i = 0; i < 5; i++) {
    if (i == 1) continue;
    const size_t n = 3 * (i == 2 ? 33 * 41 : H * W);
    golden_near_f32("one by one", all.got[i], i == 2 ? small.got[0] : alone.got[0], n, 0, 0);
    golden_near_f32("four at once", batched.got[i], all.got[i], n, 0, NORMALS_ABS);
  }
  list_free(&alone);
  list_free(&small);
  list_free(&all);
  list_free(&batched);
  st_close(&g);
}

static void noise_follows_seed_and_member(void **state) {
  st_file *g = golden_open("pipeline/diffusers_marigold.safetensors");
  list a = list_of(g, 1), b = list_of(g, 1), c = list_of(g, 1);
  ev_predict_opts o;

  (void)state;
  ev_predict_opts_default(&o);
  o.noise = MD_GAUSSIAN;
  predict(&a, &o);
  predict(&b, &o);
  o.seed = 1;
  predict(&c, &o);
  assert_memory_equal(a.got[0], b.got[0], sizeof(float) * H * W);
  assert_true(golden_diff_f32(a.got[0], c.got[0], H * W).max_abs > 1e-3);
  list_free(&a);
  list_free(&b);
  list_free(&c);
  st_close(&g);
}

/* What `take` says ends the run. */
static void a_full_disk_ends_it(void **state) {
  st_file *g = golden_open("pipeline/diffusers_marigold.safetensors");
  list l = list_of(g, 4);
  const ev_images images = {.n = 4, .ctx = &l, .read = read_one, .take = take_one};
  ev_predict_opts o;

  (void)state;
  ev_predict_opts_default(&o);
  l.refuse = E_DISK;
  assert_int_equal(ev_predict(&model, &o, &images, NULL), E_DISK);
  assert_int_equal(l.taken, 1);
  list_free(&l);
  st_close(&g);
}

static void refused(const char *part, ev_predict_opts o) {
  check_fails(E_CONFIG, part, ev_predict_check(&model, &o));
}

static void options_that_do_not_fit(void **state) {
  st_file *g = golden_open("pipeline/diffusers_marigold.safetensors");
  list l = list_of(g, 1);
  const ev_images images = {.n = 1, .ctx = &l, .read = read_one, .take = take_one};
  const float noise[4 * 4] = {0};
  const ev_latents four = {.path = "l.safetensors", .n = 4, .C = 4, .h = 1, .w = 1, .noise = noise};
  ev_predict_opts plain, o;

  (void)state;
  ev_predict_opts_default(&plain);
  check_ok(ev_predict_check(&model, &plain));
  o = plain, o.steps = 0, refused("steps", o);
  o = plain, o.steps = 1001, refused("1001", o);
  o = plain, o.sampler = MD_LCM, o.steps = 51, refused("LCM", o);
  o = plain, o.resolution = 65, refused("multiple of 8", o);
  o = plain, o.timestep = 1000, refused("timestep", o);
  o = plain, o.ensemble = 3, o.latents = &four, refused("l.safetensors: latents: 4 of them; wanted 3", o);
  o = plain, o.ensemble = 2, o.latents = &four;
  check_fails(E_CONFIG, "l.safetensors: latents are [4,4,1,1], wanted [2,4,7,9] for an image of 70 x 50",
              ev_predict(&model, &o, &images, NULL));
  st_close(&g);
}

static void images_too_small(void **state) {
  ev_predict_opts o;
  ev_size s;

  (void)state;
  ev_predict_opts_default(&o);
  check_ok(ev_size_of(&o, 8, 1, 1, &s));
  assert_true(s.H == 8 && s.dh == 1);
  o.resolution = 64;
  check_fails(E_DATA, "10000 x 1 pixels", ev_size_of(&o, 8, 1, 10000, &s));
  o.convention = EV_AS_REFERENCE;
  o.resolution = 0;
  check_fails(E_DATA, "less than one latent cell", ev_size_of(&o, 8, 7, 64, &s));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LIVE_TEST(odd_sizes), LIVE_TEST(equals_diffusers),       LIVE_TEST(equals_the_reference),          LIVE_TEST(images_are_prepared_as_diffusers_does),
      LIVE_TEST(batches_and_bad_images), LIVE_TEST(noise_follows_seed_and_member), LIVE_TEST(a_full_disk_ends_it),
      LIVE_TEST(options_that_do_not_fit), LIVE_TEST(images_too_small)};
  /* what depends on the networks; an ensemble's uncertainty of the reference's kind amplifies their rounding */
  const struct CMUnitTest again[] = {LIVE_TEST(equals_diffusers), LIVE_TEST(batches_and_bad_images), LIVE_TEST(noise_follows_seed_and_member)};
  int failed = cmocka_run_group_tests_name("plain networks", tests, open_model, close_model);

  kernels = kn_host();
  failed += cmocka_run_group_tests_name("fused networks", again, open_model, close_model);
  return failed;
}
