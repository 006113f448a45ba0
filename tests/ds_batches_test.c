/* Kind `batches`: stored groups come back as they are, and whatever does not fit is named. */
#include <math.h>
#include <stdio.h>

#include "base/safetensors.h"
#include "tests/support/damage.h"
#include "tests/support/golden.h"
#include "tests/support/micro_batches.h"
#include "tests/support/samples.h"
#include "tests/support/tmpdir.h"

static ds_opts opts(void **state, int need) {
  ds_opts o = sample_opts("batches", "%s", (const char *)*state);

  o.size_set = false;
  o.need = need;
  return o;
}

/* ---- the golden micro-batches ---- */

static void micro_batches(void **state) {
  ds_opts o = opts(state, DS_NEED_METRIC | DS_NEED_NORMALS);
  int n, H, W;

  check_ok(micro_batches_split(TEST_DATA "/golden/train/micro_batches.safetensors", *state, &n));
  o.group = 2;
  ds_source *s = sample_source(&o);
  assert_int_equal(ds_source_count(s), n);
  assert_int_equal(ds_source_samples_per_item(s), 2);
  assert_true(ds_source_is_stored(s));
  st_file *g = golden_open("train/micro_batches.safetensors");
  for (int i = 0; i < n; i++) {
    static const char *const fields[] = {"rgb", "metric", "normals", "val_mask"};
    check_ok(ds_source_shape(s, i, &H, &W));
    ds_sample a[2] = {sample_room(H, W), sample_room(H, W)};
    const size_t px = (size_t)H * (size_t)W;
    check_ok(ds_source_read(s, i, false, a));
    for (int b = 0; b < 2; b++) {
      const void *got[] = {a[b].rgb, a[b].metric, a[b].normals, a[b].mask};
      const size_t bytes[] = {12 * px, 4 * px, 12 * px, px};
      int64_t valid = 0;
      for (int k = 0; k < 4; k++) {
        char name[32];
        snprintf(name, sizeof name, "%d.%s", i, fields[k]);
        assert_memory_equal(got[k], (const char *)golden_find(g, name)->data + (size_t)b * bytes[k], bytes[k]);
      }
      for (size_t j = 0; j < px; j++) valid += a[b].mask[j];
      assert_int_equal(a[b].valid, valid);
      assert_int_equal(a[b].domain, DS_INDOOR);
      assert_true(a[b].depth[0] == -12345); /* not needed, not touched */
      sample_free(&a[b]);
    }
  }
  assert_int_not_equal(ds_source_read(s, 0, true, NULL), OK); /* stored groups take no flip */
  st_close(&g);
  ds_source_close(&s);
}

/* ---- files of our own: B samples of 3 x 5, with everything ---- */

enum { H = 3, W = 5, N = H * W, MAX_B = 3 };
enum { RGB, MASK, METRIC, NORMALS, DEPTH, DOMAIN, NOISE, TIMESTEPS, TENSORS };

struct group {
  float f[8][MAX_B * 3 * N]; /* by tensor */
  uint8_t mask[MAX_B * N];
  int64_t domain[MAX_B], timesteps[MAX_B];
  st_tensor t[TENSORS];
};

static struct group *make_group(int B) {
  static struct group g;
  static const char *const names[] = {"rgb", "mask", "metric", "normals", "depth", "domain", "noise", "timesteps"};
  static const int channels[] = {3, 1, 1, 3, 1, 0, 4, 0};

  for (int k = 0; k < TENSORS; k++) {
    for (int i = 0; i < MAX_B * 3 * N; i++) g.f[k][i] = (float)(k * 1000 + i);
    g.t[k] =
        (st_tensor){.name = names[k], .dtype = ST_F32, .ndim = 4, .shape = {B, channels[k], H, W}, .data = g.f[k]};
  }
  for (int i = 0; i < MAX_B * N; i++)
    g.mask[i] = (uint8_t)(i % 4 == 1 ? 5 : i % 3 == 0); /* any value but 0 is valid */
  for (int b = 0; b < MAX_B; b++) {
    g.domain[b] = b;
    g.timesteps[b] = 100 + b;
  }
  g.t[MASK].dtype = ST_U8;
  g.t[MASK].data = g.mask;
  for (int k = DOMAIN; k <= TIMESTEPS; k += 2) {
    g.t[k].dtype = ST_I64;
    g.t[k].ndim = 1;
    g.t[k].data = k == DOMAIN ? g.domain : g.timesteps;
  }
  g.t[NOISE].shape[2] = g.t[NOISE].shape[3] = 0; /* H/8, W/8 */
  return &g;
}

static void save(void **state, const char *name, struct group *g, int first, int n) {
  for (int k = 0; k < TENSORS; k++) g->t[k].nbytes = (size_t)st_numel(&g->t[k]) * st_dtype_size(g->t[k].dtype);
  check_ok(st_write(tmpdir_at(state, "%s", name), g->t + first, (size_t)n, NULL, 0));
}

static void everything(void **state) {
  ds_opts o = opts(state, DS_NEED_METRIC | DS_NEED_NORMALS | DS_NEED_DEPTH);
  ds_sample a[3];

  save(state, "b.safetensors", make_group(3), 0, TENSORS);
  save(state, "a.safetensors", make_group(3), 0, TENSORS);
  damaged_save(tmpdir_at(state, "README.txt"), "x", 1);
  ds_source *s = sample_source(&o);
  assert_int_equal(ds_source_count(s), 2);
  for (int b = 0; b < 3; b++) a[b] = sample_room(H, W);
  check_ok(ds_source_read(s, 0, false, a));
  assert_string_equal(a[0].id, "a");
  for (int b = 0; b < 3; b++) {
    assert_int_equal(a[b].domain, b);
    for (int i = 0; i < N; i++) {
      const int j = b * N + i;
      assert_true(a[b].metric[i] == 2000 + j && a[b].depth[i] == 4000 + j && a[b].normals[i] == 3000 + 3 * b * N + i);
      assert_int_equal(a[b].mask[i], j % 4 == 1 || j % 3 == 0);
    }
    sample_free(&a[b]);
  }
  ds_source_close(&s);
  o.domain = DS_OUTDOOR; /* the config's word counts */
  s = sample_source(&o);
  for (int b = 0; b < 3; b++) a[b] = sample_room(H, W);
  check_ok(ds_source_read(s, 1, false, a));
  for (int b = 0; b < 3; b++) {
    assert_int_equal(a[b].domain, DS_OUTDOOR);
    sample_free(&a[b]);
  }
  ds_source_close(&s);
}

static void extras(void **state) {
  ds_opts o = opts(state, DS_NEED_METRIC);
  struct group *g = make_group(2);
  float noise[2 * 4 * 2];
  int64_t timesteps[2] = {0, 0};
  ds_extra e = {.noise = noise, .timesteps = timesteps};

  /* 8 x 16 pixels, so that there is noise; all planes are the same memory */
  for (int k = RGB; k <= DEPTH; k++) {
    g->t[k].shape[2] = 8;
    g->t[k].shape[3] = 16;
  }
  g->t[NOISE].shape[2] = 1;
  g->t[NOISE].shape[3] = 2;
  static float plane[2 * 3 * 8 * 16];
  for (int k = RGB; k <= DEPTH; k++) g->t[k].data = plane;
  save(state, "a.safetensors", g, 0, TENSORS);
  save(state, "b.safetensors", g, 0, DEPTH);
  ds_source *s = sample_source(&o);
  check_ok(ds_source_read_extra(s, 0, &e));
  assert_true(e.has_noise && e.has_timesteps && timesteps[1] == 101);
  for (int i = 0; i < 16; i++) assert_true(noise[i] == 6000 + i);
  e = (ds_extra){0};
  check_ok(ds_source_read_extra(s, 0, &e)); /* nobody wants them */
  assert_true(e.has_noise && e.has_timesteps);
  check_ok(ds_source_read_extra(s, 1, &e));
  assert_false(e.has_noise || e.has_timesteps);
  g->t[NOISE].shape[3] = 1;
  save(state, "a.safetensors", g, 0, TENSORS);
  e = (ds_extra){.noise = noise};
  check_fails(E_DATA, "a.safetensors: noise: wanted shape [2,4,1,2], found [2,4,1,1]",
              ds_source_read_extra(s, 0, &e));
  ds_source_close(&s);
}

/* Numbers are handed on as they are: the trainer decides what a NaN means. */
static void nan_passes(void **state) {
  ds_opts o = opts(state, DS_NEED_METRIC);
  struct group *g = make_group(1);

  g->f[METRIC][3] = NAN;
  g->f[RGB][0] = INFINITY;
  save(state, "a.safetensors", g, RGB, METRIC + 1);
  ds_source *s = sample_source(&o);
  ds_sample a = sample_read(s, 0, false);
  assert_true(isnan(a.metric[3]) && isinf(a.rgb[0]));
  sample_free(&a);
  ds_source_close(&s);
}

static void bool_masks(void **state) {
  ds_opts o = opts(state, 0);
  struct group *g = make_group(1);

  g->t[MASK].dtype = ST_BOOL;
  for (int i = 0; i < N; i++) g->mask[i] = i == 2;
  save(state, "a.safetensors", g, RGB, 2);
  ds_source *s = sample_source(&o);
  ds_sample a = sample_read(s, 0, false);
  assert_true(a.valid == 1 && a.mask[2] == 1);
  sample_free(&a);
  ds_source_close(&s);
}

static void what_does_not_fit(void **state) {
  ds_opts o = opts(state, DS_NEED_METRIC);
  struct group *g = make_group(2);
  const char *path = tmpdir_at(state, "a.safetensors");

  check_source_fails(E_DATA, "no *.safetensors in it", &o);
  save(state, "a.safetensors", g, METRIC, 3);
  check_source_fails(E_DATA, "a.safetensors: no tensor rgb", &o);
  save(state, "a.safetensors", g, RGB, 1);
  check_source_fails(E_DATA, "a.safetensors: no tensor mask", &o);
  save(state, "a.safetensors", g, RGB, 2);
  check_source_fails(E_DATA, "a.safetensors: no tensor metric", &o);
  o.need = DS_NEED_NORMALS;
  check_source_fails(E_DATA, "no tensor normals", &o);
  o.need = DS_NEED_DEPTH;
  check_source_fails(E_DATA, "no tensor depth", &o);
  o.need = 0;
  o.group = 4;
  check_source_fails(E_DATA, "a.safetensors: rgb: 2 samples, wanted optim.group = 4", &o);
  o.group = 0;
  g->t[RGB].shape[1] = 1;
  save(state, "a.safetensors", g, RGB, 2);
  check_source_fails(E_DATA, "rgb: wanted shape [B,3,H,W], found [2,1,3,5]", &o);
  g = make_group(2);
  g->t[MASK].shape[3] = 4;
  save(state, "a.safetensors", g, RGB, 2);
  check_source_fails(E_DATA, "mask: wanted shape [2,1,3,5], found [2,1,3,4]", &o);
  g = make_group(2);
  g->t[MASK].dtype = ST_F32;
  save(state, "a.safetensors", g, RGB, 2);
  check_source_fails(E_DATA, "mask: wanted U8, found F32", &o);
  g = make_group(2);
  g->t[RGB].dtype = ST_F16;
  save(state, "a.safetensors", g, RGB, 2);
  check_source_fails(E_DATA, "rgb: wanted F32, found F16", &o);
  g = make_group(2);
  g->domain[1] = 3;
  save(state, "a.safetensors", g, 0, TENSORS);
  ds_source *s = sample_source(&o);
  ds_sample a[2] = {sample_room(H, W), sample_room(H, W)};
  check_fails(E_DATA, "domain 3 is none of 0, 1, 2", ds_source_read(s, 0, false, a));
  save(state, "a.safetensors", make_group(3), 0, 2); /* changed behind our back */
  check_fails(E_DATA, path, ds_source_read(s, 0, false, a));
  ds_source_close(&s);
  save(state, "b.safetensors", make_group(2), 0, 2);
  check_source_fails(E_DATA, "b.safetensors: rgb: 2 samples, but a.safetensors has 3", &o);
  for (int b = 0; b < 2; b++) sample_free(&a[b]);
  o.root = tmpdir_at(state, "nowhere");
  check_source_fails(E_DATA, "nowhere", &o);
}

static void no_pixels(void **state) {
  ds_opts o = opts(state, 0);
  struct group *g = make_group(1);

  g->t[RGB].shape[2] = g->t[MASK].shape[2] = 0;
  save(state, "a.safetensors", g, RGB, 2);
  check_source_fails(E_DATA, "a.safetensors: an image of 5x0 pixels", &o);
}

static void cut_files(void **state) {
  ds_opts o = opts(state, 0);
  const char *path = tmpdir_at(state, "a.safetensors");

  save(state, "a.safetensors", make_group(2), 0, 2);
  ds_source *s = sample_source(&o);
  ds_sample a[2] = {sample_room(H, W), sample_room(H, W)};
  damaged d = damaged_load(path);
  for (int i = 0; i < DAMAGED_CUTS; i++) {
    damaged_cut(&d, i, path);
    check_source_fails(E_DATA, path, &o);
    check_fails(E_DATA, path, ds_source_read(s, 0, false, a));
  }
  damaged_free(&d);
  for (int b = 0; b < 2; b++) sample_free(&a[b]);
  ds_source_close(&s);
}

int main(void) {
#define IN_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {IN_TMPDIR(micro_batches), IN_TMPDIR(everything), IN_TMPDIR(extras),
                                     IN_TMPDIR(nan_passes),    IN_TMPDIR(bool_masks), IN_TMPDIR(what_does_not_fit),
                                     IN_TMPDIR(no_pixels),     IN_TMPDIR(cut_files)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
